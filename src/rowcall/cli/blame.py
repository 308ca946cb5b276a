"""rowcall audit blame."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from rowcall.audit import Origin, blame
from rowcall.cli.history import show_origins
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import Format, FormatOption, chosen, show

ORIGIN_COLUMNS = ("column", "value", "seq", "xid", "at", "operation", "actor", "context")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("blame")(show_blame)


def show_blame(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="A plain value, a=1,b=2, or JSON.")],
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """Who last set each column of a row; exit 1 if the row is gone or not in the log.

    Example: rowcall audit blame users 42
    """
    with connect(dsn) as connection:
        origins = blame(connection, table, key)
    if chosen(format) is Format.TABLE:
        show_origins(origins)
    else:
        show(map(_line, origins), ORIGIN_COLUMNS, format)


def _line(origin: Origin) -> dict[str, Any]:
    event = origin.event
    return {
        "column": origin.column,
        "value": msgspec.Raw(origin.raw_value),
        "seq": event.seq if event else None,
        "xid": event.xid if event else None,
        "at": event.at if event else None,
        "operation": event.operation if event else None,
        "actor": event.actor if event else None,
        "context": event.context if event else None,
    }
