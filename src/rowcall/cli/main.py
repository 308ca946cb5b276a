"""The composition root: commands, and exit codes for what goes wrong."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import psycopg
import typer

import rowcall
from rowcall import errors
from rowcall.cli import audit, demo, listen, migrate, watches
from rowcall.postgres.connection import unreachable

app = typer.Typer(
    name="rowcall",
    help="PostgreSQL tables as event sources: validate, react to and audit every row change in Python.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"rowcall {rowcall.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="ROWCALL_DEBUG")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


migrate.register(app)
watches.register(app)
listen.register(app)
app.add_typer(audit.commands, name="audit")
demo.register(app)


def main() -> None:
    """Run the command line. Exit codes: 0 fine, 1 the answer is no, 2 usage, 3 database out of reach, 4 a fault of ours."""
    debug = "--debug" in sys.argv
    try:
        app()
    except errors.RowcallError as error:
        _fail(error, error, debug)
    except psycopg.OperationalError as error:
        _fail(unreachable(error), error, debug)
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, not a traceback
        fault = errors.RowcallError(f"{errors.describe(error)}. This is a fault of Rowcall's; --debug shows where.")
        _fail(fault, error, debug)


def _fail(told: errors.RowcallError, error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    print(f"rowcall: {told}", file=sys.stderr)
    sys.exit(told.exit_code)
