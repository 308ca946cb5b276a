"""Whatever dies: the listener, its connections, the server. What handlers wrote counts once, in order."""

import os
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from rowcall import Event, Rowcall, embedded, errors
from rowcall.listener import delivery
from rowcall.postgres import connection as connections
from tests.command import fine, rowcall
from tests.conftest import Connect, Database
from tests.listeners import Program, is_asleep, listening, program, sync
from tests.users import write
from tests.waiting import eventually

#: An app that copies what it is told, and waits for a lock in the middle of it where a row says so.
COPIES = """
import os
from rowcall import Rowcall

app = Rowcall("copies")
app.watch("users")

@app.after("users", name="copies")
def copy(event, conn):
    if event.new["name"] == "wait":
        conn.execute("select pg_advisory_xact_lock_shared(42)")
    if event.new["name"] == "fail":
        raise ValueError("told to fail")
    conn.execute("insert into seen (what) values (%s)", (f"{event.key['id']} {os.getpid()}",))
"""


@pytest.fixture
def shop(tmp_path: Path, dsn: str, database: Database) -> Path:
    """The directory of a synchronised app."""
    (tmp_path / "copies.py").write_text(COPIES)
    fine_in(tmp_path, "sync", "copies:app", "--dsn", dsn)
    return tmp_path


def fine_in(directory: Path, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(directory)
        patched.syspath_prepend(directory)
        fine(*arguments)


def seen(database: Database) -> list[int]:
    return [int(row[0].split()[0]) for row in database.execute("select what from seen order by place").fetchall()]


def deliverers(database: Database) -> list[int]:
    """Which processes wrote what was seen, each once."""
    rows = database.execute("select split_part(what, ' ', 2)::int from seen group by 1 order by min(place)").fetchall()
    return [row[0] for row in rows]


def waiting_backends(database: Database) -> list[int]:
    query = "select pid from pg_stat_activity where datname = current_database() and wait_event = 'advisory' and application_name <> 'rowcall peers'"
    return [row[0] for row in database.execute(query).fetchall()]


def is_waiting(database: Database) -> bool:
    return len(waiting_backends(database)) == 1


def test_killed_in_the_middle_of_a_window(dsn: str, database: Database, shop: Path, connect: Connect) -> None:
    gatekeeper = connect(autocommit=True)
    gatekeeper.execute("select pg_advisory_lock(42)")
    write(database, 1, 199)
    database.execute("insert into users values (200, 'wait', 0)")
    write(database, 201, 700)
    with program(shop, "copies:app", dsn) as first:
        eventually(lambda: is_waiting(database))
        first.signal(signal.SIGKILL)
        first.ended()
    # It had slices of the window behind it, and one half done, of which nothing is left.
    before = seen(database)
    assert before == list(range(1, len(before) + 1))
    assert 0 < len(before) < 199
    assert database.execute("select upper is not null from rowcall.cursor").fetchone() == (True,)
    gatekeeper.execute("select pg_advisory_unlock(42)")
    with program(shop, "copies:app", dsn):
        eventually(lambda: len(seen(database)) >= 700)
    assert seen(database) == list(range(1, 701))
    assert database.execute("select delivered, upper from rowcall.cursor").fetchone() == (700, None)


def test_a_second_listener_takes_over_from_one_that_is_killed(
    dsn: str, database: Database, shop: Path, connect: Connect
) -> None:
    gatekeeper = connect(autocommit=True)
    gatekeeper.execute("select pg_advisory_lock(42)")
    with program(shop, "copies:app", dsn) as one, program(shop, "copies:app", dsn) as two:
        write(database, 1, 50)
        eventually(lambda: len(seen(database)) == 50)
        [owner] = deliverers(database)
        [heir] = {one.process.pid, two.process.pid} - {owner}
        # It dies within a statement of its handler: the server looks whether its client is still there.
        database.execute("insert into users values (51, 'wait', 0)")
        [backend] = eventually(lambda: waiting_backends(database))
        os.kill(owner, signal.SIGKILL)
        write(database, 52, 60)
        eventually(lambda: [other for other in waiting_backends(database) if other != backend])
        assert seen(database) == list(range(1, 51))
        gatekeeper.execute("select pg_advisory_unlock(42)")
        eventually(lambda: len(seen(database)) == 60)
        assert seen(database) == list(range(1, 61))
        assert deliverers(database) == [owner, heir]


def test_sigterm_lets_it_finish_what_is_in_flight(dsn: str, database: Database, shop: Path, connect: Connect) -> None:
    gatekeeper = connect(autocommit=True)
    gatekeeper.execute("select pg_advisory_lock(42)")
    database.execute("insert into users values (1, 'wait', 0)")
    with program(shop, "copies:app", dsn) as running:
        eventually(lambda: is_waiting(database))
        running.signal(signal.SIGTERM)
        with pytest.raises(Exception, match="timed out"):
            running.ended(0.3)
        gatekeeper.execute("select pg_advisory_unlock(42)")
        assert running.ended() == 0
    assert seen(database) == [1]


def test_a_second_signal_leaves_at_once(dsn: str, database: Database, shop: Path, connect: Connect) -> None:
    connect(autocommit=True).execute("select pg_advisory_lock(42)")
    database.execute("insert into users values (1, 'wait', 0)")
    with program(shop, "copies:app", dsn) as running:
        eventually(lambda: is_waiting(database))
        running.signal(signal.SIGINT)
        with pytest.raises(Exception, match="timed out"):
            running.ended(0.3)
        running.signal(signal.SIGTERM)
        assert running.ended() == 128 + signal.SIGTERM
    assert seen(database) == []


def test_sigterm_ends_a_sleeper_and_one_without_a_database(
    dsn: str, database: Database, shop: Path, cluster: embedded.Server
) -> None:
    with program(shop, "copies:app", dsn) as running:
        eventually(lambda: is_asleep(database))
        running.signal(signal.SIGTERM)
        assert running.ended(2) == 0
    with program(shop, "copies:app", dsn) as running:
        cluster.stop("immediate")
        try:
            eventually(lambda: running.logged("the database is gone; trying to reconnect"))
            running.signal(signal.SIGTERM)
            assert running.ended(2) == 0
        finally:
            cluster.start()
        assert len(running.logged("the database is gone; trying to reconnect")) == 1


def copying_app(failing_once: bool = False) -> Rowcall:
    """An app with every kind of handler, each copying the ids it sees."""
    app = Rowcall()
    app.watch("users")
    insert = "insert into copies values ('{}', {})"

    @app.after("users", name="sync")
    def with_conn(event: Event, conn: Database) -> None:
        conn.execute("insert into copies values ('sync', %s)", (event.key["id"],))

    @app.after("users", name="async")
    async def with_async_conn(event: Event, conn: psycopg.AsyncConnection[Any]) -> None:
        await conn.execute("insert into copies values ('async', %s)", (event.key["id"],))

    @app.after("users", name="session")
    def with_session(event: Event, session: Session) -> None:
        session.execute(text(insert.format("session", event.key["id"])))

    @app.after("users", name="async session")
    async def with_async_session(events: list[Event], session: AsyncSession) -> None:
        for event in events:
            await session.execute(text(insert.format("async session", event.key["id"])))

    return app


def copies(dsn: str) -> list[tuple[str, int, int]]:
    """Per handler how many copies there are, and how many of them differ."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "select who, count(*), count(distinct id) from copies group by who order by who"
        ).fetchall()


def all_copied(dsn: str, count: int) -> bool:
    names = ["async", "async session", "session", "sync"]
    return copies(dsn) == [(name, count, count) for name in names]


@pytest.mark.timeout(60)
def test_the_server_crashes_under_a_busy_listener(dsn: str, database: Database, cluster: embedded.Server) -> None:
    database.execute("create table copies (who text, id int)")
    app = copying_app()
    sync(app, dsn)
    write(database, 1, 600)
    with capture_logs() as logs, listening(app, dsn):
        # The first copies may be there before all lanes are.
        eventually(lambda: copies(dsn) and "listening" in [log["event"] for log in logs])
        cluster.restart("immediate")
        eventually(lambda: all_copied(dsn, 600), timeout=30)
        with psycopg.connect(dsn, autocommit=True) as again:
            write(again, 601, 610)
        eventually(lambda: all_copied(dsn, 610))
    assert [log["event"] for log in logs].count("the database is gone; trying to reconnect") == 1
    assert [log["event"] for log in logs].count("listening") == 2
    with psycopg.connect(dsn) as again:
        assert again.execute("select count(*) from rowcall.parked").fetchone() == (0,)


def test_connections_that_are_cut_come_back_and_cost_no_attempt(dsn: str, database: Database) -> None:
    database.execute("create table copies (who text, id int)")
    app = copying_app()
    sync(app, dsn)
    names = [
        "rowcall reader",
        "rowcall doorbell",
        "rowcall heartbeat",
        "rowcall sync",
        "rowcall async",
        "rowcall session",
    ]
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
    with listening(app, dsn):
        for count, name in enumerate(names, start=1):
            eventually(lambda name=name: database.execute(cut, (name,)).fetchall())  # type: ignore[misc]
            write(database, count, count)
            eventually(lambda count=count: all_copied(dsn, count))  # type: ignore[misc]
    assert database.execute("select count(*) from rowcall.parked").fetchone() == (0,)


@pytest.mark.parametrize("part", ["open", "transact"])
def test_an_outage_of_some_connections_is_logged_once(
    dsn: str, database: Database, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are there all the while: as where the server has no room for all of them, or its disk is full."""
    app = copying_app()
    database.execute("create table copies (who text, id int)")
    sync(app, dsn)
    failures = iter(range(4))
    working = getattr(delivery.SyncDelivery, part)

    async def failing(self: delivery.SyncDelivery, *arguments: Any, **options: Any) -> None:
        if self.handler.name == "sync" and next(failures, None) is not None:
            raise errors.Unreachable("sorry, too many clients already.")
        await working(self, *arguments, **options)

    monkeypatch.setattr(delivery.SyncDelivery, part, failing)
    write(database, 1, 3)
    with capture_logs() as logs, listening(app, dsn):
        eventually(lambda: all_copied(dsn, 3))
    assert next(failures, None) is None
    assert [log["event"] for log in logs].count("the database is gone; trying to reconnect") == 1


def test_a_connection_that_dies_under_a_handler_costs_no_attempt(dsn: str, database: Database) -> None:
    calls: list[str] = []
    app = Rowcall()
    app.watch("users")

    @app.after("users", name="sync")
    def sync_handler(event: Event, session: Session) -> None:
        calls.append("sync")
        if calls.count("sync") == 1:
            session.execute(text("select pg_terminate_backend(pg_backend_pid())"))

    @app.after("users", name="async")
    async def async_handler(event: Event, conn: psycopg.AsyncConnection[Any]) -> None:
        calls.append("async")
        if calls.count("async") == 1:
            await conn.close()
            raise ValueError("of its own")

    @app.after("users", name="idle")
    def idle(event: Event, conn: Database) -> None:
        calls.append("idle")
        if calls.count("idle") == 1:
            # What idle_in_transaction_session_timeout does to a handler that takes its time elsewhere.
            conn.execute("set idle_in_transaction_session_timeout = 1")
            eventually(
                lambda: (
                    not database.execute(
                        "select from pg_stat_activity where application_name = 'rowcall idle'"
                    ).fetchall()
                )
            )
            conn.execute("select 1")

    sync(app, dsn)
    write(database, 1, 1)
    with listening(app, dsn):
        query = "select sum(delivered) from rowcall.cursor"
        eventually(lambda: database.execute(query).fetchone() == (3,))
    assert database.execute("select count(*) from rowcall.parked").fetchone() == (0,)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_connection_that_dies_while_its_sessions_are_prepared(
    dsn: str, database: Database, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[int] = []
    app = Rowcall()
    app.watch("users")

    def sync_handler(event: Event, session: Session) -> None:
        handled.append(event.key["id"])

    async def async_handler(event: Event, session: AsyncSession) -> None:
        handled.append(event.key["id"])

    app.after("users", name=kind)(sync_handler if kind == "sync" else async_handler)
    cut: list[int] = []

    def cut_once(connection: Database | psycopg.AsyncConnection[Any]) -> None:
        if not cut:
            cut.append(connection.info.backend_pid)
            database.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))

    async def cut_once_async(connection: psycopg.AsyncConnection[Any]) -> None:
        cut_once(connection)

    # The last thing that happens to a connection before the sessions over it are prepared.
    monkeypatch.setattr(connections, "settle", cut_once)
    monkeypatch.setattr(connections, "settle_async", cut_once_async)
    sync(app, dsn)
    write(database, 1, 1)
    with listening(app, dsn):
        eventually(lambda: handled == [1])
    assert cut


def test_drain_says_by_its_exit_code_whether_all_is_delivered(
    dsn: str, database: Database, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.syspath_prepend(shop)
    write(database, 1, 3)
    fine("listen", "copies:app", "--drain", "--dsn", dsn)
    assert seen(database) == [1, 2, 3]
    write(database, 4, 4, "fail")
    said = rowcall("listen", "copies:app", "--drain", "--dsn", dsn)
    assert said.code == 1
    assert "rowcall: 1 events wait for a retry and 0 are dead letters" in said.err
    database.execute("update rowcall.parked set dead = true")
    said = rowcall("listen", "copies:app", "--drain", "--dsn", dsn)
    assert said.code == 1
    assert "0 events wait for a retry and 1 are dead letters" in said.err


def test_a_drain_beside_a_listener_waits_for_that_one(
    dsn: str, database: Database, shop: Path, connect: Connect
) -> None:
    gatekeeper = connect(autocommit=True)
    gatekeeper.execute("select pg_advisory_lock(42)")
    with program(shop, "copies:app", dsn) as running:
        database.execute("insert into users values (1, 'wait', 0)")
        eventually(lambda: is_waiting(database))
        draining = Program(shop, "copies:app", dsn, "--drain")
        draining.wait_until_listening()
        with pytest.raises(Exception, match="timed out"):
            draining.ended(0.3)
        gatekeeper.execute("select pg_advisory_unlock(42)")
        assert draining.ended() == 0
        assert deliverers(database) == [running.process.pid]
