"""Listings: one look for all, as a table, JSON, JSON lines or CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table
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

#: Blanks between the columns of a table, and what its stretched column has even if the terminal is too narrow.
_GAP = 2
_NARROWEST = 12

#: Units of a length of time, and from how many seconds on they are used.
_UNITS = ((172_800, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min"), (0, 1, "s"))

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
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool) and not _float_holds(value):
        return str(value)
    return value


def _float_holds(number: int | Decimal) -> bool:
    """Whether whoever reads a JSON number into a float gets this very number."""
    try:
        return Decimal(repr(float(number))) == number
    except (OverflowError, ValueError):
        return False


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
        return
    separator = "["
    for line in encoded:
        print(separator, line, sep="", end="")
        separator = ",\n "
    print("]" if separator != "[" else "[]")


def _show_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([cell(row[name]) for name in columns])


def _show_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    table = grid(*columns)
    for row in rows:
        table.add_row(*(Text(cell(row[name])) for name in columns))
    print_table(table)


def grid(*columns: str | Column) -> Table:
    """An empty table in the look of all listings."""
    return Table(*columns, box=None, header_style="bold", padding=(0, _GAP, 0, 0), pad_edge=False)


def fitted(
    names: Sequence[str],
    lines: Sequence[Sequence[Text]],
    shares: Sequence[float | None],
    *,
    stretched: int,
    fold: bool = False,
) -> Table:
    """A table as wide as the terminal at most, whose columns are as wide as they need; empty ones are left out.

    :param shares: the share of the terminal's width a column has at most, None where it needs what it needs.
    :param stretched: the column that gets what the others leave.
    :param fold: whether what is too long for its column goes on in the next line, or is cut.
    """
    terminal = Console().width
    shown = [place for place in range(len(names)) if place == stretched or any(line[place].plain for line in lines)]
    widths = {place: max([len(names[place]), *(line[place].cell_len for line in lines)]) for place in shown}
    widths |= {place: min(widths[place], round(terminal * share)) for place in shown if (share := shares[place])}
    left = terminal - sum(widths[place] + _GAP for place in shown if place != stretched)
    widths[stretched] = max(_NARROWEST, min(widths[stretched], left))
    table = grid(*(_column(names[place], widths[place], fold=fold) for place in shown))
    for line in lines:
        table.add_row(*(line[place] for place in shown))
    return table


def _column(name: str, width: int, *, fold: bool) -> Column:
    return Column(name, width=width, no_wrap=not fold, overflow="fold" if fold else "ellipsis")


def print_table(table: Table) -> None:
    """Print a table, and something even if it is empty."""
    console = Console()
    console.print(table if table.row_count else "[dim]nothing[/dim]")


def cell(value: Any) -> str:
    """A value as CSV and tables show it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return _ENCODER.encode(exact(value)).decode()


def key_values(key: msgspec.Raw | None) -> str:
    """A row key's values alone, where something else says which table's they are."""
    return ",".join(cell(value) for value in exact(key).values()) if key is not None else ""


def event_name(operation: str | None, table: str, key: msgspec.Raw | None) -> str:
    """An event in short: what happened to which row."""
    return " ".join(part for part in (operation, table.removeprefix("public."), key_values(key)) if part)


def span(seconds: float) -> str:
    """A length of time, roughly: the timestamps themselves are in the other formats."""
    size, unit = next((size, unit) for least, size, unit in _UNITS if max(0.0, seconds) >= least)
    return f"{max(0.0, seconds) / size:.0f} {unit}"


def ago(moment: datetime) -> str:
    """How long ago a moment was, roughly."""
    return span((datetime.now(UTC) - moment).total_seconds())
