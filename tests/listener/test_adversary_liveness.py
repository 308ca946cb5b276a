"""What a reviewer broke: listeners that hang, stall, or come back when they were told to go. Each fails until mended."""

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from rowcall import Event, Rowcall
from rowcall.listener.daemon import Listener
from rowcall.postgres import connection as connections
from rowcall.postgres import tables
from tests.conftest import Database
from tests.listener.test_lanes import owners, programs, shop, spread  # noqa: F401 - a fixture
from tests.listeners import listener_for, program, sync, synchronised
from tests.users import write
from tests.waiting import eventually, eventually_async

STUCK = """
import asyncio, pathlib, signal, threading, time
from rowcall import Rowcall

app = Rowcall("stuck")
app.watch("users")

def running(name):
    with pathlib.Path("running").open("a") as file:
        file.write(name)

async def swallow():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

def block():
    before = signal.getsignal(signal.SIGTERM)
    running('s')  # only now: the signal is sent as soon as this is seen
    while signal.getsignal(signal.SIGTERM) is before:
        time.sleep(0.01)
    pathlib.Path("heard").touch()
    time.sleep(30)
"""
HANG = "def single(event): running('s'); threading.Event().wait()"
SWALLOW = "async def single(event): running('s'); await swallow()"
BLOCK = "async def single(event): block()"


def stuck(place: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, timeout: float, body: str, more: str = "") -> None:
    text = f'{STUCK}\n@app.after("users", name="single", timeout={timeout})\n{body}\n{more}\n'
    synchronised(place, dsn, monkeypatch, "stuck", text)


def is_running(place: Path) -> Callable[[], bool]:
    return lambda: (place / "running").exists()


@pytest.mark.timeout(60)
def test_one_that_was_told_to_stop_does_not_start_anew(
    dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck(tmp_path, dsn, monkeypatch, 1.0, HANG)
    write(database, 1, 1)
    with program(tmp_path, "stuck:app", dsn) as running:
        eventually(is_running(tmp_path))
        running.signal(signal.SIGTERM)
        assert running.ended(15) == 0
        assert running.logged("starting anew") == []


@pytest.mark.timeout(60)
def test_an_async_handler_that_swallows_its_cancellation_restarts_the_process(
    dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck(tmp_path, dsn, monkeypatch, 1.0, SWALLOW)
    write(database, 1, 1)
    with program(tmp_path, "stuck:app", dsn) as running:
        eventually(lambda: len(running.logged("listening")) == 2, timeout=15)


@pytest.mark.timeout(60)
def test_an_async_handler_that_swallows_its_cancellation_does_not_outlive_the_grace_time(
    dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck(tmp_path, dsn, monkeypatch, 300.0, SWALLOW)
    write(database, 1, 1)
    with program(tmp_path, "stuck:app", dsn, "--grace", "0.2") as running:
        eventually(is_running(tmp_path))
        running.signal(signal.SIGTERM)
        assert running.ended(15) == 0


@pytest.mark.timeout(60)
def test_the_second_signal_is_heard_while_a_handler_blocks_the_loop(
    dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck(tmp_path, dsn, monkeypatch, 300.0, BLOCK)
    write(database, 1, 1)
    with program(tmp_path, "stuck:app", dsn) as running:
        eventually(is_running(tmp_path))
        running.signal(signal.SIGTERM)
        eventually((tmp_path / "heard").exists)
        running.signal(signal.SIGTERM)
        assert running.ended(5) == 128 + signal.SIGTERM


@pytest.mark.timeout(60)
@pytest.mark.parametrize("body", ["def single(event): running('s')", HANG])  # the first one is the control: it passes
def test_a_fatal_error_ends_the_process_though_a_handler_hangs(
    dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    """Otherwise it neither delivers nor ends, so that nobody starts it again."""
    other = '@app.after("users", name="other")\ndef other(event): pass'
    stuck(tmp_path, dsn, monkeypatch, 300.0, body, other)
    write(database, 1, 1)
    with program(tmp_path, "stuck:app", dsn) as running:
        eventually(is_running(tmp_path))
        database.execute("delete from rowcall.subscription where name = 'other'")
        assert running.ended(25) == 2


@pytest.mark.timeout(60)
def test_a_takeover_takes_less_than_a_second_whenever_the_other_dies(
    dsn: str,
    database: Database,
    shop: Path,  # noqa: F811
) -> None:
    """Right after the survivor's heartbeat is the worst moment."""
    with programs(shop, dsn, 2) as [one, two]:
        eventually(lambda: spread(database) == [8, 8])
        survivor = "select seen_at from rowcall.worker where split_part(process, ' ', 2) = %s"
        pid = (str(two.process.pid),)
        was = database.execute(survivor, pid).fetchone()
        eventually(lambda: database.execute(survivor, pid).fetchone() != was)
        killed = time.monotonic()
        one.signal(signal.SIGKILL)
        one.ended()
        eventually(lambda: owners(database) == {pid[0]: 16})
        assert time.monotonic() - killed < 1.0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("operations", [["insert", "truncate"], ["insert"]])  # the first one is the control: it passes
def test_lanes_meet_though_one_of_two_versions_does_not_ask_for_the_event(
    dsn: str, database: Database, operations: list[str]
) -> None:
    """During an upgrade that adds on="truncate", the old version passes by in memory only, and the new one waits for it."""
    seen: list[str] = []

    def app(*operations: str) -> Rowcall:
        made = Rowcall()
        made.watch("users")

        @made.after("users", name="reader", on=list(operations))
        def reader(event: Event) -> None:
            seen.append(event.operation)

        return made

    old, new = app(*operations), app("insert", "truncate")
    sync(new, dsn)

    async def run() -> None:
        first, second = listener_for(new, dsn), listener_for(old, dsn)
        running = [asyncio.create_task(first.run())]
        try:
            await until(lambda: shares_of(database) == [16])
            running.append(asyncio.create_task(second.run()))
            await until(lambda: shares_of(database) == [8, 8])
            database.execute("truncate users")
            await until(lambda: seen == ["truncate"], 5)
        finally:
            first.stop()
            second.stop()
            await asyncio.gather(*running)

    asyncio.run(run())


def shares_of(database: Database) -> list[int]:
    """How many lanes each worker has, though they be of one process; nobody's do not count."""
    query = "select sum(cardinality(lanes))::int from rowcall.cursor where owner is not null group by owner"
    return [lanes for (lanes,) in database.execute(query).fetchall()]


async def until(check: Callable[[], bool], timeout: float = 10.0) -> None:
    async def checked() -> bool:
        return check()

    asked: Callable[[], Awaitable[bool]] = checked
    await eventually_async(asked, timeout)


TWO = """
from rowcall import Rowcall

app = Rowcall("two")
app.watch("users")

@app.after("users", name="slow")
def slow(event, conn):
    conn.execute("select pg_advisory_xact_lock_shared(42)")

@app.after("users", name="fast")
def fast(event, conn):
    conn.execute("insert into seen (what) values ('fast')")
"""


def test_a_stop_is_heard_while_it_connects(dsn: str) -> None:
    """To a host that accepts and says nothing, as behind a proxy whose server is gone."""
    app = Rowcall()

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, connections.connect(dsn) as admin:
            nowhere = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x user=x"
            listener = Listener(app, nowhere, tables.subjects(admin, app), grace=0.2)
            asyncio.get_running_loop().call_later(0.3, listener.stop)
            await asyncio.wait_for(listener.run(), 6)

    asyncio.run(run())
