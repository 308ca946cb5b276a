"""The doorbell: it wakes a sleeper at once, and is silent while somebody is up."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from rowcall import Event, Rowcall
from rowcall.listener import sleep
from rowcall.listener.sleep import Sleep
from rowcall.postgres.wakeups import Place
from tests.conftest import Connect, Database
from tests.listeners import is_asleep, listening, sync
from tests.waiting import eventually

SOON = sleep.BACKSTOP / 3


def rings(ears: Database) -> int:
    """How often the doorbell rang since it was asked last."""
    return len(list(ears.notifies(timeout=0)))


@pytest.fixture
def ears(connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("listen rowcall")
    return connection


def reading(handler: Callable[[Event], None], table: str = "users", name: str = "reader") -> Rowcall:
    app = Rowcall()
    app.watch(table)
    app.after(table, name=name)(handler)
    return app


def test_a_sleeper_is_woken_long_before_its_backstop(dsn: str, database: Database, ears: Database) -> None:
    woken = threading.Event()
    app = reading(lambda event: woken.set())
    sync(app, dsn)
    with listening(app, dsn):
        for key in range(3):
            eventually(lambda: is_asleep(database))
            rings(ears)
            written = time.monotonic()
            database.execute("insert into users values (%s, 'x', 1)", (key,))
            assert woken.wait(SOON)
            assert time.monotonic() - written < SOON
            # The same ring may get here later than there.
            eventually(lambda: rings(ears) == 1)
            woken.clear()


def test_nobody_rings_while_the_listener_is_up(dsn: str, database: Database, ears: Database) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    handled: list[int] = []

    def handler(event: Event) -> None:
        at_work.set()
        assert go_on.wait(10)
        handled.append(event.key["id"])

    app = reading(handler)
    app.after("users", name="idle")(lambda event: None)
    sync(app, dsn)
    with listening(app, dsn):
        eventually(lambda: is_asleep(database))
        database.execute("insert into users values (0, 'x', 1)")
        assert at_work.wait(SOON)
        eventually(lambda: not is_asleep(database))
        # The one that woke it may get here later than there.
        eventually(lambda: rings(ears))
        for key in range(1, 100):
            database.execute("insert into users values (%s, 'x', 1)", (key,))
        assert rings(ears) == 0
        go_on.set()
        eventually(lambda: len(handled) == 100)


def test_rings_for_tables_nobody_reads_do_not_go_on(dsn: str, database: Database, ears: Database) -> None:
    database.execute("create table logs (id serial primary key)")
    app = reading(lambda event: None)
    app.watch("logs")
    sync(app, dsn)
    with listening(app, dsn):
        eventually(lambda: is_asleep(database))
        for _ in range(200):
            database.execute("insert into logs default values")
        assert 1 <= rings(ears) < 50


def test_a_long_open_writer_delays_by_one_slow_poll(dsn: str, database: Database, connect: Connect) -> None:
    handled: list[int] = []
    app = reading(lambda event: handled.append(event.key["id"]))
    sync(app, dsn)
    writer = connect()
    writer.execute("insert into users values (100, 'open', 1)")
    with listening(app, dsn):
        for key in range(3):
            written = time.monotonic()
            database.execute("insert into users values (%s, 'x', 1)", (key,))
            eventually(lambda key=key: key in handled)  # type: ignore[misc]
            assert time.monotonic() - written < 2 * sleep.SLOWEST_POLL + 1
            assert not is_asleep(database)
        writer.commit()
        eventually(lambda: 100 in handled)


def test_two_listeners_sleep_and_both_are_woken(dsn: str, database: Database) -> None:
    database.execute("create table orders (id int primary key)")
    handled: list[str] = []
    one = reading(lambda event: handled.append("one"), "users", "one")
    two = reading(lambda event: handled.append("two"), "orders", "two")
    sync(one, dsn, "one")
    sync(two, dsn, "two")
    with listening(one, dsn):
        with listening(two, dsn):
            for key in range(3):
                eventually(lambda: is_asleep(database))
                written = time.monotonic()
                database.execute("insert into users values (%s, 'x', 1)", (key,))
                database.execute("insert into orders values (%s)", (key,))
                eventually(lambda key=key: len(handled) == 2 * (key + 1))  # type: ignore[misc]
                assert time.monotonic() - written < SOON
        # Whoever is left takes the doorbell over.
        eventually(lambda: is_asleep(database))
        database.execute("insert into users values (9, 'x', 1)")
        eventually(lambda: handled.count("one") == 4)


def test_where_transactions_may_be_prepared_nobody_sleeps() -> None:
    from rowcall.postgres.wakeups import Doorbell

    doorbell = Doorbell(None, possible=False)  # type: ignore[arg-type]
    assert asyncio.run(doorbell.lie_down()) == "open"


class Bell:
    """A doorbell whose sleeps end by its script: True somebody rang, False the time was over."""

    def __init__(self, *script: bool, place: Place = "asleep") -> None:
        self.script = list(script)
        self.place: Place = place
        self.queries: list[str] = []

    async def lie_down(self) -> Place:
        self.queries.append("lie down")
        return self.place

    async def get_up(self) -> None:
        self.queries.append("get up")

    async def wait(self, timeout: float) -> bool:
        self.queries.append(f"wait {timeout}")
        if not self.script:
            await asyncio.Event().wait()
        return self.script.pop(0)


async def watched(bell: Bell, reads_until: int, found_at: set[int] = frozenset()) -> tuple[int, list[str]]:  # type: ignore[assignment]
    """Run the watch over one subscription until it has read so often; how often it read, and what was asked of the bell."""
    night, reads, done = Sleep(), 0, asyncio.Event()

    async def subscription() -> None:
        nonlocal reads
        while True:
            reads += 1
            if reads >= reads_until:
                done.set()
            if reads in found_at:
                night.found("it")
            else:
                await night.wait("it")

    tasks = [asyncio.create_task(subscription()), asyncio.create_task(night.keep_watch(bell))]  # type: ignore[arg-type]
    await asyncio.wait_for(done.wait(), 5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return reads, bell.queries


def test_an_idle_sleeper_reads_once_a_backstop_and_asks_nothing_else() -> None:
    reads, queries = asyncio.run(watched(Bell(False, False, False), 5))
    assert reads <= 7
    assert queries[:4] == ["lie down", *[f"wait {sleep.BACKSTOP}"] * 3]
    assert set(queries[1:]) == {f"wait {sleep.BACKSTOP}"}


def test_a_dozer_asks_once_a_doze_and_reads_when_somebody_rings() -> None:
    reads, queries = asyncio.run(watched(Bell(False, False, True, place="another"), 3))
    assert reads == 3
    assert queries[:6] == ["lie down", f"wait {sleep.DOZE}"] * 3


def test_after_a_ring_for_nothing_it_stays_up_for_a_while() -> None:
    started = time.monotonic()
    _, queries = asyncio.run(watched(Bell(True, False), 9))
    assert queries[:4] == ["lie down", f"wait {sleep.BACKSTOP}", "get up", "lie down"]
    assert time.monotonic() - started > sleep.SLOWEST_POLL


def test_nobody_waits_any_more_once_it_is_over() -> None:
    async def ended() -> None:
        night = Sleep()
        night.end()
        await asyncio.wait_for(night.wait("it"), 1)

    asyncio.run(ended())


def test_who_was_reading_when_the_others_read_reads_once_more() -> None:
    """It may have begun before what was committed since; then nobody would wake it."""

    async def slow_reader() -> list[str]:
        night, reads, may_end = Sleep(), [], asyncio.Event()

        async def quick() -> None:
            while True:
                await night.wait("quick")
                reads.append("quick")

        async def slow() -> None:
            night.join("slow")
            await may_end.wait()
            while True:
                await night.wait("slow")
                reads.append("slow")

        tasks = [asyncio.create_task(quick()), asyncio.create_task(slow())]
        await asyncio.sleep(0)
        all_read = asyncio.create_task(night._have_all_read())
        await asyncio.sleep(0.01)
        assert not all_read.done()
        may_end.set()
        assert await asyncio.wait_for(all_read, 1) is False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return reads

    assert sorted(asyncio.run(slow_reader())) == ["quick", "slow"]


def test_who_is_woken_while_it_reads_does_not_wait() -> None:
    async def woken() -> None:
        night = Sleep()
        night.join("it")
        night.wake("it")
        await asyncio.wait_for(night.wait("it"), 1)

    asyncio.run(woken())
