"""Events and rows as a person reads them: one at length, many a line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from rowcall.audit import Difference, Origin, State
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
    return _values(event.key)


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


def show_states(states: Sequence[State], *, at_length: bool) -> None:
    """Print rows as they were: a line each, or at length, a column a line."""
    if at_length and states:
        for state in states:
            for name, value in state.row.items():
                Console().print(Text(f"{name}: {said(value)}"))
        return
    lines = [[Text(_values(state.key)), Text("; ".join(_valued(state.row))[: 20 * _LONGEST_VALUE])] for state in states]
    print_table(fitted(("key", "row"), lines, (1 / 3, None), stretched=1))


_DIFFERENCE_MARKS = {"added": "insert", "changed": "update", "removed": "delete"}


def show_difference(console: Console, difference: Difference) -> None:
    """Print a row that differs, with what differs."""
    mark, color = _MARKS[_DIFFERENCE_MARKS[difference.kind]]
    key = ", ".join(f"{name}={value}" for name, value in difference.key.items())
    console.print(Text.assemble((f"{mark} ", f"bold {color}"), f"{difference.kind} {difference.table} {key}"))
    old, new = difference.old or {}, difference.new or {}
    lines = (
        [f"{name}: {said(old.get(name))} → {said(new.get(name))}" for name in difference.changed]
        if difference.kind == "changed"
        else _valued(new or old)
    )
    for line in lines:
        console.print(Text(f"    {line}"))


def show_origins(origins: Sequence[Origin]) -> None:
    """Print the columns of a row a line each: value, when it was set, by whom, by which event."""
    lines = [
        [Text(origin.column, "bold"), Text(said(origin.value)[: 2 * _LONGEST_VALUE]), *_setter(origin.event)]
        for origin in origins
    ]
    print_table(
        fitted(
            ("column", "value", "set", "by", "seq", "transaction"),
            lines,
            (1 / 4, None, None, 1 / 6, None, None),
            stretched=1,
        )
    )


def _setter(event: Event | None) -> list[Text]:
    if event is None:
        return [Text("before the log", "dim"), Text(""), Text(""), Text("")]
    at = Text(event.at.strftime("%Y-%m-%d %H:%M:%S"), "dim")
    return [at, Text(event.actor or ""), Text(str(event.seq)), Text(str(event.xid))]


def _valued(row: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {said(value)}" for name, value in row.items() if value is not None]


def _values(key: Mapping[str, Any]) -> str:
    return ",".join(str(value)[:_LONGEST_VALUE] for value in key.values())


def _differences(event: Event) -> list[str]:
    if event.operation == "update" and event.old is not None and event.new is not None:
        return [f"{name}: {said(event.old[name])} → {said(event.new.get(name))}" for name in event.changed]
    image = event.new if event.new is not None else event.old
    return _valued(image or {})


def said(value: Any) -> str:
    """A value, in quotes where it is a text."""
    if value is None:
        return "null"
    return repr(value) if isinstance(value, str) else str(value)
