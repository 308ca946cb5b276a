"""What changed in a table between two moments."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import psycopg

from rowcall import errors, resources
from rowcall.audit import images
from rowcall.audit.connection import ask, opened
from rowcall.audit.filters import Moment
from rowcall.audit.keys import load_layouts, relation
from rowcall.audit.moments import Point
from rowcall.audit.prune import check_whole
from rowcall.audit.states import Question, State
from rowcall.event import Layout, Row
from rowcall.postgres import connection as connections
from rowcall.postgres.layouts import Layouts

_QUERIES = resources.queries("states")

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class Difference:
    """A row that two states of a table do not have in common. Rows are the same where their keys are.

    :ivar kind: added, removed or changed.
    """

    kind: Kind
    raw_key: bytes = field(repr=False)
    before: State | None = field(repr=False)
    after: State | None = field(repr=False)

    @property
    def layout(self) -> Layout:
        state = self.after or self.before
        assert state is not None
        return state.layout

    @property
    def table(self) -> str:
        return self.layout.table

    @cached_property
    def key(self) -> Row:
        """Its key, or all of it where the table has none."""
        return self.layout.row(self.raw_key)

    @property
    def old(self) -> Row | None:
        """The row at the first moment; None if it was not there."""
        return self.before.row if self.before else None

    @property
    def new(self) -> Row | None:
        """The row at the second moment; None if it was not there."""
        return self.after.row if self.after else None

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """The columns that differ, of a row that was there at both."""
        if self.before is None or self.after is None:
            return ()
        return images.changed(self.before.raw_row, self.after.raw_row)


def diff(
    conn: Any,
    table: Any,
    since: Moment | None = None,
    until: Moment | None = None,
    *,
    from_snapshot: str | None = None,
    to_snapshot: str | None = None,
) -> Generator[Difference]:
    """The rows of a table that differ between two moments: two times, or two snapshots.

    Found among the events in between, so what the log does not reach back to does not matter. In the order of keys, streamed.

    :param conn: a psycopg connection, or SQLAlchemy's connection, session or engine.
    :param table: its name, or a SQLAlchemy model.
    :raises UsageError: for an unknown table, or moments that make no sense.
    :raises NotInLog: if one of them is before the log begins.
    :raises HeldBack: while rowcall prune is under way.
    """
    start, end = Point.of(since, from_snapshot), Point.of(until, to_snapshot)
    if (start.at is None) != (end.at is None):
        raise errors.UsageError("Compare two times, or two snapshots.")
    with opened(conn) as connection:
        check_whole(connection)
        layouts = load_layouts(connection)
        relation_id = relation(connection, table)
        yield from _found(connection, layouts, relation_id, start, end)


def _found(
    connection: psycopg.Connection[Any], layouts: Layouts, relation_id: int, start: Point, end: Point
) -> Iterator[Difference]:
    was = Question.of(connection, layouts, relation_id, start)
    becomes = Question.of(connection, layouts, relation_id, end)
    for asked in (was, becomes):
        if begins := asked.begins(connection):
            raise errors.NotInLog(
                f"The log begins at {begins:%Y-%m-%d %H:%M:%S}, and what changed before is in the archive alone: compare moments from then on."
            )
    window = {
        "relation": relation_id,
        "since": was.moment["at"],
        "before": was.moment["snapshot"],
        **becomes.moment,
    }
    if not ask(connection, _QUERIES["in_order"], window)[0][0]:
        raise errors.UsageError("The first moment is after the second one: compare them the other way round.")
    if ask(connection, _QUERIES["truncated_between"], window)[0][0]:
        return _between(was.states(connection), becomes.states(connection))
    if not was.keyed:
        return _of_bags(connection, layouts, window)
    return _of_rows(connection, layouts, window)


def _of_rows(connection: psycopg.Connection[Any], layouts: Layouts, window: dict[str, Any]) -> Iterator[Difference]:
    rows = connections.stream(connection, _QUERIES["window"], window)
    for _, facts in groupby(rows, itemgetter(0)):
        place = _Place()
        for _, raw_key, seq, operation, starts, ends, old, new in facts:
            place.take(raw_key, _Fact(layouts.at(window["relation"], seq), seq, operation, starts, ends, old, new))
        yield from place.differences()


@dataclass(frozen=True, slots=True)
class _Fact:
    """An event of a key.

    :ivar starts: whether the row had this key before it, ``ends``: whether it has it after it.
    """

    layout: Layout
    seq: int
    operation: str
    starts: bool
    ends: bool
    old: bytes | None
    new: bytes | None


class _Place:
    """A key, and the rows that are there: one, but where uniqueness can be deferred, for some moments two."""

    def __init__(self) -> None:
        self._key = b""
        self._before: State | None = None
        self._there: list[State] = []

    def take(self, raw_key: bytes, fact: _Fact) -> None:
        """An event of a row that was here before it, or is after it, or both. The key may be written otherwise, as a number of
        another scale is."""
        self._key = raw_key
        if fact.operation == "snapshot" and fact.new is not None:
            self._observe(State(fact.seq, fact.layout, self._key, fact.new))
            return
        if fact.starts and fact.operation != "insert" and fact.old is not None:
            self._remove(State(fact.seq, fact.layout, self._key, images.whole(fact.old, fact.new)))
        if fact.ends and fact.new is not None:
            self._there.append(State(fact.seq, fact.layout, self._key, fact.new))

    def _observe(self, state: State) -> None:
        if not self._there and self._before is None:
            self._before = state
        self._there = [state]

    def _remove(self, state: State) -> None:
        """A row goes, to come back if it is only changed. One that nobody saw come was there before."""
        was = images.comparable(state.raw_row)
        for row in self._there:
            if images.comparable(row.raw_row) == was:
                self._there.remove(row)
                return
        self._before = state

    def differences(self) -> Iterator[Difference]:
        yield from _differences(self._key, self._before, self._there[-1] if self._there else None)


def _differences(key: bytes, before: State | None, after: State | None) -> Iterator[Difference]:
    if before is None and after is not None:
        yield Difference("added", key, None, after)
    elif before is not None and after is None:
        yield Difference("removed", key, before, None)
    elif before is not None and after is not None:
        found = Difference("changed", key, before, after)
        if found.changed:
            yield found


def _of_bags(connection: psycopg.Connection[Any], layouts: Layouts, window: dict[str, Any]) -> Iterator[Difference]:
    for seq, raw, came in connections.stream(connection, _QUERIES["bag_window"], window):
        state = State(seq, layouts.at(window["relation"], seq), raw, raw)
        for _ in range(abs(came)):
            yield Difference("added", raw, None, state) if came > 0 else Difference("removed", raw, state, None)


def _between(was: Iterator[State], becomes: Iterator[State]) -> Iterator[Difference]:
    """From whole tables, since a truncate does not say what was there."""
    there: dict[str, list[State]] = {}
    for state in was:
        there.setdefault(_place(state), []).append(state)
    for state in becomes:
        same = there.get(_place(state))
        yield from _differences(state.raw_key, same.pop() if same else None, state)
    for states in there.values():
        for state in states:
            yield Difference("removed", state.raw_key, state, None)


def _place(state: State) -> str:
    """The same for the same key; rows without one are told apart to the last digit."""
    return images.place(state.raw_key) if state.layout.key else repr(images.comparable(state.raw_key))
