"""One subscription in one process: which of its lanes it has, where they are, and how those that are apart meet.

Lanes at one place are read together, as one claim. Where other workers have the other lanes, all walk through the same windows,
so that an event which concerns lanes of several, a truncate or a change of a row's key, has the same place for each of them: there
they wait for each other, and the one in whose lane the event is at home delivers it. As all have the same order, the first such
event in it waits for nobody who waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from math import inf
from typing import Any

import psycopg
import structlog

from rowcall import errors, resources
from rowcall.handler import AfterHandler
from rowcall.listener.delivery import Delivery, NoEffect
from rowcall.listener.lanes import Roll
from rowcall.listener.subscription import FIRST_SLICE, SLICE, Subscription
from rowcall.listener.suspects import Process
from rowcall.postgres.claims import QUERIES, Claim
from rowcall.postgres.log import LANES, Cursor, LogReader, Slice, seq_of
from rowcall.selector import Topic

_WAKEUPS = resources.queries("wakeups")
_LOG = structlog.get_logger("rowcall")

#: Transactions that may go by before the cursor of a subscription with nothing to deliver is written down all the same:
#: after a restart it is read from there, and the log cannot be pruned beyond it.
STRIDE = 10_000
#: The same for lanes that are apart, which read all that again each time until somebody opens a window.
SHORT_STRIDE = 1_000
#: Seconds between looks at whether the others have come to where lanes meet.
MEETING = 0.02
#: Seconds for which lanes that a dead process left are handled with care, if there are not enough events before.
CAREFUL = 60.0
#: Seconds that a drain gives others to take lanes that nobody has: as long as it takes a process to start.
ABANDONED = 5.0
#: Windows of lanes that are apart, after which those that all are through with are forgotten.
PRUNE_EVERY = 100


class Worker:
    """Reads and delivers the lanes it has of a subscription."""

    def __init__(
        self, handler: AfterHandler, topic: Topic, reader: LogReader, delivery: Delivery, *, process: Process, most: int
    ) -> None:
        self.subscription = Subscription(handler, reader, delivery, process)
        self.id: int | None = None
        self._handler = handler
        self._topic = topic
        self._reader = reader
        self._delivery = delivery
        self._process = process
        self._most = most
        self._roll: Roll | None = None
        self._called = asyncio.Event()
        self._claims: dict[int, Claim] = {}
        self._meeting: dict[int, Slice] = {}
        self._look_again = 0.0
        self._alone_since = inf
        self._opened = 0
        self._reading: dict[int, tuple[Cursor, asyncio.Task[Slice]]] = {}

    @property
    def name(self) -> str:
        return self._handler.name

    @property
    def lanes(self) -> list[int]:
        """The lanes it has."""
        return [lane for claim in self._claims.values() for lane in claim.lanes]

    async def enlist(self, sessions: Sequence[int], *, locked: bool) -> bool:
        """Become a worker of the subscription; whether that could be, or somebody is about to drop it.

        :param sessions: the server's processes of the other sessions of this process: they end with it.
        :param locked: whether the delivery's connection is a session that can hold a lock.
        :raises UsageError: if there is no such subscription any more.
        """
        parameters = {
            "name": self.name,
            "lanes": self._most,
            "process": self._process.name,
            "locked": locked,
            "sessions": list(sessions),
        }
        rows = await self._delivery.fetch(QUERIES["enlist"], parameters)
        if not rows:
            raise errors.UsageError(
                f'There is no subscription {self.name} any more: "rowcall sync" creates it, from then on.'
            )
        [(self.subscription.id, self.id)] = rows
        await self.subscription.load()
        return self.id is not None

    async def leave(self) -> None:
        """Give up all lanes in good order, even if the connection they were delivered by is gone."""
        if self.id is not None:
            await self._reader.fetch(QUERIES["release"], {"worker": self.id, "kept": 0})
            self.id = None
            self._claims.clear()

    def take(self, roll: Roll) -> bool:
        """Hear who is there; whether that asks for something to be done."""
        assert self.id is not None
        surplus = roll.surplus(self.id)
        asked = roll.has_left_behind() or surplus > 0 or (surplus < 0 and roll.has_free())
        self._roll = roll if asked else None
        self._called.set()
        return asked

    async def until_called(self) -> None:
        """Return once it has heard who is there."""
        await self._called.wait()

    async def rearrange(self) -> None:
        """Take lanes that nobody has, and give some up if others have too few."""
        roll, self._roll = self._roll, None
        if roll is None or self.id is None:
            return
        if roll.has_left_behind():
            await self._end_dead()
            await self._claim(roll)
        elif roll.surplus(self.id) > 0:
            await self._delivery.fetch(QUERIES["release"], {"worker": self.id, "kept": roll.share(self.id)})
            await self._reload()
        else:
            await self._claim(roll)

    async def _end_dead(self) -> None:
        try:
            rows = await self._delivery.fetch(QUERIES["end_dead"], {"subscription": self.subscription.id})
        except psycopg.errors.InsufficientPrivilege as error:
            # Fenced off all the same; but what it locked stays locked as long as it is frozen.
            _LOG.warning("a frozen worker's session could not be ended", handler=self.name, error=str(error))
            return
        for process, _ in rows:
            _LOG.warning("ended the session of a worker that was not seen for long", handler=self.name, process=process)

    async def _claim(self, roll: Roll) -> None:
        assert self.id is not None
        parameters = {"worker": self.id, "most": roll.share(self.id)}
        left_behind = dict(await self._delivery.fetch(QUERIES["claim"], parameters))
        await self._reload()
        for cursor, process in left_behind.items():
            if process is not None and cursor in self._claims:
                self._claims[cursor].careful = SLICE
                self._claims[cursor].careful_until = time.monotonic() + CAREFUL
                _LOG.warning("took over", handler=self.name, lanes=len(self._claims[cursor].lanes), process=process)
        await self.subscription.load()

    async def _reload(self) -> None:
        """Learn anew which lanes are ours; those that have not changed hands stay where they are in memory."""
        self.forget()
        rows = await self._delivery.fetch(QUERIES["mine"], {"worker": self.id})
        known, self._claims = self._claims, {}
        self._meeting.clear()
        for row in rows:
            claim = Claim.of(row, FIRST_SLICE)
            before = known.get(claim.id)
            same = before is not None and (before.epoch, before.lanes) == (claim.epoch, claim.lanes)
            if before is not None:
                claim.size = before.size
            together = [old for old in known.values() if not set(old.lanes).isdisjoint(claim.lanes)]
            claim.careful = max((old.careful for old in together), default=0)
            claim.careful_until = max((old.careful_until for old in together), default=0.0)
            self._claims[claim.id] = before if before is not None and same else claim

    async def read(self) -> tuple[Claim, Slice] | None:
        """The next slice of the lanes that are behind the others; None if there is nothing to read."""
        try:
            return await self._read()
        except NoEffect:
            await self._learn_what_is_ours()
            return None

    async def _read(self) -> tuple[Claim, Slice] | None:
        await self._merge()
        now = asyncio.get_running_loop().time()
        if self._meeting and now >= self._look_again:
            return self._meet_again(now)
        for claim in sorted(self._claims.values(), key=lambda claim: claim.cursor.place):
            if claim.id not in self._meeting and (part := await self._next(claim)):
                return claim, part
        if self._meeting:
            await asyncio.sleep(MEETING)
            return self._meet_again(now)
        return None

    def _meet_again(self, now: float) -> tuple[Claim, Slice]:
        """The next of those that wait for others, in turn."""
        self._look_again = now + MEETING
        cursor = next(iter(self._meeting))
        part = self._meeting.pop(cursor)
        return self._claims[cursor], part

    async def _next(self, claim: Claim) -> Slice | None:
        """The next slice of a claim. Empty ones move the cursor in memory only: reading on from the older one finds the same."""
        while True:
            between = claim.cursor.upper is None and claim.cursor.stage is None
            part = await self._ahead(claim)
            if part.events:
                if part.opened or _has_all(claim) or await self._open_window(claim, part.start):
                    self._read_ahead(claim, part)
                    return part
                continue
            if between and not part.opened:
                await self._pass_by(claim, part)
                return None
            claim.cursor = part.after
            if claim.cursor.stage != claim.written.stage:
                await self._write(claim, claim.cursor)

    def _read_ahead(self, claim: Claim, part: Slice) -> None:
        """While a slice is delivered, read the next one of the same window."""
        if part.after.upper is not None or part.after.stage is not None:
            reading = asyncio.ensure_future(self._look(claim, part.after, claim.size))
            # What it failed with concerns nobody unless it is awaited.
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._reading[claim.id] = part.after, reading

    async def _ahead(self, claim: Claim) -> Slice:
        """The slice that was read ahead, if it is the next one."""
        cursor, reading = self._reading.pop(claim.id, (None, None))
        if reading is not None:
            if cursor == claim.cursor:
                return await reading
            reading.cancel()
        return await self._look(claim, claim.cursor, claim.size)

    def forget(self) -> None:
        """Nothing that was read ahead is wanted any more."""
        for _, reading in self._reading.values():
            reading.cancel()
        self._reading.clear()

    async def _look(self, claim: Claim, cursor: Cursor, limit: int) -> Slice:
        return await self._reader.read(
            self.subscription.id, claim.lanes, cursor, self._topic, self._handler.selector, limit=limit
        )

    async def _open_window(self, claim: Claim, start: Cursor) -> bool:
        """Have the other lanes read by the same window; whether it is ours, or another was opened first.

        :raises NoEffect: if the lanes are somebody else's.
        """
        parameters = {"cursor": claim.id, "epoch": claim.epoch, "number": start.number, "upper": start.upper}
        [(held, opened)] = await self._reader.fetch(QUERIES["open_window"], parameters)
        if not held:
            raise NoEffect(f"Lanes of {self.name} changed hands while they were read.")
        self._opened += opened
        if self._opened >= PRUNE_EVERY:
            self._opened = 0
            await self._reader.fetch(QUERIES["prune_windows"], {"subscription": self.subscription.id})
        return bool(opened)

    async def _pass_by(self, claim: Claim, part: Slice) -> None:
        """Nothing is there now. Lanes that are apart stay at the last window that they know to be everybody's."""
        if _has_all(claim):
            claim.cursor = part.after
            if claim.cursor.transactions_since(claim.written) >= STRIDE:
                await self._write(claim, claim.cursor)
            return
        if claim.cursor != claim.written:
            # Others may wait for these lanes at an event that they do not ask for.
            await self._write(claim, claim.cursor)
        if part.after.transactions_since(claim.cursor) >= SHORT_STRIDE and await self._open_window(claim, part.start):
            await self._write(claim, part.after)

    async def _write(self, claim: Claim, cursor: Cursor) -> None:
        await self.deliver(claim, Slice((), claim.cursor, cursor))

    async def _merge(self) -> None:
        """Read lanes together again that have come to the same place."""
        places = {claim.cursor for claim in self._claims.values()}
        if len(places) == len(self._claims):
            return
        for claim in self._claims.values():
            if claim.cursor != claim.written:
                await self._write(claim, claim.cursor)
        await self._delivery.fetch(QUERIES["merge"], {"worker": self.id})
        await self._reload()

    async def deliver(self, claim: Claim, part: Slice) -> None:
        """Deliver a slice, up to where lanes of others have to be met."""
        try:
            await self._deliver(claim, part)
        except NoEffect:
            await self._learn_what_is_ours()

    async def _learn_what_is_ours(self) -> None:
        """After something had no effect: lanes have changed hands, or we are nobody any more."""
        await self._check_enlisted()
        await self._reload()

    async def _deliver(self, claim: Claim, part: Slice) -> None:
        index = _crossing(claim, part)
        if index is None:
            await self.subscription.deliver(claim, part.events, part.start, part.after)
        elif index:
            before = part.start.past(seq_of(part.events[index]) - 1)
            await self.subscription.deliver(claim, part.events[:index], part.start, before)
        else:
            await self._meet(claim, part)

    async def _meet(self, claim: Claim, part: Slice) -> None:
        """Wait at the first event of a slice until all the lanes it concerns are there, or it is delivered."""
        event = part.events[0]
        lanes = part.concerns[seq_of(event)]
        here, past = part.start.past(seq_of(event) - 1), part.past(event)
        if claim.written != here:
            await self.subscription.deliver(claim, (), part.start, here)
        others = [other for other in await self.all_claims() if other.id != claim.id]
        # What is parked of the one key has to be known to those who deliver the other.
        await self.subscription.reload_parked()
        if lanes[0] in claim.lanes:
            concerned = [other for other in others if not set(lanes).isdisjoint(other.lanes)]
            if all(other.written.place >= here.place for other in concerned):
                await self.subscription.deliver(claim, [event], here, past)
                return
        elif any(lanes[0] in other.lanes and other.written.place >= past.place for other in others):
            await self.subscription.deliver(claim, (), here, past)
            return
        self._meeting[claim.id] = part

    async def all_claims(self) -> list[Claim]:
        """All lanes of the subscription, whoever has them, as the database has them."""
        rows = await self._delivery.fetch(QUERIES["all"], {"subscription": self.subscription.id})
        return [Claim.of(row, 1) for row in rows]

    async def _check_enlisted(self) -> None:
        """After something had no effect: whether we are still who we were.

        :raises UsageError: if the subscription is gone.
        :raises Unreachable: if others took us for dead; with new connections we join them again.
        """
        parameters = {"worker": self.id, "subscription": self.subscription.id, "name": self.name}
        [(enlisted, exists)] = await self._delivery.fetch(QUERIES["is_enlisted"], parameters)
        if not exists:
            raise NoEffect
        if not enlisted:
            raise self.replaced()

    def replaced(self) -> errors.Unreachable:
        """What it means that the database does not know this worker any more: the process has to come back as another one."""
        return errors.Unreachable(f"{self.name} was taken over by others, who had not seen this process for long.")

    async def next_retry(self) -> float | None:
        """Seconds until something parked in its lanes may be tried again; None if nothing may."""
        return await self.subscription.next_retry(self.lanes)

    async def retry(self) -> None:
        """Deliver what was parked and is due."""
        for claim in list(self._claims.values()):
            try:
                await self.subscription.retry(claim)
            except NoEffect:
                await self._learn_what_is_ours()
                return
        if not all(map(_has_all, self._claims.values())):
            # In other lanes something may have waited behind it.
            await self._delivery.fetch(_WAKEUPS["ring"], {})

    @property
    def is_held_up(self) -> bool:
        """Whether all its lanes wait for others."""
        return bool(self._meeting) and self._meeting.keys() == self._claims.keys()

    async def unread(self) -> list[Claim]:
        """The lanes with something to deliver, whoever has them."""
        return [claim for claim in await self.all_claims() if await self._has_unread(claim)]

    async def _has_unread(self, claim: Claim) -> bool:
        cursor = claim.cursor
        while True:
            part = await self._look(claim, cursor, 1)
            if part.events or not part.opened:
                return bool(part.events)
            cursor = part.after

    async def abandoned(self, unread: Sequence[Claim]) -> list[int]:
        """The lanes, of those with something to deliver, that nobody has had for :data:`ABANDONED` seconds, if they alone keep
        the subscription from being drained: by what is in them, or because ours wait for them.
        """
        free = {
            cursor for (cursor,) in await self._delivery.fetch(QUERIES["free"], {"subscription": self.subscription.id})
        }
        left = [claim for claim in unread if claim.id not in self._meeting]
        now = asyncio.get_running_loop().time()
        if not left or any(claim.id not in free for claim in left):
            self._alone_since = inf
            return []
        self._alone_since = min(self._alone_since, now)
        return sorted(lane for claim in left for lane in claim.lanes) if now - self._alone_since >= ABANDONED else []


def _has_all(claim: Claim) -> bool:
    return len(claim.lanes) == LANES


def _crossing(claim: Claim, part: Slice) -> int | None:
    """The first event of a slice that concerns lanes which the claim does not have."""
    if not part.concerns:
        return None
    own: set[Any] = set(claim.lanes)
    for index, event in enumerate(part.events):
        if not own.issuperset(part.concerns.get(seq_of(event), ())):
            return index
    return None
