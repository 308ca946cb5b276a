"""The app again, in a listener of which one precaution was taken out: ROWCALL_SABOTAGE names it.

What is broken here is no part of the public contract, so each of these says so when it does not find what it breaks.
"""

import os
from collections.abc import Callable
from typing import Any

import psycopg

from rowcall import resources
from rowcall.listener import sleep
from rowcall.listener.daemon import Listener
from rowcall.listener.lanes import Roll
from rowcall.listener.worker import Worker
from rowcall.postgres.wakeups import Doorbell, Place
from tests.torture import check, tables
from tests.torture.app import app

__all__ = ["app"]

_RUNNING = "xid = any (%(xip)s::xid8[])"


def forget_running_transactions() -> None:
    """Read what began after the last window, and not what was running when that was opened."""
    queries = resources.queries("log")
    broken = {name: query.replace(_RUNNING, "false") for name, query in queries.items() if _RUNNING in query}
    assert broken, "no query reads by a window of this kind"
    queries.update(broken)


def write_before_the_lock() -> list[str]:
    """Commit a change after the last reading and before the doorbell's lock is taken; and no backstop finds it.

    Once, as soon as all subscriptions have applied something, so that none of them is only about to read. What it returns is
    empty from then on.
    """
    lie_down = Doorbell.lie_down
    pending = [os.environ["ROWCALL_SABOTAGE_DSN"]]

    async def late(doorbell: Doorbell) -> Place:
        if pending and _write_if_all_have_read(pending[0]):
            pending.clear()
        return await lie_down(doorbell)

    def tell(listener: Listener, worker: Worker, roll: Roll) -> None:
        # Nor does a heartbeat wake anybody, because the lanes had not all been taken yet.
        if pending:
            heard(listener, worker, roll)

    heard = Listener._tell
    Listener._tell = tell  # type: ignore[method-assign, assignment]
    Doorbell.lie_down = late  # type: ignore[method-assign, assignment]
    assert sleep.BACKSTOP < 3600
    sleep.BACKSTOP = 3600.0
    return pending


def _write_if_all_have_read(dsn: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as connection:
        have_read = all(check.copied_counts(connection).values())
        if have_read:
            tables.insert_item(connection, 2)
    return have_read


def sleep_without_reading() -> None:
    """The same, and what was committed before the lock is not looked for when it is taken."""
    pending = write_before_the_lock()
    lie, read = sleep.Sleep._sleep, sleep.Sleep._have_all_read
    skipped: list[bool] = []

    async def lie_and_skip(self: Any, doorbell: Doorbell) -> bool:
        skipped.append(not pending)
        return await lie(self, doorbell)

    async def read_unless_skipped(self: Any) -> bool:
        return False if skipped and skipped.pop() else await read(self)

    sleep.Sleep._sleep = lie_and_skip  # type: ignore[method-assign, assignment]
    sleep.Sleep._have_all_read = read_unless_skipped  # type: ignore[method-assign]


_SABOTAGES: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "forget running transactions": forget_running_transactions,
    "write before the lock": write_before_the_lock,
    "sleep without reading": sleep_without_reading,
}

if __name__ != "__main__" and "ROWCALL_SABOTAGE" in os.environ:
    _SABOTAGES[os.environ["ROWCALL_SABOTAGE"]]()
