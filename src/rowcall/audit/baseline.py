"""The rows that a table has, logged as snapshot events in chunks, while writers go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.postgres.connection import one_line
from rowcall.postgres.tables import Table

_QUERIES = resources.queries("baseline")

#: Rows a transaction looks at, and locks, to begin with and at most; fewer where it takes longer than so many seconds.
CHUNK = 2_000
LARGEST = 20_000
PATIENCE = 0.2
#: Seconds between attempts at rows that a writer holds, and for how many seconds that is worth while.
PAUSE = 0.1
LONGEST = 60.0

#: Hears how many more rows were looked at.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline that is not complete.

    :ivar events: the snapshot events that are in the log already.
    :ivar estimate: about how many rows the table has.
    """

    relation: int
    table: str
    events: int
    estimate: int


def begin(connection: psycopg.Connection[Any], table: Table, *, again: bool) -> None:
    """Begin the baseline of a watched table, in the connection's transaction, or leave one as it is that has begun.

    :param again: begin anew if it is complete.
    """
    connection.execute(_QUERIES["begin"], {"schema": table.schema, "table": table.name, "again": again})


def pending(connection: psycopg.Connection[Any], tables: Collection[str]) -> list[Baseline]:
    """The baselines of these tables, named schema.name, that are not complete."""
    rows = connection.execute(_QUERIES["pending"], {"tables": list(tables)}).fetchall()
    return [Baseline(*row) for row in rows]


def run(connection: psycopg.Connection[Any], baseline: Baseline, progress: Progress = lambda rows: None) -> int:
    """Log the rows of which no event speaks since the baseline began. Goes on where it was left, and may be run by several at once.

    :param connection: in autocommit mode, of a login that may lock rows of the table and append to the log.
    :returns: how many snapshot events it came to.
    :raises NotFilled: if a change of the table makes it impossible, or writers hold rows for very long.
    """
    many = CHUNK
    waiting_since = time.monotonic()
    while True:
        started = time.monotonic()
        rows = _chunk(connection, baseline, many)
        progress(rows)
        read, done, events = _state(connection, baseline)
        if done:
            return events
        if not read and rows:
            waiting_since = time.monotonic()
            quick = waiting_since - started < PATIENCE
            many = min(LARGEST, many * 2) if quick else max(CHUNK, many // 2)
        elif time.monotonic() - waiting_since > LONGEST:
            raise errors.NotFilled(
                f"The baseline of {baseline.table} waits for transactions that hold rows of it for more than {LONGEST:.0f} s:"
                " end them, and run the same command again, which goes on there."
            )
        else:
            time.sleep(PAUSE)


def _chunk(connection: psycopg.Connection[Any], baseline: Baseline, many: int) -> int:
    """One transaction; 0 rows where writers hold the table."""
    try:
        row = connection.execute(_QUERIES["chunk"], {"relation": baseline.relation, "many": many}).fetchone()
    except psycopg.errors.LockNotAvailable:
        return 0
    except psycopg.errors.RaiseException as error:
        raise errors.NotFilled(
            f"The baseline of {baseline.table} cannot be completed, because {one_line(error)}: run the same command again, which"
            " begins anew."
        ) from error
    assert row is not None
    return int(row[0])


def _state(connection: psycopg.Connection[Any], baseline: Baseline) -> tuple[bool, bool, int]:
    row = connection.execute(_QUERIES["state"], {"relation": baseline.relation}).fetchone()
    assert row is not None
    read, done, events = row
    return read, done, events
