"""What writers, sessions and servers do to the gate without asking: nobody else is to notice."""

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Rowcall
from rowcall.gate.line import Answer, Line
from tests.conftest import Connect
from tests.listeners import listening, sync
from tests.waiting import eventually

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


def test_a_gate_whose_session_is_ended_connects_again(dsn: str, database: Database, writer: Database) -> None:
    app = guarding(timeout=0.25)
    sync(app, dsn)
    gates = "select pid from pg_stat_activity where application_name = 'rowcall gate' and datname = current_database()"

    def write(key: int) -> bool:
        with suppress(pg.CheckViolation):
            writer.execute("insert into users values (%s, 'x')", (key,))
            return True
        return False

    def is_another(former: int) -> bool:
        return database.execute(gates).fetchall() not in ([], [(former,)])

    with listening(app, dsn):
        for key in range(3):
            eventually(partial(write, key))
            pid = one(database, gates)
            database.execute("select pg_terminate_backend(%s)", (pid,))
            eventually(partial(is_another, pid))
        eventually(partial(write, 3))


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


def test_a_frozen_server_freezes_no_event_loop(dsn: str) -> None:
    statement = "select length($1::text)::text"

    async def ask() -> tuple[float, Answer]:
        line = await Line.open(dsn, statement=statement, channel="c", heard=lambda: None, application_name="line")
        while not line.is_free:
            await asyncio.sleep(0.001)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        os.kill(line.pid, signal.SIGSTOP)
        started = time.monotonic()
        timer = threading.Timer(3, os.kill, (line.pid, signal.SIGCONT))
        timer.start()
        try:
            line.ask([b"x" * 20_000_000], answered.set_result)
            taken = time.monotonic() - started
        finally:
            os.kill(line.pid, signal.SIGCONT)
            timer.cancel()
        answer = await asyncio.wait_for(answered, 10)
        await line.close()
        return taken, answer

    taken, answer = asyncio.run(ask())
    assert taken < 1
    assert answer == b"20000000"
