"""Options that commands share, and what they turn into."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from rowcall import errors, settings
from rowcall.app import Rowcall
from rowcall.postgres import connection as connections
from rowcall.postgres.schema import check_current

DsnOption = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        help="The database; ROWCALL_DSN, else libpq's own environment (PGHOST, PGDATABASE, …) unless given.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AppArgument = Annotated[
    str, typer.Argument(metavar="MODULE:APP", help="Where the Rowcall object is, as in shop.events:app.")
]


def connect(dsn: str | None, *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """A connection to the database the options name, with Rowcall's schema as this code needs it."""
    connection = connections.connect(settings.database_dsn(dsn), autocommit=autocommit)
    try:
        check_current(connection)
    except BaseException:
        connection.close()
        raise
    if not autocommit:
        connection.rollback()
        # What is declared has to fit what others commit while it waits for them, whatever the database's default is.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    return connection


def is_for_a_subcommand(context: typer.Context, *options: object) -> bool:
    """Whether a group that does something by itself was called for one of its commands, which has its own options.

    :raises UsageError: if an option was given before that.
    """
    if context.invoked_subcommand is None:
        return False
    if any(option is not None for option in options):
        command = f"{context.command_path} {context.invoked_subcommand}"
        raise errors.UsageError(f'Options belong after the command: "{command} … --dsn DSN".')
    return True


def load_app(target: str) -> tuple[Rowcall, str]:
    """The app that ``MODULE:APP`` means, and its name in the database.

    The current directory is importable, as with ``python -m``.

    :raises UsageError: if it cannot be imported or is no Rowcall.
    """
    module_name, separator, attribute = target.partition(":")
    if not separator or not module_name or not attribute:
        raise errors.UsageError(f"{target!r} does not name an app: write MODULE:APP, as in shop.events:app.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except errors.RowcallError:
        raise
    except (Exception, SystemExit) as error:
        raise errors.UsageError(
            f"Module {module_name} cannot be imported ({errors.describe(error)}): check the name and the current"
            " directory, and that its own imports work."
        ) from error
    app = getattr(module, attribute, None)
    if not isinstance(app, Rowcall):
        found = "there is no such name" if app is None else f"that is a {type(app).__name__}"
        raise errors.UsageError(f"{target} is not a Rowcall app ({found}): it needs app = Rowcall() there.")
    return app, app.name or target


def confirmed(yes: bool, question: str) -> None:
    """Ask before changing data on a terminal; elsewhere --yes is needed.

    :raises UsageError: where nobody can answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise errors.UsageError(f"{question} Nobody is here to answer: pass --yes if you mean it.")
    typer.confirm(question, abort=True)
