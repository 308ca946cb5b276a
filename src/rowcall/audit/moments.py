"""Moments in the life of a database: a time, or the snapshot a transaction read by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.audit.connection import ask
from rowcall.audit.filters import Moment

_QUERIES = resources.queries("states")
_SNAPSHOT = re.compile(r"\d+:\d+:(\d+(,\d+)*)?")


@dataclass(frozen=True, slots=True)
class Point:
    """Either a time, which is after the events before it, or a snapshot, which is after those of the transactions it sees."""

    at: Moment | None
    snapshot: str | None

    @classmethod
    def of(cls, at: Moment | None, snapshot: str | None) -> Point:
        """One of the two.

        :raises UsageError: for none or both, or what is no snapshot.
        """
        if (at is None) == (snapshot is None):
            raise errors.UsageError("Say which moment: a time or a snapshot, one of the two.")
        if snapshot is not None and not _SNAPSHOT.fullmatch(snapshot):
            raise errors.UsageError(
                f"{snapshot!r} is no snapshot: it is xmin:xmax:xip,… as pg_current_snapshot() gives it."
            )
        return cls(at, snapshot)

    def parameters(self, connection: psycopg.Connection[Any]) -> dict[str, Any]:
        """As the queries take it.

        :raises UsageError: for a time that PostgreSQL cannot read.
        """
        try:
            with connection.transaction():
                [row] = ask(connection, _QUERIES["moment"], {"at": self.at, "snapshot": self.snapshot})
        except psycopg.DataError as error:
            raise errors.UsageError(f"{error.diag.message_primary or error}: correct that option.") from error
        at, snapshot, floor = row
        return {"at": at, "snapshot": snapshot, "floor": floor}
