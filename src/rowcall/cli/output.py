"""Listings: one look for all, as a table, JSON, JSON lines or CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


class Format(StrEnum):
    """How a listing is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="How to print; a table on a terminal and jsonl in a pipe unless given."),
]

#: Exact numbers keep their digits: see :func:`exact`.
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(type=Any, float_hook=Decimal)

#: A table on a terminal shows the newest so many rows unless a limit is given.
TERMINAL_LIMIT = 50


def chosen(given: Format | None) -> Format:
    """The format to use."""
    if given is not None:
        return given
    return Format.TABLE if sys.stdout.isatty() else Format.JSONL


def exact(value: Any) -> Any:
    """A value as JSON keeps it for everybody: numbers that a float would change become strings."""
    if isinstance(value, msgspec.Raw):
        return exact(_DECODER.decode(value))
    if isinstance(value, Mapping):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(item) for item in value]
    if isinstance(value, Decimal) and Decimal(repr(float(value))) != value:
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and int(float(value)) != value:
        return str(value)
    return value


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], given: Format | None) -> None:
    """Print a listing whose rows have these columns."""
    form = chosen(given)
    if form is Format.TABLE:
        _show_table(rows, columns)
    elif form is Format.CSV:
        _show_csv(rows, columns)
    else:
        _show_json(rows, columns, lines=form is Format.JSONL)


def _show_json(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, lines: bool) -> None:
    encoded = (_ENCODER.encode({name: exact(row[name]) for name in columns}).decode() for row in rows)
    if lines:
        for line in encoded:
            print(line)
    else:
        print("[" + ",\n ".join(encoded) + "]")


def _show_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])


def _show_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    table = Table(*columns, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in columns))
    console = Console()
    console.print(table if table.row_count else "[dim]nothing[/dim]")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds")
    return _ENCODER.encode(exact(value)).decode()
