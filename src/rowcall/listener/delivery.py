"""Delivering events to one after-handler: its calls and the cursor commit together.

A :class:`Delivery` runs calls in one transaction of a connection of its own. There are two, for the two kinds of
handler: a sync handler and its connection live in a thread of their own, so they never block the event loop; an async
handler and its connection live on the loop. Both are overseen from the loop: a call that does not return in time is cut.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import structlog
from psycopg.pq import TransactionStatus

from rowcall import errors
from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.postgres import connection as connections

_LOG = structlog.get_logger("rowcall")

#: Seconds that a call that was cut may take to end.
GRACE = 2.0

#: Events for one call of the handler.
Call = Sequence[Event]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement run beside the calls, in their transaction.

    :ivar writes: how many rows it has to write, or the calls beside it must not count either; None if any number will do.
    """

    query: str
    parameters: dict[str, Any]
    writes: int | None = 1


class CallFailed(Exception):
    """A handler failed; what it raised is the cause.

    :ivar call: the events it was called with.
    """

    def __init__(self, call: Call, cause: BaseException) -> None:
        super().__init__(call, cause)
        self.call = call
        self.__cause__ = cause


class Overran(Exception):
    """A handler did not return in time, and its connection had to be ended.

    :ivar call: the events it was called with.
    :ivar stuck: whether it has not returned even so.
    """

    def __init__(self, call: Call, seconds: float, stuck: bool) -> None:
        super().__init__(f"it did not return within {seconds:g} s")
        self.call = call
        self.stuck = stuck


class NoEffect(errors.UsageError):
    """What a transaction was about is not there any more."""

    def __init__(
        self,
        message: str = "A subscription was dropped or changed while it was read:"
        ' start "rowcall listen" again to go on without it.',
    ) -> None:
        super().__init__(message)


class Delivery(Protocol):
    """Runs an after-handler in transactions of one connection."""

    async def open(self, dsn: str, *, pooled: bool = False) -> None:
        """Connect.

        :param pooled: whether the connection may lead to another session for each transaction.
        """

    async def close(self) -> bool:
        """Give the connection back; whether it could be, or a call that cannot be stopped has it."""

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        """Rows of a statement outside any transaction."""

    async def transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        """All calls and then all statements in one transaction, or none of them.

        :raises CallFailed: for the first call that failed.
        :raises Overran: for a call that did not return in time.
        :raises NoEffect: for the first statement that wrote nothing.
        """

    @property
    def lost(self) -> bool:
        """Whether the connection is gone, so that a failure is not the handler's."""


def _check_transaction(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Refuse what a handler made of the transaction it was lent; costs no query."""
    status = connection.info.transaction_status
    if status is TransactionStatus.INERROR:
        raise errors.HandlerError(
            "it swallowed an error of the database, which ended its transaction: let such errors through, or put the"
            " statement into conn.transaction()."
        )
    if status is TransactionStatus.IDLE:
        raise errors.HandlerError(
            "it ended the transaction it was given: its writes and the cursor commit together, so leave that to Rowcall."
        )


def _check_effect(statement: Statement, cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Where a statement wrote nothing, the calls beside it must not count either."""
    if statement.writes not in (None, cursor.rowcount):
        raise NoEffect


class _Watch:
    """Since when which call has been running; told by the one who calls, read by the one who oversees."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self._began = 0.0

    def begin(self, call: Call) -> None:
        """A call begins."""
        self._began = time.monotonic()
        self.call = call

    def end(self) -> None:
        """No call is running."""
        self.call = None

    def left(self, timeout: float) -> float:
        """Seconds until the running call has taken too long."""
        return timeout if self.call is None else self._began + timeout - time.monotonic()


async def _oversee(delivery: SyncDelivery | AsyncDelivery, running: asyncio.Future[None]) -> None:
    """Await a transaction; a call in it that takes too long is cut.

    :raises Overran: for that one, if its connection is lost by it.
    """
    watch, timeout = delivery.watch, delivery.handler.timeout
    call: Call | None = None
    while call is None:
        await asyncio.wait({running}, timeout=max(watch.left(timeout), 0.001))
        if running.done():
            return running.result()
        if watch.left(timeout) <= 0:
            call = watch.call
    await delivery.cut()
    await asyncio.wait({running}, timeout=GRACE)
    failed = not running.done() or running.cancelled() or running.exception() is not None
    if failed and (not running.done() or running.cancelled() or delivery.lost):
        raise Overran(call, timeout, stuck=not running.done())
    return running.result()


class SyncDelivery:
    """For sync handlers."""

    def __init__(self, handler: AfterHandler) -> None:
        self.handler = handler
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"rowcall-{handler.name}")
        self.watch = _Watch()
        self._dsn = ""
        self._connection: psycopg.Connection[Any] | None = None
        self._make_sessions = _session_maker(handler)
        self._sessions: Any = None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        assert self._connection is not None
        return self._connection

    @property
    def lost(self) -> bool:
        return self._connection is None or self._connection.closed

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def open(self, dsn: str, *, pooled: bool = False) -> None:
        self._dsn = dsn
        await self._run(self._open, pooled)

    def _open(self, pooled: bool) -> None:
        name = _application_name(self.handler)
        self._connection = connections.connect(self._dsn, application_name=name, pooled=pooled)
        if not pooled:
            connections.settle(self._connection)
        if self._make_sessions is not None:
            self._sessions = self._make_sessions(self._connection)

    async def close(self) -> bool:
        # After the call that is under way, if that ends: the thread is the connection's only user.
        closed = asyncio.wrap_future(self._thread.submit(self._close))
        self._thread.shutdown(wait=False)
        await asyncio.wait({closed}, timeout=GRACE)
        if not closed.done():
            await self.cut()
            await asyncio.wait({closed}, timeout=GRACE)
        return closed.done()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def cut(self) -> None:
        """End the connection under the call: whatever waits for the server, and whatever asks it next, fails."""
        try:
            await asyncio.to_thread(connections.terminate, self._dsn, self.connection.info.backend_pid)
        except errors.RowcallError as error:
            _LOG.warning("a call that takes too long could not be cut", handler=self.handler.name, error=str(error))

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        return await self._run(self._fetch, query, parameters)  # type: ignore[no-any-return]

    def _fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        cursor = connections.raw_cursor(self.connection).execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    async def transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        running = asyncio.ensure_future(self._run(self._transact, calls, statements))
        await _oversee(self, running)

    def _transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        with self.connection.transaction():
            for call in calls:
                self.watch.begin(call)
                try:
                    self._call(call)
                # A CancelledError of its own would else look like the end of the task that awaits this.
                except (Exception, SystemExit, asyncio.CancelledError) as error:
                    raise CallFailed(call, error) from error
                finally:
                    self.watch.end()
            for statement in statements:
                _check_effect(statement, self.connection.execute(statement.query, statement.parameters))

    def _call(self, events: Call) -> None:
        events = self.handler.wanted(events)
        if not events:
            return
        if _is_detached(self.handler):
            self.handler.function(**_arguments(self.handler, events, None))
            return
        with ExitStack() as stack:
            arguments = _arguments(self.handler, events, self.connection)
            if "session" in self.handler.parameters:
                arguments["session"] = stack.enter_context(self._sessions.session())
            self.handler.function(**arguments)
        _check_transaction(self.connection)


class AsyncDelivery:
    """For async handlers."""

    def __init__(self, handler: AfterHandler) -> None:
        self.handler = handler
        self.watch = _Watch()
        self._running: asyncio.Task[None] | None = None
        self._overran = False
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._make_sessions = _session_maker(handler)
        self._sessions: Any = None

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:
        assert self._connection is not None
        return self._connection

    @property
    def lost(self) -> bool:
        return self._connection is None or self._connection.closed

    async def open(self, dsn: str, *, pooled: bool = False) -> None:
        name = _application_name(self.handler)
        self._connection = await connections.connect_async(dsn, application_name=name, pooled=pooled)
        if not pooled:
            await connections.settle_async(self._connection)
        if self._make_sessions is not None:
            self._sessions = self._make_sessions(self._connection)
            await self._sessions.prepare()

    async def close(self) -> bool:
        stopped = await self._stop()
        if self._connection is not None:
            await self._connection.close()
        return stopped

    async def _stop(self) -> bool:
        """Cancel the call that is under way; whether it ended."""
        if self._running is None or self._running.done():
            return True
        self._running.cancel()
        await asyncio.wait({self._running}, timeout=GRACE)
        return self._running.done()

    async def cut(self) -> None:
        """Cancel the call."""
        assert self._running is not None
        self._overran = True
        self._running.cancel()

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        cursor = connections.raw_cursor(self.connection)
        await cursor.execute(query, parameters)
        return await cursor.fetchall() if cursor.description else []

    async def transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        self._overran = False
        self._running = asyncio.ensure_future(self._transact(calls, statements))
        try:
            await _oversee(self, self._running)
        except asyncio.CancelledError:
            await self._stop()
            raise

    async def _transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        async with self.connection.transaction():
            for call in calls:
                self.watch.begin(call)
                try:
                    await self._call(call)
                except asyncio.CancelledError:
                    if not self._overran:
                        raise
                    too_late = TimeoutError(f"it did not return within {self.handler.timeout:g} s")
                    raise CallFailed(call, too_late) from too_late
                except (Exception, SystemExit) as error:
                    raise CallFailed(call, error) from error
                finally:
                    self.watch.end()
            for statement in statements:
                _check_effect(statement, await self.connection.execute(statement.query, statement.parameters))

    async def _call(self, events: Call) -> None:
        events = self.handler.wanted(events)
        if not events:
            return
        if _is_detached(self.handler):
            await not_cancelling_us(self.handler.function(**_arguments(self.handler, events, None)))
            return
        async with AsyncExitStack() as stack:
            arguments = _arguments(self.handler, events, self.connection)
            if "session" in self.handler.parameters:
                arguments["session"] = await stack.enter_async_context(self._sessions.session())
            await not_cancelling_us(self.handler.function(**arguments))
        _check_transaction(self.connection)


async def not_cancelling_us(call: Any) -> Any:
    """Await a handler's call; if it was cancelled and we are not, it failed, or its caller would silently end.

    :raises HandlerError: for a cancellation that came from within.
    """
    try:
        return await call
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise errors.HandlerError("something it awaited was cancelled.") from error


def delivery_for(handler: AfterHandler) -> Delivery:
    """The kind of delivery a handler needs."""
    return AsyncDelivery(handler) if handler.is_async else SyncDelivery(handler)


def _application_name(handler: AfterHandler) -> str:
    return f"rowcall {handler.name}".encode()[:63].decode(errors="ignore")


def _session_maker(handler: AfterHandler) -> Any:
    """What makes the sessions a handler asks for; SQLAlchemy is loaded only for those who do."""
    if "session" not in handler.parameters:
        return None
    from rowcall.sqlalchemy import session

    return session.AsyncSessionMaker if handler.is_async else session.SessionMaker


def _is_detached(handler: AfterHandler) -> bool:
    """Whether a handler can do nothing to its transaction, so that this need not be checked."""
    return "conn" not in handler.parameters and "session" not in handler.parameters


def _arguments(handler: AfterHandler, events: Call, connection: Any) -> dict[str, Any]:
    """What the handler asked for by name, but the session, which has a life of its own."""
    arguments: dict[str, Any] = {}
    for name in handler.parameters:
        if name == "event":
            arguments[name] = events[0]
        elif name == "events":
            arguments[name] = list(events)
        elif name == "conn":
            arguments[name] = connection
    return arguments
