"""The same for async handlers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from rowcall import Event, Rowcall, acting, errors
from rowcall.testing import AsyncDelivery, Delivery
from tests.conftest import Database
from tests.listeners import sync
from tests.testing.conftest import app_with

AsyncDatabase = psycopg.AsyncConnection[Any]


def connected(dsn: str, test: Callable[[AsyncDatabase], Awaitable[None]]) -> None:
    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            await test(conn)
            await conn.rollback()

    asyncio.run(main())


async def noted(conn: AsyncDatabase) -> list[str]:
    return [what for (what,) in await (await conn.execute("select what from notes order by place")).fetchall()]


async def note(event: Event, conn: AsyncDatabase) -> None:
    await conn.execute("insert into notes (what) values (%s)", (event.operation,))
    if event.operation == "delete":
        raise LookupError("told to fail")


@pytest.fixture
def app(dsn: str, tables: None) -> Rowcall:
    app = app_with(note)
    sync(app, dsn)
    return app


def test_a_transaction_that_is_open(dsn: str, app: Rowcall) -> None:
    async def test(conn: AsyncDatabase) -> None:
        delivery = await AsyncDelivery.over(app, conn)
        await conn.execute("select 'the transaction begins'")
        async with acting(conn, actor="ann"):
            await conn.execute("insert into users values (1, 'Ada', 36)")
            delivered = await delivery.deliver()
            await conn.execute("update users set age = 37")
        assert [event.actor for event in delivered[note]] == ["ann"]
        assert [event.actor for event in (await delivery.deliver())[note]] == ["ann"]
        assert await noted(conn) == ["insert", "update"]
        await conn.rollback()
        assert await noted(conn) == []
        await conn.execute("insert into users values (2, 'Grace', 45)")
        await delivery.skip()
        assert (await delivery.deliver()).calls == ()

    connected(dsn, test)


def test_failures(dsn: str, app: Rowcall) -> None:
    async def test(conn: AsyncDatabase) -> None:
        delivery = await AsyncDelivery.over(app, conn)
        await conn.execute("insert into users values (1, 'Ada', 36)")
        await conn.execute("delete from users")
        with pytest.raises(LookupError):
            await delivery.deliver()
        assert await noted(conn) == ["insert"]
        [failure] = (await delivery.deliver(collect=True)).failures
        assert failure.event.operation == "delete"

    connected(dsn, test)


def test_a_session_in_the_same_transaction(dsn: str, tables: None) -> None:
    async def write(event: Event, session: AsyncSession) -> None:
        await session.execute(text("insert into notes (what) values (:what)"), {"what": event.operation})
        await session.commit()

    app = app_with(write)
    sync(app, dsn)

    async def test(conn: AsyncDatabase) -> None:
        delivery = await AsyncDelivery.over(app, conn)
        await conn.execute("insert into users values (1, 'Ada', 36), (2, 'Grace', 45)")
        await delivery.deliver()
        assert await noted(conn) == ["insert", "insert"]
        await conn.rollback()
        assert await noted(conn) == []

    connected(dsn, test)


def test_sqlalchemys_connections_and_sessions(dsn: str, app: Rowcall) -> None:
    async def main() -> None:
        engine = create_async_engine(dsn.replace("postgresql:", "postgresql+psycopg:"))
        async with engine.connect() as connection:
            delivery = await AsyncDelivery.over(app, connection)
            await connection.execute(text("insert into users values (1, 'Ada', 36)"))
            assert len((await delivery.deliver()).calls) == 1
            await connection.rollback()
            assert (await connection.execute(text("select * from notes"))).all() == []
        async with AsyncSession(engine) as session:
            delivery = await AsyncDelivery.over(app, session)
            await session.execute(text("insert into users values (1, 'Ada', 36)"))
            assert len((await delivery.deliver()).calls) == 1
            await session.rollback()
            assert (await session.execute(text("select * from notes"))).all() == []
        await engine.dispose()

    asyncio.run(main())


def test_a_test_that_is_cancelled_is_cancelled(dsn: str, tables: None) -> None:
    async def wait(event: Event) -> None:
        await asyncio.Event().wait()

    app = app_with(wait)
    sync(app, dsn)

    async def test(conn: AsyncDatabase) -> None:
        delivery = await AsyncDelivery.over(app, conn)
        await conn.execute("insert into users values (1, 'Ada', 36)")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await delivery.deliver()
        await conn.execute("select 1")

    connected(dsn, test)


def test_the_kinds_of_connection_and_handler_have_to_agree(dsn: str, conn: Database, notes: Rowcall) -> None:
    async def test(other: AsyncDatabase) -> None:
        with pytest.raises(
            errors.UsageError, match=r"async connection: deliver over it with await AsyncDelivery\.over"
        ):
            Delivery.over(notes, other)
        with pytest.raises(errors.UsageError, match=r"sync connection: deliver over it with Delivery\.over"):
            await AsyncDelivery.over(notes, conn)
        with pytest.raises(errors.UsageError, match="is no connection that works here"):
            await AsyncDelivery.over(notes, object())
        delivery = await AsyncDelivery.over(notes, other)
        await other.execute("insert into users values (1, 'Ada', 36)")
        with pytest.raises(errors.UsageError, match=r"reader is not async.*with Delivery\.over"):
            await delivery.deliver()

    connected(dsn, test)
