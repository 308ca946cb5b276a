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

from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.postgres import connection as connections

#: A statement and its parameters, run beside the calls in their transaction.
Statement = tuple[str, dict[str, Any]]

#: Events for one call of the handler.
Call = Sequence[Event]

#: What to write down for an event whose call failed.
Aftermath = Callable[[Event, Exception], list[Statement]]

#: What to write down instead of calling, for an event that has to wait behind a failed one of its key.
Behind = Callable[[Event], Statement | None]


class Delivery(Protocol):
    """Runs an after-handler in transactions of one connection."""

    async def open(self, dsn: str) -> None:
        """Connect."""

    async def close(self) -> None:
        """Give the connection back."""

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        """Rows of a statement outside any transaction."""

    async def straight(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        """All calls and statements in one transaction; the first failure rolls back all of it and is raised."""

    async def careful(
        self, events: Sequence[Event], aftermath: Aftermath, behind: Behind, statements: Sequence[Statement]
    ) -> None:
        """The same, one event a call, each in a savepoint: a failing one leaves only its aftermath."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone, so that a failure is not the handler's."""


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
        self._connection = connections.connect(dsn, application_name=f"rowcall {self._handler.name}"[:63])
        if self._make_sessions is not None:
            self._sessions = self._make_sessions(self._connection)

    async def close(self) -> None:
        if self._connection is not None:
            await self._run(self._connection.close)
        self._thread.shutdown()

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        return await self._run(self._fetch, query, parameters)  # type: ignore[no-any-return]

    def _fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        cursor = connections.raw_cursor(self.connection).execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    async def straight(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        await self._run(self._straight, calls, statements)

    def _straight(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        with self.connection.transaction():
            for call in calls:
                self._call(call)
            for query, parameters in statements:
                self.connection.execute(query, parameters)

    async def careful(
        self, events: Sequence[Event], aftermath: Aftermath, behind: Behind, statements: Sequence[Statement]
    ) -> None:
        await self._run(self._careful, events, aftermath, behind, statements)

    def _careful(
        self, events: Sequence[Event], aftermath: Aftermath, behind: Behind, statements: Sequence[Statement]
    ) -> None:
        with self.connection.transaction():
            for event in events:
                waiting = behind(event)
                for query, parameters in [waiting] if waiting else self._attempt(event, aftermath):
                    self.connection.execute(query, parameters)
            for query, parameters in statements:
                self.connection.execute(query, parameters)

    def _attempt(self, event: Event, aftermath: Aftermath) -> list[Statement]:
        try:
            with self.connection.transaction():
                self._call([event])
        except Exception as error:
            if self.lost:
                raise
            return aftermath(event, error)
        return []

    def _call(self, events: Call) -> None:
        with ExitStack() as stack:
            arguments = _arguments(self._handler, events, self.connection)
            if "session" in self._handler.parameters:
                arguments["session"] = stack.enter_context(self._sessions.session())
            self._handler.function(**arguments)


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
        self._connection = await connections.connect_async(dsn, application_name=f"rowcall {self._handler.name}"[:63])
        if self._make_sessions is not None:
            self._sessions = self._make_sessions(self._connection)
            await self._sessions.prepare()

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        cursor = await connections.raw_cursor(self.connection).execute(query, parameters)
        return await cursor.fetchall() if cursor.description else []

    async def straight(self, calls: Sequence[Call], statements: Sequence[Statement]) -> None:
        async with self.connection.transaction():
            for call in calls:
                await self._call(call)
            for query, parameters in statements:
                await self.connection.execute(query, parameters)

    async def careful(
        self, events: Sequence[Event], aftermath: Aftermath, behind: Behind, statements: Sequence[Statement]
    ) -> None:
        async with self.connection.transaction():
            for event in events:
                waiting = behind(event)
                for query, parameters in [waiting] if waiting else await self._attempt(event, aftermath):
                    await self.connection.execute(query, parameters)
            for query, parameters in statements:
                await self.connection.execute(query, parameters)

    async def _attempt(self, event: Event, aftermath: Aftermath) -> list[Statement]:
        try:
            async with self.connection.transaction():
                await self._call([event])
        except Exception as error:
            if self.lost:
                raise
            return aftermath(event, error)
        return []

    async def _call(self, events: Call) -> None:
        async with AsyncExitStack() as stack:
            arguments = _arguments(self._handler, events, self.connection)
            if "session" in self._handler.parameters:
                arguments["session"] = await stack.enter_async_context(self._sessions.session())
            await self._handler.function(**arguments)


def delivery_for(handler: AfterHandler) -> Delivery:
    """The kind of delivery a handler needs."""
    return AsyncDelivery(handler) if handler.is_async else SyncDelivery(handler)


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
