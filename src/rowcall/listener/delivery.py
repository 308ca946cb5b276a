"""Delivering events to one after-handler: its calls and the cursor commit together.

A :class:`Delivery` runs calls in one transaction of a connection of its own. There are two, for the two kinds of
handler: a sync handler and its connection live in a thread of their own, so they never block the event loop; an async
handler and its connection live on the loop. Both are overseen from the loop: a call that does not return in time is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import structlog

from rowcall import errors
from rowcall.handler import AfterHandler
from rowcall.listener.calls import Call, CallFailed, call_handler, call_handler_async, session_maker
from rowcall.listener.watchdog import GRACE, Watch, oversee
from rowcall.postgres import connection as connections

_LOG = structlog.get_logger("rowcall")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement run beside the calls, in their transaction.

    :ivar writes: how many rows it has to write, or the calls beside it must not count either; None if any number will do.
    """

    query: str
    parameters: dict[str, Any]
    writes: int | None = 1


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


def _check_effect(statement: Statement, cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Where a statement wrote nothing, the calls beside it must not count either."""
    if statement.writes not in (None, cursor.rowcount):
        raise NoEffect


class SyncDelivery:
    """For sync handlers."""

    def __init__(self, handler: AfterHandler) -> None:
        self.handler = handler
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"rowcall-{handler.name}")
        self.watch = Watch()
        self._dsn = ""
        self._connection: psycopg.Connection[Any] | None = None
        self._make_sessions = session_maker(handler)
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
        loop = asyncio.get_running_loop()
        await oversee(self, loop.run_in_executor(self._thread, self._transact, calls, statements))

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
        if events := self.handler.wanted(events):
            call_handler(self.handler, events, self.connection, self._sessions)


class AsyncDelivery:
    """For async handlers."""

    def __init__(self, handler: AfterHandler) -> None:
        self.handler = handler
        self.watch = Watch()
        self._running: asyncio.Task[None] | None = None
        self._overran = False
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._make_sessions = session_maker(handler)
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
            await oversee(self, self._running)
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
        if events := self.handler.wanted(events):
            await call_handler_async(self.handler, events, self.connection, self._sessions)


def delivery_for(handler: AfterHandler) -> Delivery:
    """The kind of delivery a handler needs."""
    return AsyncDelivery(handler) if handler.is_async else SyncDelivery(handler)


def _application_name(handler: AfterHandler) -> str:
    return f"rowcall {handler.name}".encode()[:63].decode(errors="ignore")
