"""What some events did to each row, taken together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rowcall.audit import images
from rowcall.event import Event

#: What takes the changes of a row back.
Kind = Literal["insert", "update", "delete", "nothing"]


@dataclass(slots=True)
class Chain:
    """The events of one row, in order.

    :ivar before: the row before the first of them, ``after``: after the last; None where it was not there.
    :ivar columns: those that were changed, of a row that was there before and is there after.
    """

    before: bytes | None
    before_key: bytes | None
    after: bytes | None = None
    after_key: bytes | None = None
    columns: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)

    @property
    def relation(self) -> int:
        return self.events[0].relation

    @property
    def first(self) -> int:
        return self.events[0].seq or 0

    @property
    def last(self) -> int:
        return self.events[-1].seq or 0

    @property
    def redacted(self) -> frozenset[str]:
        """The columns of which the images have hashes only."""
        return self.events[0].layout.redacted | self.events[-1].layout.redacted

    @property
    def kind(self) -> Kind:
        if self.before is None:
            return "nothing" if self.after is None else "delete"
        if self.after is None:
            return "insert"
        return "update" if self.columns else "nothing"

    def take(self, event: Event) -> None:
        """The next event of the row."""
        self.events.append(event)
        self.after = event.raw_new
        # Of a table without a key, all of the row is its key.
        whole = None if event.layout.key else event.raw_new
        self.after_key = event.raw_next_key or whole or event.raw_key
        self.columns.update(event.changed)
        if event.operation == "insert" and self.before is not None and self.after is not None:
            # Gone and come again within the chain.
            self.columns.update(images.changed(self.before, self.after))


def chains(events: Iterable[Event], *, together: bool) -> list[Chain]:
    """The chains of some changes of rows, in the order of their first events.

    :param together: all events of a row in one chain; otherwise each event in one of its own.
    """
    found: list[Chain] = []
    open_ones: dict[tuple[int, str], list[Chain]] = {}
    for event in events:
        candidates = open_ones.setdefault((event.relation, canonical(event.raw_key)), [])
        chain = (_continued(candidates, event) if together else None) or _begun(event, found)
        if chain in candidates:
            candidates.remove(chain)
        chain.take(event)
        open_ones.setdefault((event.relation, canonical(chain.after_key)), []).append(chain)
    return found


def _continued(candidates: Sequence[Chain], event: Event) -> Chain | None:
    """The chain whose row the event changes: where uniqueness can be deferred, two rows may share a key for a while."""
    was = _before(event)
    wanted = None if was is None else images.comparable(was)
    for chain in reversed(candidates):
        if (None if chain.after is None else images.comparable(chain.after)) == wanted:
            return chain
    return _resumed(candidates[0], was) if was is not None and len(candidates) == 1 else None


def _resumed(chain: Chain, was: bytes) -> Chain | None:
    """A chain of updates that goes on after others, which stay, changed other columns of the row: so these were what they are all along."""
    if chain.before is None or chain.after is None or images.omitted(chain.before) | images.omitted(was):
        return None
    if not chain.columns.isdisjoint(images.changed(chain.after, was)):
        return None
    chain.before = images.overlaid(was, chain.before, chain.columns)
    return chain


def _begun(event: Event, found: list[Chain]) -> Chain:
    chain = Chain(before=_before(event), before_key=event.raw_key)
    found.append(chain)
    return chain


def _before(event: Event) -> bytes | None:
    if event.operation == "insert" or event.raw_old is None:
        return None
    return images.whole(event.raw_old, event.raw_new)


def canonical(key: bytes | None) -> str:
    """The same text for the same key: jsonb writes an object's members in one order, json in the row's."""
    return "" if key is None else repr(sorted(images.comparable(key).items()))
