"""Opening connections, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Loader
from psycopg.rows import TupleRow

from rowcall import errors, settings


class RawJson(Loader):
    """Leaves json and jsonb as the bytes the server sent: images are decoded lazily, and exactly."""

    def load(self, data: Any) -> bytes:
        return bytes(data)


class RawJsonbBinary(Loader):
    """The same for jsonb's binary form, whose first byte is a version number."""

    format = pq.Format.BINARY

    def load(self, data: Any) -> bytes:
        return bytes(data)[1:]


def check_server_version(version: int) -> None:
    """Refuse servers too old for Rowcall's triggers.

    :param version: as ``server_version_num`` has it, 150018 for 15.18.
    :raises UsageError: below 14.
    """
    if version < settings.MINIMUM_SERVER_VERSION:
        found = f"{version // 10000}.{version % 10000}"
        raise errors.UsageError(f"PostgreSQL {found} is too old: Rowcall needs 14 or newer; upgrade the server.")


def unreachable(error: psycopg.Error) -> errors.Unreachable:
    """What a failed connection attempt means, in one sentence."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return errors.Unreachable(
        f"The database cannot be reached: {reason}. Check --dsn, ROWCALL_DSN or libpq's PG… variables."
    )


def connect(dsn: str, *, autocommit: bool = True, application_name: str = "rowcall") -> psycopg.Connection[TupleRow]:
    """A sync connection that Rowcall works with.

    :raises Unreachable: if there is no connection to be had.
    :raises UsageError: if the server is too old or the DSN is no DSN.
    """
    try:
        connection = psycopg.connect(dsn, autocommit=autocommit, application_name=application_name)
    except psycopg.ProgrammingError as error:
        raise errors.UsageError(f"The DSN cannot be read: {' '.join(str(error).split())}.") from error
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    check_server_version(connection.info.server_version)
    return connection


async def connect_async(
    dsn: str, *, autocommit: bool = True, application_name: str = "rowcall"
) -> psycopg.AsyncConnection[TupleRow]:
    """An async connection that Rowcall works with. Errors as :func:`connect`."""
    try:
        connection = await psycopg.AsyncConnection.connect(
            dsn, autocommit=autocommit, application_name=application_name
        )
    except psycopg.ProgrammingError as error:
        raise errors.UsageError(f"The DSN cannot be read: {' '.join(str(error).split())}.") from error
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    check_server_version(connection.info.server_version)
    return connection


def stream(connection: psycopg.Connection[Any], query: str, parameters: dict[str, Any]) -> Iterator[TupleRow]:
    """Rows as the server makes them, in a snapshot of their own; json values as bytes.

    :raises UsageError: for a parameter that the server cannot read, such as a time.
    """
    with connection.transaction(), connection.cursor(name="rowcall_stream") as cursor:
        for kind, loader in (("jsonb", RawJson), ("jsonb", RawJsonbBinary), ("json", RawJson)):
            cursor.adapters.register_loader(kind, loader)
        try:
            cursor.execute(query, parameters)
        except psycopg.DataError as error:
            raise errors.UsageError(f"{error.diag.message_primary or error}: correct that option.") from error
        yield from cursor


def raw_cursor(connection: Any) -> Any:
    """A cursor that gives json values as bytes; the connection itself, which handlers see, keeps psycopg's ways."""
    cursor = connection.cursor()
    for loader in (RawJson, RawJsonbBinary):
        cursor.adapters.register_loader("jsonb", loader)
    cursor.adapters.register_loader("json", RawJson)
    return cursor
