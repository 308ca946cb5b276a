"""rowcall audit …"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console

from rowcall import errors
from rowcall.audit import Filter, history
from rowcall.audit.prune import begins_at
from rowcall.cli.commands import importing
from rowcall.cli.history import show_events, show_history
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import TERMINAL_LIMIT, Format, FormatOption, chosen, show
from rowcall.event import OPERATIONS, Event

_T = TypeVar("_T")

commands = typer.Typer(
    help="Ask the log what happened.",
    cls=importing(
        {
            "check": "check",
            "seals": "seals",
            "verify": "seals",
            "prove": "seals",
            "check-proof": "seals",
            "keygen": "seals",
            "erase": "erase",
            "transaction": "transaction",
            "as-of": "as_of",
            "diff": "diff",
            "blame": "blame",
            "undo": "undo",
            "rejections": "rejections",
        }
    ),
    no_args_is_help=True,
)

EVENT_COLUMNS = ("seq", "xid", "at", "table", "operation", "key", "old", "new", "changed", "actor", "context")

TableOption = Annotated[str | None, typer.Option("--table", help="A table, or a pattern such as 'shop.*'.")]
ActorOption = Annotated[str | None, typer.Option("--actor", help="Who did it.")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Not before this time.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this time.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="A row's key: a value, a=1,b=2, or JSON.")]
OperationOption = Annotated[str | None, typer.Option("--operation", help=", ".join(OPERATIONS))]
TransactionOption = Annotated[int | None, typer.Option("--transaction", metavar="XID", help="One transaction.")]
ContextOption = Annotated[
    list[str] | None, typer.Option("--context", metavar="KEY=VALUE", help="What the context says; repeatable.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Only the newest so many.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="audit")


@commands.command()
def log(
    dsn: DsnOption = None,
    table: TableOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    role: Annotated[str | None, typer.Option("--role", help="A database role: who logged in, or acted as it.")] = None,
    operation: OperationOption = None,
    column: Annotated[str | None, typer.Option("--column", help="Updates that changed this column.")] = None,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", metavar="COLUMN=VALUE", help="What a column was before or after; repeatable."),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    transaction: TransactionOption = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="KEY[=VALUE]", help="What the context says, or has at all; repeatable."),
    ] = None,
    limit: LimitOption = None,
    format: FormatOption = None,
) -> None:
    """Events, oldest first.

    Example: rowcall audit log --table users --column email --since yesterday
    """
    wanted = Filter(
        table=table,
        key=key,
        actor=actor,
        role=role,
        operation=operation_of(operation),
        column=column,
        values=dict(_pair("--value", "COLUMN=VALUE", pair) for pair in value or []),
        since=since,
        until=until,
        transaction=transaction,
        context=context_of([pair for pair in context or [] if "=" in pair]),
        context_keys=[pair for pair in context or [] if "=" not in pair],
        limit=limit_of(limit, format),
    )
    # Closed before the connection, should whoever reads our output have had enough.
    with connect(dsn) as connection, closing(history.log(connection, wanted)) as events:
        if chosen(format) is Format.TABLE:
            show_events(limited(events, limit))
        else:
            show(rows_of(events), EVENT_COLUMNS, format)


@commands.command()
def row(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="A plain value, a=1,b=2, or JSON.")],
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """One row's history, with what each change changed.

    Example: rowcall audit row users 42
    """
    with connect(dsn) as connection:
        events = history.row(connection, table, key)
        begins = begins_at(connection)
        if begins is not None and (not events or events[0].at < begins):
            told = f"The log begins at {begins:%Y-%m-%d %H:%M:%S}: of what happened to a row before, it has the last event at most."
            print(f"rowcall: {told}", file=sys.stderr)
        if chosen(format) is Format.TABLE:
            show_history(Console(), events)
        else:
            show(rows_of(events), EVENT_COLUMNS, format)


def limit_of(given: int | None, form: Format | None) -> int | None:
    """One more than a terminal shows, to know whether there was more."""
    return given if given is not None or chosen(form) is not Format.TABLE else TERMINAL_LIMIT + 1


def limited(rows: Iterable[_T], given: int | None) -> list[_T]:
    """The rows that a table shows, with a remark where these are not all."""
    found = list(rows)
    if given is not None or len(found) <= TERMINAL_LIMIT:
        return found
    Console(stderr=True).print(f"[dim]The newest {TERMINAL_LIMIT}; --limit or --format jsonl shows more.[/dim]")
    return found[-TERMINAL_LIMIT:]


def rows_of(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    for event in events:
        yield {
            "seq": event.seq,
            "xid": event.xid,
            "at": event.at,
            "table": event.table,
            "operation": event.operation,
            "key": _image(event.raw_key),
            "old": whole_old(event),
            "new": _image(event.raw_new),
            "changed": event.changed,
            "actor": event.actor,
            "context": event.context,
        }


def _image(raw: bytes | None) -> msgspec.Raw | None:
    return msgspec.Raw(raw) if raw is not None else None


def whole_old(event: Event) -> dict[str, Any] | None:
    """The row before the change, of which the log keeps only what differs, as JSON."""
    if event.raw_old is None:
        return None
    old = msgspec.json.decode(event.raw_old, type=dict[str, msgspec.Raw])
    return {**msgspec.json.decode(event.raw_new, type=dict[str, msgspec.Raw]), **old} if event.raw_new else dict(old)


def operation_of(given: str | None) -> str | None:
    """An operation there is.

    :raises UsageError: for another one.
    """
    if given is not None and given not in OPERATIONS:
        raise errors.UsageError(f"--operation {given}: choose from {', '.join(OPERATIONS)}.")
    return given


def context_of(pairs: list[str]) -> dict[str, Any]:
    """What ``KEY=VALUE`` options say a context has; values are JSON where they can be.

    :raises UsageError: for one without a value.
    """
    context = {}
    for pair in pairs:
        name, value = _pair("--context", "KEY=VALUE", pair)
        try:
            context[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            context[name] = value
    return context


def _pair(option: str, form: str, given: str) -> tuple[str, str]:
    name, separator, value = given.partition("=")
    if not separator or not name:
        raise errors.UsageError(f"{option} {given}: write {form}.")
    return name, value
