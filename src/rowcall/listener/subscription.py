"""One subscription at work: read a slice, deliver it, retry what failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import structlog

from rowcall import errors, resources
from rowcall.errors import describe
from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.listener.delivery import Call, CallFailed, Delivery, NoEffect, Statement
from rowcall.listener.parked import ParkedKeys
from rowcall.listener.retry import MAX_ATTEMPTS, delay_after
from rowcall.postgres.log import Cursor, LogReader, Slice
from rowcall.selector import Topic

_QUERIES = resources.queries("delivery")
_LOG = structlog.get_logger("rowcall")

#: Most events read at a time. Large enough that the cursor's update is nothing beside them.
SLICE = 500
#: What a slice starts with: nobody knows yet how long the handler takes.
FIRST_SLICE = 20
#: Seconds a slice should take at most: so long does a listener that was told to stop go on, and a transaction stay open.
PATIENCE = 1.0
#: Transactions that may go by before the cursor of a subscription with nothing to deliver is written down all the same:
#: after a restart it is read from there, and the log cannot be pruned beyond it.
STRIDE = 10_000


class Subscription:
    """Delivers one handler's events in order. Its claim on the subscription is a lock of the delivery's session."""

    def __init__(self, handler: AfterHandler, topic: Topic, reader: LogReader, delivery: Delivery) -> None:
        self._handler = handler
        self._topic = topic
        self._reader = reader
        self._delivery = delivery
        self._id: int | None = None
        self._claimed = False
        self._cursor = Cursor("")
        self._written = self._cursor
        self._parked = ParkedKeys()
        self._size = FIRST_SLICE

    async def claim(self) -> bool:
        """Take the subscription; whether it is ours now, or another process has it.

        :raises UsageError: if there is no such subscription any more.
        """
        self._id, self._claimed = await self._found("claim", name=self.name)
        self._cursor = self._written = Cursor(*await self._found("cursor", **self._mine(name=self.name)))
        await self._reload_parked()
        return self._claimed

    async def _found(self, query: str, **parameters: Any) -> Any:
        rows = await self._delivery.fetch(_QUERIES[query], parameters)
        if not rows:
            raise errors.UsageError(
                f'There is no subscription {self.name} any more: "rowcall sync" creates it, from then on.'
            )
        return rows[0]

    def _mine(self, **more: Any) -> dict[str, Any]:
        return {"subscription": self._id, **more}

    @property
    def name(self) -> str:
        return self._handler.name

    async def read(self) -> Slice:
        """The next slice. An empty one moves the cursor in memory only: reading on from the older one finds the same."""
        part = await self._reader.read(self._cursor, self._topic, self._handler.selector, self._size)
        if not part.events:
            self._cursor = part.after
            if self._claimed and self._cursor.transactions_since(self._written) >= STRIDE:
                await self._deliver([], {}, part.after)
        return part

    async def deliver(self, part: Slice) -> None:
        """Deliver a slice, and with it, in one transaction, the cursor.

        A failure rolls all of it back; then what came before the failing event is delivered, the event is parked, and what comes
        after is delivered. So an event is handled twice at most, however many others fail.
        """
        started = time.monotonic()
        rest = [event for event in part.events if self._handler.selector.wants(event)]
        if any(self._parked.block(event) for event in rest):
            # Not behind what a person skipped meanwhile.
            await self._reload_parked()
        failures: dict[int | None, BaseException] = {}
        alone: set[int | None] = set()
        settled = False
        while not settled:
            group = _next_group(rest, failures, alone)
            settled = len(group) == len(rest)
            try:
                await self._deliver(group, failures, part.after if settled else part.past(group[-1]))
            except Exception as error:  # noqa: BLE001 - a handler may fail in any way
                settled = False
                self._isolate(self._suspects(error, group, failures), error, failures, alone)
            else:
                rest = rest[len(group) :]
        self._pace(len(part.events), time.monotonic() - started)

    async def _deliver(self, group: Sequence[Event], failures: dict[int | None, BaseException], after: Cursor) -> None:
        """One transaction: calls for the events that are free, parks for those that wait or have failed, the cursor."""
        parked = self._parked.copy()
        parks: list[Statement] = []
        free: list[Event] = []
        for event in group:
            if parked.block(event):
                parks.append(self._park(event, None))
            elif event.seq in failures:
                parks.append(self._park(event, failures[event.seq]))
            else:
                free.append(event)
                continue
            parked.add(event)
        position = self._mine(lower=after.lower, upper=after.upper, last_seq=after.last_seq, delivered=len(free))
        await self._delivery.transact(self._calls(free), [*parks, (_QUERIES["advance"], position)])
        self._cursor = self._written = after
        self._parked = parked

    def _calls(self, events: Sequence[Event]) -> list[Call]:
        size = self._handler.batch
        return [events[start : start + size] for start in range(0, len(events), size)]

    def _suspects(
        self, error: Exception, group: Sequence[Event], failures: dict[int | None, BaseException]
    ) -> Sequence[Event]:
        """The events one of which made a transaction fail.

        :raises Unreachable: if it failed because the connection is gone.
        """
        if self._delivery.lost:
            raise errors.Unreachable(f"The connection of {self.name} was lost: {describe(error)}.") from error
        if isinstance(error, errors.RowcallError):
            raise error
        if isinstance(error, CallFailed):
            return error.call
        # The commit failed, as by a deferred constraint: any event that was called for could be the reason.
        called = [event for event in group if event.seq not in failures and not self._parked.block(event)]
        if not called:
            raise error
        return called

    def _isolate(
        self,
        suspects: Sequence[Event],
        error: Exception,
        failures: dict[int | None, BaseException],
        alone: set[int | None],
    ) -> None:
        if len(suspects) > 1:
            alone |= {event.seq for event in suspects}
            return
        [event] = suspects
        failures[event.seq] = cause = _cause(error)
        _LOG.warning("parked", handler=self.name, seq=event.seq, error=describe(cause))

    def _pace(self, events: int, seconds: float) -> None:
        """Larger slices while they take little time, smaller ones when they take long."""
        if seconds > PATIENCE:
            self._size = max(1, self._size // 2)
        elif events == self._size and seconds < PATIENCE / 4:
            self._size = min(SLICE, self._size * 2)

    def _park(self, event: Event, error: BaseException | None) -> Statement:
        return _QUERIES["park"], self._mine(
            seq=event.seq,
            relation=event.relation,
            key=event.raw_key.decode() if event.raw_key else None,
            next_key=event.raw_next_key.decode() if event.raw_next_key else None,
            attempts=0 if error is None else 1,
            delay=0.0 if error is None else delay_after(1, error),
            error=None if error is None else describe(error),
        )

    async def heads(self) -> list[tuple[int, int, float]]:
        """Seq, attempts and seconds until the next one, of the parked events that can be tried again, soonest first."""
        return await self._delivery.fetch(_QUERIES["heads"], self._mine()) if self._parked else []

    async def retry(self, heads: Sequence[tuple[int, int, float]]) -> None:
        """Deliver the parked events whose time has come, each in a transaction of its own."""
        due = sorted((seq, attempts) for seq, attempts, _ in takewhile(lambda head: head[2] <= 0, heads))
        events = await self._reader.by_seq([seq for seq, _ in due])
        for seq, attempts in due:
            await self._retry(events[seq], attempts + 1)
        await self._reload_parked()

    async def _reload_parked(self) -> None:
        self._parked = ParkedKeys(await self._delivery.fetch(_QUERIES["parked_keys"], self._mine()))

    async def _retry(self, event: Event, attempts: int) -> None:
        done = [
            (_QUERIES["delivered_late"], self._mine(seq=event.seq)),
            (_QUERIES["count_delivered"], self._mine(delivered=1)),
        ]
        try:
            await self._delivery.transact([[event]], done)
        except NoEffect:
            _LOG.warning("skipped while it was tried, so rolled back", handler=self.name, seq=event.seq)
        except Exception as error:  # noqa: BLE001 - a handler may fail in any way
            self._suspects(error, [event], {})
            await self._failed_again(event, attempts, _cause(error))

    async def _failed_again(self, event: Event, attempts: int, error: BaseException) -> None:
        dead = attempts >= MAX_ATTEMPTS
        failed = self._mine(
            seq=event.seq, attempts=attempts, dead=dead, delay=delay_after(attempts, error), error=describe(error)
        )
        await self._delivery.fetch(_QUERIES["failed_again"], failed)
        log = _LOG.error if dead else _LOG.warning
        what = "dead letter" if dead else "failed again"
        log(what, handler=self.name, seq=event.seq, attempts=attempts, error=describe(error))

    async def left_over(self) -> tuple[int, int]:
        """How many events wait for a retry, and how many are dead letters."""
        [row] = await self._delivery.fetch(_QUERIES["left_over"], self._mine())
        return row  # type: ignore[no-any-return]


def _next_group(
    rest: Sequence[Event], failures: dict[int | None, BaseException], alone: set[int | None]
) -> Sequence[Event]:
    """The events for the next transaction: up to one that failed, before those that have to be tried alone, or one of those."""
    for index, event in enumerate(rest):
        if event.seq in failures:
            return rest[: index + 1]
        if event.seq in alone:
            return rest[: max(index, 1)]
    return rest


def _cause(error: BaseException) -> BaseException:
    """What the handler itself raised."""
    return error.__cause__ if isinstance(error, CallFailed) and error.__cause__ is not None else error
