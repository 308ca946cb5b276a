"""Handlers that never return, and events that kill the process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from rowcall import Event, Rowcall, errors
from tests.conftest import Connect, Database
from tests.listeners import Program, drain, listening, program, sync, synchronised
from tests.users import seen_by, write
from tests.waiting import eventually

#: An app that does what the row's name says.
TROUBLE = """
import os, threading
from rowcall import Rowcall

app = Rowcall("trouble")
app.watch("users")

def handle(name):
    if name == "die":
        os._exit(9)
    if name == "hang":
        threading.Event().wait()
    if name == "fail first":
        if os.path.exists("armed"):
            os._exit(9)
        raise ValueError("told to fail")

@app.after("users", name="single", timeout=1.0)
def single(event, conn):
    handle(event.new["name"])
    conn.execute("insert into seen (what) values (%s)", (f"single {event.key['id']}",))

@app.after("users", name="batch", batch=10, timeout=1.0)
def batch(events, conn):
    for event in events:
        handle(event.new["name"].removesuffix(" in batches") if "batches" in event.new["name"] else "")
        conn.execute("insert into seen (what) values (%s)", (f"batch {event.key['id']}",))
"""


@pytest.fixture
def shop(tmp_path: Path, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a synchronised app."""
    return synchronised(tmp_path, dsn, monkeypatch, "trouble", TROUBLE)


def parked(database: Database) -> list[tuple[str, int, int, bool, str]]:
    query = """
        select s.name, (key ->> 'id')::int, attempts, dead, error
        from rowcall.parked as p join rowcall.subscription as s on s.id = p.subscription order by 1, seq
    """
    return database.execute(query).fetchall()


def others(last: int, *without: int) -> list[int]:
    return [key for key in range(1, last + 1) if key not in without]


@contextmanager
def supervised(shop: Path, dsn: str) -> Iterator[list[Program]]:
    """A listener that is started again whenever it dies, as an init system does."""
    lives: list[Program] = []

    def start() -> None:
        lives.append(Program(shop, "trouble:app", dsn))

    start()
    try:
        yield lives
    finally:
        lives[-1].process.kill()
        lives[-1].process.wait()


def keep_alive(lives: list[Program], shop: Path, dsn: str) -> None:
    if lives[-1].process.poll() is not None:
        lives.append(Program(shop, "trouble:app", dsn))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "who", "other"), [("die", "single", "batch"), ("die in batches", "batch", "single")])
def test_an_event_that_kills_the_process_is_found_within_three_restarts(
    dsn: str, database: Database, shop: Path, name: str, who: str, other: str
) -> None:
    write(database, 1, 30)
    write(database, 31, 31, name)
    write(database, 32, 60)
    with supervised(shop, dsn) as lives:

        def is_done() -> bool:
            keep_alive(lives, shop, dsn)
            return seen_by(database, who) == others(60, 31) and len(seen_by(database, other)) == 60

        eventually(is_done, timeout=45)
        assert len(lives) <= 4
        assert lives[-1].process.poll() is None
        assert seen_by(database, other) == others(60)
    error = "ProcessDied: the listener's process died while handling it, 3 times"
    assert parked(database) == [(who, 31, 1, True, error)]
    assert database.execute("select count(*) from rowcall.suspect").fetchone() == (0,)


@pytest.mark.timeout(60)
def test_a_retry_that_kills_the_process_ends_as_a_dead_letter_too(dsn: str, database: Database, shop: Path) -> None:
    write(database, 1, 1, "fail first")
    fine_drain(shop, dsn)
    assert [(key, dead) for _, key, _, dead, _ in parked(database)] == [(1, False)]
    (shop / "armed").touch()
    database.execute("update rowcall.parked set due_at = now()")
    with supervised(shop, dsn) as lives:

        def is_dead() -> bool:
            keep_alive(lives, shop, dsn)
            return parked(database)[0][3]

        eventually(is_dead, timeout=45)
        assert len(lives) <= 4
    assert parked(database)[0][4].startswith("ProcessDied")


def fine_drain(shop: Path, dsn: str) -> None:
    draining = Program(shop, "trouble:app", dsn, "--drain")
    assert draining.ended(15) == 1


def test_nothing_is_on_record_unless_a_process_died(dsn: str, database: Database, shop: Path) -> None:
    database.execute("create table records (seq bigint)")
    database.execute("""
        create function note() returns trigger language plpgsql as $$
        begin insert into records values (new.seq); return null; end $$;
        create trigger note after insert on rowcall.suspect for each row execute function note();
    """)
    with program(shop, "trouble:app", dsn) as running:
        write(database, 1, 50)
        eventually(lambda: len(seen_by(database, "single")) == 50)
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
    with program(shop, "trouble:app", dsn) as running:
        write(database, 51, 60)
        eventually(lambda: len(seen_by(database, "single")) == 60)
        running.signal(signal.SIGKILL)
        running.ended()
    assert database.execute("select count(*) from records").fetchone() == (0,)
    write(database, 61, 70)
    with program(shop, "trouble:app", dsn):
        eventually(lambda: len(seen_by(database, "single")) == len(seen_by(database, "batch")) == 70)
    count = database.execute("select count(*) from records").fetchone()
    assert count is not None
    assert count[0] >= 10
    assert database.execute("select count(*) from rowcall.suspect").fetchone() == (0,)


@pytest.mark.timeout(60)
def test_a_sync_handler_that_never_returns_restarts_the_process(dsn: str, database: Database, shop: Path) -> None:
    write(database, 1, 5)
    write(database, 6, 6, "hang")
    write(database, 7, 10)
    with program(shop, "trouble:app", dsn) as running:
        eventually(lambda: seen_by(database, "single") == others(10, 6), timeout=30)
        eventually(lambda: seen_by(database, "batch") == others(10), timeout=10)
        # The same process, by its number, and yet another.
        assert running.process.poll() is None
        assert len(running.logged("starting anew")) == 1
        assert len(running.logged("listening")) == 2
    [(who, key, attempts, dead, error)] = parked(database)
    assert (who, key, attempts, dead) == ("single", 6, 1, False)
    assert error == "TimeoutError: it did not return within 1 s"


@pytest.mark.timeout(60)
def test_one_of_a_batch_that_never_returns_is_found(dsn: str, database: Database, shop: Path) -> None:
    write(database, 1, 5)
    write(database, 6, 6, "hang in batches")
    write(database, 7, 10)
    with program(shop, "trouble:app", dsn):
        eventually(lambda: seen_by(database, "batch") == others(10, 6), timeout=45)
    assert [row[:4] for row in parked(database)] == [("batch", 6, 1, False)]


def app_with(handler: Any, **options: Any) -> Rowcall:
    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader", **options)(handler)
    return app


def test_an_async_handler_is_cancelled_at_its_timeout(dsn: str, database: Database) -> None:
    async def handler(event: Event, conn: psycopg.AsyncConnection[Any]) -> None:
        await conn.execute("insert into seen (what) values (%s)", (f"async {event.key['id']}",))
        if event.key["id"] == 2:
            await conn.execute("select pg_sleep(3600)")

    app = app_with(handler, timeout=0.3)
    sync(app, dsn)
    write(database, 1, 3)
    left = drain(app, dsn)
    assert left.waiting == 1
    assert seen_by(database, "async") == [1, 3]
    assert [row[1:] for row in parked(database)] == [(2, 1, False, "TimeoutError: it did not return within 0.3 s")]


def test_a_sync_handler_that_waits_for_the_server_is_cut_and_costs_an_attempt(dsn: str, database: Database) -> None:
    def handler(event: Event, conn: Database) -> None:
        conn.execute("insert into seen (what) values (%s)", (f"sync {event.key['id']}",))
        if event.key["id"] == 2:
            conn.execute("select pg_sleep(3600)")

    app = app_with(handler, timeout=0.3)
    sync(app, dsn)
    write(database, 1, 3)
    with capture_logs() as logs, listening(app, dsn):
        eventually(lambda: seen_by(database, "sync") == [1, 3])
    assert [row[1:] for row in parked(database)] == [(2, 1, False, "TimeoutError: it did not return within 0.3 s")]
    assert [log["event"] for log in logs].count("cut") == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_call_that_is_cut_takes_no_other_handler_along(
    dsn: str, database: Database, connect: Connect, kind: str
) -> None:
    """Their calls in flight go on, and commit."""
    calls: list[str] = []
    app = app_with(lambda event, conn: conn.execute("select pg_sleep(3600)"), timeout=0.3)

    def other(event: Event, conn: Database) -> None:
        calls.append("sync")
        conn.execute("select pg_advisory_xact_lock_shared(42)")

    async def other_async(event: Event, conn: psycopg.AsyncConnection[Any]) -> None:
        calls.append("async")
        await conn.execute("select pg_advisory_xact_lock_shared(42)")

    app.after("users", name="other")(other if kind == "sync" else other_async)
    sync(app, dsn)
    gatekeeper = connect(autocommit=True)
    gatekeeper.execute("select pg_advisory_lock(42)")
    write(database, 1, 2)
    with capture_logs() as logs, listening(app, dsn):
        eventually(lambda: [row[:2] for row in parked(database)] == [("reader", 1), ("reader", 2)])
        assert calls == [kind]
        gatekeeper.execute("select pg_advisory_unlock(42)")
        delivered = "select delivered from rowcall.cursor join rowcall.subscription as s on s.id = subscription where name = 'other'"
        eventually(lambda: database.execute(delivered).fetchone() == (2,))
        assert calls == [kind, kind]
    assert [log["event"] for log in logs].count("cut") == 2
    assert [log["event"] for log in logs].count("listening") == 1
    assert "the database is gone; trying to reconnect" not in [log["event"] for log in logs]


def test_many_calls_may_take_longer_together(dsn: str, database: Database) -> None:
    def handler(event: Event, conn: Database) -> None:
        conn.execute("select pg_sleep(0.05)")
        conn.execute("insert into seen (what) values (%s)", (f"slow {event.key['id']}",))

    app = app_with(handler, timeout=0.5)
    sync(app, dsn)
    write(database, 1, 20)
    drain(app, dsn)
    assert seen_by(database, "slow") == others(20)
    assert parked(database) == []


def test_a_timeout_is_a_number_of_seconds() -> None:
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(errors.HandlerError, match="must be a number of seconds above 0"):
            app_with(lambda event: None, timeout=wrong)


def test_after_the_grace_time_what_is_in_flight_is_rolled_back(
    dsn: str, database: Database, shop: Path, connect: Connect
) -> None:
    blocker = connect()
    blocker.execute("lock table seen")
    write(database, 1, 1)
    with program(shop, "trouble:app", dsn, "--grace", "0.2") as running:
        waiting = "select count(*) from pg_stat_activity where application_name = 'rowcall single' and wait_event_type = 'Lock'"
        eventually(lambda: database.execute(waiting).fetchone() != (0,))
        running.signal(signal.SIGTERM)
        assert running.ended(8) == 0
        assert running.logged("the grace time is over; what is in flight is rolled back")
    blocker.rollback()
    assert seen_by(database, "single") == []
