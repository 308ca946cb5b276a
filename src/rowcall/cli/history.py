"""Events as a person reads them: one row's history at length, many rows' events a line each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from rowcall.cli.output import fitted, print_table
from rowcall.event import Event

_MARKS = {
    "insert": ("+", "green"),
    "update": ("~", "yellow"),
    "delete": ("-", "red"),
    "truncate": ("x", "red"),
    "snapshot": ("=", "blue"),
}


#: Longer values are cut where an event has one line only.
_LONGEST_VALUE = 60


def show_events(events: Iterable[Event]) -> None:
    """Print events a line each: place, time, what, the columns it changed, who. What does not fit the terminal is cut."""
    lines = [_line(event) for event in events]
    table = fitted(("seq", "at", "event", "change", "actor"), lines, (None, None, 1 / 4, None, 1 / 8), stretched=3)
    print_table(table)


def _line(event: Event) -> list[Text]:
    mark, color = _MARKS[event.operation]
    what = Text.assemble((f"{mark} ", f"bold {color}"), event.table.removeprefix("public."), f" {_short_key(event)}")
    change = "; ".join(difference[: 2 * _LONGEST_VALUE] for difference in _differences(event))
    at = Text(event.at.strftime("%Y-%m-%d %H:%M:%S"), "dim")
    return [Text(str(event.seq), justify="right"), at, what, Text(change), Text(event.actor or "")]


def _short_key(event: Event) -> str:
    """The key's values alone: the table says what they are."""
    return ",".join(str(value)[:_LONGEST_VALUE] for value in event.key.values())


def show_history(console: Console, events: Sequence[Event]) -> None:
    """Print each event: when, what, who, and the columns it changed."""
    if not events:
        console.print("[dim]nothing[/dim]")
    for event in events:
        mark, color = _MARKS[event.operation]
        key = ", ".join(f"{name}={value}" for name, value in event.key.items())
        line = Text.assemble(
            (f"{mark} ", f"bold {color}"),
            (event.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], "dim"),
            f"  {event.operation} {event.table} {key}",
        )
        if event.actor:
            line.append(f"  by {event.actor}", "cyan")
        place = f"seq {event.seq}, transaction {event.xid}"
        # On a narrow terminal a line of its own reads better than one broken anywhere.
        line.append("  " if line.cell_len + 2 + len(place) <= console.width else "\n    ").append(place, "dim")
        console.print(line)
        for difference in _differences(event):
            console.print(Text(f"    {difference}"))


def _differences(event: Event) -> list[str]:
    if event.operation == "update" and event.old is not None and event.new is not None:
        return [f"{name}: {_said(event.old[name])} → {_said(event.new.get(name))}" for name in event.changed]
    image = event.new if event.new is not None else event.old
    return [f"{name}: {_said(value)}" for name, value in (image or {}).items() if value is not None]


def _said(value: Any) -> str:
    if value is None:
        return "null"
    return repr(value) if isinstance(value, str) else str(value)
