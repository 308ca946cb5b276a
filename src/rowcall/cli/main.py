"""The composition root: commands, and exit codes for what goes wrong."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Annotated, Any

import psycopg
import typer

import rowcall
from rowcall import errors
from rowcall.cli import commands
from rowcall.postgres.connection import told_by_server

#: As a shell says it of a program that Ctrl-C ended.
INTERRUPTED = 130

app = typer.Typer(
    name="rowcall",
    help="PostgreSQL tables as event sources: validate, react to and audit every row change in Python.",
    cls=commands.importing(
        {
            "migrate": "migrate",
            "watch": "watches",
            "unwatch": "watches",
            "watches": "watches",
            "sync": "watches",
            "listen": "listen",
            "status": "status",
            "parked": "parked",
            "retry": "parked",
            "skip": "parked",
            "replay": "replay",
            "prune": "prune",
            "doctor": "doctor",
            "grant": "grants",
            "demo": "demo",
            "subscriptions": "subscriptions",
            "rules": "rules",
            "audit": "audit",
            "bench": "bench",
        }
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=commands.MARKUP,
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


def main() -> None:
    """The program ``rowcall``."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; anything that goes wrong is a sentence on stderr, never a traceback.

    :returns: 0 fine, 1 the answer is no, 2 usage, 3 database out of reach, 4 a fault of ours, 130 interrupted.
    """
    debug = "--debug" in arguments or bool(os.environ.get("ROWCALL_DEBUG"))
    try:
        words = [word for word in arguments if word != "--debug"]
        code = _command()(words, prog_name="rowcall", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        return _leave_quietly()
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Abort:  # the answer to a question was no
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, not a traceback
        return _tell(error, debug)
    return code if isinstance(code, int) else 0


@cache
def _command() -> Any:
    """What Typer makes of the functions; it takes longer over that than most commands take."""
    return typer.main.get_command(app)


def _leave_quietly() -> int:
    """Whoever read our output has had enough, as ``head`` does; Typer and Rich raise SystemExit for that, nobody else does."""
    with suppress(OSError, ValueError):  # no file at all under a test's capture
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _tell(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    told = _told(error)
    print(f"rowcall: {told}", file=sys.stderr)
    return told.exit_code


def _told(error: Exception) -> errors.RowcallError:
    """What went wrong as an error of Rowcall's, whose sentence and exit code say it."""
    if isinstance(error, errors.RowcallError):
        return error
    if isinstance(error, psycopg.Error):
        return told_by_server(error)
    if hasattr(error, "format_message"):  # what Typer thinks of the arguments
        return _usage(error)
    return errors.RowcallError(f"{errors.describe(error)}. This is a fault of Rowcall's; --debug shows where.")


def _usage(error: Any) -> errors.UsageError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "rowcall"
    said = " ".join(error.format_message().split()).rstrip(".")
    return errors.UsageError(f'{said}: "{command} --help" shows what it takes.')
