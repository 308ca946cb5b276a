"""rowcall migrate."""

from __future__ import annotations

from typing import Annotated

import typer

from rowcall import errors, settings
from rowcall.cli.options import DsnOption, confirmed
from rowcall.postgres.schema import code_revision


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


def migrate(
    dsn: DsnOption = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of running it.")] = False,
    to: Annotated[str | None, typer.Option("--to", metavar="REV", help="Upgrade to this revision.")] = None,
    down: Annotated[
        str | None, typer.Option("--down", metavar="REV", help="Go back to this revision; base removes everything.")
    ] = None,
    gate_dsn: Annotated[
        str | None,
        typer.Option(
            "--gate-dsn",
            help="How the server reaches itself as the gate's login, with a password; made if it does not exist.",
            envvar="ROWCALL_GATE_DSN",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --down: do not ask, remove.")] = False,
) -> None:
    """Create or upgrade Rowcall's own schema.

    Example: rowcall migrate --dsn postgresql://postgres@localhost/shop
    --gate-dsn postgresql://rowcall_gate_login:secret@localhost/shop
    """
    from rowcall import migrate as migrations

    if down is not None and (to is not None or sql):
        raise errors.UsageError("--down goes with neither --to nor --sql: run it by itself.")
    if sql:
        print(migrations.offline_sql(to or "head"), end="")
        return
    database = settings.database_dsn(dsn)
    if down is not None:
        confirmed(yes, f"Going back to {down} removes what came after it, the log included.")
        for remark in migrations.downgrade(database, down):
            print(remark)
        print(f"Rowcall's schema is at {down} now.")
        return
    restored = migrations.upgrade(database, gate_dsn, to=to or "head")
    print(f"Rowcall's schema is at {to or code_revision()}." + (" The gate is ready." if gate_dsn else ""))
    if restored:
        print("The database was restored from a dump: its subscriptions go on from there.")
