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
        [(floor,)] = ask(connection, _QUERIES["floor"])
        return {"at": self._time(connection), "snapshot": self._checked(connection), "floor": floor}

    def _time(self, connection: psycopg.Connection[Any]) -> Any:
        """The time itself: "now" has to be one and the same in all queries."""
        if self.at is None:
            return None
        return _read(connection, _QUERIES["time"], self.at)

    def _checked(self, connection: psycopg.Connection[Any]) -> str | None:
        if self.snapshot is not None:
            _read(connection, _QUERIES["snapshot"], self.snapshot)
        return self.snapshot


def _read(connection: psycopg.Connection[Any], query: str, value: Any) -> Any:
    try:
        with connection.transaction():
            [(read,)] = ask(connection, query, {"value": value})
    except psycopg.DataError as error:
        raise errors.UsageError(f"{error.diag.message_primary or error}: correct that option.") from error
    return read
