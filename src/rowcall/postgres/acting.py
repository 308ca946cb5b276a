"""Saying who acts and why, for the length of a transaction."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from rowcall import errors

_ACT = "select rowcall.act(%s, %s)"
_CLAIMS = (
    "select nullif(current_setting('rowcall.actor', true), ''),"
    " coalesce(nullif(current_setting('rowcall.context', true), ''), '{}')::jsonb"
)


class acting:  # noqa: N801 - reads as a verb: with acting(conn, actor="alice")
    """A transaction whose events carry an actor and a context.

    ``with acting(conn, actor="alice", request_id="…"):`` for a :class:`psycopg.Connection`,
    ``async with`` for an :class:`psycopg.AsyncConnection`. The block is ``conn.transaction()``: committed at its end, or a
    savepoint where a transaction is open already. Nested blocks inherit what they do not name and give it back.
    Set with the transaction, so safe behind transaction poolers.

    :param connection: the psycopg connection that will write.
    :param actor: who; None keeps the one of the block around it.
    :param context: why, as JSON values.
    :raises UsageError: for anything but a psycopg connection.
    """

    def __init__(self, connection: Any, *, actor: str | None = None, **context: Any) -> None:
        if not isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
            raise errors.UsageError(f"acting takes a psycopg connection, not {type(connection).__name__}.")
        self._connection: Any = connection
        self._actor = actor
        self._context = context
        self._outer: tuple[str | None, dict[str, Any]] = (None, {})
        self._transaction: Any = None

    def _claim(self) -> tuple[str | None, Jsonb]:
        actor, context = self._outer
        return (self._actor if self._actor is not None else actor), Jsonb({**context, **self._context})

    def _restored(self) -> tuple[str | None, Jsonb]:
        actor, context = self._outer
        return actor, Jsonb(context)

    def __enter__(self) -> None:
        self._transaction = self._connection.transaction()
        self._transaction.__enter__()
        try:
            self._outer = self._connection.execute(_CLAIMS).fetchone()
            self._connection.execute(_ACT, self._claim())
        except BaseException as error:
            self._transaction.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._connection.execute(_ACT, self._restored())
        self._transaction.__exit__(kind, error, trace)

    async def __aenter__(self) -> None:
        self._transaction = self._connection.transaction()
        await self._transaction.__aenter__()
        try:
            self._outer = await (await self._connection.execute(_CLAIMS)).fetchone()
            await self._connection.execute(_ACT, self._claim())
        except BaseException as error:
            await self._transaction.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self._connection.execute(_ACT, self._restored())
        await self._transaction.__aexit__(kind, error, trace)
