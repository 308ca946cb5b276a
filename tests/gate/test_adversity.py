"""What writers, sessions and servers do to the gate without asking: nobody else is to notice."""

import asyncio
import time
from concurrent.futures import CancelledError
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Rowcall
from tests.conftest import Connect
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0
#: What a busy machine may add to a deadline.
MARGIN = 0.5
WAITING = "select count(*) from rowcall.request where verdict is null and expires_at > clock_timestamp()"


def guarding(**options: Any) -> Rowcall:
    app = Rowcall()
    app.before("users", name="check", **options)(lambda event: {"name": "asked"})
    return app


def one(database: Database, query: str) -> Any:
    row = database.execute(query).fetchone()
    assert row
    return row[0]


def test_a_handler_whose_own_future_is_cancelled_is_a_failing_handler(
    dsn: str, database: Database, writer: Database
) -> None:
    app = Rowcall()

    @app.before("users", timeout=LONG)
    def check(event: Event) -> None:
        raise CancelledError

    sync(app, dsn)
    with listening(app, dsn):
        started = time.monotonic()
        with pytest.raises(pg.CheckViolation, match="something it awaited was cancelled"):
            writer.execute("insert into users values (1, 'x')")
        assert time.monotonic() - started < LONG / 2


def test_a_listener_of_a_database_with_its_own_ideas_of_transactions(
    dsn: str, database: Database, connect: Connect
) -> None:
    app = Rowcall()
    asked: list[Any] = []

    @app.before("users", timeout=5)
    async def slowly(event: Event) -> dict[str, str]:
        asked.append((event.key or {})["id"])
        await asyncio.sleep(0.5)
        return {"name": "asked"}

    sync(app, dsn)
    name = database.info.dbname
    database.execute(f"alter database {name} set default_transaction_isolation = 'serializable'")
    if database.info.server_version >= 170000:
        database.execute(f"alter database {name} set transaction_timeout = '200ms'")
    writer = connect(autocommit=True)
    if database.info.server_version >= 170000:
        writer.execute("set transaction_timeout = 0")
    with listening(app, dsn):
        # The first request of a session is waited for in other ways.
        for key in (1, 2, 3):
            writer.execute("insert into users values (%s, 'x')", (key,))
    assert one(database, "select count(*) from users where name = 'asked'") == 3
    assert asked == [1, 2, 3]
