"""One subscription at work: read a slice, deliver it, retry what failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from rowcall import resources
from rowcall.errors import describe
from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.listener.delivery import Call, Delivery, Statement
from rowcall.listener.retry import MAX_ATTEMPTS, delay_after
from rowcall.postgres.log import Cursor, LogReader, Slice
from rowcall.selector import Topic

_QUERIES = resources.queries("delivery")
_LOG = structlog.get_logger("rowcall")

#: Events read at a time. Large enough that the cursor's update is nothing beside them.
SLICE = 500

RowKey = tuple[int, bytes | None]


def row_key(event: Event) -> RowKey:
    """What order is kept for."""
    return event.relation, event.raw_key


class Subscription:
    """Delivers one handler's events in order. Its claim on the subscription is a lock of the delivery's session."""

    def __init__(self, handler: AfterHandler, topic: Topic, reader: LogReader, delivery: Delivery) -> None:
        self._handler = handler
        self._topic = topic
        self._reader = reader
        self._delivery = delivery
        self._id: int | None = None
        self._cursor = Cursor("")
        self._parked: set[RowKey] = set()

    async def claim(self) -> bool:
        """Take the subscription, unless another process has it."""
        [(claimed,)] = await self._delivery.fetch(_QUERIES["claim"], {"name": self._handler.name})
        if claimed is None:
            return False
        self._id = claimed
        await self._reload()
        return True

    async def _reload(self) -> None:
        [row] = await self._delivery.fetch(_QUERIES["cursor"], self._mine())
        self._cursor = Cursor(*row)
        await self._reload_parked()

    def _mine(self, **more: Any) -> dict[str, Any]:
        return {"subscription": self._id, **more}

    @property
    def name(self) -> str:
        return self._handler.name

    async def read(self) -> Slice:
        """The next slice. An empty one moves the cursor in memory only: reading on from the older one finds the same."""
        part = await self._reader.read(self._cursor, self._topic, self._handler.selector, SLICE)
        if not part.events:
            self._cursor = part.after
        return part

    async def deliver(self, part: Slice) -> None:
        """Deliver a slice, and with it, in one transaction, the cursor."""
        wanted = [event for event in part.events if self._handler.selector.wants(event)]
        blocked = [event for event in wanted if row_key(event) in self._parked]
        free = [event for event in wanted if row_key(event) not in self._parked]
        after = part.after
        position = self._mine(lower=after.lower, upper=after.upper, last_seq=after.last_seq, delivered=len(free))
        parks = [self._park(event, 0, 0.0, None) for event in blocked]
        await self._deliver(self._calls(free), [*parks, (_QUERIES["advance"], position)])
        self._cursor = after

    def _calls(self, events: Sequence[Event]) -> list[Call]:
        size = self._handler.batch
        return [events[start : start + size] for start in range(0, len(events), size)]

    async def _deliver(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        try:
            await self._delivery.straight(calls, statements)
        except Exception as error:
            if self._delivery.lost:
                raise
            _LOG.warning("a handler failed; isolating the event", handler=self._handler.name, error=describe(error))
            await self._isolate(calls, statements)

    async def _isolate(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        """Event by event: what fails is parked, and in order behind it what follows of its key."""
        failed: set[RowKey] = set()

        def aftermath(event: Event, error: Exception) -> list[Statement]:
            failed.add(row_key(event))
            return [self._park(event, 1, delay_after(1, error), describe(error))]

        def behind(event: Event) -> Statement | None:
            return self._park(event, 0, 0.0, None) if row_key(event) in failed else None

        events = [event for call in calls for event in call]
        await self._delivery.careful(events, aftermath, behind, statements)
        self._parked |= failed

    def _park(self, event: Event, attempts: int, delay: float, error: str | None) -> Statement:
        key = event.raw_key.decode() if event.raw_key else None
        return _QUERIES["park"], self._mine(
            seq=event.seq, relation=event.relation, key=key, attempts=attempts, delay=delay, error=error
        )

    async def due(self) -> list[tuple[int, int]]:
        """Seq and attempts of the parked events whose time has come."""
        return await self._delivery.fetch(_QUERIES["due"], self._mine()) if self._parked else []

    async def retry(self, due: Sequence[tuple[int, int]]) -> None:
        """Deliver parked events again, each in a transaction of its own."""
        events = await self._reader.by_seq([seq for seq, _ in due])
        for seq, attempts in due:
            await self._retry(events[seq], attempts + 1)
        await self._reload_parked()

    async def _reload_parked(self) -> None:
        rows = await self._delivery.fetch(_QUERIES["parked_keys"], self._mine())
        self._parked = {(relation, key) for relation, key in rows}

    async def _retry(self, event: Event, attempts: int) -> None:
        done = [
            (_QUERIES["delivered_late"], self._mine(seq=event.seq)),
            (_QUERIES["count_delivered"], self._mine(delivered=1)),
        ]
        try:
            await self._delivery.straight([[event]], done)
        except Exception as error:
            if self._delivery.lost:
                raise
            dead = attempts >= MAX_ATTEMPTS
            failed = self._mine(
                seq=event.seq, attempts=attempts, dead=dead, delay=delay_after(attempts, error), error=describe(error)
            )
            await self._delivery.fetch(_QUERIES["failed_again"], failed)
            log = _LOG.error if dead else _LOG.warning
            log("dead letter" if dead else "failed again", handler=self._handler.name, seq=event.seq, attempts=attempts)

    async def next_due(self) -> float | None:
        """Seconds until a parked event wants to be tried, None if none waits."""
        if not self._parked:
            return None
        [(seconds,)] = await self._delivery.fetch(_QUERIES["next_due"], self._mine())
        return None if seconds is None else max(0.0, seconds)

    async def left_over(self) -> tuple[int, int]:
        """How many events wait for a retry, and how many are dead letters."""
        [row] = await self._delivery.fetch(_QUERIES["left_over"], self._mine())
        return row  # type: ignore[no-any-return]
