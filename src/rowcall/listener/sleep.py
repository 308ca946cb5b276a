"""When the subscriptions of a process read, and when it sleeps.

Subscriptions with nothing to read wait here; the bell-ringer wakes them. Awake, that is a poll every few milliseconds; when
a poll finds nothing it lies down: takes the doorbell's lock, has everybody read once more (what was committed before
the lock rang for nobody), and sleeps until somebody rings. Behind an open writer the lock cannot be had, so polling goes on,
ever more slowly, up to :data:`SLOWEST_POLL`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from rowcall.postgres.wakeups import Doorbell

#: Seconds between polls while events come: under load this, not NOTIFY, finds them.
LINGER = 0.02
#: Seconds between polls behind a long open writer: late by a quarter second at most, four trivial queries a second.
SLOWEST_POLL = 0.25
#: Seconds after which a sleeper looks by itself, in case a ring got lost.
BACKSTOP = 5.0


class Sleep:
    """Where waiting subscriptions wait, and what wakes them. Each is known by its name."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._reading: set[str] = set()
        self._found = False
        self._settled = asyncio.Event()

    async def wait(self, who: str, timeout: float | None = None) -> None:
        """For a subscription that found nothing: return when there may be something.

        :param timeout: seconds after which it has something of its own to do.
        """
        self._reported(who)
        woken = asyncio.get_running_loop().create_future()
        self._waiting[who] = woken
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(woken, timeout)
        finally:
            self._waiting.pop(who, None)

    def found(self, who: str) -> None:
        """For a subscription that found something, before it starts on it."""
        self._found = True
        self._reported(who)

    def _reported(self, who: str) -> None:
        self._reading.discard(who)
        if self._found or not self._reading:
            self._settled.set()

    def wake(self) -> None:
        """Wake everybody who waits."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    async def _have_all_read(self) -> bool:
        """Wake everybody who waits; whether any of them found something."""
        self._reading, self._found = set(self._waiting), False
        self._settled.clear()
        self.wake()
        if self._reading:
            await self._settled.wait()
        return self._found

    async def keep_watch(self, doorbell: Doorbell) -> None:
        """Wake the waiting whenever there may be something to read; runs until cancelled."""
        pause = LINGER
        while True:
            await asyncio.sleep(pause)
            if await self._have_all_read():
                pause = LINGER
            elif not await doorbell.lie_down():
                pause = min(pause * 2, SLOWEST_POLL)
            else:
                await self._sleep(doorbell)
                pause = LINGER

    async def _sleep(self, doorbell: Doorbell) -> None:
        # Without this second reading a commit between the last one and the lock would wake nobody.
        found = await self._have_all_read()
        while not found:
            await doorbell.wait(BACKSTOP)
            found = await self._have_all_read()
        await doorbell.get_up()
