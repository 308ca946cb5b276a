"""The listener: everything one process does for one app, again and again until told to stop."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

import psycopg
import structlog

from rowcall import errors
from rowcall.app import Rowcall
from rowcall.gate.server import GateServer
from rowcall.handler import AfterHandler
from rowcall.listener import tasks
from rowcall.listener.calls import ConnectionCut
from rowcall.listener.delivery import delivery_for
from rowcall.listener.lanes import Roll
from rowcall.listener.peers import Peers
from rowcall.listener.sealer import LogSealer, Seals
from rowcall.listener.sleep import ONLY_POLL, Sleep
from rowcall.listener.suspects import Process
from rowcall.listener.worker import Worker
from rowcall.postgres import claims, partitions
from rowcall.postgres import connection as connections
from rowcall.postgres.log import ALL_LANES, LANES, LogReader
from rowcall.postgres.tables import Subjects
from rowcall.postgres.wakeups import Alarm, Doorbell, NoDoorbell

_LOG = structlog.get_logger("rowcall")

#: Seconds between heartbeats, and so until a process hears who joined or left; of a death it hears at once. One that is not
#: seen for five is replaced.
BEAT = 2.0
#: Seconds between attempts to join a subscription that somebody is about to drop.
STANDBY = 1.0
#: Seconds that handlers have to finish what is in flight, once the listener is told to stop.
GRACE = 30.0
#: Seconds between looks at the log's partitions.
PARTITIONS_EVERY = 3600.0
#: Seconds between merges of the log's indexes on keys. A busy log's writers fill their lists in half a minute.
MERGE_EVERY = 3.0
#: A drain waits for retries that are due within so many seconds; what is later is left over.
DRAIN_PATIENCE = 2.0
#: Seconds between looks of a drain at lanes that others deliver.
_OTHERS = 0.05
_FIRST_BACKOFF = 0.1
_LONGEST_BACKOFF = 5.0


#: What reads the log, and the tasks that serve the deliveries.
Opened = tuple[LogReader, Sequence[asyncio.Task[None]]]


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What a drain could not deliver.

    :ivar waiting: events that wait for a retry.
    :ivar dead: dead letters.
    :ivar abandoned: lanes with something to deliver that nobody has, by subscription.
    """

    waiting: int
    dead: int
    abandoned: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @classmethod
    def of_all(cls, parts: Sequence[LeftOver]) -> LeftOver:
        """What several subscriptions could not deliver."""
        lanes = {name: lanes for part in parts for name, lanes in part.abandoned.items()}
        return cls(sum(part.waiting for part in parts), sum(part.dead for part in parts), lanes)


class Listener:
    """Runs an app's handlers against one database.

    :param subjects: the tables its handlers are about.
    :param drain: end once everything pending is delivered and sealed.
    :param lanes: most lanes of each subscription that this process takes.
    :param poll: never LISTEN: as behind a transaction pooler, where connections change sessions.
    :param listen_dsn: where to LISTEN, if ``dsn`` leads to such a pooler.
    :param seals: how to seal the log; None to leave that to other processes.
    :param grace: seconds that handlers have to finish when told to stop; then they are cancelled, and rolled back.
    :ivar abandoned: whether a handler that could not be stopped still runs in its thread.
    """

    def __init__(
        self,
        app: Rowcall,
        dsn: str,
        subjects: Subjects,
        *,
        drain: bool = False,
        lanes: int = LANES,
        poll: bool = False,
        listen_dsn: str | None = None,
        seals: Seals | None = Seals(),  # noqa: B008 - a value that nobody can change
        grace: float = GRACE,
    ) -> None:
        self._app = app
        self._dsn = dsn
        self._subjects = subjects
        self._drain = drain
        self._lanes = lanes
        self._poll = poll
        self._listen_dsn = listen_dsn
        self._pooled = poll or listen_dsn is not None
        self._seals = seals
        self._sealer: LogSealer | None = None
        self._grace = grace
        self._process = Process(f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(4)}")
        self._stopping = asyncio.Event()
        # Somebody joined, or is gone: time for a heartbeat.
        self._joined = asyncio.Event()
        self._sleep = self._new_sleep()
        self._sessions: list[int] = []
        self._workers: dict[int, Worker] = {}
        self._left_over: list[LeftOver] = []
        # Whether it was, until the outage that is under way, if any.
        self._connected = True
        self._listening_since = inf
        self._awaited: set[str] = set()
        self.abandoned = False

    def stop(self) -> None:
        """Finish what is in flight, then return from :meth:`run`."""
        self._stopping.set()
        self._sleep.end()

    async def run(self) -> LeftOver:
        """Listen until stopped or drained. An unreachable database is waited for; each outage is logged once, however many
        connections it takes and however often some of them come back for a moment meanwhile.

        :raises RowcallError: for what no waiting will mend.
        """
        loop = asyncio.get_running_loop()
        backoff = _FIRST_BACKOFF
        while not self._stopping.is_set():
            self._listening_since = inf
            try:
                await self._session()
                break
            except Exception as error:  # noqa: BLE001 - sorted into outages and the rest
                if self._stopping.is_set() and any(isinstance(one, errors.Stuck) for one in _leaves(error)):
                    self.abandoned = True
                    break
                if loop.time() - self._listening_since > _LONGEST_BACKOFF:
                    self._connected, backoff = True, _FIRST_BACKOFF
                self._note_outage(error)
            await self._pause(backoff * random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, _LONGEST_BACKOFF)
        return LeftOver.of_all(self._left_over)

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
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _new_sleep(self) -> Sleep:
        return Sleep(ONLY_POLL) if self._poll else Sleep()

    async def _session(self) -> None:
        """One life of the connections."""
        self._sleep = self._new_sleep()
        self._workers = {}
        self._left_over = []
        async with AsyncExitStack() as stack:
            opened = await self._unless_stopped(self._open(stack))
            if opened is not None:
                self._awaited = {handler.name for handler in self._app.after_handlers}
                self._note_arrival()
                await self._work(*opened)

    def _note_arrival(self) -> None:
        """Log that everybody is there, once they are."""
        if not self._awaited and self._listening_since == inf:
            self._listening_since = asyncio.get_running_loop().time()
            _LOG.info("listening", handlers=len(self._app.after_handlers) + len(self._app.before_handlers))

    async def _unless_stopped(self, opening: Coroutine[Any, Any, Opened]) -> Opened | None:
        """What a coroutine comes to; None if the listener is told to stop before: a host may never answer."""
        stopping, opened = asyncio.ensure_future(self._stopping.wait()), asyncio.ensure_future(opening)
        try:
            await asyncio.wait({stopping, opened}, return_when=asyncio.FIRST_COMPLETED)
            return opened.result() if opened.done() else None
        finally:
            await tasks.end([stopping, opened])

    async def _open(self, stack: AsyncExitStack) -> Opened:
        """Connect; what serves the deliveries runs until the stack is closed."""
        reading = await self._connect(stack, "rowcall reader")
        reader = await LogReader.over(reading, pooled=self._pooled)
        # Of their own: a heartbeat that waits for a long read is none.
        beating = await self._connect(stack, "rowcall heartbeat")
        doorbell: Alarm = NoDoorbell() if self._poll else await Doorbell.open(self._listen_dsn or self._dsn)
        stack.push_async_callback(doorbell.close)
        self._sessions = [
            connection.info.backend_pid for connection in (reading, beating, doorbell.connection) if connection
        ]
        log = await self._connect(stack, "rowcall log")
        gate = await self._open_gate(stack, reader) if self._subjects.guarded else None
        peers = Peers(self._dsn, self._process.name, self._joined.set)
        # Nothing is awaited from here on: a coroutine that is never started would be complained of.
        serving = [self._sleep.keep_watch(doorbell), self._call_the_roll(beating, peers), _keep_the_log(log)]
        if not self._pooled:
            serving.append(peers.keep_watch())
        if gate is not None:
            serving.append(gate.serve())
        if self._seals is not None:
            self._sealer = LogSealer(self._dsn, self._seals, self._sleep, pooled=self._pooled)
            stack.push_async_callback(self._sealer.close)
            serving.append(self._sealer.run())
        servants = [asyncio.create_task(work) for work in serving]
        stack.push_async_callback(tasks.end, servants)
        return reader, servants

    async def _open_gate(self, stack: AsyncExitStack, reader: LogReader) -> GateServer:
        gate = await GateServer.open(self._subjects.guarded, reader, self._listen_dsn or self._dsn)
        stack.push_async_callback(self._close_gate, gate)
        self._sessions.append(gate.pid)
        return gate

    async def _close_gate(self, gate: GateServer) -> None:
        if not await gate.close():
            self.abandoned = True

    async def _connect(self, stack: AsyncExitStack, name: str) -> psycopg.AsyncConnection[Any]:
        connection = await connections.connect_async(self._dsn, application_name=name, pooled=self._pooled)
        stack.push_async_callback(connection.close)
        return connection

    async def _work(self, reader: LogReader, servants: Sequence[asyncio.Task[None]]) -> None:
        """Deliver until all subscriptions are done, or a servant dies of its connection."""
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._subscribe(handler, reader)) for handler in self._app.after_handlers]
            guards = [group.create_task(_fail_with(servant)) for servant in servants]
            stopping = group.create_task(_until(self._stopping))
            ends = {stopping, group.create_task(self._drained(workers))} if self._drain else {stopping}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._finish(workers)
            for task in (*guards, *ends):
                task.cancel()

    async def _drained(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Return once all has been delivered, and then sealed."""
        await _all(workers)
        if self._sealer is not None:
            await self._sealer.drain()

    async def _finish(self, workers: Sequence[asyncio.Task[None]]) -> None:
        """Let what is in flight end, and cancel what does not."""
        if not workers:
            return
        _, late = await asyncio.wait(workers, timeout=self._grace)
        if late:
            _LOG.warning("the grace time is over; what is in flight is rolled back", handlers=len(late))
        for task in late:
            task.cancel()

    async def _subscribe(self, handler: AfterHandler, reader: LogReader) -> None:
        """Deliver to a handler. Where the connection had to be ended under one of its calls, it goes on over another one: it
        joins again like a new worker, while what others have in flight is left alone.
        """
        while True:
            with suppress(ConnectionCut):
                return await self._serve(handler, reader)

    async def _serve(self, handler: AfterHandler, reader: LogReader) -> None:
        """Deliver to a handler over one connection."""
        delivery = delivery_for(handler)
        topic = self._subjects.topics[handler.name]
        worker = Worker(handler, topic, reader, delivery, process=self._process, most=self._lanes)
        try:
            await delivery.open(self._dsn, pooled=self._pooled)
            await self._deliver(worker)
            await self._leave(worker)
        except ConnectionCut:
            await self._leave(worker)
            raise
        finally:
            self._sleep.leave(handler.name)
            worker.forget()
            if not await delivery.close():
                self.abandoned = True

    async def _enlist(self, worker: Worker) -> None:
        while not self._stopping.is_set():
            if await worker.enlist(self._sessions, locked=not self._pooled):
                assert worker.id is not None
                self._workers[worker.id] = worker
                self._joined.set()
                await worker.until_called()
                self._awaited.discard(worker.name)
                self._note_arrival()
                return
            await self._pause(STANDBY)

    async def _leave(self, worker: Worker) -> None:
        if worker.id is not None:
            del self._workers[worker.id]
            await worker.leave()

    async def _deliver(self, worker: Worker) -> None:
        await self._enlist(worker)
        self._sleep.join(worker.name)
        while not self._stopping.is_set():
            await worker.rearrange()
            found = await worker.read()
            due = await worker.next_retry()
            if found or (due is not None and due <= 0):
                self._sleep.found(worker.name)
                if due is not None and due <= 0:
                    await worker.retry()
                if found:
                    await worker.deliver(*found)
                if self._drain and worker.is_held_up and await self._is_drained(worker):
                    return
            elif not self._drain:
                await self._sleep.wait(worker.name, due)
            elif await self._is_drained(worker):
                return

    async def _is_drained(self, worker: Worker) -> bool:
        """Whether nothing is left to deliver in any lane, whoever has it; or only in lanes that nobody has."""
        due = await worker.subscription.next_retry(ALL_LANES)
        if due is not None and due <= DRAIN_PATIENCE:
            await self._sleep.wait(worker.name, max(due, _OTHERS))
            return False
        unread = await worker.unread()
        abandoned = await worker.abandoned(unread)
        if unread and not abandoned:
            await self._sleep.wait(worker.name, _OTHERS)
            return False
        lanes = {worker.name: abandoned} if abandoned else {}
        self._left_over.append(LeftOver(*await worker.subscription.left_over(), lanes))
        return True

    def _tell(self, worker: Worker, roll: Roll) -> None:
        if worker.id is not None and worker.take(roll):
            self._sleep.wake(worker.name)

    async def _call_the_roll(self, connection: psycopg.AsyncConnection[Any], peers: Peers) -> None:
        """Say that the workers are alive, and tell them who else is; runs until cancelled.

        :raises Unreachable: if one was replaced, as others had not seen it for long.
        """
        while True:
            if not self._workers:
                await self._joined.wait()
            self._joined.clear()
            called = dict(self._workers)
            beat = connections.raw_cursor(connection)
            await beat.execute(claims.QUERIES["beat"], {"workers": list(called)})
            rows = await beat.fetchall()
            alive = {row[0]: claims.alive(row[1]) for row in rows}
            peers.hear({process: worker for workers in alive.values() for worker, _, process in workers})
            rolls = {row[0]: Roll({w: most for w, most, _ in alive[row[0]]}, claims.owned(row[2])) for row in rows}
            for number, worker in called.items():
                if number in rolls:
                    self._tell(worker, rolls[number])
                elif number in self._workers:
                    raise worker.replaced()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._joined.wait()


async def _keep_the_log(connection: psycopg.AsyncConnection[Any]) -> None:
    """See to it that the log has partitions for the months to come, and do in bulk what else its writers would do for its indexes."""
    extended = -inf
    while True:
        if time.monotonic() - extended > PARTITIONS_EVERY:
            await partitions.extend_async(connection)
            extended = time.monotonic()
        merged = await partitions.merge_index_async(connection)
        await asyncio.sleep(MERGE_EVERY if merged else PARTITIONS_EVERY)


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _all(workers: Sequence[asyncio.Task[None]]) -> None:
    if workers:
        await asyncio.wait(workers)


async def _fail_with(servant: asyncio.Task[None]) -> None:
    await asyncio.shield(servant)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of errors, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
