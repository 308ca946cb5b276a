"""rowcall replay."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import psycopg
import typer
from rich.text import Text

from rowcall import errors, settings
from rowcall.audit import keys
from rowcall.cli.options import DsnOption, YesOption, confirmed, connect, load_app
from rowcall.cli.output import event_name, grid, print_table
from rowcall.handler import AfterHandler
from rowcall.listener import rehearsal
from rowcall.postgres import replay as stages
from rowcall.postgres import subscriptions, tables
from rowcall.postgres.checks.finding import counted

#: So many failures, and so many rejections, are told at length.
TOLD = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(replay)


def replay(
    name: Annotated[str, typer.Argument(metavar="SUBSCRIPTION")],
    target: Annotated[
        str | None, typer.Argument(metavar="[MODULE:APP]", help="With --dry-run: where its handler is declared.")
    ] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="WHEN", help="A seq, a date, or a time with its zone.", show_default=False)
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run the handler, roll back what it writes, and say what that was.")
    ] = False,
    dsn: DsnOption = None,
    yes: YesOption = False,
) -> None:
    """Deliver again what a subscription had delivered from a moment on, and what it had set aside.

    Example: rowcall replay shop.events.project --from 2026-01-31T12:00+01:00
    """
    if not start:
        raise errors.UsageError("Say from where on: --from SEQ, or a date, or a time such as 2026-01-31T12:00+01:00.")
    if dry_run is (target is None):
        raise errors.UsageError(
            "--dry-run runs the handler: say where it is, as in shop.events:app."
            if dry_run
            else "MODULE:APP is for --dry-run: rowcall listen runs the handler otherwise."
        )
    with connect(dsn) as connection:
        if target is not None:
            _rehearse(connection, name, target, start, settings.database_dsn(dsn))
            return
        stages.check_possible(connection, name)
        again = stages.stretch(connection, start)
        confirmed(yes, f"{name} will handle again what it had of events {again.first} to {again.last}.")
        stages.replay(connection, name, again)
    print(
        f"{name} goes through events {again.first} to {again.last} again, then goes on: rowcall listen does the rest."
    )


def _rehearse(connection: psycopg.Connection[Any], name: str, target: str, start: str, dsn: str) -> None:
    app, _ = load_app(target)
    handler = _handler(app.after_handlers, name, target)
    of = subscriptions.find(connection, name)
    again = stages.stretch(connection, start)
    topic = tables.subjects(connection, app).topics[name]
    layouts = keys.load_layouts(connection)
    rows = stages.history(connection, of, again, topic, handler.selector)
    report = asyncio.run(rehearsal.rehearse(handler, dsn, map(layouts.event, rows)))
    _print(name, report)


def _handler(handlers: list[AfterHandler], name: str, target: str) -> AfterHandler:
    for handler in handlers:
        if handler.name == name:
            return handler
    raise errors.UsageError(f"{target} has no after-handler {name}: name the app that declares it.")


def _print(name: str, report: rehearsal.Report) -> None:
    parts = {"failed": report.failures, "rejected": report.rejections}
    of_which = " and ".join(f"{len(events):,} {part}" for part, events in parts.items() if events)
    called = f"{name} was called with {counted(report.events, 'event')}{of_which and f', of which {of_which}'}"
    print(f"{called}. What it wrote is rolled back:")
    table = grid("table", "inserted", "updated", "deleted")
    for subject, counts in sorted(report.written.items()):
        table.add_row(Text(subject), *(Text(f"{count:,}", justify="right") for count in counts))
    print_table(table)
    for part, events in parts.items():
        for event, reason in events[:TOLD]:
            print(f"{part}: seq {event.seq}, {event_name(event.operation, event.table, None)}: {reason}")
        if len(events) > TOLD:
            print(f"and {len(events) - TOLD:,} more")
