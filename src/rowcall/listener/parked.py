"""Which rows have events set aside, so that later events of theirs wait in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rowcall.postgres.parked import Key, equal_form


class Place(Protocol):
    """What of an event says which rows it is about."""

    @property
    def relation(self) -> int:
        """The table."""

    @property
    def raw_key(self) -> Key:
        """The row's key; None for a truncate."""

    @property
    def raw_next_key(self) -> Key:
        """The row's key after the change, where that changed it."""


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that is set aside.

    :ivar due: seconds until it may be tried again.
    :ivar lane: the lane it is at home in.
    """

    seq: int
    relation: int
    raw_key: Key
    raw_next_key: Key
    attempts: int
    due: float
    dead: bool
    lane: int


class ParkedKeys:
    """The keys of parked events, by relation. None stands for every key of a table: a truncate has none of its own."""

    def __init__(self, rows: Iterable[tuple[int, Key]] = ()) -> None:
        self._keys: dict[int, set[Key]] = {}
        for relation, key in rows:
            self._keys.setdefault(relation, set()).add(equal_form(key))

    def copy(self) -> ParkedKeys:
        """The same keys, to add to."""
        return ParkedKeys((relation, key) for relation, keys in self._keys.items() for key in keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, event: Place) -> None:
        """Note that an event is parked."""
        keys = self._keys.setdefault(event.relation, set())
        keys.add(equal_form(event.raw_key))
        if event.raw_next_key is not None:
            keys.add(equal_form(event.raw_next_key))

    def block(self, event: Place) -> bool:
        """Whether an event has to wait behind one that is parked. One that changed its row's key is of both keys."""
        keys = self._keys.get(event.relation)
        if keys is None:
            return False
        own = {equal_form(event.raw_key), equal_form(event.raw_next_key)} - {None}
        return not own or None in keys or not own.isdisjoint(keys)
