"""Saying who acts and why, for the length of a transaction."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from rowcall import errors, resources


class acting:  # noqa: N801 - reads as a verb: with acting(conn, actor="alice")
    """A transaction whose events carry an actor and a context.

    ``with acting(conn, actor="alice", request_id="…"):`` for a :class:`psycopg.Connection`,
    ``async with`` for an :class:`psycopg.AsyncConnection`. The block is ``conn.transaction()``: committed at its end, or a
    savepoint where a transaction is open already. Nested blocks inherit what they do not name and give it back.
    Set with the transaction, so safe behind transaction poolers.

    :param connection: the psycopg connection that will write.
    :param actor: who; None keeps the one of the block around it.
    :param context: why; anything JSON can hold, and dates, UUIDs and decimals as strings.
    :raises UsageError: for anything but a psycopg connection, or a context that is no JSON.
    """

    def __init__(self, connection: Any, *, actor: str | None = None, **context: Any) -> None:
        if not isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
            raise errors.UsageError(f"acting takes a psycopg connection, not {type(connection).__name__}.")
        self._connection: Any = connection
        self._claim = {"actor": actor, "context": _encoded(context)}
        self._before: dict[str, Any] | None = None
        self._transaction: Any = None

    @property
    def _is_nested(self) -> bool:
        return bool(self._connection.info.transaction_status is not TransactionStatus.IDLE)

    def _refuse_other_kind(self, kind: type, keyword: str) -> None:
        if not isinstance(self._connection, kind):
            raise errors.UsageError(f'acting on this connection is written "{keyword} acting(…)".')

    def _note(self, nested: bool, row: Any) -> None:
        # At the end of the whole transaction PostgreSQL forgets by itself.
        self._before = {"actor": row[0], "context": row[1]} if nested else None

    def __enter__(self) -> None:
        self._refuse_other_kind(psycopg.Connection, "async with")
        nested = self._is_nested
        self._transaction = self._connection.transaction()
        self._transaction.__enter__()
        try:
            self._note(nested, self._ask("begin", self._claim))
        except BaseException as error:
            self._transaction.__exit__(type(error), error, error.__traceback__)
            raise

    def _ask(self, query: str, parameters: dict[str, Any]) -> Any:
        cursor = self._connection.cursor(row_factory=tuple_row)
        return cursor.execute(_query(query), parameters).fetchone()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        if kind is None and self._before is not None:
            try:
                self._ask("end", self._before)
            except BaseException as failure:
                self._transaction.__exit__(type(failure), failure, failure.__traceback__)
                raise
        return self._transaction.__exit__(kind, error, trace)

    async def __aenter__(self) -> None:
        self._refuse_other_kind(psycopg.AsyncConnection, "with")
        nested = self._is_nested
        self._transaction = self._connection.transaction()
        await self._transaction.__aenter__()
        try:
            self._note(nested, await self._ask_async("begin", self._claim))
        except BaseException as error:
            await self._transaction.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _ask_async(self, query: str, parameters: dict[str, Any]) -> Any:
        cursor = self._connection.cursor(row_factory=tuple_row)
        return await (await cursor.execute(_query(query), parameters)).fetchone()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        if kind is None and self._before is not None:
            try:
                await self._ask_async("end", self._before)
            except BaseException as failure:
                await self._transaction.__aexit__(type(failure), failure, failure.__traceback__)
                raise
        return await self._transaction.__aexit__(kind, error, trace)


def _query(name: str) -> str:
    return resources.queries("acting")[name]


def _encoded(context: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(context).decode()
    except (TypeError, ValueError) as error:
        raise errors.UsageError(
            f"acting: the context cannot be written as JSON ({error}): pass plain values."
        ) from error
