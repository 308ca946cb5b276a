"""One subscription at work: deliver a slice, park what fails, retry it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from rowcall import errors, resources
from rowcall.errors import describe
from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.listener.calls import Call, CallFailed, ConnectionCut, Overran
from rowcall.listener.delivery import Delivery, NoEffect, Statement
from rowcall.listener.parked import Parked, ParkedKeys
from rowcall.listener.retry import MAX_ATTEMPTS, delay_after
from rowcall.listener.suspects import Process, Suspects
from rowcall.postgres.claims import Claim
from rowcall.postgres.log import Cursor, LogReader, seq_of

_QUERIES = resources.queries("delivery")
_LOG = structlog.get_logger("rowcall")

#: Most events read at a time. Large enough that the cursor's update is nothing beside them.
SLICE = 500
#: What a slice starts with: nobody knows yet how long the handler takes.
FIRST_SLICE = 20
#: Seconds a slice should take at most: so long does a listener that was told to stop go on, and a transaction stay open.
PATIENCE = 1.0

#: What events failed with, by seq.
Failures = dict[int | None, BaseException]


class Subscription:
    """Delivers one handler's events in order.

    :ivar id: the subscription's, once its worker is enlisted.
    """

    def __init__(self, handler: AfterHandler, reader: LogReader, delivery: Delivery, process: Process) -> None:
        self._handler = handler
        self._reader = reader
        self._delivery = delivery
        self._parked = ParkedKeys()
        self._process = process
        self._suspects = Suspects(process)
        self.id = 0

    @property
    def name(self) -> str:
        return self._handler.name

    async def load(self) -> None:
        """Learn what is parked, and what processes died of."""
        await self.reload_parked()
        await self._suspects.load(self._delivery, self.id)

    def _mine(self, **more: Any) -> dict[str, Any]:
        return {"subscription": self.id, **more}

    async def deliver(self, claim: Claim, events: Sequence[Event], start: Cursor, after: Cursor) -> None:
        """Deliver consecutive events, and with them, in one transaction, the cursor.

        A failure rolls all of it back; then what came before the failing event is delivered, the event is parked, and what comes
        after is delivered. So an event is handled twice at most, however many others fail.
        """
        started = time.monotonic()
        if started > claim.careful_until:
            claim.careful = 0
        rest = events
        if self._parked and any(self._parked.block(event) for event in rest):
            # Not behind what a person skipped meanwhile.
            await self.reload_parked()
        failures: Failures = {}
        alone = await self._to_try_alone(claim, rest)
        for event in rest if alone else ():
            if known := self._suspects.verdict(event.seq):
                self._note_failure(event, known, failures)
        settled = False
        while not settled:
            group = _next_group(rest, failures, alone)
            settled = len(group) == len(rest)
            try:
                await self._deliver(claim, group, failures, after if settled else start.past(seq_of(group[-1])))
            except Exception as error:  # noqa: BLE001 - a handler may fail in any way
                settled = False
                if failed := await self._to_blame(error, group, failures, alone):
                    self._note_failure(failed, _cause(error), failures)
            else:
                rest = rest[len(group) :]
        claim.careful = max(0, claim.careful - len(events))
        self._pace(claim, len(events), time.monotonic() - started)

    async def _deliver(self, claim: Claim, group: Sequence[Event], failures: Failures, after: Cursor) -> None:
        """One transaction: calls for the events that are free, parks for those that wait or have failed, records of those that
        the handler rejected, the cursor.
        """
        parked = self._parked.copy()
        parks: list[Statement] = []
        untroubled = not (parked or failures)
        free = list(group) if untroubled else []
        rejected = 0
        for event in () if untroubled else group:
            if parked.block(event):
                parks.append(self._park(event, None))
            elif isinstance(verdict := failures.get(event.seq), errors.Reject):
                parks.append(self._violation(event, verdict))
                rejected += 1
                continue
            elif event.seq in failures:
                parks.append(self._park(event, failures[event.seq]))
            else:
                free.append(event)
                continue
            parked.add(event)
        advance = Statement(_QUERIES["advance"], claim.position(after, len(free) + rejected))
        async with self._on_record(claim, free):
            cleared = self._suspects.among(group)
            await self._delivery.transact(self._calls(free), [*parks, *self._clear(cleared), advance])
        claim.cursor = claim.written = after
        self._suspects.forget(cleared)
        self._parked = parked

    @asynccontextmanager
    async def _on_record(self, claim: Claim, events: Sequence[Event]) -> AsyncIterator[None]:
        """After a process died: have on record which event is tried, in case that is the one."""
        seqs = self._doubtful(claim, events)
        if not seqs:
            yield
            return
        async with self._process.alone:
            statement = self._suspects.mark(self.id, seqs)
            await self._delivery.fetch(statement.query, statement.parameters)
            yield

    def _doubtful(self, claim: Claim, events: Sequence[Event]) -> list[int | None]:
        """Those of some events at which a process may have died."""
        return [event.seq for event in events if claim.careful or event.seq in self._suspects]

    async def _to_try_alone(self, claim: Claim, events: Sequence[Event]) -> set[int | None]:
        """The same, once it is certain what is known of them."""
        if not (claim.careful or self._suspects):
            return set()
        await self._suspects.make_certain(self._delivery, self.id, events)
        return set(self._doubtful(claim, events))

    def _clear(self, seqs: Sequence[int | None]) -> list[Statement]:
        if not seqs:
            return []
        return [Statement(_QUERIES["clear_suspects"], self._mine(seqs=list(seqs)), writes=None)]

    def _calls(self, events: Sequence[Event]) -> list[Call]:
        size = self._handler.batch
        return [events[start : start + size] for start in range(0, len(events), size)]

    async def _to_blame(
        self, error: Exception, group: Sequence[Event], failures: Failures, alone: set[int | None]
    ) -> Event | None:
        """The event that made a transaction fail; None if it may be one of several, which are tried alone then."""
        suspects = await self._suspected(error, group, failures)
        if len(suspects) == 1:
            return suspects[0]
        alone |= {event.seq for event in suspects}
        return None

    async def _suspected(self, error: Exception, group: Sequence[Event], failures: Failures) -> Sequence[Event]:
        """The events one of which made a transaction fail.

        :raises Unreachable: if it failed because the connection is gone.
        """
        if isinstance(error, Overran):
            await self._give_up(error)
        if self._delivery.lost:
            raise errors.Unreachable(f"The connection of {self.name} was lost: {describe(_cause(error))}.") from error
        if isinstance(error, errors.RowcallError):
            raise error
        if isinstance(error, CallFailed):
            return error.call
        # The commit failed, as by a deferred constraint: any event that was called for could be the reason.
        called = [event for event in group if event.seq not in failures and not self._parked.block(event)]
        if not called:
            raise error
        return called

    async def _give_up(self, overran: Overran) -> None:
        """A call that had to be cut with its connection: on record it counts as failed, or as to be tried event by event.

        :raises ConnectionCut: always: the connection is made anew.
        :raises Stuck: if the process has to.
        """
        seqs = [event.seq for event in overran.call]
        told = str(overran) if len(seqs) == 1 else None
        # By the reader's connection; by another name, because what a process left of itself does not count.
        statement = self._suspects.mark(self.id, seqs, told)
        parameters = statement.parameters | {"process": "cut"}
        await self._reader.fetch(statement.query, parameters)
        _LOG.warning("cut", handler=self.name, seq=seqs[0], events=len(seqs), error=str(overran))
        if overran.stuck:
            raise errors.Stuck(f"Handler {self.name}: {overran} and cannot be stopped, but with its process.")
        raise ConnectionCut(f"The connection of {self.name} was ended: {overran}.")

    def _note_failure(self, event: Event, cause: BaseException, failures: Failures) -> None:
        failures[event.seq] = cause
        what = "rejected" if isinstance(cause, errors.Reject) else "parked"
        _LOG.warning(what, handler=self.name, seq=event.seq, error=describe(cause))

    def _pace(self, claim: Claim, events: int, seconds: float) -> None:
        """Larger slices while they take little time, smaller ones when they take long."""
        if seconds > PATIENCE:
            claim.size = max(1, claim.size // 2)
        elif events == claim.size and seconds < PATIENCE / 4:
            claim.size = min(SLICE, claim.size * 2)

    def _park(self, event: Event, error: BaseException | None) -> Statement:
        parameters = self._mine(
            seq=event.seq,
            relation=event.relation,
            key=event.raw_key.decode() if event.raw_key else None,
            next_key=event.raw_next_key.decode() if event.raw_next_key else None,
            attempts=0 if error is None else 1,
            dead=isinstance(error, errors.ProcessDied),
            delay=0.0 if error is None else delay_after(1, error),
            error=None if error is None else describe(error),
        )
        return Statement(_QUERIES["park"], parameters)

    def _violation(self, event: Event, verdict: errors.Reject) -> Statement:
        """The record of a committed change that the handler rejected: as good as handled."""
        parameters = {
            "seq": event.seq,
            "at": event.at,
            "handler": self.name,
            "message": errors.storable(str(verdict.message)),
            "column": None if verdict.column is None else errors.storable(str(verdict.column)),
        }
        return Statement(_QUERIES["violation"], parameters)

    async def next_retry(self, lanes: Sequence[int]) -> float | None:
        """Seconds until something that is parked in some lanes may be tried again; None if nothing may."""
        if not self._parked:
            return None
        [(seconds,)] = await self._delivery.fetch(_QUERIES["next_retry"], self._mine(lanes=list(lanes)))
        return seconds  # type: ignore[no-any-return]

    async def retry(self, claim: Claim) -> None:
        """Deliver what is parked in a claim's lanes and due, in order: failed events, and those that waited behind them.

        As in :meth:`deliver`, all of it in one transaction unless something fails.
        """
        parked = {one.seq: one for one in await self._due(claim)}
        events = await self._reader.by_seq(list(parked))
        rest: Sequence[Event] = list(events.values())
        alone = await self._to_try_alone(claim, rest)
        rejected: dict[int | None, errors.Reject] = {}
        while rest:
            group = _next_group(rest, rejected, alone)
            try:
                await self._deliver_late(claim, group, rejected)
            except NoEffect:
                _LOG.warning("skipped or taken over while it was tried, so rolled back", handler=self.name)
                await self.reload_parked()
                raise
            except Exception as error:  # noqa: BLE001 - a handler may fail in any way
                failed, cause = await self._to_blame(error, group, {}, alone), _cause(error)
                if failed and isinstance(cause, errors.Reject):
                    rejected[failed.seq] = cause
                elif failed:
                    await self._failed_again(failed, parked[seq_of(failed)].attempts + 1, cause)
                    rest = _without(rest, failed)
            else:
                rest = rest[len(group) :]
        await self.reload_parked()

    async def _due(self, claim: Claim) -> list[Parked]:
        """What is parked in a claim's lanes and may be tried in this order, none of it behind anything that may not."""
        behind, due = ParkedKeys(), list[Parked]()
        after: int | None = 0
        while after is not None and len(due) < claim.size:
            page = [Parked(*row) for row in await self._delivery.fetch(_QUERIES["parked"], self._mine(after=after))]
            for one in page:
                if behind.block(one) or one.dead or one.due > 0 or one.lane not in claim.lanes:
                    behind.add(one)
                else:
                    due.append(one)
            after = page[-1].seq if page else None
        return due

    async def _deliver_late(
        self, claim: Claim, group: Sequence[Event], rejected: Mapping[int | None, errors.Reject]
    ) -> None:
        """One transaction: calls for events that were parked, and what says that they no longer are."""
        if verdict := self._suspects.verdict(group[0].seq):
            raise CallFailed(group, verdict)
        seqs = [event.seq for event in group]
        free = [event for event in group if event.seq not in rejected]
        done = [
            *(self._violation(event, rejected[event.seq]) for event in group if event.seq in rejected),
            Statement(_QUERIES["delivered_late"], self._mine(seqs=seqs), writes=len(group)),
            Statement(_QUERIES["count_delivered"], claim.position(claim.written, len(group))),
        ]
        async with self._on_record(claim, group):
            cleared = self._suspects.among(group)
            await self._delivery.transact(self._calls(free), [*done, *self._clear(cleared)])
        self._suspects.forget(cleared)

    async def reload_parked(self) -> None:
        """Learn anew which keys have something parked."""
        self._parked = ParkedKeys(await self._delivery.fetch(_QUERIES["parked_keys"], self._mine()))

    async def _failed_again(self, event: Event, attempts: int, error: BaseException) -> None:
        dead = attempts >= MAX_ATTEMPTS or isinstance(error, errors.ProcessDied)
        failed = self._mine(
            seq=event.seq, attempts=attempts, dead=dead, delay=delay_after(attempts, error), error=describe(error)
        )
        await self._delivery.fetch(_QUERIES["failed_again"], failed)
        for statement in self._clear([event.seq]) if event.seq in self._suspects else []:
            await self._delivery.fetch(statement.query, statement.parameters)
        self._suspects.forget([event.seq])
        log = _LOG.error if dead else _LOG.warning
        what = "dead letter" if dead else "failed again"
        log(what, handler=self.name, seq=event.seq, attempts=attempts, error=describe(error))

    async def left_over(self) -> tuple[int, int]:
        """How many events wait for a retry, and how many are dead letters."""
        [row] = await self._delivery.fetch(_QUERIES["left_over"], self._mine())
        return row  # type: ignore[no-any-return]


def _next_group(
    rest: Sequence[Event], failures: Mapping[int | None, BaseException], alone: set[int | None]
) -> Sequence[Event]:
    """The events for the next transaction: up to one that failed, before those that have to be tried alone, or one of those."""
    for index, event in enumerate(rest) if failures or alone else ():
        if event.seq in failures:
            return rest[: index + 1]
        if event.seq in alone:
            return rest[: max(index, 1)]
    return rest


def _cause(error: BaseException) -> BaseException:
    """What the handler itself raised."""
    return error.__cause__ if isinstance(error, CallFailed) and error.__cause__ is not None else error


def _without(events: Sequence[Event], failed: Event) -> Sequence[Event]:
    """Events in order, but for one that failed and those that have to wait behind it."""
    behind, rest = ParkedKeys(), []
    for event in events:
        if event is failed or behind.block(event):
            behind.add(event)
        else:
            rest.append(event)
    return rest
