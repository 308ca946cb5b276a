"""A listener that is told to stop ends, whatever it is at."""

import asyncio
from math import inf

import pytest

from rowcall import Event, Rowcall
from rowcall.listener import tasks
from tests.conftest import Database
from tests.listeners import listener_for, sync
from tests.waiting import eventually_async


@pytest.fixture
def app(dsn: str, database: Database) -> Rowcall:
    made = Rowcall("stopped")
    made.watch("users")

    @made.after("users")
    async def one(event: Event) -> None: ...

    @made.after("users")
    async def two(event: Event) -> None: ...

    sync(made, dsn)
    return made


@pytest.mark.parametrize("turns", range(0, 60, 6))
def test_several_stop_at_once(app: Rowcall, dsn: str, turns: int) -> None:
    """Each hears that the others go while its own tasks are cancelled, some turns of the loop earlier or later."""

    async def stop_all() -> None:
        listeners = [listener_for(app, dsn) for _ in range(3)]

        async def all_listen() -> bool:
            return all(listener._listening_since < inf for listener in listeners)

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for listener in listeners:
                group.create_task(listener.run())
            await eventually_async(all_listen)
            for listener in listeners:
                listener.stop()
                for _ in range(turns):
                    await asyncio.sleep(0)

    asyncio.run(stop_all())


def test_a_task_that_forgets_its_cancellation_is_cancelled_again() -> None:
    async def forgetful() -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue
        await asyncio.sleep(60)

    async def end_it() -> None:
        task = asyncio.create_task(forgetful())
        await asyncio.sleep(0)
        await tasks.end([task])
        assert task.cancelled()

    asyncio.run(end_it())


def test_a_task_that_failed_has_ended() -> None:
    async def failing() -> None:
        raise ValueError

    async def end_it() -> None:
        await tasks.end([asyncio.create_task(failing())])
        await tasks.end([])

    asyncio.run(end_it())
