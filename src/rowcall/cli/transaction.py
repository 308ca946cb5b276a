"""rowcall audit transaction."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, fields
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rowcall.audit import Filter, Transaction, log, transaction
from rowcall.cli.audit import limited
from rowcall.cli.history import show_events
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import TERMINAL_LIMIT, Format, FormatOption, chosen, show
from rowcall.postgres.checks.finding import counted

TRANSACTION_COLUMNS = tuple(field.name for field in fields(Transaction))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("transaction")(show_transaction)


def show_transaction(
    xid: Annotated[int, typer.Argument(metavar="XID", min=0, help="As the events have it.")],
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """What one transaction did: who, when, to which tables; exit 1 if the log has nothing of it.

    On a terminal with its events, which elsewhere "rowcall audit log --transaction" gives.

    Example: rowcall audit transaction 781
    """
    with connect(dsn) as connection:
        found = transaction(connection, xid)
        if chosen(format) is not Format.TABLE:
            show([asdict(found)], TRANSACTION_COLUMNS, format)
            return
        _summarise(found)
        with closing(log(connection, Filter(transaction=xid, limit=TERMINAL_LIMIT + 1))) as events:
            show_events(limited(events, None))


def _summarise(found: Transaction) -> None:
    summary = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _said(found).items():
        if value:
            summary.add_row(Text(name, "bold"), Text(value))
    console = Console()
    console.print(summary)
    console.print()


def _said(found: Transaction) -> dict[str, str]:
    roles = f", as {', '.join(found.db_roles)}" if found.db_roles else ""
    return {
        "transaction": f"{found.xid}: {counted(found.events, 'event')}, seq {found.first_seq} to {found.last_seq}",
        "at": _span(found),
        "actor": ", ".join(found.actors),
        "login": ", ".join(found.db_users) + roles,
        "program": ", ".join(found.applications),
        "context": "; ".join(map(_json, found.contexts)),
        "did": ", ".join(f"{touched.operation} {touched.events:,} × {touched.table}" for touched in found.tables),
    }


def _span(found: Transaction) -> str:
    first, last = (f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3] for at in (found.first, found.last))
    return first if first == last else f"{first} to {last}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
