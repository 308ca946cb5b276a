"""Opening connections, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Loader
from psycopg.rows import TupleRow, tuple_row

from rowcall import errors, settings


class RawJson(Loader):
    """Leaves json and jsonb as the bytes the server sent: images are decoded lazily, and exactly."""

    def load(self, data: Any) -> bytes:
        return bytes(data)


class RawJsonBinary(RawJson):
    """The same for json's binary form, which is no other."""

    format = pq.Format.BINARY


class RawJsonbBinary(Loader):
    """The same for jsonb's binary form, whose first byte is a version number."""

    format = pq.Format.BINARY

    def load(self, data: Any) -> bytes:
        return bytes(data)[1:]


#: Numbers for the names of cursors: one stream may be read while another one is.
_STREAMS = count(1)

_RAW = (("json", RawJson), ("json", RawJsonBinary), ("jsonb", RawJson), ("jsonb", RawJsonbBinary))


def check_server_version(version: int) -> None:
    """Refuse servers too old for Rowcall's triggers.

    :param version: as ``server_version_num`` has it, 150018 for 15.18.
    :raises UsageError: below 14.
    """
    if version < settings.MINIMUM_SERVER_VERSION:
        found = f"{version // 10000}.{version % 10000}"
        raise errors.UsageError(f"PostgreSQL {found} is too old: Rowcall needs 14 or newer; upgrade the server.")


#: SQLSTATE classes and codes that say the connection is gone or was never there, though the server may be well:
#: connection exceptions, shutdowns and terminations, too many connections, timeouts that end a session, logins that
#: are refused, and a primary that became a standby.
_GONE = ("08", "57P", "53300", "25P03", "25P04", "25006", "28")


#: Of our own statements: a table, function or schema is not there.
_SCHEMA_CHANGED = ("42P01", "42883", "3F000")


def is_outage(error: BaseException) -> bool:
    """Whether an error means that the database is out of reach for now, rather than that it refused something."""
    if isinstance(error, errors.Unreachable):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_GONE)


def is_passing(error: BaseException) -> bool:
    """Whether an error may be over when the same is tried again: an outage, or what psycopg calls operational."""
    return is_outage(error) or isinstance(error, psycopg.OperationalError)


def unreachable(error: psycopg.Error) -> errors.Unreachable:
    """What a failed connection attempt means, in one sentence."""
    reason = one_line(error).removeprefix("connection is bad: ") or type(error).__name__
    return errors.Unreachable(
        f"The database cannot be reached: {reason}. Check --dsn, ROWCALL_DSN or libpq's PG… variables."
    )


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks and final punctuation, to go into a sentence."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((said or str(error)).split()).rstrip(".?!")


def told_by_server(error: psycopg.Error) -> errors.RowcallError:
    """An error of the server's that nobody expected, as the sentence and exit code that fit it."""
    if is_outage(error):
        return unreachable(error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return errors.UsageError(
            f"This login lacks a right: {one_line(error)}. Use the login that ran rowcall migrate, or grant it."
        )
    if error.sqlstate in _SCHEMA_CHANGED:
        return errors.SchemaError(f'Rowcall\'s schema changed meanwhile ({one_line(error)}): run "rowcall migrate".')
    if isinstance(error, psycopg.OperationalError):
        return errors.Unreachable(f"The database could not do it: {one_line(error)}. Try again.")
    return errors.RowcallError(f"{errors.describe(error)}. This is a fault of Rowcall's; --debug shows where.")


_ISO_DATES = "set datestyle = 'ISO, MDY'"


def _writes_iso_dates(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether the session writes times as psycopg reads them; the server says so by itself."""
    return (connection.info.parameter_status("DateStyle") or "").startswith("ISO")


def connect(
    dsn: str, *, autocommit: bool = True, application_name: str = "rowcall", pooled: bool = False
) -> psycopg.Connection[TupleRow]:
    """A sync connection that Rowcall works with.

    :param pooled: whether it may lead to another session for each transaction.
    :raises Unreachable: if there is no connection to be had.
    :raises UsageError: if the server is too old or the DSN is no DSN.
    """
    try:
        connection = psycopg.connect(
            dsn,
            autocommit=autocommit,
            application_name=application_name,
            client_encoding="utf8",
            prepare_threshold=_prepare_threshold(pooled),
        )
    except psycopg.ProgrammingError as error:
        raise errors.UsageError(f"The DSN cannot be read: {one_line(error)}.") from error
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    try:
        check_server_version(connection.info.server_version)
        if not _writes_iso_dates(connection):
            connection.execute(_ISO_DATES)
            connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_threshold(pooled: bool) -> int | None:
    """After how many executions psycopg prepares a statement: never, where the next one may go to another session."""
    return None if pooled else 5


async def connect_async(
    dsn: str, *, autocommit: bool = True, application_name: str = "rowcall", pooled: bool = False
) -> psycopg.AsyncConnection[TupleRow]:
    """An async connection that a listener works with. Parameters and errors as of :func:`connect`."""
    try:
        connection = await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=autocommit,
            application_name=application_name,
            client_encoding="utf8",
            prepare_threshold=_prepare_threshold(pooled),
        )
    except psycopg.ProgrammingError as error:
        raise errors.UsageError(f"The DSN cannot be read: {one_line(error)}.") from error
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    try:
        check_server_version(connection.info.server_version)
        if not pooled:
            await connection.execute(_STAY)
        if not _writes_iso_dates(connection):
            await connection.execute(_ISO_DATES)
        if not autocommit:
            await connection.commit()
    except BaseException:
        await connection.close()
        raise
    return connection


def terminate(dsn: str, pid: int) -> None:
    """End a session of this login's, over a connection of its own.

    :param pid: of the server's process.
    :raises Unreachable: if there is no connection to be had.
    """
    with connect(dsn) as connection:
        connection.execute("select pg_terminate_backend(%s)", (pid,))


#: A listener's connections may have nothing to do for days.
_STAY = "set idle_session_timeout = 0"

#: Has the server look now and then whether a client in the middle of a statement is still there. Otherwise the claim of a
#: listener that was killed would last as long as its handler's last statement; not every platform can look.
_NOTICE_DEATH = "set client_connection_check_interval = '1s'"


def settle(connection: psycopg.Connection[Any]) -> None:
    """Prepare a connection for delivering: to stay however little there is to do, and to go when its client does."""
    connection.execute(_STAY)
    with suppress(psycopg.DataError):
        connection.execute(_NOTICE_DEATH)


async def settle_async(connection: psycopg.AsyncConnection[Any]) -> None:
    """The same as :func:`settle`."""
    with suppress(psycopg.DataError):
        await connection.execute(_NOTICE_DEATH)


def stream(connection: psycopg.Connection[Any], query: str, parameters: dict[str, Any]) -> Iterator[TupleRow]:
    """Rows as the server makes them, in a snapshot of their own; json values as bytes.

    In the binary format, so that times are read rightly whatever the session writes dates like.

    :raises UsageError: for a parameter that the server cannot read, such as a time.
    """
    name = f"rowcall_stream_{next(_STREAMS)}"
    with (
        connection.transaction(),
        connection.cursor(name=name, row_factory=tuple_row) as cursor,
    ):
        for kind, loader in _RAW:
            cursor.adapters.register_loader(kind, loader)
        # Without statistics of new partitions, plans look dear enough to be compiled, for a second each time.
        connection.execute("set local jit = off")
        try:
            cursor.execute(query, parameters, binary=True)
        except psycopg.DataError as error:
            raise errors.UsageError(f"{error.diag.message_primary or error}: correct that option.") from error
        yield from cursor


def raw_cursor(connection: Any) -> Any:
    """A cursor that gives tuples, and json values as bytes, whatever a handler that uses the connection has set it to."""
    # Not by the connection's own factory, which may make cursors that bind on the client.
    kinds = psycopg.AsyncCursor if isinstance(connection, psycopg.AsyncConnection) else psycopg.Cursor
    cursor: Any = kinds(connection, row_factory=tuple_row)
    for kind, loader in _RAW:
        cursor.adapters.register_loader(kind, loader)
    return cursor
