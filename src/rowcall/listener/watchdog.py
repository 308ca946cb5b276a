"""Cutting calls of handlers that take too long, from the event loop, wherever they run."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from rowcall.handler import AfterHandler
from rowcall.listener.calls import Call, Overran

#: Seconds that a call that was cut may take to end.
GRACE = 2.0


class Watch:
    """Since when which call has been running; told by the one who calls, read by the one who oversees."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self._began = 0.0

    def begin(self, call: Call) -> None:
        """A call begins."""
        self._began = time.monotonic()
        self.call = call

    def end(self) -> None:
        """No call is running."""
        self.call = None

    def left(self, timeout: float) -> float:
        """Seconds until the running call has taken too long."""
        return timeout if self.call is None else self._began + timeout - time.monotonic()


class Overseen(Protocol):
    """What makes the calls."""

    @property
    def handler(self) -> AfterHandler: ...

    @property
    def watch(self) -> Watch: ...

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""

    async def cut(self) -> None:
        """Make the running call fail."""


async def oversee(delivery: Overseen, running: asyncio.Future[None]) -> None:
    """Await a transaction; a call in it that takes too long is cut.

    :raises Overran: for that one, if its connection is lost by it.
    """
    # What it comes to after we were cancelled concerns nobody.
    running.add_done_callback(lambda done: done.cancelled() or done.exception())
    watch, timeout = delivery.watch, delivery.handler.timeout
    call: Call | None = None
    while call is None:
        await asyncio.wait({running}, timeout=max(watch.left(timeout), 0.001))
        if running.done():
            return running.result()
        if watch.left(timeout) <= 0:
            call = watch.call
    await delivery.cut()
    await asyncio.wait({running}, timeout=GRACE)
    failed = not running.done() or running.cancelled() or running.exception() is not None
    if failed and (not running.done() or running.cancelled() or delivery.lost):
        raise Overran(call, timeout, stuck=not running.done())
    return running.result()
