"""What stands in the way of taking changes back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg

from rowcall import resources
from rowcall.audit import images
from rowcall.audit.chains import Chain, canonical
from rowcall.audit.connection import ask
from rowcall.audit.reversals import Literals, Table
from rowcall.event import Event, Row
from rowcall.postgres.layouts import Layouts

_QUERIES = resources.queries("undo")

#: The key of the context that says what a transaction takes back.
UNDOES = "undoes"

Reason = Literal["changed", "gone", "replaced", "taken", "unknown", "truncate", "constraint"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why an event cannot be undone as it is.

    :ivar seq: the event; None where it is about all of them.
    :ivar reason: ``changed``: what it changed was changed again; ``gone``: the row is not there any more; ``replaced``: another one has
        its key since; ``taken``: the key a deleted row had is taken; ``unknown``: the log does not have values that would have to be
        restored; ``truncate``: nor the rows that were truncated; ``constraint``: the database refuses.
    :ivar by: the later event, where the log has one.
    :ivar forceable: whether ``force`` overrides it: ``changed``, ``replaced`` and ``taken`` rows are made what they were, a row
        that is ``gone`` is left out, ``unknown`` values stay or become defaults, a ``truncate`` is left out.
    """

    seq: int | None
    table: str
    key: Row
    reason: Reason
    message: str
    by: Event | None = field(default=None, repr=False)
    forceable: bool = True


class Later:
    """What happened since to the rows of one table."""

    def __init__(
        self, connection: psycopg.Connection[Any], layouts: Layouts, of: Sequence[Chain], undone: Collection[int]
    ) -> None:
        keys = {raw.decode() for chain in of for raw in (chain.before_key, chain.after_key) if raw is not None}
        rows = ask(
            connection,
            _QUERIES["later"],
            {"relation": of[0].relation, "first": min(chain.first for chain in of), "keys": list(keys)},
        )
        self._by_key: dict[str, list[Event]] = {}
        for event in map(layouts.event, rows):
            if event.seq in undone:
                continue
            for key in {canonical(event.raw_key), canonical(event.raw_next_key)} - {""}:
                self._by_key.setdefault(key, []).append(event)

    def of(self, chain: Chain, key: bytes | None) -> list[Event]:
        """The events of a key after a chain that are still in effect."""
        return effective([e for e in self._by_key.get(canonical(key), ()) if (e.seq or 0) > chain.last])


def effective(events: Sequence[Event]) -> list[Event]:
    """Events without those that were undone and those that undid them."""
    found: list[Event] = []
    undone: set[int | None] = set()
    for event in reversed(events):
        if event.seq in undone:
            continue
        targets = [
            earlier.seq for earlier in events if (earlier.seq or 0) < (event.seq or 0) and undoes(event, earlier)
        ]
        if targets:
            undone.update(targets)
        else:
            found.insert(0, event)
    return found


def undoes(event: Event, earlier: Event) -> bool:
    """Whether an event is part of what took another one back."""
    named = event.context.get(UNDOES)
    if not isinstance(named, dict):
        return False
    events = named.get("events")
    return named.get("transaction") == earlier.xid or (isinstance(events, list) and earlier.seq in events)


def conflicts_of(
    chain: Chain, table: Table, expected: Literals | None, live: Literals | None, later: Later
) -> Iterator[Conflict]:
    """What is not as the events of a chain left it.

    :param expected: the row they left.
    :param live: the row that is there, with the key that the row had or has.
    """
    if chain.kind == "insert":
        if live is not None:
            by = _last(later.of(chain, chain.before_key), "insert", "update")
            yield _conflict(chain, table, "taken", f"its key is taken{_said(by)}", by)
        yield from _unknown(chain, table, _lost(chain, table))
        return
    since = later.of(chain, chain.after_key)
    if live is None or expected is None:
        by = _last(since, "delete", "update")
        yield _conflict(chain, table, "gone", f"the row is gone{_said(by)}", by)
    elif by := _last(since, "insert"):
        yield _conflict(chain, table, "replaced", f"another row has its key{_said(by)}", by)
    else:
        yield from _changed(chain, table, expected, live, since)
        if chain.kind == "update":
            yield from _unknown(chain, table, chain.columns - restorable(chain, table) - table.generated)


def restorable(chain: Chain, table: Table) -> set[str]:
    """The columns whose values before a chain the log has, and the table too."""
    image = images.names(chain.before) - images.omitted(chain.before) - chain.redacted
    return {column.name for column in table.columns if column.name in image and not column.redacted}


def _lost(chain: Chain, table: Table) -> set[str]:
    """What a deleted row had and cannot get back. Columns that came later are not meant."""
    hidden = {column.name for column in table.columns if column.redacted or not column.captured}
    return (hidden | images.names(chain.before)) - restorable(chain, table) - table.generated


def _changed(
    chain: Chain, table: Table, expected: Literals, live: Literals, since: Sequence[Event]
) -> Iterator[Conflict]:
    mine = chain.columns if chain.kind == "update" else set(expected)
    for event in since:
        if again := [name for name in event.changed if name in mine]:
            message = f"{', '.join(again)} changed again{_said(event)}"
            yield _conflict(chain, table, "changed", message, event)
            return
    if other := [name for name in expected if name in mine and live[name] != expected[name]]:
        message = f"{', '.join(other)} changed since, and the log does not say by whom"
        yield _conflict(chain, table, "changed", message, None)


def _unknown(chain: Chain, table: Table, lost: Collection[str]) -> Iterator[Conflict]:
    if not lost:
        return
    needed = [column.name for column in table.columns if column.needed and column.name in lost]
    message = f"{', '.join(sorted(lost))} cannot be restored, since the log or the table does not have it"
    if chain.kind == "insert" and needed:
        message += f", and {', '.join(needed)} has no default"
    yield _conflict(chain, table, "unknown", message, None, forceable=chain.kind == "update" or not needed)


def no_rows(event: Event) -> Conflict:
    """A truncate of which the log has no rows."""
    message = 'it was truncated, and the log does not have the rows; watch it with truncate = "rows" for the next time'
    return Conflict(event.seq or 0, event.table, {}, "truncate", message)


def _last(events: Sequence[Event], *operations: str) -> Event | None:
    return next((event for event in reversed(events) if event.operation in operations), None)


def _said(by: Event | None) -> str:
    if by is None:
        return ""
    actor = f" by {by.actor}" if by.actor else ""
    return f"{actor} at {by.at:%Y-%m-%d %H:%M:%S} (seq {by.seq})"


def _conflict(
    chain: Chain, table: Table, reason: Reason, message: str, by: Event | None, *, forceable: bool = True
) -> Conflict:
    return Conflict(chain.last, table.name, chain.events[-1].key, reason, message, by, forceable)
