"""The listener's side of the gate: take requests, ask the handlers, hand out verdicts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from rowcall import errors, resources
from rowcall.errors import describe
from rowcall.event import Event, Operation
from rowcall.gate.line import Answer, Line
from rowcall.gate.tickets import Tickets
from rowcall.gate.verdict import Verdict, encode, judge, refusal
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
#: Sync handlers that run at a time; those beyond wait, up to their writers' deadlines.
MOST_THREADS = 64
#: Seconds beyond the longest timeout after which a call is not expected to return any more.
OVERDUE = 30.0
#: Before the writer's deadline a handler is cut, so that the writer still hears which one was too slow: by so many seconds at
#: most, or this share of the time that is left.
MARGIN = 0.02
SHARE = 0.1


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


class Request(msgspec.Struct, frozen=True):
    """What a writer's session of the gate waits for.

    :ivar ticket: who asks which handlers; its locks say whose requests these are, and when one is answered.
    :ivar turn: by which of the ticket's two locks this one is waited for.
    :ivar seconds: until the writer's deadline.
    :ivar since: since when its table has the layout it has; None if it has gone.
    :ivar body: what it asks, still as text: one that cannot be read must not be in the way of others.
    """

    id: int
    ticket: int
    turn: int
    seconds: float
    since: int | None
    relation: int
    handlers: list[str]
    body: str


class Asked(msgspec.Struct, frozen=True):
    """What a turn found.

    :ivar strange: whether there are requests for tables we do not know.
    """

    strange: bool | None
    requests: list[Request] | None


class Given(msgspec.Struct, frozen=True):
    """A verdict on its way to who waits for it."""

    request: Request
    verdict: bytes


_ASKED = msgspec.json.Decoder(Asked)
_BODY = msgspec.json.Decoder(Body)


class Threads(ThreadPoolExecutor):
    """Where sync handlers run; one that never returns keeps its thread.

    :ivar running: what has not returned, and since when by the clock of event loops.
    """

    def __init__(self) -> None:
        super().__init__(MOST_THREADS, thread_name_prefix="rowcall-gate")
        self.running: dict[Future[Any], float] = {}

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(function, *args, **kwargs)
        self.running[future] = time.monotonic()
        future.add_done_callback(self._returned)
        return future

    def _returned(self, future: Future[Any]) -> None:
        self.running.pop(future, None)

    def are_stuck(self, since: float) -> bool:
        """Whether every thread is taken by what began before that."""
        return sum(began < since for began in list(self.running.values())) >= MOST_THREADS


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
        self._threads = Threads()
        self._overdue = OVERDUE + max(handler.timeout for handlers in guarded.values() for handler in handlers)
        self._tickets = Tickets()
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._verdicts: list[Given] = []
        self._sent: list[Given] = []
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
            if not ended and all(answering.done() for answering in self._busy.values()):
                break
        await self._line.close()
        for answering in self._busy.values():
            answering.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        return not self._threads.running

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
                    f"Before-handlers that do not return have all {MOST_THREADS} threads and cannot be stopped, but with"
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
        self._due = True
        self._turn()

    def _turn(self) -> None:
        if self._sent or not self._line.is_free or not (self._due or self._verdicts):
            return
        most = 1 if self._one_by_one else len(self._verdicts)
        self._sent, self._verdicts = self._verdicts[:most], self._verdicts[most:]
        # Not while a turn is under way: it may bring requests of a ticket that was ours when it began.
        returned = self._tickets.give_back(asyncio.get_running_loop().time() - SWEEP) if self._tidy else []
        self._due = self._tidy = False
        locks = [self._tickets.locks(given.request.ticket, given.request.turn) for given in self._sent]
        parameters = (
            _numbers(given.request.id for given in self._sent),
            _texts(given.verdict for given in self._sent),
            _numbers(lock for following, _ in locks for lock in following),
            _numbers((*(lock for _, awaited in locks for lock in awaited), *returned)),
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
            for given in sent:
                self._tickets.answered(given.request.ticket, given.request.turn)
                del self._busy[given.request.id]
            self._one_by_one = self._one_by_one and bool(self._verdicts)
            self._take(_ASKED.decode(answer))
        self._took.set()
        self._turn()

    def _refused_by_server(self, sent: list[Given], error: psycopg.Error) -> None:
        """The one thing that PostgreSQL may not take is what a handler put into its answer."""
        self._one_by_one = True
        if len(sent) > 1:
            self._verdicts = sent + self._verdicts
        else:
            message = f"its answer cannot be stored: {connections.one_line(error)}"
            self._verdicts.insert(0, Given(sent[0].request, _refusal(sent[0].request, message)))

    def _take(self, asked: Asked) -> None:
        now = asyncio.get_running_loop().time()
        for request in asked.requests or ():
            self._tickets.asked(request.ticket, now)
            self._busy[request.id] = self._start(self._answer(request, now + request.seconds))
        if asked.strange and not self._closing and (self._learning is None or self._learning.done()):
            self._learning = self._start(self._learn_anew())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose failure is heard of: as that of the line."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._line.give_up(error)

    async def _answer(self, request: Request, deadline: float) -> None:
        try:
            verdict = encode(await self._judge(request, deadline - min(MARGIN, request.seconds * SHARE)))
        except Exception as error:  # noqa: BLE001 - a writer waits for it, whatever it was
            verdict = _refusal(request, f"it could not be asked: {describe(error)}")
        self._verdicts.append(Given(request, verdict))
        self._turn()

    async def _judge(self, request: Request, deadline: float) -> Verdict:
        handlers = self._guarded[request.relation]
        if request.since != self._reader.layouts.newest(request.relation):
            await self._reader.refresh_layouts()
        asked = [handlers[name] for name in request.handlers]
        return await judge(asked, self._event(request.id, _BODY.decode(request.body)), deadline, self._threads)

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


def _refusal(request: Request, message: str) -> bytes:
    return encode(refusal(request.handlers[0], message))


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
