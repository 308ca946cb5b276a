"""Filling new subscriptions with the rows that are there, in chunks, while writers go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.postgres.checks.finding import word
from rowcall.postgres.connection import one_line

_QUERIES = resources.queries("backfill")

#: Rows a transaction looks at to begin with, and at most. Each looks at all events since the beginning as well, so fewer and
#: larger ones cost less, as long as they take no more than so many seconds.
CHUNK = 5_000
LARGEST = 40_000
PATIENCE = 5.0

#: Hears how many more rows were looked at.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """One table of a backfill that is not done.

    :ivar events: the snapshot events that are in the log already.
    :ivar estimate: about how many rows it has.
    """

    relation: int
    table: str
    events: int
    estimate: int


@dataclass(frozen=True, slots=True)
class Backfill:
    """A subscription that nobody reads yet, because not all rows that were there at its beginning are in the log."""

    subscription: int
    name: str
    parts: tuple[Part, ...]


def pending(connection: psycopg.Connection[Any], declared_by: str) -> list[Backfill]:
    """The backfills of an app that are not complete, be it that they were never begun or that their process died."""
    rows = connection.execute(_QUERIES["pending"], {"declared_by": declared_by}).fetchall()
    return [
        Backfill(subscription, name, tuple(Part(*row[2:]) for row in parts if row[2] is not None))
        for (subscription, name), parts in groupby(rows, key=lambda row: row[:2])
    ]


def run(connection: psycopg.Connection[Any], backfill: Backfill, progress: Progress = lambda rows: None) -> int:
    """Log the rows that were there when a subscription began, and let listeners have it. Goes on where it was left, and may
    be run by several at once.

    :param connection: in autocommit mode, of a login that may read the tables and append to the log.
    :returns: how many snapshot events the subscription has.
    :raises NotFilled: if what happened meanwhile makes it impossible.
    """
    for part in backfill.parts:
        place = {"subscription": backfill.subscription, "relation": part.relation}
        for rows in _read(connection, backfill, place):
            progress(rows)
        _step(connection, backfill, "rest", place)
    [events] = _step(connection, backfill, "complete", {"subscription": backfill.subscription})
    return int(events)


def _read(connection: psycopg.Connection[Any], backfill: Backfill, place: dict[str, Any]) -> Iterator[int]:
    many = CHUNK
    read = False
    while not read:
        started = time.monotonic()
        [rows] = _step(connection, backfill, "chunk", place | {"many": many})
        yield rows
        [read] = _step(connection, backfill, "is_read", place)
        if time.monotonic() - started < PATIENCE:
            many = min(LARGEST, many * 2)


def _step(
    connection: psycopg.Connection[Any], backfill: Backfill, query: str, parameters: dict[str, Any]
) -> tuple[Any, ...]:
    """One transaction."""
    row: tuple[Any, ...] | None = None
    try:
        row = connection.execute(_QUERIES[query], parameters).fetchone()
    except psycopg.errors.RaiseException as error:
        raise errors.NotFilled(
            f"The backfill of {backfill.name} cannot be completed, because {one_line(error)}: run rowcall subscriptions"
            f" drop {word(backfill.name)}, then rowcall sync, which begins anew."
        ) from error
    except psycopg.errors.NoDataFound:
        pass
    if row is None:
        raise errors.NotFilled(f"{backfill.name} was dropped meanwhile: nothing is left to fill.")
    return row
