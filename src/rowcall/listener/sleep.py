"""When the subscriptions of a process read, and when it sleeps.

Subscriptions with nothing to read wait here; the bell-ringer wakes them. Awake, that is a poll every few milliseconds; when
a poll finds nothing it lies down: takes the doorbell's lock, has everybody read once more (what was committed before
the lock rang for nobody), and sleeps until somebody rings. As long as a subscription is at work it stays up, or every
writer would ring for events that will be read anyway. Behind an open writer the lock cannot be had, so polling goes on,
ever more slowly, up to :data:`SLOWEST_POLL`. Where another process sleeps, writers ring for both: this one only dozes,
and looks now and then whether the other is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from rowcall.postgres.wakeups import Alarm

#: Seconds between polls while events come: under load this, not NOTIFY, finds them.
LINGER = 0.02
#: Seconds between polls behind a long open writer: late by a quarter second at most, four trivial queries a second.
SLOWEST_POLL = 0.25
#: Seconds between polls of those who only poll, as behind a transaction pooler: one query a second and subscription.
ONLY_POLL = 1.0
#: Seconds after which a sleeper looks by itself, in case a ring got lost.
BACKSTOP = 5.0
#: Seconds between looks at whether the process whose sleep makes writers ring is still there.
DOZE = 2.0
#: Turns of the event loop between a wake-up and the queries that it comes to.
_TURNS = 3


class Sleep:
    """Where waiting subscriptions wait, and what wakes them. Each is known by its name.

    :param slowest: seconds between polls where there is nothing to read and no sleep.
    """

    def __init__(self, slowest: float = SLOWEST_POLL) -> None:
        self._slowest = slowest
        self._members: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        # Those who are to go round once more: nobody knows when the read began that they are at.
        self._again: set[str] = set()
        self._working: set[str] = set()
        self._reading: set[str] = set()
        self._found = False
        self._settled = asyncio.Event()
        self._over = False
        #: How often anybody had a reason to read: as long as it stays the same, nothing was committed.
        self.stirs = 0

    def join(self, who: str) -> None:
        """For a subscription, before it reads for the first time."""
        self._members.add(who)

    async def wait(self, who: str, timeout: float | None = None) -> None:
        """For a subscription that found nothing: return when there may be something.

        :param timeout: seconds after which it has something of its own to do.
        """
        self.join(who)
        self._working.discard(who)
        if self._over:
            return
        if who in self._again:
            self._again.discard(who)
            return
        self._reported(who)
        woken = asyncio.get_running_loop().create_future()
        self._waiting[who] = woken
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await woken
        finally:
            self._waiting.pop(who, None)

    def found(self, who: str) -> None:
        """For a subscription that found something, before it starts on it."""
        self._found = True
        self._working.add(who)
        self._reported(who)

    def leave(self, who: str) -> None:
        """For a subscription that does not read any more."""
        self._members.discard(who)
        self._again.discard(who)
        self._working.discard(who)
        self._reported(who)

    def _reported(self, who: str) -> None:
        self._reading.discard(who)
        if self._found or not self._reading:
            self._settled.set()

    def wake(self, who: str) -> None:
        """Wake one, or let it not wait the next time: it may be reading just now."""
        if (future := self._waiting.get(who)) is None:
            self._again.add(who)
        elif not future.done():
            future.set_result(None)

    def end(self) -> None:
        """Wake everybody who waits, and let nobody wait any more."""
        self._over = True
        self._wake()

    def _wake(self) -> None:
        for who in self._waiting:
            self.wake(who)

    async def _have_all_read(self) -> bool:
        """Have everybody read who is not at work; whether any of them found something."""
        self.stirs += 1
        self._reading, self._found = self._members - self._working, False
        self._again |= self._reading - self._waiting.keys()
        self._settled.clear()
        self._wake()
        if self._reading:
            await self._settled.wait()
        return self._found

    async def keep_watch(self, doorbell: Alarm) -> None:
        """Wake the waiting whenever there may be something to read; runs until cancelled."""
        pause, restless = LINGER, False
        while True:
            if await self._have_all_read():
                pause, restless = LINGER, False
            elif self._working or not self._waiting or (restless and pause < self._slowest):
                pause = min(pause * 2, self._slowest)
            else:
                place = await doorbell.lie_down()
                if place == "asleep":
                    restless = await self._sleep(doorbell)
                    pause = LINGER
                elif place == "another":
                    restless = await self._doze(doorbell)
                    pause = LINGER
                    continue
                else:
                    pause = min(pause * 2, self._slowest)
            await asyncio.sleep(pause)

    async def _doze(self, doorbell: Alarm) -> bool:
        """Have writers ring for another process's sleep, as long as that is there; whether somebody rang."""
        until = asyncio.get_running_loop().time() + BACKSTOP
        while asyncio.get_running_loop().time() < until:
            if await doorbell.wait(DOZE):
                return True
            place = await doorbell.lie_down()
            if place == "asleep":
                await doorbell.get_up()
            if place != "another":
                break
        return False

    async def _sleep(self, doorbell: Alarm) -> bool:
        """Sleep until there is something to read, or somebody rings; whether the ring was for nothing.

        Rings for tables that nobody here reads must not go on: each costs its writer a lock of the whole cluster.
        """
        # Without this second reading a commit between the last one and the lock would wake nobody.
        found = await self._have_all_read()
        while not found:
            if await doorbell.wait(BACKSTOP):
                found, _ = await asyncio.gather(self._have_all_read(), _soon(doorbell.get_up))
                return not found
            found = await self._have_all_read()
        await doorbell.get_up()
        return False


async def _soon(get_up: Callable[[], Awaitable[None]]) -> None:
    """Get up at once, or whoever else writes meanwhile rings as well; but not before the readers have sent their queries, for
    which a writer's event waits: until then they need as many turns of the loop.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    await get_up()
