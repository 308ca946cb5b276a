"""Taking something out of the log, or of its archives, by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from rowcall import errors, resources

_QUERIES = resources.queries("prune")

#: Seconds for which the other one is waited for, and between two tries.
PATIENCE = 10.0
_PAUSE = 0.1


@contextmanager
def alone(connection: psycopg.Connection[Any], *, patience: float | None = None) -> Iterator[None]:
    """While nobody else prunes or erases: a prune would put back from its copies what was erased meanwhile. May be nested.

    :param connection: in autocommit mode, and not one that leads to another session for each transaction.
    :raises HeldBack: if somebody else does for longer than these seconds.
    """
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    while not _is_taken(connection):
        if time.monotonic() > until:
            raise errors.HeldBack("Another rowcall prune or audit erase is running: let it end.")
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        if not connection.closed and not connection.broken:
            connection.execute(_QUERIES["unlock"])


def _is_taken(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(_QUERIES["lock"]).fetchone()
    return row is not None and bool(row[0])
