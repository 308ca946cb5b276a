"""What a reviewer broke: events delivered twice, out of order, or never. Each test fails until its defect is mended."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import Event, Rowcall, resources
from rowcall.listener.delivery import SyncDelivery
from rowcall.listener.lanes import Roll
from rowcall.listener.suspects import Process
from rowcall.listener.worker import Worker
from rowcall.postgres import connection as connections
from rowcall.postgres.log import Cursor, LogReader
from rowcall.selector import Topic
from tests.conftest import Connect, Database
from tests.listener.test_lanes import check_copies, copied, programs, shop, spread  # noqa: F401 - a fixture
from tests.listeners import drain, enlist, listener_for, sync
from tests.users import write
from tests.waiting import eventually, eventually_async


def keys_of(database: Database, first: int, last: int) -> list[int]:
    """Keys whose lanes are in a range."""
    query = """
        select n from generate_series(1, 1000) as n
        where rowcall.lane_v1(1, jsonb_build_object('id', n)) between %s and %s limit 5
    """
    return [key for (key,) in database.execute(query, (first, last)).fetchall()]


async def with_worker(app: Rowcall, dsn: str, test: Callable[[Worker, Any], Awaitable[None]]) -> None:
    """A worker of the app's only handler, without a daemon around it."""
    [handler] = app.after_handlers
    async with await connections.connect_async(dsn) as reading:
        delivery = SyncDelivery(handler)
        await delivery.open(dsn)
        try:
            reader = await LogReader.over(reading)
            process = Process("elsewhere 1 a")
            worker = Worker(handler, Topic.exactly("public", "users"), reader, delivery, process=process, most=16)
            assert await worker.enlist([], locked=True)
            await test(worker, delivery)
        finally:
            await delivery.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wakes_up", [False, True])  # the first one is the control: it passes
def test_a_window_that_a_zombie_opens_late_is_nobodys(
    dsn: str,
    database: Database,
    shop: Path,  # noqa: F811
    connect: Connect,
    wakes_up: bool,
) -> None:
    """Both processes of a host are frozen, or lose their sessions, one of them just before it opens a window; a third takes over."""
    app = Rowcall("copies")
    app.watch("users")
    app.after("users", name="copies")(lambda event: None)
    near, far = keys_of(database, 0, 7), keys_of(database, 8, 15)
    holder = connect(autocommit=True)
    first = enlist(holder, "copies", process="elsewhere 2 b")
    holder.execute("select rowcall.claim_v1(%s, 8)", (first,))

    async def test(zombie: Worker, delivery: SyncDelivery) -> None:
        assert zombie.id is not None
        zombie.take(Roll({first: 8, zombie.id: 8}, [(first, 8), (None, 8)]))
        await zombie.rearrange()
        assert len(zombie.lanes) == 8
        # The first opens window 1, which shows nothing to the zombie, and dies before it delivers anything.
        write(database, near[0], near[0])
        holder.execute("insert into rowcall.window select id, 1, pg_current_snapshot() from rowcall.subscription")
        # The zombie finds something, and is frozen before it opens window 2 for it.
        write(database, far[0], far[0])
        frozen, wakes = asyncio.Event(), asyncio.Event()
        open_window = zombie._open_window

        async def slow(*arguments: Any) -> bool:
            frozen.set()
            await wakes.wait()
            return await open_window(*arguments)

        zombie._open_window = slow  # type: ignore[method-assign, assignment]
        reading = asyncio.create_task(zombie.read())
        await frozen.wait()
        holder.close()
        database.execute("select pg_terminate_backend(%s, 1000)", (delivery.connection.info.backend_pid,))
        write(database, near[1], near[1])
        # A third process takes all lanes, at one place, where numbers start anew.
        with programs(shop, dsn, 1):
            await eventually_async(lambda: _is(lambda: copied(database) == 3))
            await eventually_async(lambda: _is(lambda: spread(database) == [16]))
            if not wakes_up:
                reading.cancel()
            wakes.set()
            with suppress(Exception, asyncio.CancelledError):
                await reading
            with programs(shop, dsn, 1):
                await eventually_async(lambda: _is(lambda: spread(database) == [8, 8]))
                write(database, near[2], near[2])
                write(database, far[2], far[2])
                await eventually_async(lambda: _is(lambda: distinct() == 5))
                write(database, near[3], near[3])
                await eventually_async(lambda: _is(lambda: distinct() == 6))
        check_copies(database)

    def distinct() -> int:
        [(count,)] = database.execute("select count(distinct seq) from copies").fetchall()
        return int(count)

    async def _is(check: Callable[[], bool]) -> bool:
        return check()

    asyncio.run(with_worker(app, dsn, test))


def test_a_sync_handler_that_raises_cancelled_is_a_failure(dsn: str, database: Database) -> None:
    """As one does whose asyncio.run() awaited something that was cancelled. The TaskGroup takes it for the end of its own task."""
    seen: list[int] = []

    def handler(event: Event) -> None:
        if event.key["id"] == 1:
            raise asyncio.CancelledError
        seen.append(event.key["id"])

    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader")(handler)
    sync(app, dsn)
    write(database, 1, 3)

    async def run() -> None:
        listener = listener_for(app, dsn)
        running = asyncio.create_task(listener.run())
        try:
            await eventually_async(lambda: _seen(), timeout=4)
        finally:
            listener.stop()
            await running

    async def _seen() -> bool:
        return seen == [2, 3]

    asyncio.run(run())


def test_keys_that_are_equal_wait_for_each_other(dsn: str, database: Database) -> None:
    """1 and 1.0 are one key to PostgreSQL, and one lane; what is parked of the one holds back the other."""
    database.execute("create table prices (id numeric primary key, name text)")
    seen: list[str] = []

    def handler(event: Event) -> None:
        if (event.new or {}).get("name") == "fail":
            raise ValueError
        seen.append(event.operation)

    app = Rowcall()
    app.watch("prices")
    app.after("prices", name="reader")(handler)
    sync(app, dsn)
    database.execute("insert into prices values (1, 'fail')")
    database.execute("delete from prices")
    database.execute("insert into prices values (1.0, 'fine')")
    drain(app, dsn)
    assert seen == []


def test_a_retry_that_had_no_effect_learns_what_it_has(dsn: str, database: Database, connect: Connect) -> None:
    """As a slice does, see test_a_zombie_is_fenced_off_by_its_epoch. It spins, calling its handler again and again."""
    other = connect(autocommit=True)
    calls: list[int] = []

    def handler(event: Event) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        if len(calls) == 2:
            other.execute("update rowcall.cursor set epoch = epoch + 2")
        if len(calls) > 10:
            raise SystemExit("spinning")

    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader")(handler)
    sync(app, dsn)
    write(database, 1, 1)
    drain(app, dsn)
    database.execute("update rowcall.parked set due_at = now()")
    drain(app, dsn)
    assert len(calls) == 3


def test_lanes_that_are_merged_stay_careful(dsn: str, database: Database, connect: Connect) -> None:
    """Taken over from a process that died, and at the place of those one has: the event it died of is in neither on record."""
    other = connect(autocommit=True)
    on_record: list[int] = []

    def handler(event: Event) -> None:
        rows = other.execute("select seq from rowcall.suspect where seq = %s", (event.seq,)).fetchall()
        on_record.append(len(rows))

    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader")(handler)
    sync(app, dsn)
    holder = connect(autocommit=True)

    async def test(worker: Worker, _: Any) -> None:
        assert worker.id is not None
        dying = enlist(holder, "reader", process="elsewhere 2 b")
        worker.take(Roll({dying: 8, worker.id: 8}, [(None, 16)]))
        await worker.rearrange()
        holder.execute("select rowcall.claim_v1(%s, 8)", (dying,))
        gone = holder.info.backend_pid
        holder.close()
        # A server's process ends some time after its client has gone, and its lock with it.
        eventually(lambda: database.execute("select from pg_stat_activity where pid = %s", (gone,)).rowcount == 0)
        write(database, 1, 5)
        worker.take(Roll({worker.id: 16}, [(dying, 8), (worker.id, 8)]))
        await worker.rearrange()
        assert len(worker.lanes) == 16
        found = await worker.read()
        assert found is not None
        await worker.deliver(*found)

    asyncio.run(with_worker(app, dsn, test))
    assert on_record == [1] * 5


def test_a_batch_that_was_cut_is_no_death(dsn: str, database: Database) -> None:
    """A batch took too long together; trying its events alone, the process was killed once: by an upgrade, say."""
    seen: list[int] = []
    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader", batch=10)(lambda events: seen.extend(event.key["id"] for event in events))
    sync(app, dsn)
    write(database, 1, 1)
    database.execute("""
        insert into rowcall.suspect (subscription, seq, process, marked_at)
        select s.id, e.seq, process, now() - interval '10 s'
        from rowcall.subscription as s, rowcall.event as e, unnest('{cut,host 1 a}'::text[]) as process
    """)
    drain(app, dsn)
    assert database.execute("select error from rowcall.parked").fetchall() == []
    assert seen == [1]


def test_to_walk_through_a_window_costs_what_is_in_it(dsn: str, database: Database, connect: Connect) -> None:
    """Lanes that fell behind open one window after another; each must not cost the whole rest of the log."""
    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader")(lambda event: None)
    sync(app, dsn)
    write(database, 1, 1)
    database.execute("insert into rowcall.window select id, 1, pg_current_snapshot() from rowcall.subscription")
    for number in range(1000):
        write(database, 10 + number, 10 + number)
    database.execute("analyze rowcall.event")
    [(subscription, lower)] = database.execute("select subscription, lower::text from rowcall.cursor").fetchall()
    parameters = Cursor(lower).unseen() | {
        "subscription": subscription,
        "number": 1,
        "lanes": list(range(8)),
        "floor": 0,
        "schema": "public",
        "table": "users",
        "operations": ["insert", "update", "delete"],
        "columns": None,
        "limit": 500,
    }
    reader = connect(autocommit=True, cursor_factory=psycopg.ClientCursor)
    reader.execute("set plan_cache_mode = force_generic_plan")
    reader.execute("set enable_seqscan = off")
    query = "explain (analyze, format json) " + resources.queries("log")["new_window"]
    [(plan,)] = reader.execute(query, parameters).fetchall()

    def read(node: dict[str, Any]) -> int:
        own = node.get("Rows Removed by Filter", 0) if "event" in node.get("Relation Name", "") else 0
        return int(own) + sum(read(child) for child in node.get("Plans", ()))

    assert read(plan[0]["Plan"]) < 100
