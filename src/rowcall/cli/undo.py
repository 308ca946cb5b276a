"""rowcall audit undo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import psycopg
import typer

from rowcall import errors
from rowcall.audit import Conflict, Undoing, undo
from rowcall.cli.options import DsnOption, YesOption, confirmed, connect
from rowcall.cli.output import Format, FormatOption, show
from rowcall.postgres.checks.finding import counted

CONFLICT_COLUMNS = ("seq", "table", "key", "reason", "message", "by", "forceable")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("undo")(run_undo)


def run_undo(
    transaction: Annotated[
        int | None, typer.Option("--transaction", metavar="XID", min=0, help="All that this transaction did.")
    ] = None,
    event: Annotated[
        list[int] | None, typer.Option("--event", metavar="SEQ", min=1, help="This event; repeatable.")
    ] = None,
    force: Annotated[
        list[int] | None,
        typer.Option("--force", metavar="SEQ", min=1, help="Undo this event in spite of its conflict; repeatable."),
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Who undoes it, for the log.")] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements, change nothing.")] = False,
    yes: YesOption = False,
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """Take back a transaction or some events, as a new change; exit 1 and list the conflicts where that would undo more.

    Example: rowcall audit undo --transaction 781 --sql
    """
    if (transaction is None) == (not event):
        raise errors.UsageError("Say what to undo: --transaction XID or --event SEQ, one of the two.")
    asked = {"transaction": transaction, "events": event or (), "force": force or (), "actor": actor}
    with connect(dsn) as connection:
        if sql or not yes:
            plan = _attempt(connection, format, rehearse=True, **asked)
            if sql:
                _print(plan.statements)
                return
            confirmed(yes, f"This takes back {_named(plan)}.")
        done = _attempt(connection, format, **asked)
    if done.transaction is None:
        print("There is nothing to change: the rows are as they were.")
    else:
        print(f"{_named(done)} undone by transaction {done.transaction}.")


def _attempt(connection: psycopg.Connection[Any], format: Format | None, **asked: Any) -> Undoing:
    try:
        return undo(connection, **asked)
    except errors.UndoConflict as conflict:
        if conflict.conflicts:
            show(_rows(conflict.conflicts), CONFLICT_COLUMNS, format)
        raise


def _rows(conflicts: Iterable[Conflict]) -> Iterable[dict[str, Any]]:
    for conflict in conflicts:
        yield {
            "seq": conflict.seq,
            "table": conflict.table,
            "key": conflict.key,
            "reason": conflict.reason,
            "message": conflict.message,
            "by": conflict.by.seq if conflict.by else None,
            "forceable": conflict.forceable,
        }


def _print(statements: Sequence[str]) -> None:
    for statement in statements:
        print(f"{statement};")


def _named(plan: Undoing) -> str:
    tables = ", ".join(dict.fromkeys(event.table for event in plan.events))
    return f"{counted(len(plan.events), 'event')} of {tables}"
