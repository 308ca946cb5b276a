"""What the log says, in a form that tests can compare."""

from typing import Any

import psycopg
from psycopg.types.json import Jsonb


def watch(connection: psycopg.Connection[Any], table: str, **options: Any) -> str:
    """Watch a table as the command line does."""
    row = connection.execute("select rowcall.watch_v1(%s::regclass, %s, 'test')", (table, Jsonb(options))).fetchone()
    assert row is not None
    return str(row[0])


def events(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """Operation, key, old and new of every event, in order."""
    return connection.execute("select operation::text, key, old, new from rowcall.event order by seq").fetchall()


def triggers(connection: psycopg.Connection[Any], table: str) -> dict[str, str]:
    """The capture triggers of a table, and the level each fires at."""
    query = """
        select tgname, case when tgtype & 1 = 1 then 'row' else 'statement' end from pg_trigger
        where tgrelid = %s::regclass and tgname ~ '^0[01]_rowcall'"""
    return dict(connection.execute(query, (table,)).fetchall())
