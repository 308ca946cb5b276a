"""Delivering events to one after-handler: its calls and the cursor commit together.

A :class:`Delivery` runs calls in one transaction of a connection of its own. There are two, for the two kinds of
handler: a sync handler and its connection live in a thread of their own, so they never block the event loop; an async
handler and its connection live on the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus

from rowcall import errors
from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.postgres import connection as connections

#: A statement and its parameters, run beside the calls in their transaction.
Statement = tuple[str, dict[str, Any]]

#: Events for one call of the handler.
Call = Sequence[Event]


class CallFailed(Exception):
    """A handler failed; what it raised is the cause.

    :ivar call: the events it was called with.
    """

    def __init__(self, call: Call, cause: BaseException) -> None:
        super().__init__(call, cause)
        self.call = call
        self.__cause__ = cause


class NoEffect(errors.UsageError):
    """What a transaction was about is not there any more."""


class Delivery(Protocol):
    """Runs an after-handler in transactions of one connection."""

    async def open(self, dsn: str) -> None:
        """Connect."""

    async def close(self) -> None:
        """Give the connection back."""

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        """Rows of a statement outside any transaction."""

    async def transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        """All calls and then all statements in one transaction, or none of them.

        :raises CallFailed: for the first call that failed.
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


def _check_effect(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> None:
    """Each of our statements writes one row; if it did not, the calls beside it must not count either."""
    if cursor.rowcount != 1:
        raise NoEffect(
            'A subscription was dropped or changed while it was read: start "rowcall listen" again to go on without it.'
        )


class SyncDelivery:
    """For sync handlers."""

    def __init__(self, handler: AfterHandler) -> None:
        self._handler = handler
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"rowcall-{handler.name}")
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

    async def open(self, dsn: str) -> None:
        await self._run(self._open, dsn)

    def _open(self, dsn: str) -> None:
        self._connection = connections.connect(dsn, application_name=_application_name(self._handler))
        connections.settle(self._connection)
        if self._make_sessions is not None:
            self._sessions = self._make_sessions(self._connection)

    async def close(self) -> None:
        # After the call that is under way: the thread is the connection's only user.
        self._thread.submit(self._close)
        await asyncio.to_thread(self._thread.shutdown)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        return await self._run(self._fetch, query, parameters)  # type: ignore[no-any-return]

    def _fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        cursor = connections.raw_cursor(self.connection).execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    async def transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        await self._run(self._transact, calls, statements)

    def _transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        with self.connection.transaction():
            for call in calls:
                try:
                    self._call(call)
                except (Exception, SystemExit) as error:
                    raise CallFailed(call, error) from error
            for query, parameters in statements:
                _check_effect(self.connection.execute(query, parameters))

    def _call(self, events: Call) -> None:
        with ExitStack() as stack:
            arguments = _arguments(self._handler, events, self.connection)
            if "session" in self._handler.parameters:
                arguments["session"] = stack.enter_context(self._sessions.session())
            self._handler.function(**arguments)
        _check_transaction(self.connection)


class AsyncDelivery:
    """For async handlers."""

    def __init__(self, handler: AfterHandler) -> None:
        self._handler = handler
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

    async def open(self, dsn: str) -> None:
        self._connection = await connections.connect_async(dsn, application_name=_application_name(self._handler))
        await connections.settle_async(self._connection)
        if self._make_sessions is not None:
            self._sessions = self._make_sessions(self._connection)
            await self._sessions.prepare()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        cursor = await connections.raw_cursor(self.connection).execute(query, parameters)
        return await cursor.fetchall() if cursor.description else []

    async def transact(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        async with self.connection.transaction():
            for call in calls:
                try:
                    await self._call(call)
                except (Exception, SystemExit) as error:
                    raise CallFailed(call, error) from error
            for query, parameters in statements:
                _check_effect(await self.connection.execute(query, parameters))

    async def _call(self, events: Call) -> None:
        async with AsyncExitStack() as stack:
            arguments = _arguments(self._handler, events, self.connection)
            if "session" in self._handler.parameters:
                arguments["session"] = await stack.enter_async_context(self._sessions.session())
            await not_cancelling_us(self._handler.function(**arguments))
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


def _arguments(handler: AfterHandler, events: Call, connection: Any) -> dict[str, Any]:
    """What the handler asked for by name, but the session, which has a life of its own."""
    supply = {"event": events[0], "events": list(events), "conn": connection}
    return {name: supply[name] for name in handler.parameters if name in supply}
