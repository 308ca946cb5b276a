"""Calling after-handlers on the connection of a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.rows import tuple_row

from rowcall import errors
from rowcall.app import Rowcall
from rowcall.handler import AfterHandler
from rowcall.listener.calls import call_handler, call_handler_async, session_maker
from rowcall.postgres.connection import raw_cursor
from rowcall.testing.progress import LIMIT, Attempt, Delivered, Fetch, Named, Progress, Result, Steps, chosen

Connection = TypeVar("Connection", psycopg.Connection[Any], psycopg.AsyncConnection[Any])


class _Borrowing(Generic[Connection]):
    """What both kinds of delivery know: the test's connection, or what it was taken from, and how far the handlers are."""

    def __init__(self, subject: Any, connection: Connection, handlers: list[AfterHandler]) -> None:
        self._subject = subject
        self._connection: Connection = connection
        is_async = isinstance(connection, psycopg.AsyncConnection)
        self._progress = Progress(handlers, is_async=is_async, database=connection.info.dbname)
        self._made: Any = None

    def _sessions(self, handler: AfterHandler) -> Any:
        """What makes the sessions that a handler asks for, the same for all of them."""
        if make_sessions := session_maker(handler):
            self._made = self._made or make_sessions(self._connection)
        return self._made


class Delivery(_Borrowing[psycopg.Connection[Any]]):
    """Delivers the events of a test, when the test says so, on the connection that caused them.

    Everything that the connection sees is delivered, also of a transaction that is open; then each call of a handler is a
    savepoint, and what it wrote is rolled back with the test. On a connection that is in no transaction each call is
    committed.

    Made by :meth:`over`.
    """

    @classmethod
    def over(cls, app: Rowcall, connection: Any, *, handlers: Iterable[Named] | None = None) -> Delivery:
        """Deliver from now on; what happened before is not delivered, as with a subscription.

        :param connection: a psycopg connection, or SQLAlchemy's connection or session over one.
        :param handlers: only to these of the app's after-handlers: functions, or names of subscriptions.
        :raises SchemaError: if Rowcall is not installed.
        :raises UsageError: for another kind of connection, or if a handler's table is not watched.
        """
        delivery = cls(connection, borrowed(connection), chosen(app, handlers))
        delivery._run(delivery._progress.begin())
        return delivery

    def deliver(self, *, collect: bool = False, limit: int = LIMIT) -> Delivered:
        """Call the handlers with every event that they have not been told, in order, then with what they themselves
        caused, until nothing is left.

        A failure of a handler undoes its call, and the exception comes through; the event is delivered again next time.

        :param collect: have failures in the result instead, each holding up later events of its row only.
        :param limit: most events that handlers may cause.
        :raises UsageError: if they cause more, or for a handler that needs an async connection.
        """
        self._check_connection()
        try:
            return self._run(self._progress.deliver(limit, collect))
        finally:
            _refresh(self._subject)

    def skip(self) -> None:
        """Take everything that is there for delivered, without calling anybody."""
        self._check_connection()
        self._run(self._progress.skip())

    def _check_connection(self) -> None:
        if borrowed(self._subject) is not self._connection:
            raise _other_connection()

    def _run(self, steps: Steps[Result]) -> Result:
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._do(step)
                except BaseException as error:  # noqa: BLE001 - the steps know what it comes to
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _do(self, step: Fetch | Attempt) -> list[Any]:
        with _as_new(self._connection), self._connection.transaction():
            if isinstance(step, Fetch):
                return self._fetch(step)
            call_handler(step.handler, step.events, self._connection, self._sessions(step.handler))
            return self._fetch(step.note)

    def _fetch(self, step: Fetch) -> list[Any]:
        cursor = raw_cursor(self._connection).execute(step.query, step.parameters, binary=True)
        return cursor.fetchall()  # type: ignore[no-any-return]


class AsyncDelivery(_Borrowing[psycopg.AsyncConnection[Any]]):
    """The same as :class:`Delivery` for async handlers, over an async connection. Made by :meth:`over`."""

    @classmethod
    async def over(cls, app: Rowcall, connection: Any, *, handlers: Iterable[Named] | None = None) -> AsyncDelivery:
        """As :meth:`Delivery.over`, over a psycopg AsyncConnection, or SQLAlchemy's AsyncConnection or AsyncSession."""
        delivery = cls(connection, await borrowed_async(connection), chosen(app, handlers))
        await delivery._run(delivery._progress.begin())
        return delivery

    async def deliver(self, *, collect: bool = False, limit: int = LIMIT) -> Delivered:
        """As :meth:`Delivery.deliver`."""
        await self._check_connection()
        try:
            return await self._run(self._progress.deliver(limit, collect))
        finally:
            _refresh(self._subject)

    async def skip(self) -> None:
        """As :meth:`Delivery.skip`."""
        await self._check_connection()
        await self._run(self._progress.skip())

    async def _check_connection(self) -> None:
        if await borrowed_async(self._subject) is not self._connection:
            raise _other_connection()

    async def _run(self, steps: Steps[Result]) -> Result:
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._do(step)
                except BaseException as error:  # noqa: BLE001 - the steps know what it comes to
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _do(self, step: Fetch | Attempt) -> list[Any]:
        with _as_new(self._connection):
            async with self._connection.transaction():
                if isinstance(step, Fetch):
                    return await self._fetch(step)
                await call_handler_async(step.handler, step.events, self._connection, self._sessions(step.handler))
                return await self._fetch(step.note)

    async def _fetch(self, step: Fetch) -> list[Any]:
        cursor = await raw_cursor(self._connection).execute(step.query, step.parameters, binary=True)
        return await cursor.fetchall()  # type: ignore[no-any-return]


def borrowed(subject: Any) -> psycopg.Connection[Any]:
    """The psycopg connection that a test works with.

    :raises UsageError: if there is none.
    """
    if isinstance(subject, psycopg.Connection):
        return subject
    if isinstance(subject, psycopg.AsyncConnection):
        raise errors.UsageError(
            "This is an async connection: deliver over it with await AsyncDelivery.over(app, connection)."
        )
    from rowcall.sqlalchemy import driver

    return driver.connection_of(subject)


async def borrowed_async(subject: Any) -> psycopg.AsyncConnection[Any]:
    """The same for async tests."""
    if isinstance(subject, psycopg.AsyncConnection):
        return subject
    if isinstance(subject, psycopg.Connection):
        raise errors.UsageError("This is a sync connection: deliver over it with Delivery.over(app, connection).")
    from rowcall.sqlalchemy import driver

    return await driver.async_connection_of(subject)


def _other_connection() -> errors.UsageError:
    return errors.UsageError(
        "The session has another connection than when this delivery began: bind it to one connection for the whole test."
    )


def _refresh(subject: Any) -> None:
    """Have a session read anew what handlers may have changed, as it would after another's commit."""
    if hasattr(subject, "expire_all"):
        subject.expire_all()


@contextmanager
def _as_new(connection: Any) -> Iterator[None]:
    """Show a handler the connection as a listener's, whatever the test has set it to."""
    kept = connection.row_factory, connection.cursor_factory
    connection.row_factory = tuple_row
    connection.cursor_factory = (
        psycopg.AsyncCursor if isinstance(connection, psycopg.AsyncConnection) else psycopg.Cursor
    )
    try:
        yield
    finally:
        connection.row_factory, connection.cursor_factory = kept
