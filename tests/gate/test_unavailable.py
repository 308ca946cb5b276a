"""Nobody answers, or not in time: the writer never waits beyond its deadline, and the next one starts afresh."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Reject, Rowcall, embedded
from tests.conftest import GATE_ROLE, Connect
from tests.listeners import listening, program, sync
from tests.waiting import eventually

Database = psycopg.Connection[Any]
DEADLINE = 0.25
#: What a busy machine may add to a deadline; without it the cut comes within some 20 ms.
MARGIN = 0.5
LONG = 10.0

#: An app whose handler waits for a lock in the database where a row says so, and says who answered.
GUARD = """
import os
import psycopg
from rowcall import Rowcall

app = Rowcall("guard")

@app.before("users", timeout=8)
def check(event):
    if event.new["name"] == "wait":
        with psycopg.connect(os.environ["GUARD_DSN"], application_name="waits") as connection:
            connection.execute("select pg_advisory_lock_shared(42)")
    return {"name": str(os.getpid())}

@app.before("quick", timeout=0.25)
def check_quick(event):
    return None
"""


def guarding(**options: Any) -> Rowcall:
    app = Rowcall()
    app.before("users", name="check", **options)(lambda event: {"name": "asked"})
    return app


@contextmanager
def taking(least: float, most: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert least <= time.monotonic() - started < most


@pytest.fixture
def guard(tmp_path: Path, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a synchronised app for listeners of their own."""
    database.execute("create table quick (id int primary key)")
    (tmp_path / "guard.py").write_text(GUARD)
    monkeypatch.setenv("GUARD_DSN", dsn)
    namespace: dict[str, Any] = {}
    exec(compile(GUARD, "guard.py", "exec"), namespace)
    sync(namespace["app"], dsn, "guard")
    return tmp_path


def one(database: Database, query: str) -> Any:
    row = database.execute(query).fetchone()
    assert row
    return row[0]


def requests(database: Database) -> int:
    """How many are waited for."""
    query = "select count(*) from rowcall.request where verdict is null and expires_at > clock_timestamp()"
    return int(one(database, query))


def in_background(writer: Database, statement: str) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def write() -> None:
        try:
            writer.execute(statement)
            outcome.append("written")
        except psycopg.Error as error:
            outcome.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    return thread, outcome


def test_without_a_listener_it_fails_closed_or_open_as_declared(dsn: str, database: Database, writer: Database) -> None:
    sync(guarding(timeout=DEADLINE), dsn)
    with taking(DEADLINE, DEADLINE + MARGIN), pytest.raises(pg.CheckViolation) as caught:
        writer.execute("insert into users values (1, 'x')")
    assert caught.value.diag.message_primary == (
        "insert of public.users was rejected by check: no listener answered within 250 ms"
    )
    assert 'Start "rowcall listen"' in (caught.value.diag.message_hint or "")
    refused = "select handler, message from rowcall.rejection"
    eventually(lambda: database.execute(refused).fetchall() == [("check", "no listener answered within 250 ms")])
    sync(guarding(timeout=DEADLINE, on_unavailable="accept"), dsn)
    with taking(DEADLINE, DEADLINE + MARGIN):
        writer.execute("insert into users values (1, 'x')")
    assert one(database, "select name from users") == "x"
    assert one(database, "select count(*) from rowcall.rejection") == 1
    eventually(lambda: requests(database) == 0)


def test_a_frozen_listener_is_cut_at_the_deadline(dsn: str, database: Database, writer: Database, guard: Path) -> None:
    with program(guard, "guard:app", dsn) as frozen:
        writer.execute("insert into quick values (1)")
        frozen.signal(signal.SIGSTOP)
        with taking(DEADLINE, DEADLINE + MARGIN), pytest.raises(pg.CheckViolation, match="no listener answered"):
            writer.execute("insert into quick values (2)")
        frozen.signal(signal.SIGCONT)
        writer.execute("insert into quick values (3)")
    assert database.execute("select id from quick order by id").fetchall() == [(1,), (3,)]


#: Whose connection has the requests of a ticket: see rowcall.gate.tickets.
HOLDER = """select pid from pg_locks where locktype = 'advisory' and objsubid = 1 and granted and mode = 'ExclusiveLock'
    and objid::bigint & 3 = 2 and database = (select oid from pg_database where datname = current_database())"""


def test_a_listener_that_dies_loses_its_request_to_another(
    dsn: str, database: Database, writer: Database, guard: Path, connect: Connect
) -> None:
    gatekeeper = connect(autocommit=True)
    gatekeeper.execute("select pg_advisory_lock(42)")
    with program(guard, "guard:app", dsn) as first:
        thread, outcome = in_background(writer, "insert into users values (1, 'wait')")
        eventually(lambda: database.execute(HOLDER).fetchall())
        [held] = database.execute(HOLDER).fetchall()
        with program(guard, "guard:app", dsn) as second:
            first.signal(signal.SIGKILL)
            # Its handler waits in vain; nobody has to wait for that.
            eventually(lambda: database.execute(HOLDER).fetchall() not in ([], [held]))
            gatekeeper.execute("select pg_advisory_unlock(42)")
            thread.join(10)
            assert outcome == ["written"]
            assert one(database, "select name from users") == str(second.process.pid)


def test_a_writer_of_a_frozen_listener_is_served_by_another_from_then_on(
    dsn: str, database: Database, writer: Database, guard: Path
) -> None:
    with program(guard, "guard:app", dsn) as frozen:
        writer.execute("insert into quick values (1)")
        with program(guard, "guard:app", dsn):
            frozen.signal(signal.SIGSTOP)
            with pytest.raises(pg.CheckViolation, match="no listener answered"):
                writer.execute("insert into quick values (2)")
            for key in range(3, 6):
                writer.execute("insert into quick values (%s)", (key,))
            frozen.signal(signal.SIGCONT)
    assert one(database, "select count(*) from quick") == 4


def test_what_somebody_locks_does_not_hold_a_writer_up_beyond_its_deadline(
    dsn: str, database: Database, writer: Database, connect: Connect
) -> None:
    app = guarding(timeout=DEADLINE)
    sync(app, dsn)
    with listening(app, dsn):
        eventually(lambda: writer.execute("insert into users values (1, 'x') on conflict do nothing"))
        with connect() as locker:
            locker.execute("lock table rowcall.request")
            for key in (2, 3):
                with taking(DEADLINE / 2, DEADLINE + MARGIN), pytest.raises(pg.CheckViolation):
                    writer.execute("insert into users values (%s, 'x')", (key,))


def test_an_idle_session_of_the_gate_ends_and_the_next_write_has_another(
    dsn: str, database: Database, connect: Connect
) -> None:
    app = guarding(timeout=LONG)
    sync(app, dsn)
    options = one(
        database,
        "select o from pg_foreign_server, unnest(srvoptions) as o where srvname = 'rowcall_gate' and o like 'options=%'",
    )
    short = options.removeprefix("options=").replace("idle_session_timeout=10min", "idle_session_timeout=100ms")
    assert "100ms" in short
    database.execute(f"alter server rowcall_gate options (set options '{short}')")
    notices: list[str] = []
    writer = connect(autocommit=True)
    writer.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    gates = "select count(*) from pg_stat_activity where application_name = 'rowcall gate writer' and datname = current_database()"
    with listening(app, dsn):
        for key in range(3):
            writer.execute("insert into users values (%s, 'x')", (key,))
            eventually(lambda: one(database, gates) == 0)
    assert one(database, "select count(*) from users where name = 'asked'") == 3
    assert notices == []


def test_killed_in_the_middle_and_nobody_else_there(
    dsn: str, database: Database, writer: Database, guard: Path, connect: Connect
) -> None:
    connect(autocommit=True).execute("select pg_advisory_lock(42)")
    with program(guard, "guard:app", dsn) as only:
        thread, outcome = in_background(writer, "insert into users values (1, 'wait')")
        eventually(lambda: one(database, "select count(*) from pg_stat_activity where application_name = 'waits'"))
        only.signal(signal.SIGKILL)
        only.ended()
        # The writer gives up before its deadline: the request outlives it, until a listener sweeps up.
        writer.cancel()
        thread.join(5)
        assert isinstance(outcome[0], pg.QueryCanceled)
    gate_session = "select count(*) from pg_stat_activity where application_name = 'rowcall gate writer' and datname = current_database()"
    database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowcall gate writer'"
        " and datname = current_database()"
    )
    eventually(lambda: one(database, gate_session) == 0)
    assert requests(database) == 1
    database.execute("update rowcall.request set expires_at = now() - interval '1 minute'")
    # The first thing a listener does.
    with listening(guarding(timeout=LONG), dsn):
        eventually(lambda: one(database, "select count(*) from rowcall.request") == 0)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_writer_that_stops_waiting_can_go_on_at_once(
    dsn: str, database: Database, connect: Connect, how: str
) -> None:
    app = guarding(timeout=5)
    sync(app, dsn)
    notices: list[str] = []
    writer = connect(autocommit=True)
    writer.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    if how == "timeout":
        writer.execute("set statement_timeout = '200ms'")
    with taking(0, 3):
        thread, outcome = in_background(writer, "insert into users values (1, 'x')")
        eventually(lambda: requests(database) == 1)
        if how == "cancel":
            writer.cancel()
        thread.join(5)
    assert isinstance(outcome[0], pg.QueryCanceled)
    writer.execute("set statement_timeout = 0")
    with listening(app, dsn):
        # What the first one asked is answered as well, to nobody, before the second one asks.
        eventually(lambda: requests(database) == 0)
        for key in (2, 3):
            writer.execute("insert into users values (%s, 'x')", (key,))
    assert database.execute("select id, name from users order by id").fetchall() == [(2, "asked"), (3, "asked")]
    assert notices == []


def test_the_gates_connection_is_replaced_when_it_dies(
    dsn: str, database: Database, connect: Connect, cluster: embedded.Server
) -> None:
    app = guarding(timeout=LONG)
    sync(app, dsn)
    notices: list[str] = []
    writer = connect(autocommit=True)
    writer.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    cut = """select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
        where application_name = 'rowcall gate writer' and datname = current_database()"""
    with listening(app, dsn):
        for key in range(3):
            writer.execute("insert into users values (%s, 'x')", (key,))
            assert one(database, cut) == 1
        writer.execute("insert into users values (9, 'x')")
        assert notices == []
        cluster.restart("immediate")
        with psycopg.connect(dsn, autocommit=True) as again:

            def write() -> bool:
                try:
                    again.execute("insert into users values (10, 'x')")
                except pg.CheckViolation:
                    return False
                return True

            eventually(write)
            assert one(again, "select name from users where id = 10") == "asked"


def test_a_gate_out_of_reach_follows_the_declaration(dsn: str, database: Database, connect: Connect) -> None:
    sync(guarding(timeout=LONG), dsn)
    notices: list[str] = []
    writer = connect(autocommit=True)
    writer.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    database.execute("alter user mapping for rowcall_gate server rowcall_gate options (set password 'wrong')")
    with taking(0, LONG / 2), pytest.raises(pg.CheckViolation, match="no listener answered"):
        writer.execute("insert into users values (1, 'x')")
    assert notices == ["rowcall: the gate cannot be reached (08001)"]
    sync(guarding(timeout=LONG, on_unavailable="accept"), dsn)
    with taking(0, LONG / 2):
        writer.execute("insert into users values (1, 'x')")
    assert GATE_ROLE not in "".join(notices)


def test_a_handler_that_touches_the_row_it_judges_ends_at_its_deadline(
    dsn: str, database: Database, writer: Database, connect: Connect
) -> None:
    writer.execute("insert into users values (1, 'x', 1)")
    other = connect(autocommit=True)
    app = Rowcall()

    @app.before("users", timeout=0.5, on="update")
    def touches(event: Event) -> None:
        other.execute("set statement_timeout = '3s'")
        with pytest.raises(psycopg.Error):
            other.execute("update users set age = 5")

    sync(app, dsn)
    with listening(app, dsn), pytest.raises(pg.CheckViolation, match=r"answer(ed)? within 500 ms"):
        writer.execute("update users set age = 2")
    assert one(database, "select age from users") == 1


def test_many_writers_at_once(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()

    @app.before("users", timeout=LONG)
    async def odd_only(event: Event) -> dict[str, Any]:
        if event.key["id"] % 2 == 0:
            raise Reject("even")
        return {"age": event.key["id"]}

    sync(app, dsn)
    writers = [connect(autocommit=True) for _ in range(8)]

    def write(number: int) -> None:
        for key in range(number * 100, number * 100 + 20):
            try:
                writers[number].execute("insert into users values (%s, 'x')", (key,))
            except pg.CheckViolation:
                assert key % 2 == 0

    with listening(app, dsn):
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert one(database, "select count(*) from users where age = id") == 80
    assert one(database, "select count(*) from users") == 80
    assert one(database, "select count(*) from rowcall.rejection") == 80
    assert requests(database) == 0
