"""What writers, sessions and servers do to the gate without asking: nobody else is to notice."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Reject, Rowcall
from rowcall.errors import Stuck
from rowcall.gate import server, threads
from rowcall.gate.asking import Asking, Request
from rowcall.gate.line import Answer, Line
from rowcall.gate.tickets import Tickets
from rowcall.postgres.tables import Table
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


def test_a_writer_of_any_time_zone_is_answered(dsn: str, database: Database, writer: Database) -> None:
    app = guarding(timeout=LONG)
    sync(app, dsn)
    writer.execute("set timezone = '<X>+167'")
    with listening(app, dsn):
        writer.execute("insert into users values (1, 'x')")
    assert one(database, "select name from users") == "asked"


POISON = {
    "a number": "select set_config('rowcall.context', '{\"n\": ' || repeat('9', 5000) || '}', false)",
    "a depth": "select set_config('rowcall.context', '{\"n\": ' || repeat('[', 3000) || repeat(']', 3000) || '}', false)",
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_a_request_that_cannot_be_read_is_refused_and_keeps_nobody_from_an_answer(
    dsn: str, database: Database, writer: Database, connect: Connect, poison: str
) -> None:
    app = guarding(timeout=LONG)
    sync(app, dsn)
    poisoner = connect(autocommit=True)
    poisoner.execute(poison)
    outcomes: list[BaseException] = []

    def write() -> None:
        try:
            poisoner.execute("insert into users values (2, 'x')")
        except psycopg.Error as error:
            outcomes.append(error)

    started = time.monotonic()
    thread = threading.Thread(target=write)
    thread.start()
    eventually(lambda: one(database, WAITING) == 1)
    with listening(app, dsn):
        writer.execute("insert into users values (1, 'x')")
        thread.join(LONG)
    assert time.monotonic() - started < LONG / 2
    assert [type(outcome) for outcome in outcomes] == [pg.CheckViolation]
    assert "it could not be asked" in str(outcomes[0])
    assert database.execute("select id, name from users").fetchall() == [(1, "asked")]


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


@pytest.mark.parametrize("moment", ["before", "while it waits"])
def test_a_lock_on_the_requests_holds_nobody_up_for_longer_than_the_deadline(
    dsn: str, database: Database, writer: Database, connect: Connect, moment: str
) -> None:
    app = guarding(timeout=1.5)
    sync(app, dsn)
    # So that the connection is there already.
    with listening(app, dsn):
        eventually(lambda: writer.execute("insert into users values (0, 'x') on conflict do nothing").rowcount == 0)
    locker = connect()
    if moment == "before":
        locker.execute("lock table rowcall.request")
    outcomes: list[float] = []

    def write() -> None:
        started = time.monotonic()
        with suppress(pg.CheckViolation):
            writer.execute("insert into users values (1, 'x')")
        outcomes.append(time.monotonic() - started)

    thread = threading.Thread(target=write)
    thread.start()
    if moment != "before":
        eventually(lambda: one(database, WAITING) == 1)
        locker.execute("lock table rowcall.request")
    thread.join(5)
    locker.rollback()
    thread.join()
    assert 1 < outcomes[0] < 1.5 + MARGIN


def test_a_listener_leaves_the_requests_of_other_apps_alone(
    dsn: str, database: Database, writer: Database, connect: Connect
) -> None:
    database.execute("create table orders (id int primary key, name text)")
    one_app, other_app = guarding(timeout=LONG), Rowcall()
    other_app.before("orders", name="check_order", timeout=LONG)(lambda event: {"name": "asked"})
    sync(one_app, dsn, "one")
    sync(other_app, dsn, "other")
    started = time.monotonic()
    waiting = threading.Thread(target=writer.execute, args=("insert into orders values (1, 'x')",))
    with listening(one_app, dsn):
        connect(autocommit=True).execute("insert into users values (1, 'x')")
        waiting.start()
        eventually(lambda: one(database, WAITING) == 1)
        # It hears of this one later than of the other.
        connect(autocommit=True).execute("insert into users values (2, 'x')")
        with listening(other_app, dsn):
            waiting.join(LONG)
    assert time.monotonic() - started < LONG * 0.8
    assert one(database, "select name from orders") == "asked"


def test_a_listener_stops_however_much_is_asked(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()

    @app.before("users", timeout=1)
    async def slowly(event: Event) -> None:
        await asyncio.sleep(0.05)

    sync(app, dsn)
    over = threading.Event()

    def write(number: int) -> None:
        writer = connect(autocommit=True)
        for key in range(number * 10000, number * 10000 + 9999):
            if over.is_set():
                return
            with suppress(pg.CheckViolation):
                writer.execute("insert into users values (%s, 'x')", (key,))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    try:
        with listening(app, dsn):
            for thread in threads:
                thread.start()
            eventually(lambda: one(database, "select count(*) from users") > 20)
    finally:
        over.set()
        for thread in threads:
            thread.join()


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


def test_a_listener_whose_threads_never_return_starts_anew(
    dsn: str, database: Database, writer: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "MOST_THREADS", 2)
    monkeypatch.setattr(server, "OVERDUE", 0.1)
    app = Rowcall()
    enough = threading.Event()

    @app.before("users", timeout=0.25)
    def never(event: Event) -> None:
        enough.wait(LONG)

    sync(app, dsn)

    def is_late(key: int) -> bool:
        try:
            writer.execute("insert into users values (%s, 'x')", (key,))
        except pg.CheckViolation as error:
            return "did not answer" in str(error)
        return False

    def listen() -> None:
        # The program becomes a new process.
        with pytest.raises(Stuck, match="have all 2 threads"), listening(app, dsn):
            for key in (1, 2):
                eventually(partial(is_late, key))
            gates = "select count(*) from pg_stat_activity where application_name = 'rowcall gate' and datname = current_database()"
            eventually(lambda: one(database, gates) == 0)

    try:
        listen()
    finally:
        enough.set()


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


def test_a_rejection_that_cannot_be_recorded_is_one_all_the_same(
    dsn: str, database: Database, writer: Database
) -> None:
    app = Rowcall()

    @app.before("users", timeout=LONG, on_unavailable="accept")
    def never(event: Event) -> None:
        raise Reject("never")

    sync(app, dsn)
    database.execute("alter table rowcall.rejection add constraint full_disk check (false) not valid")
    with listening(app, dsn), pytest.raises(pg.CheckViolation, match="rejected by never: never"):
        writer.execute("insert into users values (1, 'x')")
    assert one(database, "select count(*) from users") == 0


def test_a_ticket_whose_turns_start_afresh_never_takes_a_lock_twice() -> None:
    """As when the server gives a new session the number of one that ended: a lock taken twice is let go once."""
    tickets = Tickets()
    held: list[int] = []
    for turn in (0, 1, 0, 0, 1, 1, 0, 1):
        tickets.asked(8, 0.0)
        following, awaited = tickets.locks(8, turn)
        held += following
        for lock in awaited:
            held.remove(lock)
        tickets.answered(8, turn)
        assert held == [8 | (1 - turn)]
    assert sorted(tickets.give_back(1.0)) == sorted([*held, 8 | 2])


def test_a_turn_brings_no_more_than_one_answer_holds(dsn: str, database: Database) -> None:
    """What is left out is ours all the same, and comes before what others could be at."""
    for session in (1, 2, 3, 4):
        database.execute(
            """
            insert into rowcall.request (session, id, ticket, turn, relation, handlers, body, expires_at)
            values (%s, %s, %s, 0, 1, '["check"]', jsonb_build_object('text', repeat('x', 20000000)), now() + '1 minute')""",
            (session, session, session * 4),
        )
    turn = """call rowcall.gate_turn_v1('{}', '{}', '{}', '{}', %s, %s, '{"1": ["check"]}', null)"""

    def take(tickets: list[int], busy: list[int]) -> dict[int, bool]:
        row = database.execute(turn, (tickets, busy)).fetchone()
        assert row
        return {request["id"]: request["body"] is not None for request in row[0]["requests"]}

    assert take([], []) == {1: True, 2: True, 3: False, 4: False}
    assert take([4, 8, 12, 16], [1, 2]) == {3: True, 4: True}
    assert take([16], []) == {1: True, 2: False, 3: False, 4: True}


def test_a_turn_that_fails_forgets_no_lock() -> None:
    class Deaf:
        lock = threading.RLock()
        is_free = True

        def __init__(self) -> None:
            self.asked: list[Sequence[bytes | None]] = []

        def ask(self, parameters: Sequence[bytes | None], answered: Any) -> None:
            self.asked.append(parameters)

    async def play() -> None:
        reader: Any = None
        serving, line = server.GateServer({Table("public", "users"): guarding().before_handlers}, reader), Deaf()
        serving._line = line  # type: ignore[assignment]
        asking = Asking(Request(1, 4, 0, 1.0, None, 1, ["check"], None))
        asking.refuse("no")
        serving._busy[1] = asking
        serving._tickets.asked(4, 0.0)
        serving._tickets.asked(8, 0.0, busy=False)
        serving._tidy = True
        serving._give(asking)
        for error in (psycopg.DataError("bad"), psycopg.DataError("bad")):
            serving._took_turn(error)
        serving._took_turn(b'{"strange": null, "requests": null}')
        serving._heard()
        assert [parameters[3] for parameters in line.asked] == [b"{10}", b"{10}", b"{10}", b"{}"]

    asyncio.run(play())


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
