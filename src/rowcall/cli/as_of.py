"""rowcall audit as-of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from rowcall import errors
from rowcall.audit import State, as_of
from rowcall.cli.history import show_states
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import TERMINAL_LIMIT, Format, FormatOption, chosen, show

STATE_COLUMNS = ("key", "row")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("as-of")(show_as_of)


def show_as_of(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="One row: a plain value, a=1,b=2, or JSON.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As it was after every event before this time.")
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="XMIN:XMAX:XIP", help="As whoever reads by this snapshot sees it."),
    ] = None,
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """A row, or a whole table, as it was; exit 1 if a row was not there.

    Example: rowcall audit as-of users 42 --at '2026-11-22 16:00'
    """
    if (at is None) == (snapshot is None):
        raise errors.UsageError("Say which moment: --at TIME or --snapshot XMIN:XMAX:XIP, one of the two.")
    with connect(dsn) as connection, closing(as_of(connection, table, key, at=at, snapshot=snapshot)) as states:
        if states.incomplete is not None:
            print(f"rowcall: {states.incomplete}", file=sys.stderr)
        if key is not None:
            found = list(states)
            _show(iter(found), format, at_length=True)
            if not found:
                raise typer.Exit(1)
        else:
            _show(states, format, at_length=False)


def _show(states: Iterator[State], format: Format | None, *, at_length: bool) -> None:
    if chosen(format) is not Format.TABLE:
        show(map(_line, states), STATE_COLUMNS, format)
        return
    show_states(list(islice(states, TERMINAL_LIMIT)), at_length=at_length)
    if next(states, None) is not None:
        Console(stderr=True).print(f"[dim]{TERMINAL_LIMIT} of more rows; --format jsonl shows all.[/dim]")


def _line(state: State) -> dict[str, Any]:
    return {"key": msgspec.Raw(state.raw_key), "row": image_of(state.raw_row)}


def image_of(raw: bytes | None) -> dict[str, msgspec.Raw] | None:
    """A row as JSON, without what an image notes beside its values."""
    if raw is None:
        return None
    image = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    image.pop("", None)
    return image
