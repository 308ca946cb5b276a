"""Lanes and who has them: the same statements for the worker, over its own connection, and for its process's heartbeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from rowcall import resources
from rowcall.postgres.log import Cursor

QUERIES = resources.queries("claims")


@dataclass(slots=True)
class Claim:
    """Lanes that a worker has, at one place.

    :ivar epoch: how often they changed hands: what is written under an older one does not count.
    :ivar cursor: how far they have read, in memory.
    :ivar written: how far they have read, as the database has it.
    :ivar size: how many events to read at a time.
    :ivar careful: so many events are handled one at a time, each on record before, since a process died at one of them.
    :ivar careful_until: and no longer than until then, by the monotonic clock.
    """

    id: int
    lanes: Sequence[int]
    epoch: int
    cursor: Cursor
    written: Cursor
    size: int
    careful: int = 0
    careful_until: float = 0.0

    @classmethod
    def of(cls, row: Sequence[Any], size: int) -> Claim:
        """A claim from a row of the query ``mine`` or ``all``."""
        cursor_id, lanes, epoch, lower, upper, last_seq, number, *stage = row
        cursor = Cursor(lower, upper, last_seq, number, *stage)
        return cls(cursor_id, tuple(lanes), epoch, cursor, cursor, size)

    def position(self, after: Cursor, delivered: int) -> dict[str, Any]:
        """The parameters of the statement that writes a cursor down, if the claim still holds."""
        return {
            "cursor": self.id,
            "epoch": self.epoch,
            "lower": after.lower,
            "upper": after.upper,
            "last_seq": after.last_seq,
            "number": after.number,
            "stage": after.stage,
            "stage_seq": after.stage_seq,
            "stage_until": after.stage_until,
            "restored_seq": after.restored_seq,
            "restored_until": after.restored_until,
            "delivered": delivered,
        }


Alive = list[tuple[int, int, str]]
Owned = list[tuple[int | None, int]]


def alive(raw: bytes | None) -> Alive:
    """Of the query ``beat``: each live worker's id, the most lanes it takes, and its process."""
    return msgspec.json.decode(raw, type=Alive) if raw else []


def owned(raw: bytes | None) -> Owned:
    """Of the query ``beat``: each cursor's owner, None if it is free, and how many lanes it is."""
    return msgspec.json.decode(raw, type=Owned) if raw else []
