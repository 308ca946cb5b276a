"""What the log needs now and then: partitions made ahead of time, and its indexes merged."""

from __future__ import annotations

from typing import Any

import psycopg
import structlog

from rowcall import resources
from rowcall.postgres.connection import one_line

_LOG = structlog.get_logger("rowcall")
_QUERIES = resources.queries("schema")
_EXTEND = _QUERIES["extend_partitions"]
#: What another try may mend, or an administrator: doctor tells in time.
_LATER = (psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege)


def extend(connection: psycopg.Connection[Any]) -> None:
    """Make partitions for the months to come, if few are left; where it cannot be now, log why and leave it to the next time."""
    try:
        with connection.transaction():
            connection.execute(_EXTEND)
    except _LATER as error:
        _put_off(error)


async def extend_async(connection: psycopg.AsyncConnection[Any]) -> None:
    """The same as :func:`extend`."""
    try:
        async with connection.transaction():
            await connection.execute(_EXTEND)
    except _LATER as error:
        _put_off(error)


async def merge_index_async(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Merge what writers added to the indexes on keys, so that none of them has to; False for a login that may not, instead of
    which autovacuum does it."""
    try:
        await connection.execute(_QUERIES["merge_index"])
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _put_off(error: psycopg.Error) -> None:
    _LOG.warning(
        "no partitions could be made ahead for the log; rowcall doctor says when it matters", error=one_line(error)
    )
