"""Rows as they were: one, or a whole table."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from rowcall import resources
from rowcall.audit.connection import ask, opened
from rowcall.audit.filters import Moment
from rowcall.audit.keys import Key, key_json, load_layouts, relation
from rowcall.audit.moments import Point
from rowcall.audit.prune import check_whole
from rowcall.event import Layout, Row
from rowcall.postgres import connection as connections
from rowcall.postgres.layouts import Layouts

_QUERIES = resources.queries("states")

#: Rows that are fetched at a time.
_SLICE = 5000


@dataclass(frozen=True)
class State:
    """A row as it was.

    :ivar seq: the event that made it so.
    """

    seq: int
    layout: Layout = field(repr=False)
    raw_key: bytes = field(repr=False)
    raw_row: bytes = field(repr=False)

    @cached_property
    def key(self) -> Row:
        """Its key, or all of it where the table has none."""
        return self.layout.row(self.raw_key)

    @cached_property
    def row(self) -> Row:
        """Its values by column."""
        return self.layout.row(self.raw_row)


class States(Iterator[State]):
    """The rows that were there, in no order, streamed; an iterator that is closed when it is not read to its end.

    :ivar incomplete: a sentence that says why rows may be missing, where the log does not reach back far enough, or that they were
        gone with their table, or are shown with a former key as well.
    """

    def __init__(self, found: Generator[State], incomplete: str | None) -> None:
        self._found = found
        self.incomplete = incomplete

    def __next__(self) -> State:
        return next(self._found)

    def close(self) -> None:
        """Give the connection back."""
        self._found.close()


def as_of(
    conn: Any, table: Any, key: Key | None = None, *, at: Moment | None = None, snapshot: str | None = None
) -> States:
    """The rows of a table as they were, or one of them.

    A time means: after every event before it, by the clock that stamps events while they are made. Where transactions follow each
    other that is what a copy made then would hold; of transactions that overlap it, it is what they had done by then. A snapshot
    means: after the events of the transactions it sees, exactly what whoever reads by it is shown.

    :param conn: a psycopg connection, or SQLAlchemy's connection, session or engine.
    :param table: its name, or a SQLAlchemy model.
    :param key: of one row; a plain value, ``a=1,b=2`` or JSON as text; a value; or a mapping by column.
    :param at: a time.
    :param snapshot: as ``pg_current_snapshot()`` gives it, ``xmin:xmax:xip,…``.
    :raises UsageError: for an unknown table, a key that does not fit it, or no moment.
    :raises HeldBack: while rowcall prune is under way.
    """
    point = Point.of(at, snapshot)
    found = _answer(conn, table, key, point)
    return States(found, next(found))


def _answer(conn: Any, table: Any, key: Key | None, point: Point) -> Generator[Any]:
    """First what is to be said about the answer, then the states: the connection stays open in between."""
    with opened(conn) as connection:
        check_whole(connection)
        layouts = load_layouts(connection)
        relation_id = relation(connection, table)
        asked = Question.of(connection, layouts, relation_id, point)
        if key is None:
            yield asked.dropped(connection) or asked.rekeyed(connection) or asked.incomplete(connection)
            yield from asked.states(connection)
        else:
            wanted = key_json(connection, relation_id, key)
            found = list(asked.states(connection, wanted))
            yield asked.dropped(connection) if found else asked.incomplete(connection, wanted)
            yield from found


@dataclass(frozen=True, slots=True)
class Question:
    """A table at a moment.

    :ivar keyed: whether the table has a key.
    :ivar emptied: the event before it all was gone.
    :ivar blurred: the event after that at which rows went that the log does not know; else the same.
    """

    layouts: Layouts
    relation: int
    keyed: bool
    deferrable: bool
    emptied: int
    blurred: int
    moment: dict[str, Any]

    @classmethod
    def of(cls, connection: psycopg.Connection[Any], layouts: Layouts, relation_id: int, point: Point) -> Question:
        moment = point.parameters(connection)
        [row] = ask(connection, _QUERIES["emptied"], {"relation": relation_id, **moment})
        emptied, blurred, deferrable = row
        keyed = bool(layouts.at(relation_id, None).key)
        return cls(layouts, relation_id, keyed, deferrable, emptied, max(blurred or 0, emptied), moment)

    def states(self, connection: psycopg.Connection[Any], key: str | None = None) -> Iterator[State]:
        """The rows, or those with a key: several only where a table without a key has rows that are alike."""
        parameters = {
            "relation": self.relation,
            "key": key,
            "emptied": self.emptied,
            "deferrable": self.deferrable,
            **self.moment,
        }
        if self.keyed:
            rows = self._after(connection, parameters)
        elif key is None:
            rows = connections.stream(connection, _QUERIES["bag_states"], parameters)
        else:
            rows = iter(ask(connection, _QUERIES["bag_states"], parameters))
        for seq, raw_key, raw_row in rows:
            yield State(seq, self.layouts.at(self.relation, seq), raw_key, raw_row)

    def _after(self, connection: psycopg.Connection[Any], parameters: dict[str, Any]) -> Iterator[TupleRow]:
        """What the last events left, a slice at a time: only the places of those are kept.

        Not one query with a cursor, which PostgreSQL never runs in parallel. The log does not change in between.
        """
        with connection.transaction(force_rollback=True):
            ask(connection, _QUERIES["settings"])
            [(seqs,)] = ask(connection, _QUERIES["last_events"], parameters)
        for start in range(0, len(seqs), _SLICE):
            yield from ask(
                connection, _QUERIES["states_after"], {"seqs": seqs[start : start + _SLICE], "at": self.moment["at"]}
            )

    def dropped(self, connection: psycopg.Connection[Any]) -> str | None:
        """That the table was gone by then, with its rows; None where it was not, or is there again."""
        found = ask(connection, _QUERIES["dropped"], {"relation": self.relation, "at": self.moment["at"]})
        name = self.layouts.at(self.relation, None).table
        return f"{name} was dropped at {found[0][0]:%Y-%m-%d %H:%M:%S}: what is shown went with it." if found else None

    def rekeyed(self, connection: psycopg.Connection[Any]) -> str | None:
        """That rows are under two keys, as theirs was renamed or is of other columns since; None where it is not."""
        [(since,)] = ask(
            connection, _QUERIES["rekeyed"], {"relation": self.relation, "emptied": self.emptied, **self.moment}
        )
        name = self.layouts.at(self.relation, None).table
        return (
            f"The key of {name} has other columns, or names for them, since seq {since}: rows of before may be shown twice, with"
            " the former key and with the present one."
            if since is not None
            else None
        )

    def incomplete(self, connection: psycopg.Connection[Any], key: str | None = None) -> str | None:
        """Why rows may be missing in the answer, or the one with this key; None where the log reaches back far enough."""
        if self.blurred > self.emptied:
            return (
                f"A part of the table was truncated at seq {self.blurred}, and the log does not say with which rows:"
                ' some that are shown were gone. Watch the table with truncate = "rows", and "rowcall sync".'
            )
        if begins := self.begins(connection):
            return self._pruned(begins, key)
        if self.emptied:
            return None
        return self._reach(connection) if key is None else self._reach_of(connection, key)

    def begins(self, connection: psycopg.Connection[Any]) -> datetime | None:
        """Where the log begins, if the moment is before that; None where no event is missing."""
        found = ask(connection, _QUERIES["pruned"], self.moment)
        return found[0][0] if found else None

    def _pruned(self, begins: datetime, key: str | None) -> str:
        """What retention took away; the last event of each row that was there when the log begins is still there."""
        name = self.layouts.at(self.relation, None).table
        since = f"The log begins at {begins:%Y-%m-%d %H:%M:%S}"
        if key is not None:
            return f"{since}, and does not say whether {name} {key} was there before: the archive does."
        return f"{since}: of the time before it has the rows of {name} that did not change until then. The archive has the rest."

    def _reach(self, connection: psycopg.Connection[Any]) -> str | None:
        """What the log lacks of a whole table."""
        of = {"relation": self.relation, **self.moment}
        beginning = ask(connection, _QUERIES["beginning"], of)
        if beginning and beginning[0][2]:
            return f"The log does not reach back that far: it begins at {beginning[0][1]:%Y-%m-%d %H:%M:%S}."
        if ask(connection, _QUERIES["has_baseline"], of)[0][0]:
            return None
        name = self.layouts.at(self.relation, None).table
        return (
            f"Rows that were in {name} before it was watched, and that nobody changed since, are not in the log:"
            f' "rowcall watch {name} --baseline" records them from then on.'
        )

    def _reach_of(self, connection: psycopg.Connection[Any], key: str) -> str | None:
        """What the log lacks of a row that was not found."""
        first = ask(connection, _QUERIES["first_event"], {"relation": self.relation, "key": key})
        name = f"{self.layouts.at(self.relation, None).table} {key}"
        if first:
            seq, was_there = first[0]
            return (
                f"The log does not reach back to what {name} was then: it was there before its first event, seq {seq}."
                if was_there and not self._saw(connection, key)
                else None
            )
        return (
            None if self._reach(connection) is None else f"The log has no event of {name}, which may be older than it."
        )

    def _saw(self, connection: psycopg.Connection[Any], key: str) -> bool:
        """Whether any event of a key is before the moment."""
        of = {"relation": self.relation, "key": key, **self.moment}
        return bool(ask(connection, _QUERIES["saw"], of)[0][0])
