"""What happened: the log by filters, and the history of one row."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg

from rowcall import resources
from rowcall.audit.connection import ask, opened
from rowcall.audit.filters import Filter
from rowcall.audit.keys import Key, key_json, load_layouts, relation
from rowcall.audit.prune import check_whole
from rowcall.event import Event
from rowcall.postgres import connection as connections
from rowcall.postgres.layouts import Layouts

_QUERIES = resources.queries("audit")
_END_OF_LOG = 2**63 - 1


def log(conn: Any, wanted: Filter | None = None) -> Generator[Event]:
    """The events that pass the filter, oldest first, streamed.

    :param conn: a psycopg connection, or SQLAlchemy's connection, session or engine.
    :param wanted: which; all unless given.
    :raises UsageError: for a filter that cannot be understood.
    """
    with opened(conn) as connection:
        layouts = load_layouts(connection)
        parameters = (wanted or Filter()).parameters(connection)
        for found in connections.stream(connection, _QUERIES["log"], parameters):
            yield layouts.event(found)


def row(conn: Any, table: Any, key: Key) -> list[Event]:
    """The history of one row, oldest first, through changes of its key.

    :param conn: a psycopg connection, or SQLAlchemy's connection, session or engine.
    :param table: its name, or a SQLAlchemy model.
    :param key: a plain value, ``a=1,b=2`` or JSON as text; a value; or a mapping by column.
    :raises UsageError: for an unknown table or a key that does not fit it.
    :raises HeldBack: while rowcall prune is under way.
    """
    with opened(conn) as connection:
        check_whole(connection)
        layouts = load_layouts(connection)
        relation_id = relation(connection, table)
        return events_of(connection, layouts, relation_id, key_json(connection, relation_id, key))


def events_of(connection: psycopg.Connection[Any], layouts: Layouts, relation_id: int, key: str | None) -> list[Event]:
    """The history of the row with a key, as the log keeps keys."""
    before = _END_OF_LOG
    history: list[Event] = []
    while key is not None:
        rows = ask(connection, _QUERIES["row"], {"relation": relation_id, "key": key, "before": before})
        start, key = _beginning(rows)
        history[:0] = [layouts.event(found[:11]) for found in rows[start:]]
        before = rows[start][0] if rows else 0
    return history


def _beginning(rows: list[Any]) -> tuple[int, str | None]:
    """Where the newest life of a key begins: the event that gave it to the row, and the key the row had before."""
    for index in range(len(rows) - 1, -1, -1):
        if rows[index][11] is not None:
            return index, rows[index][11].decode()
    return 0, None
