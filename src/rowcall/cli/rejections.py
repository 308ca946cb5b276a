"""rowcall audit rejections."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.text import Text

from rowcall import errors
from rowcall.audit.rejections import COLUMNS, Filter, Outcome
from rowcall.audit.rejections import rejections as find_rejections
from rowcall.cli.audit import (
    ActorOption,
    ContextOption,
    KeyOption,
    LimitOption,
    OperationOption,
    SinceOption,
    TableOption,
    TransactionOption,
    UntilOption,
    context_of,
    limit_of,
    limited,
    operation_of,
)
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import Format, FormatOption, chosen, event_name, fitted, print_table, show

REJECTION_COLUMNS = COLUMNS

#: How a rejection that is no refused write is marked.
_MARKS = {"refused": "", "warned": "warned: ", "committed": "committed: "}


def register(group: typer.Typer) -> None:
    """Add the command to the group that asks the log."""
    group.command()(rejections)


def rejections(
    dsn: DsnOption = None,
    table: TableOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    operation: OperationOption = None,
    column: Annotated[str | None, typer.Option("--column", help="Those that found this column at fault.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Those of this rule.")] = None,
    handler: Annotated[str | None, typer.Option("--handler", help="Those of this handler.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="Writes of this role of the database.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only writes that were refused.")] = False,
    warned: Annotated[bool, typer.Option("--warned", help="Only writes that broke a rule which warns.")] = False,
    committed: Annotated[bool, typer.Option("--committed", help="Only what after-handlers rejected.")] = False,
    since: SinceOption = None,
    until: UntilOption = None,
    transaction: TransactionOption = None,
    context: ContextOption = None,
    limit: LimitOption = None,
    format: FormatOption = None,
) -> None:
    """Writes that validation refused, writes it warned of, and committed ones that an after-handler rejected, oldest first.

    Example: rowcall audit rejections --table users --since yesterday
    """
    wanted = Filter(
        table=table,
        key=key,
        actor=actor,
        operation=operation_of(operation),
        column=column,
        outcome=_outcome(refused=refused, warned=warned, committed=committed),
        rule=rule,
        handler=handler,
        role=role,
        since=since,
        until=until,
        transaction=transaction,
        context=context_of(context or []),
        limit=limit_of(limit, format),
    )
    with connect(dsn) as connection, closing(find_rejections(connection, wanted)) as found:
        if chosen(format) is Format.TABLE:
            _show(limited(found, limit))
        else:
            show(found, REJECTION_COLUMNS, format)


def _outcome(**wanted: bool) -> Outcome | None:
    named: list[Any] = [name for name, given in wanted.items() if given]
    if len(named) > 1:
        raise errors.UsageError(f"{' and '.join(f'--{name}' for name in named)} exclude each other: give one of them.")
    return named[0] if named else None


def _show(found: Iterable[dict[str, Any]]) -> None:
    """One by one: when, what, by which rule or handler, and why."""
    lines = [
        [
            Text(row["at"].strftime("%Y-%m-%d %H:%M:%S"), "dim"),
            Text(_MARKS[row["outcome"]] + _what(row)),
            Text(row["rule"] or row["handler"] or ""),
            Text(row["message"]),
        ]
        for row in found
    ]
    print_table(fitted(("at", "refused", "by", "message"), lines, (None, 1 / 3, 1 / 5, None), stretched=3, fold=True))


def _what(row: dict[str, Any]) -> str:
    if row["suppressed"] is not None:
        return f"{row['suppressed']:,} × {event_name(None, row['table'], None)}"
    return event_name(row["operation"], row["table"], row["key"])
