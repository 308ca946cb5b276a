"""`when=` of before-handlers, asked of PostgreSQL as their triggers do."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from rowcall import errors, identifiers, resources
from rowcall.event import Event
from rowcall.handler import BeforeHandler
from rowcall.postgres.connection import raw_cursor
from rowcall.testing.delivery import borrowed, borrowed_async

_QUERY = resources.queries("testing")["fulfils"]


async def fulfils(handler: BeforeHandler, event: Event, connection: Any) -> bool:
    """Whether a row is one that the handler is asked about.

    :param connection: of psycopg or SQLAlchemy, sync or async, to a database that has the table; None if there is none.
    :raises UsageError: if the handler has a condition, and there is no connection.
    """
    if handler.when is None:
        return True
    if connection is None:
        raise errors.UsageError(
            f"The before-handler {handler.name} has when={handler.when!r}, which PostgreSQL evaluates: pass"
            " connection=…, to a database that has the table."
        )
    query = _query(handler.when, event)
    if await _is_async(connection):
        async_cursor = raw_cursor(await borrowed_async(connection))
        await async_cursor.execute(query)
        [[is_true]] = await async_cursor.fetchall()
    else:
        [[is_true]] = raw_cursor(borrowed(connection)).execute(query).fetchall()
    return bool(is_true)


async def _is_async(connection: Any) -> bool:
    if isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
        return isinstance(connection, psycopg.AsyncConnection)
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    return isinstance(connection, (AsyncConnection, AsyncSession))


def _query(condition: str, event: Event) -> sql.Composed:
    table = sql.Identifier(*(part for part in identifiers.split(event.table) if part is not None))
    old, new = (sql.Literal(raw.decode() if raw else None) for raw in (event.raw_old, event.raw_new))
    # The app's own code, as the trigger has it.
    return sql.SQL(_QUERY).format(condition=sql.SQL(condition), table=table, old=old, new=new)
