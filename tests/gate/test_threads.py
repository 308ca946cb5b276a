"""Sync and async handlers of one row: in which order, on which thread, for how long, and many at once."""

import asyncio
import threading
import time
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Reject, Rowcall
from tests.conftest import Connect
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0


def test_sync_and_async_handlers_take_turns(dsn: str, database: Database, writer: Database) -> None:
    app, threads = Rowcall(), dict[str, str]()

    def add(letter: str, event: Event) -> dict[str, str]:
        threads[letter] = threading.current_thread().name
        assert event.new
        return {"name": event.new["name"] + letter}

    app.before("users", name="a", timeout=LONG)(lambda event: add("a", event))
    app.before("users", name="b", timeout=LONG)(lambda event: add("b", event))

    @app.before("users", name="c", timeout=LONG)
    async def c(event: Event) -> dict[str, str]:
        await asyncio.sleep(0)
        return add("c", event)

    app.before("users", name="d", timeout=LONG)(lambda event: add("d", event))

    @app.before("users", name="e", timeout=LONG)
    async def e(event: Event) -> dict[str, str]:
        return add("e", event)

    sync(app, dsn)
    with listening(app, dsn):
        for key in range(5):
            writer.execute("insert into users values (%s, '')", (key,))
    assert database.execute("select distinct name from users").fetchall() == [("abcde",)]
    assert {letter for letter, thread in threads.items() if thread.startswith("rowcall-gate")} == {"a", "b", "d"}


@pytest.mark.parametrize("hangs", ["first", "second"])
def test_each_handler_has_its_own_time(dsn: str, database: Database, writer: Database, hangs: str) -> None:
    """One that is late is passed over where it says so, and what it returns then counts for nothing."""
    app, enough, seen = Rowcall(), threading.Event(), list[Any]()

    def answer(name: str) -> dict[str, str]:
        if name == hangs:
            enough.wait(LONG)
        return {"name": name}

    short, long = (0.05, LONG) if hangs == "first" else (LONG, 0.05)
    app.before("users", name="first", timeout=short, on_unavailable="accept")(lambda event: answer("first"))
    app.before("users", name="second", timeout=long, on_unavailable="accept")(lambda event: answer("second"))

    @app.before("users", name="third", timeout=LONG)
    def third(event: Event) -> None:
        assert event.new
        seen.append(event.new["name"])

    sync(app, dsn)
    with listening(app, dsn):
        started = time.monotonic()
        writer.execute("insert into users values (1, 'x')")
        assert time.monotonic() - started < LONG / 2
        enough.set()
        writer.execute("insert into users values (2, 'x')")
    passed = "second" if hangs == "first" else "first"
    assert database.execute("select id, name from users order by id").fetchall() == [(1, passed), (2, "second")]
    assert seen == [passed, "second"]


def test_slow_handlers_do_not_wait_for_each_other(dsn: str, database: Database, connect: Connect) -> None:
    app, together = Rowcall(), threading.Barrier(8)

    @app.before("users", timeout=LONG)
    def meet(event: Event) -> None:
        together.wait(LONG)

    sync(app, dsn)
    writers = [connect(autocommit=True) for _ in range(8)]
    statement = "insert into users values (%s, 'x')"
    with listening(app, dsn):
        threads = [
            threading.Thread(target=writer.execute, args=(statement, (key,))) for key, writer in enumerate(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert database.execute("select count(*) from users").fetchone() == (8,)


def test_every_writer_hears_of_its_own_row(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()

    @app.before("users", timeout=LONG)
    def even(event: Event) -> dict[str, str]:
        assert event.new
        if event.new["id"] % 3 == 0:
            raise Reject("by three")
        return {"email": str(event.new["id"])}

    sync(app, dsn)
    outcomes: list[tuple[int, bool]] = []

    def write(first: int) -> None:
        writer = connect(autocommit=True)
        for key in range(first, first + 60):
            try:
                writer.execute("insert into users values (%s, 'x')", (key,))
                outcomes.append((key, True))
            except pg.CheckViolation:
                outcomes.append((key, False))

    with listening(app, dsn):
        threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 480, 60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == [(key, key % 3 != 0) for key in range(480)]
    assert database.execute("select count(*) from users where email = id::text").fetchone() == (320,)
