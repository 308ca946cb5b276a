"""The listener's side of the gate: take requests, ask the handlers, hand out verdicts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import psycopg

from rowcall import errors, resources
from rowcall.errors import describe
from rowcall.event import Event, Operation
from rowcall.gate import threads
from rowcall.gate.asking import Asking, Call, Request
from rowcall.gate.line import Answer, Line
from rowcall.gate.threads import Threads
from rowcall.gate.tickets import Tickets
from rowcall.gate.verdict import Late, call_async, decide, encode
from rowcall.handler import BeforeHandler
from rowcall.postgres import connection as connections
from rowcall.postgres.log import LogReader
from rowcall.postgres.tables import Table

_QUERIES = resources.queries("gate")

#: The channel writers' gate sessions notify.
CHANNEL = "rowcall_gate"
#: Seconds after which to look although nobody notified: for the requests of a listener that died.
BACKSTOP = 1.0
#: Seconds between looks for what is not needed any more: requests whose writers have gone, and tickets nobody uses.
SWEEP = 30.0
#: Seconds that the server has to take the last verdicts from a listener that is told to stop.
PATIENCE = 5.0
#: Seconds beyond the longest timeout after which a call is not expected to return any more.
OVERDUE = 30.0
#: Seconds until another look at a call whose time is up, but that has just returned.
_AGAIN = 0.001


class Body(msgspec.Struct, frozen=True):
    """What a writer's trigger asks; images stay as the bytes they came in."""

    at: datetime
    relation: int
    operation: Operation
    key: msgspec.Raw
    old: msgspec.Raw
    new: msgspec.Raw
    xid: str | None
    actor: str | None
    context: dict[str, Any] | None


class Asked(msgspec.Struct, frozen=True):
    """What a turn found.

    :ivar strange: whether there are requests for tables we do not know.
    """

    strange: bool | None
    requests: list[Request] | None


_ASKED = msgspec.json.Decoder(Asked)
_BODY = msgspec.json.Decoder(Body)


class GateServer:
    """Answers requests for the handlers of one app, in turns: each hands out the verdicts there are and takes what is asked.

    :param reader: knows what the images of a row mean.
    """

    _line: Line

    def __init__(self, guarded: Mapping[Table, Sequence[BeforeHandler]], reader: LogReader) -> None:
        self._handlers = {
            (table.schema, table.name): {handler.name: handler for handler in handlers}
            for table, handlers in guarded.items()
        }
        # By relation, and the same as the turn's parameter.
        self._guarded: dict[int, dict[str, BeforeHandler]] = {}
        self._known = b"{}"
        self._reader = reader
        self._threads = Threads(self._done_by_thread)
        self._overdue = OVERDUE + max(handler.timeout for handlers in guarded.values() for handler in handlers)
        self._tickets = Tickets()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[int, Asking] = {}
        # Decided: those on their way, and those that are to follow. Like the line, under its lock.
        self._sent: list[Asking] = []
        self._decided: list[Asking] = []
        self._returned: list[int] = []
        self._one_by_one = False
        self._due = False
        self._tidy = False
        self._closing = False
        self._learning: asyncio.Task[None] | None = None
        self._took = asyncio.Event()

    @classmethod
    async def open(cls, guarded: Mapping[Table, Sequence[BeforeHandler]], reader: LogReader, dsn: str) -> GateServer:
        """Connect and LISTEN.

        :raises UsageError: if it leads to a pooler.
        """
        server = cls(guarded, reader)
        await server._learn()
        server._line = await Line.open(
            dsn, statement=_QUERIES["turn"], channel=CHANNEL, heard=server._heard, application_name="rowcall gate"
        )
        return server

    @property
    def pid(self) -> int:
        """The server's process at the other end of its connection."""
        return self._line.pid

    async def close(self) -> bool:
        """Answer what was taken, then disconnect; whether all handlers have returned."""
        self._closing = True
        self._known = b"{}"
        if self._learning is not None:
            self._learning.cancel()
        while self._busy and not self._line.broken.done():
            self._took.clear()
            took = asyncio.ensure_future(self._took.wait())
            ends: set[asyncio.Future[Any]] = {took, self._line.broken}
            ended, _ = await asyncio.wait(ends, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            took.cancel()
            if not ended and all(asking.verdict is not None for asking in self._busy.values()):
                break
        await self._line.close()
        for task in self._tasks:
            task.cancel()
        for asking in self._busy.values():
            asking.stop_timer()
        self._threads.shut_down()
        return not self._threads.are_running

    async def serve(self) -> None:
        """Answer requests until cancelled.

        :raises psycopg.Error: when the connection is lost.
        :raises Stuck: when sync handlers that do not return have taken all threads.
        """
        loop = asyncio.get_running_loop()
        swept = 0.0
        while not self._line.broken.done():
            if loop.time() - swept > SWEEP:
                await self._reader.fetch(_QUERIES["sweep"], {})
                swept = loop.time()
            if self._threads.are_stuck(time.monotonic() - self._overdue):
                raise errors.Stuck(
                    f"Before-handlers that do not return have all {threads.MOST_THREADS} threads and cannot be stopped, but with"
                    " their process."
                )
            self._tidy = True
            self._heard()
            await asyncio.wait({self._line.broken}, timeout=BACKSTOP)
        self._line.broken.result()

    async def _learn(self) -> None:
        """Which relations our tables are: one that was made anew is another."""
        schemas, tables = zip(*self._handlers, strict=True)
        rows = await self._reader.fetch(_QUERIES["guarded"], {"schemas": list(schemas), "tables": list(tables)})
        self._guarded = {row[0]: self._handlers[row[1], row[2]] for row in rows}
        self._known = encode({str(relation): list(handlers) for relation, handlers in self._guarded.items()})

    async def _learn_anew(self) -> None:
        await self._learn()
        self._heard()
        # Other apps have tables too.
        await asyncio.sleep(BACKSTOP)

    def _heard(self) -> None:
        """Take a turn now, or once this one is over."""
        with self._line.lock:
            self._due = True
            self._turn()

    def _give(self, asking: Asking) -> None:
        """Hand out a verdict, from any thread."""
        with self._line.lock:
            self._decided.append(asking)
            self._turn()

    def _turn(self) -> None:
        """Send what is to be sent; under the line's lock."""
        if self._sent or not self._line.is_free or not (self._due or self._decided):
            return
        most = 1 if self._one_by_one else len(self._decided)
        self._sent, self._decided = self._decided[:most], self._decided[most:]
        if self._tidy:
            # Not while a turn is under way: it may bring requests of a ticket that was ours when it began.
            self._returned += self._tickets.give_back(time.monotonic() - SWEEP)
        self._due = self._tidy = False
        locks = [self._tickets.locks(asking.request.ticket, asking.request.turn) for asking in self._sent]
        parameters = (
            _numbers(asking.request.id for asking in self._sent),
            _texts(asking.verdict or b"" for asking in self._sent),
            _numbers(lock for following, _ in locks for lock in following),
            _numbers((*(lock for _, awaited in locks for lock in awaited), *self._returned)),
            _numbers(self._tickets),
            _numbers(self._busy),
            self._known,
        )
        self._line.ask(parameters, self._took_turn)

    def _took_turn(self, answer: Answer) -> None:
        sent, self._sent = self._sent, []
        if isinstance(answer, (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)) and sent:
            self._refused_by_server(sent, answer)
        elif isinstance(answer, psycopg.Error):
            self._line.give_up(answer)
            return
        else:
            self._returned = []
            for asking in sent:
                self._tickets.answered(asking.request.ticket, asking.request.turn)
                asking.stop_timer()
                del self._busy[asking.request.id]
            self._one_by_one = self._one_by_one and bool(self._decided)
            self._take(_ASKED.decode(answer))
        self._took.set()
        self._turn()

    def _refused_by_server(self, sent: list[Asking], error: psycopg.Error) -> None:
        """The one thing that PostgreSQL may not take is what a handler put into its answer."""
        self._one_by_one = True
        if len(sent) == 1:
            sent[0].refuse(f"its answer cannot be stored: {connections.one_line(error)}")
        self._decided = sent + self._decided

    def _take(self, asked: Asked) -> None:
        now = time.monotonic()
        requests = asked.requests or []
        for request in requests:
            self._tickets.asked(request.ticket, now, busy=request.body is not None)
        new = [Asking(request) for request in requests if request.body is not None]
        # What was left out is asked for at once.
        self._due = self._due or len(new) < len(requests)
        # All of them, before one is answered and another turn sent.
        self._busy |= {asking.request.id: asking for asking in new}
        for asking in new:
            if asking.request.since == self._reader.layouts.newest(asking.request.relation):
                self._begin(asking)
            else:
                self._start(self._begin_anew(asking))
        if asked.strange and not self._closing and (self._learning is None or self._learning.done()):
            self._learning = self._start(self._learn_anew())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose failure is heard of: as that of the line."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._line.give_up(error)

    async def _begin_anew(self, asking: Asking) -> None:
        """Begin with a request about a table that has changed."""
        await self._reader.refresh_layouts()
        self._begin(asking)

    def _begin(self, asking: Asking) -> None:
        request = asking.request
        try:
            handlers = self._guarded[request.relation]
            event = self._event(request.id, _BODY.decode(request.body or ""))
            asking.begin(decide([handlers[name] for name in request.handlers], event))
        except Exception as error:  # noqa: BLE001 - a writer waits for it, whatever it was
            asking.refuse(f"it could not be asked: {describe(error)}")
        self._go_on(asking)

    def _go_on(self, asking: Asking) -> None:
        """Have the next call made, on the loop."""
        call = asking.call
        if call is None:
            self._give(asking)
        elif call.handler.is_async:
            self._start(self._call(asking, call))
        else:
            asking.stop_timer()
            asking.timer = self._loop.call_at(call.limit, self._look, asking)
            self._threads.submit(asking)

    def _done_by_thread(self, asking: Asking) -> None:
        """The same, in a thread that has called handlers."""
        if asking.call is None:
            # Not by way of the loop, which would cost the writer another change of threads.
            self._give(asking)
            return
        # The loop may be closed: nobody waits any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._go_on, asking)

    async def _call(self, asking: Asking, call: Call) -> None:
        """Call an async handler."""
        time_is_up = asyncio.timeout_at(call.limit)
        try:
            async with time_is_up:
                answer = await call_async(call.handler, call.event)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may fail in any way
            go_on = partial(asking.raised, Late() if time_is_up.expired() else error)
        else:
            go_on = partial(asking.returned, answer)
        asking.claim(call)
        go_on()
        self._go_on(asking)

    def _look(self, asking: Asking) -> None:
        """Go on without a thread whose time is up."""
        call, now = asking.call, self._loop.time()
        if asking.verdict is not None or (call is not None and call.handler.is_async):
            return
        if call is not None and call.limit <= now and asking.claim(call):
            asking.raised(Late())
            self._go_on(asking)
        else:
            asking.timer = self._loop.call_at(max(call.limit if call else 0, now + _AGAIN), self._look, asking)

    def _event(self, request_id: int, request: Body) -> Event:
        layouts = self._reader.layouts
        return Event(
            None,
            int(request.xid) if request.xid else None,
            request.at,
            request.operation,
            request.actor,
            request.context or {},
            f"{layouts.installation}-request-{request_id}",
            layouts.at(request.relation, None),
            _image(request.key),
            _image(request.old),
            _image(request.new),
            request.relation,
        )


def _numbers(numbers: Iterable[int]) -> bytes:
    """An array as PostgreSQL reads it."""
    return f"{{{','.join(map(str, numbers))}}}".encode()


def _texts(texts: Iterable[bytes]) -> bytes:
    """The same of texts."""
    quoted = (text.replace(b"\\", rb"\\").replace(b'"', rb"\"") for text in texts)
    return b"{" + b",".join(b'"' + text + b'"' for text in quoted) + b"}"


def _image(raw: msgspec.Raw) -> bytes | None:
    found = bytes(raw)
    return found if found != b"null" else None
