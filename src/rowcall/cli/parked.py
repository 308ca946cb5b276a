"""rowcall parked, retry and skip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.text import Text

from rowcall import errors
from rowcall.audit import keys
from rowcall.cli.options import DsnOption, YesOption, confirmed, connect
from rowcall.cli.output import (
    TERMINAL_LIMIT,
    Format,
    FormatOption,
    ago,
    chosen,
    event_name,
    fitted,
    print_table,
    show,
    span,
)
from rowcall.postgres import parked as events
from rowcall.postgres import subscriptions
from rowcall.postgres.checks.finding import counted

PARKED_COLUMNS = tuple(field.name for field in fields(events.Parked))
SKIPPED_COLUMNS = tuple(field.name for field in fields(events.Skipped))

_LARGEST_SEQ = 2**63 - 1

SubscriptionArgument = Annotated[str, typer.Argument(metavar="SUBSCRIPTION")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(parked)
    app.command()(retry)
    app.command()(skip)


def parked(
    subscription: Annotated[str | None, typer.Argument(metavar="[SUBSCRIPTION]")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only what will be tried again.")] = False,
    skipped: Annotated[bool, typer.Option("--skipped", help="What was given up for good, by whom and when.")] = False,
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """List the events that failed, with how many later ones of their rows wait behind each.

    Example: rowcall parked shop.events.project --dead
    """
    if dead + waiting + skipped > 1:
        raise errors.UsageError("--dead, --waiting and --skipped list different events: give one of them.")
    as_table = chosen(format) is Format.TABLE
    with connect(dsn) as connection:
        of = subscriptions.find(connection, subscription) if subscription is not None else None
        if skipped:
            given_up = events.skipped(connection, of)
            _print_skipped(given_up, of) if as_table else show(map(_row, given_up), SKIPPED_COLUMNS, format)
            return
        found = [event for event in events.parked(connection, of) if not (dead or waiting) or event.dead is dead]
    if as_table:
        _print_parked(found, of)
    else:
        show(map(_row, found), PARKED_COLUMNS, format)


def _row(event: events.Parked | events.Skipped) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in fields(event)}


def _print_parked(found: Sequence[events.Parked], of: int | None) -> None:
    names = ("subscription", "seq", "event", "tried", "next", "behind", "error")
    lines = [
        [
            Text(event.subscription if of is None else ""),
            Text(str(event.seq), justify="right"),
            Text(event_name(event.operation, event.table, event.key)),
            Text(str(event.attempts), justify="right"),
            Text("dead", "red") if event.next_attempt is None else Text(_until(event.next_attempt)),
            Text(f"{event.behind:,}" if event.behind else "", justify="right"),
            Text(event.error or ""),
        ]
        for event in found[:TERMINAL_LIMIT]
    ]
    print_table(fitted(names, lines, (1 / 5, None, 1 / 5, None, None, None, None), stretched=6, fold=True))
    _remark_on_more(len(found))


def _print_skipped(found: Sequence[events.Skipped], of: int | None) -> None:
    names = ("subscription", "seq", "event", "skipped", "by", "error")
    lines = [
        [
            Text(event.subscription if of is None else ""),
            Text(str(event.seq), justify="right"),
            Text(event_name(event.operation, event.table, event.key)),
            Text(f"{ago(event.skipped_at)} ago"),
            Text(event.skipped_by),
            Text(event.error or ""),
        ]
        for event in found[:TERMINAL_LIMIT]
    ]
    print_table(fitted(names, lines, (1 / 5, None, 1 / 5, None, 1 / 8, None), stretched=5, fold=True))
    _remark_on_more(len(found))


def _remark_on_more(events: int) -> None:
    if events > TERMINAL_LIMIT:
        remark = f"The first {TERMINAL_LIMIT} of {events:,}; --format jsonl shows all."
        Console(stderr=True).print(Text(remark, "dim"))


def _until(moment: datetime) -> str:
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return span(seconds) if seconds > 0 else "now"


def retry(
    subscription: SubscriptionArgument,
    seq: Annotated[
        list[int] | None, typer.Option("--seq", metavar="N", min=1, max=_LARGEST_SEQ, help="This event; repeatable.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="K", help="What holds up the row with this key.")] = None,
    table: Annotated[str | None, typer.Option("--table", metavar="T", help="The table whose key it is.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything the subscription set aside.")] = False,
    dsn: DsnOption = None,
    yes: YesOption = False,
) -> None:
    """Try events again now, that wait or are dead letters; those get a fresh set of attempts.

    Example: rowcall retry shop.events.project --key 42 --table orders
    """
    if bool(seq) + (key is not None) + everything != 1:
        raise errors.UsageError("Say what to retry, in one way: --seq N, --key K --table T, or --all.")
    if (key is None) != (table is None):
        raise errors.UsageError("--key and --table go together: a key is one of a table.")
    with connect(dsn) as connection:
        of = subscriptions.find(connection, subscription)
        if seq:
            heads = events.heads_among(connection, of, subscription, seq)
        elif key is not None and table is not None:
            heads = events.heads_before(connection, of, subscription, _key(connection, table, key))
        else:
            heads = events.all_heads(connection, of, subscription)
        confirmed(yes, f"{counted(len(heads), 'event')} of {subscription} will be handled again.")
        due = events.retry(connection, of, heads)
        listening = subscriptions.holder(connection, of) is not None
    print(f"{counted(due, 'event')} of {subscription} {'is' if due == 1 else 'are'} due now.")
    if not listening:
        print("No listener has it at this moment: rowcall listen does the rest.")


def _key(connection: psycopg.Connection[Any], table: str, key: str) -> events.RowKey:
    relation = keys.relation(connection, table)
    return events.RowKey(relation, keys.key_json(connection, relation, key))


def skip(
    subscription: SubscriptionArgument,
    seq: Annotated[
        list[int], typer.Option("--seq", metavar="N", min=1, max=_LARGEST_SEQ, help="The event to give up; repeatable.")
    ],
    dsn: DsnOption = None,
    yes: YesOption = False,
) -> None:
    """Give events up for good, so that later ones of their rows go on; rowcall parked --skipped keeps them on record.

    Example: rowcall skip shop.events.project --seq 4711
    """
    wanted = sorted(set(seq))
    with connect(dsn) as connection:
        of = subscriptions.find(connection, subscription)
        events.check_parked(connection, of, subscription, wanted)
        confirmed(yes, f"{subscription} will never handle {counted(len(wanted), 'event')}.")
        events.skip(connection, of, subscription, wanted)
    print(f"{subscription} skipped {counted(len(wanted), 'event')}: rowcall parked --skipped keeps the record.")
