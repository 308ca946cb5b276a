"""Replaying the log: tables made anew from nothing but their events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from rowcall.event import Event, values


def empty_copies(connection: psycopg.Connection[Any], tables: Iterable[str], schema: str) -> None:
    """Tables of the same form in a schema of their own, with nothing in them."""
    connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    for table in tables:
        connection.execute(
            sql.SQL("create table {} (like {} including indexes)").format(
                sql.Identifier(schema, table), sql.Identifier("public", table)
            )
        )


def replay(connection: psycopg.Connection[Any], events: Iterable[Event], schema: str) -> int:
    """Apply events, in the order of the log, to the tables of a schema; how many they were.

    Rows are found by their key, so it is for tables that have one.
    """
    number = 0
    with connection.transaction():
        for (table, operation), group in groupby(events, lambda event: (event.table, event.operation)):
            target = sql.Identifier(schema, table.partition(".")[2])
            alike = list(group)
            _apply(connection, target, operation, alike)
            number += len(alike)
    return number


def _apply(
    connection: psycopg.Connection[Any], target: sql.Identifier, operation: str, events: Sequence[Event]
) -> None:
    cursor = connection.cursor()
    if operation == "truncate":
        cursor.execute(sql.SQL("truncate {}").format(target))
    elif operation == "delete":
        cursor.executemany(_delete(target, events[0]), [_key(event) for event in events])
    elif operation == "update":
        cursor.executemany(_update(target, events[0]), [[_new(event), *_key(event)] for event in events])
    else:
        cursor.executemany(_insert(target), [[_new(event)] for event in events])


def _new(event: Event) -> str:
    assert event.raw_new is not None
    stored, exact = values(event.raw_new)
    # The text of what JSON does not hold whole says more, and PostgreSQL reads it as well.
    row = {name: exact.get(name, msgspec.Raw(value)) for name, value in stored.items()}
    return msgspec.json.encode(row).decode()


def _key(event: Event) -> list[Any]:
    return list(event.key.values())


def _where(event: Event) -> sql.Composed:
    return sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in event.key)


def _insert(target: sql.Identifier) -> sql.Composed:
    return sql.SQL("insert into {0} select * from jsonb_populate_record(null::{0}, %s)").format(target)


def _update(target: sql.Identifier, event: Event) -> sql.Composed:
    assert event.new is not None
    columns = sql.SQL(", ").join(map(sql.Identifier, event.new))
    return sql.SQL("update {0} set ({1}) = (select {1} from jsonb_populate_record(null::{0}, %s)) where {2}").format(
        target, columns, _where(event)
    )


def _delete(target: sql.Identifier, event: Event) -> sql.Composed:
    return sql.SQL("delete from {} where {}").format(target, _where(event))


def differences(connection: psycopg.Connection[Any], table: str, schema: str) -> int:
    """How many rows a table has that its copy has not, and the other way round; rows written alike are the same."""
    original, copy = sql.Identifier("public", table), sql.Identifier(schema, table)
    row = connection.execute(
        sql.SQL(
            "select count(*) from ("
            "(select o::text from {0} as o except all select c::text from {1} as c)"
            " union all (select c::text from {1} as c except all select o::text from {0} as o)) as different"
        ).format(original, copy)
    ).fetchone()
    assert row is not None
    return int(row[0])
