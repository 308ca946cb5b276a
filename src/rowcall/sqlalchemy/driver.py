"""The psycopg connection beneath SQLAlchemy's connections and sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from rowcall import errors


def connection_of(subject: Any) -> psycopg.Connection[Any]:
    """The connection of a session, with what it had pending flushed to it, or of a SQLAlchemy connection; in the transaction
    that SQLAlchemy knows of.

    :raises UsageError: for anything else, or where psycopg is not the driver.
    """
    if isinstance(subject, (Session, scoped_session)):
        subject.flush()
        subject = subject.connection()
    if not isinstance(subject, Connection):
        raise _refused(subject)
    # Only with the first statement does the transaction begin in the database.
    subject.exec_driver_sql("select 1")
    driver = subject.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise _refused(driver)
    return driver


@contextmanager
def connection_from(subject: Any) -> Iterator[psycopg.Connection[Any]]:
    """As :func:`connection_of`; of an engine, a connection of its own and a transaction that is committed at the end."""
    if isinstance(subject, Engine):
        with subject.begin() as connection:
            yield connection_of(connection)
    else:
        yield connection_of(subject)


async def async_connection_of(subject: Any) -> psycopg.AsyncConnection[Any]:
    """As :func:`connection_of`, of an AsyncSession or an AsyncConnection."""
    if isinstance(subject, (AsyncSession, async_scoped_session)):
        await subject.flush()
        subject = await subject.connection()
    if not isinstance(subject, AsyncConnection):
        raise _refused(subject)
    await subject.exec_driver_sql("select 1")
    driver = (await subject.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise _refused(driver)
    return driver


def _refused(subject: Any) -> errors.UsageError:
    kind = f"{type(subject).__module__}.{type(subject).__qualname__}"
    return errors.UsageError(
        f"{kind} is no connection that works here: pass one of psycopg 3, or SQLAlchemy's connection or session over it"
        " (postgresql+psycopg://), sync or async as the handlers are."
    )
