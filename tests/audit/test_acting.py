"""Who did it and why: claims that last as long as their block."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from rowcall import acting, errors
from tests.command import fine
from tests.conftest import Connect

Database = psycopg.Connection[Any]


@pytest.fixture
def database(dsn: str, connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("create table notes (id serial primary key)")
    fine("watch", "notes", "--dsn", dsn)
    return connection


def write(connection: Database) -> None:
    connection.execute("insert into notes default values")


def write_and_fail(connection: Database, actor: str, **context: Any) -> None:
    with acting(connection, actor=actor, **context):
        write(connection)
        raise LookupError


def swallow_an_error(connection: Database) -> None:
    """Two blocks, the inner of which hides that its transaction has failed."""
    with acting(connection), acting(connection):
        with pytest.raises(psycopg.Error):
            connection.execute("select 1/0")


async def swallow_an_error_async(connection: psycopg.AsyncConnection[Any]) -> None:
    async with acting(connection), acting(connection):
        with pytest.raises(psycopg.Error):
            await connection.execute("select 1/0")


def claims(database: Database) -> list[tuple[str | None, dict[str, Any] | None]]:
    return database.execute("select actor, context from rowcall.event order by seq").fetchall()


def test_a_block_is_a_transaction_with_a_claim(database: Database, connect: Connect) -> None:
    with acting(database, actor="ann", request_id="r1"):
        write(database)
    write(database)
    plain = connect()
    with acting(plain, actor="bob"):
        write(plain)
    with pytest.raises(LookupError):
        write_and_fail(database, "eve")
    assert claims(database) == [("ann", {"request_id": "r1"}), (None, None), ("bob", None)]


def test_nested_blocks_inherit_and_give_back(database: Database) -> None:
    with acting(database, actor="ann", a=1, b=1):
        write(database)
        with acting(database, b=2):
            write(database)
            with pytest.raises(LookupError):
                write_and_fail(database, "eve", c=3)
            with acting(database, actor="bob"):
                write(database)
            write(database)
        write(database)
    with database.transaction():
        with acting(database, actor="cyd"):
            write(database)
        write(database)
    assert claims(database) == [
        ("ann", {"a": 1, "b": 1}),
        ("ann", {"a": 1, "b": 2}),
        ("bob", {"a": 1, "b": 2}),
        ("ann", {"a": 1, "b": 2}),
        ("ann", {"a": 1, "b": 1}),
        ("cyd", None),
        (None, None),
    ]


def test_an_async_connection(dsn: str, database: Database) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            async with acting(connection, actor="ann", why="because"):
                async with acting(connection, actor="bob"):
                    await connection.execute("insert into notes default values")
                await connection.execute("insert into notes default values")
            with pytest.raises(errors.UsageError, match='written "async with acting'), acting(connection):
                pass
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                await swallow_an_error_async(connection)
            await connection.execute("insert into notes default values")

    asyncio.run(main())
    assert claims(database) == [("bob", {"why": "because"}), ("ann", {"why": "because"}), (None, None)]


def test_the_connections_own_ways_do_not_matter(database: Database, connect: Connect) -> None:
    connection = connect(autocommit=True, row_factory=dict_row)
    with acting(connection, actor="ann", a=1), acting(connection, b=2):
        write(connection)
    assert claims(database) == [("ann", {"a": 1, "b": 2})]


def test_a_context_holds_what_json_can(database: Database) -> None:
    context: dict[str, Any] = {
        "id": UUID(int=1),
        "day": date(2026, 11, 22),
        "sum": Decimal("1.50"),
        "list": [1, None],
        "ü": "\"'",
    }
    with acting(database, **context):
        write(database)
    [(_, found)] = claims(database)
    assert found == {"id": str(UUID(int=1)), "day": "2026-11-22", "sum": "1.50", "list": [1, None], "ü": "\"'"}


def test_a_block_can_be_rolled_back_like_any_transaction(database: Database) -> None:
    with acting(database, actor="ann"):
        write(database)
        raise psycopg.Rollback
    assert claims(database) == []


def test_a_swallowed_error_leaves_the_connection_usable(database: Database) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            swallow_an_error(database)
    write(database)
    assert claims(database) == [(None, None)]


def test_what_cannot_act_is_told(database: Database) -> None:
    with pytest.raises(errors.UsageError, match="acting takes a psycopg connection, not str"):
        acting("dsn")
    with pytest.raises(errors.UsageError, match="cannot be written as JSON"):
        acting(database, thing=object())
    with pytest.raises(errors.UsageError, match='written "with acting'):
        asyncio.run(acting(database).__aenter__())


def test_plain_sql_can_say_it_too(database: Database) -> None:
    with database.transaction():
        database.execute("select rowcall.act('ann', '{\"why\": 1}')")
        write(database)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="context must be a JSON object, not array"):
        database.execute("select rowcall.act('ann', '[]')")
    assert claims(database) == [("ann", {"why": 1})]
