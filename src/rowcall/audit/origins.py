"""Who last set each column of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.audit import images
from rowcall.audit.connection import ask, opened
from rowcall.audit.history import events_of
from rowcall.audit.keys import Key, key_json, load_layouts, relation
from rowcall.audit.prune import check_whole
from rowcall.event import Event, values

_QUERIES = resources.queries("states")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of a column comes from.

    :ivar event: the insert or the update that set it, or the snapshot that first saw it; None where that is older than the log.
    """

    column: str
    value: Any
    raw_value: bytes
    event: Event | None


def blame(conn: Any, table: Any, key: Key) -> list[Origin]:
    """Who last set each column of a row that is there.

    :param conn: a psycopg connection, or SQLAlchemy's connection, session or engine.
    :param table: its name, or a SQLAlchemy model.
    :param key: a plain value, ``a=1,b=2`` or JSON as text; a value; or a mapping by column.
    :raises UsageError: for an unknown table or a key that does not fit it.
    :raises HeldBack: while rowcall prune is under way.
    :raises NotInLog: for a row that the log does not know, or that is gone.
    """
    with opened(conn) as connection:
        check_whole(connection)
        layouts = load_layouts(connection)
        relation_id = relation(connection, table)
        text = key_json(connection, relation_id, key)
        events = [event for event in events_of(connection, layouts, relation_id, text) if not _is_backfill(event)]
        _check_there(events, f"{layouts.at(relation_id, None).table} {text}", text, _emptied(connection, relation_id))
        return _origins(events)


def _is_backfill(event: Event) -> bool:
    """Whether it says what a subscription began with, in no order with other events."""
    return event.operation == "snapshot" and "backfill" in event.context


def _emptied(connection: psycopg.Connection[Any], relation_id: int) -> int:
    """The last event at which the whole table was emptied."""
    always = {"relation": relation_id, "at": None, "snapshot": None, "floor": 0}
    [(seq, _, _)] = ask(connection, _QUERIES["emptied"], always)
    return int(seq)


def _check_there(events: Sequence[Event], name: str, key: str, emptied: int) -> None:
    if not events:
        raise errors.NotInLog(f'The log has no event of {name}: "rowcall audit log" shows what it has.')
    last = events[-1]
    if last.seq is not None and last.seq < emptied:
        raise errors.NotInLog(f"{name} is gone since its table was truncated (seq {emptied}).")
    moved = last.raw_next_key
    if moved is not None and images.place(moved) != images.place(key.encode()):
        raise errors.NotInLog(f"{name} has another key since seq {last.seq}, {moved.decode()}: ask for that.")
    if last.raw_new is None:
        by = f" by {last.actor}" if last.actor else ""
        raise errors.NotInLog(
            f"{name} is gone since {last.at:%Y-%m-%d %H:%M:%S}{by} (seq {last.seq}):"
            ' "rowcall audit row" shows its history.'
        )


def _origins(events: Sequence[Event]) -> list[Origin]:
    row = events[-1].new
    assert row is not None
    assert events[-1].raw_new is not None
    raw, _ = values(events[-1].raw_new)
    return [Origin(name, value, raw[name], _setter(events, name)) for name, value in row.items()]


def _setter(events: Sequence[Event], column: str) -> Event | None:
    for event in reversed(events):
        if event.operation in ("insert", "snapshot") or column in event.changed:
            return event
    return None
