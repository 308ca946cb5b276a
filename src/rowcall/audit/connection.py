"""Connections that questions are put over: psycopg's, or what SQLAlchemy wraps around one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from rowcall.postgres import connection as connections


@contextmanager
def opened(subject: Any) -> Iterator[psycopg.Connection[Any]]:
    """The psycopg connection of a connection, or of SQLAlchemy's connection, session or engine.

    :raises UsageError: for anything else.
    """
    if isinstance(subject, psycopg.Connection):
        yield subject
        return
    from rowcall.sqlalchemy.driver import connection_from

    with connection_from(subject) as connection:
        yield connection


def ask(connection: psycopg.Connection[Any], query: str, parameters: Mapping[str, Any] | None = None) -> list[TupleRow]:
    """All rows of a short answer as tuples, json as bytes, whatever the connection's own ways."""
    cursor = connections.raw_cursor(connection)
    rows: list[TupleRow] = cursor.execute(query, parameters, binary=True).fetchall()
    return rows
