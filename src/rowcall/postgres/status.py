"""What lags, and how large the log is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from rowcall import resources

_QUERIES = resources.queries("status")
_SEALS = resources.queries("seals")

#: A backlog is counted so far: a person needs no more, and counting a huge one would take minutes.
LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """One subscription and what waits for it.

    :ivar listening: whether a process delivers it at this moment.
    :ivar waiting: events of the log that come after its cursor. The database does not know which of them the handler asks for.
    :ivar capped: whether there are more than ``waiting``, which counts so far only.
    :ivar oldest: when the oldest of them was written.
    :ivar parked: events set aside that will be tried again.
    :ivar dead: dead letters, given up on until a person acts.
    """

    subscription: str
    declared_by: str
    listening: bool
    waiting: int
    capped: bool
    oldest: datetime | None
    parked: int
    dead: int


@dataclass(frozen=True, slots=True)
class Log:
    """The log at a glance.

    :ivar tables: how many tables are watched.
    :ivar events: about how many events it has, by PostgreSQL's own statistics.
    :ivar size: bytes on disk, indexes included.
    :ivar until: where the last partition begins, which takes whatever comes later; None if there is none.
    """

    tables: int
    events: int
    size: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Sealing:
    """How far the log is sealed.

    :ivar waiting: events that are not, counted so far as :data:`LIMIT`.
    :ivar oldest: when the oldest of them was written.
    :ivar seals: how many seals there are.
    :ivar sealed_at: when the newest was made.
    """

    waiting: int
    oldest: datetime | None
    seals: int
    sealed_at: datetime | None


def sealing(connection: psycopg.Connection[Any], limit: int = LIMIT) -> Sealing:
    """What waits to be sealed."""
    with connection.transaction():
        connection.execute(_SEALS["planning"])
        row = connection.execute(_SEALS["unsealed"], {"limit": limit}).fetchone()
    assert row is not None
    waiting, oldest, seals, sealed_at = row
    return Sealing(min(waiting, limit), oldest, seals or 0, sealed_at)


def backlogs(connection: psycopg.Connection[Any], limit: int = LIMIT) -> list[Backlog]:
    """Every subscription with what waits for it, by name."""
    with connection.transaction():
        # As the log's readers have it: without statistics the planner would scan all of the log.
        connection.execute("set local enable_seqscan = off; set local enable_bitmapscan = off; set local jit = off")
        return [Backlog(*row) for row in connection.execute(_QUERIES["backlog"], {"limit": limit}).fetchall()]


def log(connection: psycopg.Connection[Any]) -> Log:
    """How large the log is, without reading it."""
    row = connection.execute(_QUERIES["log"]).fetchone()
    assert row is not None
    return Log(*row)
