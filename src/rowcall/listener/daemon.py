"""The listener: everything one process does for one app, again and again until told to stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from rowcall.app import Rowcall
from rowcall.gate.server import GateServer
from rowcall.handler import AfterHandler
from rowcall.listener.delivery import delivery_for
from rowcall.listener.sleep import Sleep
from rowcall.listener.subscription import Subscription
from rowcall.postgres import connection as connections
from rowcall.postgres import partitions
from rowcall.postgres.log import LogReader
from rowcall.postgres.tables import Subjects
from rowcall.postgres.wakeups import Doorbell

_LOG = structlog.get_logger("rowcall")

#: Seconds between attempts to take over a subscription that another process has.
STANDBY = 1.0
#: Seconds between looks at the log's partitions.
PARTITIONS_EVERY = 3600.0
#: A drain waits for retries that are due within so many seconds; what is later is left over.
DRAIN_PATIENCE = 2.0
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 5.0


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What a drain could not deliver."""

    waiting: int
    dead: int


class Listener:
    """Runs an app's handlers against one database.

    :param subjects: the tables its handlers are about.
    :param drain: end once everything pending is delivered.
    """

    def __init__(self, app: Rowcall, dsn: str, subjects: Subjects, *, drain: bool = False) -> None:
        self._app = app
        self._dsn = dsn
        self._subjects = subjects
        self._drain = drain
        self._stopping = asyncio.Event()
        self._sleep = Sleep()
        self._left_over: list[LeftOver] = []
        self._connected = True

    def stop(self) -> None:
        """Finish what is in flight, then return from :meth:`run`."""
        self._stopping.set()
        self._sleep.end()

    async def run(self) -> LeftOver:
        """Listen until stopped or drained. An unreachable database is waited for; each outage is logged once.

        :raises RowcallError: for what no waiting will mend.
        """
        loop = asyncio.get_running_loop()
        backoff = _FIRST_BACKOFF
        while not self._stopping.is_set():
            started = loop.time()
            try:
                await self._session()
                break
            except Exception as error:  # noqa: BLE001 - sorted into outages and the rest
                self._note_outage(error)
            if loop.time() - started > _LONGEST_BACKOFF:
                backoff = _FIRST_BACKOFF
            await self._pause(backoff * random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, _LONGEST_BACKOFF)
        return LeftOver(sum(left.waiting for left in self._left_over), sum(left.dead for left in self._left_over))

    def _note_outage(self, error: Exception) -> None:
        """Log that the database is out of reach, once; raise anything else, out of the groups that tasks put it in."""
        failures = list(_leaves(error))
        for failure in failures:
            if not connections.is_passing(failure):
                raise failure
        if self._connected:
            _LOG.warning("the database is gone; trying to reconnect", error=connections.one_line(failures[0]))
        self._connected = False

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _session(self) -> None:
        """One life of the connections."""
        self._sleep = Sleep()
        self._left_over = []
        async with AsyncExitStack() as stack:
            reading = await connections.connect_async(self._dsn, application_name="rowcall reader")
            stack.push_async_callback(reading.close)
            reader = await LogReader.over(reading)
            doorbell = await Doorbell.open(self._dsn)
            stack.push_async_callback(doorbell.close)
            servants = [
                asyncio.create_task(self._sleep.keep_watch(doorbell)),
                asyncio.create_task(_keep_partitions_ahead(self._dsn)),
            ]
            if self._subjects.guarded:
                gate = await GateServer.open(self._subjects.guarded, reader, self._dsn)
                stack.push_async_callback(gate.close)
                servants.append(asyncio.create_task(gate.serve()))
            _LOG.info("listening", handlers=len(self._app.after_handlers) + len(self._app.before_handlers))
            self._connected = True
            try:
                await self._work(reader, servants)
            finally:
                for servant in servants:
                    servant.cancel()
                await asyncio.gather(*servants, return_exceptions=True)

    async def _work(self, reader: LogReader, servants: Sequence[asyncio.Task[None]]) -> None:
        """Deliver until all subscriptions are done, or a servant dies of its connection."""
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._subscribe(handler, reader)) for handler in self._app.after_handlers]
            if not self._drain:
                workers.append(group.create_task(self._wait_for_stop()))
            guards = [group.create_task(_fail_with(servant)) for servant in servants]
            if workers:
                await asyncio.wait(workers)
            for guard in guards:
                guard.cancel()

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()

    async def _subscribe(self, handler: AfterHandler, reader: LogReader) -> None:
        delivery = delivery_for(handler)
        try:
            await delivery.open(self._dsn)
            subscription = Subscription(handler, self._subjects.topics[handler.name], reader, delivery)
            while not self._stopping.is_set():
                if await subscription.claim():
                    await self._deliver(subscription)
                    return
                if self._drain and await self._is_drained(subscription):
                    return
                await self._pause(STANDBY)
        finally:
            self._sleep.leave(handler.name)
            await delivery.close()

    async def _deliver(self, subscription: Subscription) -> None:
        while not self._stopping.is_set():
            part = await subscription.read()
            heads = await subscription.heads()
            if part.events or (heads and heads[0][2] <= 0):
                self._sleep.found(subscription.name)
                await subscription.retry(heads)
                await subscription.deliver(part)
                continue
            next_due = heads[0][2] if heads else None
            if not self._drain:
                await self._sleep.wait(subscription.name, next_due)
            elif next_due is not None and next_due <= DRAIN_PATIENCE:
                await self._pause(next_due)
            else:
                self._left_over.append(LeftOver(*await subscription.left_over()))
                return

    async def _is_drained(self, subscription: Subscription) -> bool:
        """Whether the process that has the subscription has delivered everything so far."""
        if (await subscription.read()).events:
            return False
        heads = await subscription.heads()
        if heads and heads[0][2] <= DRAIN_PATIENCE:
            return False
        self._left_over.append(LeftOver(*await subscription.left_over()))
        return True


async def _keep_partitions_ahead(dsn: str) -> None:
    """See now and then to it that the log has partitions for the months to come."""
    while True:
        connection = await connections.connect_async(dsn, application_name="rowcall partitions")
        async with connection:
            await partitions.extend_async(connection)
        await asyncio.sleep(PARTITIONS_EVERY)


async def _fail_with(servant: asyncio.Task[None]) -> None:
    await asyncio.shield(servant)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of errors, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
