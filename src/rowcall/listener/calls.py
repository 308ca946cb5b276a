"""Calling an after-handler: what it is given, and what it may not do with it. The same in a listener and in a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from rowcall import errors
from rowcall.event import Event
from rowcall.handler import AfterHandler

#: Events for one call of a handler.
Call = Sequence[Event]


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


class ConnectionCut(errors.Unreachable):
    """The connection of a subscription was ended, by us, under a call that took too long; no other one is concerned."""


def call_handler(handler: AfterHandler, events: Call, connection: psycopg.Connection[Any], sessions: Any) -> None:
    """Call a sync handler, in the transaction that a connection is in.

    :param sessions: what makes sessions over that connection, see :func:`session_maker`; None if it asks for none.
    :raises HandlerError: for what it made of the transaction.
    """
    if is_detached(handler):
        handler.function(**_arguments(handler, events, None))
        return
    with ExitStack() as stack:
        arguments = _arguments(handler, events, connection)
        if "session" in handler.parameters:
            arguments["session"] = stack.enter_context(sessions.session())
        handler.function(**arguments)
    _check_transaction(connection)


async def call_handler_async(
    handler: AfterHandler, events: Call, connection: psycopg.AsyncConnection[Any], sessions: Any
) -> None:
    """The same as :func:`call_handler` for an async handler."""
    if is_detached(handler):
        await not_cancelling_us(handler.function(**_arguments(handler, events, None)))
        return
    async with AsyncExitStack() as stack:
        arguments = _arguments(handler, events, connection)
        if "session" in handler.parameters:
            arguments["session"] = await stack.enter_async_context(sessions.session())
        await not_cancelling_us(handler.function(**arguments))
    _check_transaction(connection)


def session_maker(handler: AfterHandler) -> Any:
    """What makes the sessions a handler asks for, None if it asks for none; SQLAlchemy is loaded only for those who do."""
    if "session" not in handler.parameters:
        return None
    from rowcall.sqlalchemy import session

    return session.AsyncSessionMaker if handler.is_async else session.SessionMaker


def is_detached(handler: AfterHandler) -> bool:
    """Whether a handler can do nothing to its transaction, so that this need not be checked."""
    return "conn" not in handler.parameters and "session" not in handler.parameters


async def not_cancelling_us(call: Awaitable[Any]) -> Any:
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
