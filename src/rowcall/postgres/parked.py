"""What subscriptions set aside, seen and decided about by a person."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from rowcall import errors, resources
from rowcall.postgres import connection as connections

_QUERIES = resources.queries("parked")
_WAKEUPS = resources.queries("wakeups")

#: What to do about an event that is not where it was thought to be.
_CURE = '"rowcall parked" lists what is'

#: A row's key as the log's jsonb prints it; None for a truncate, which is of every key.
Key = bytes | None

_ZEROS = re.compile(rb"(\.\d*?)0+(?=[,}\]])")
_POINT = re.compile(rb"\.(?=[,}\]])")


def equal_form(key: Key) -> Key:
    """A key as all those that are equal to it are: 1.0 is 1. A text that looks so waits for another now and then, no more."""
    if key is None or b"." not in key:
        return key
    return _POINT.sub(b"", _ZEROS.sub(rb"\1", key))


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that failed and is in line for another attempt, or was given up on.

    :ivar key: the row's key; None for a truncate.
    :ivar attempts: how often it was tried.
    :ivar next_attempt: when it is tried again; None for a dead letter.
    :ivar dead: whether it is a dead letter, given up on until a person acts.
    :ivar error: what the last attempt failed with; None if there was none since what it waited behind is gone.
    :ivar since: when it was set aside.
    :ivar behind: how many later events wait behind it, because they are of its row.
    """

    subscription: str
    seq: int
    table: str
    operation: str | None
    key: msgspec.Raw | None
    attempts: int
    next_attempt: datetime | None
    dead: bool
    error: str | None
    since: datetime
    behind: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event that a person gave up for good.

    :ivar skipped_by: the database's login that did it.
    """

    subscription: str
    seq: int
    table: str
    operation: str | None
    key: msgspec.Raw | None
    attempts: int
    error: str | None
    since: datetime
    skipped_by: str
    skipped_at: datetime


@dataclass(frozen=True, slots=True)
class RowKey:
    """A row's key as the log has it.

    :ivar relation: the id of its table.
    :ivar json: the key as JSON.
    """

    relation: int
    json: str


class Lines:
    """Who waits behind whom within one subscription.

    An event waits behind those before it that share a key with it, and with them behind the heads of their lines: those that
    wait behind nobody, so that they alone are tried. A truncate is of every key of its table.
    """

    def __init__(self) -> None:
        self._heads: dict[int, dict[Key, frozenset[int]]] = {}
        self._of: dict[int, frozenset[int]] = {}

    def add(self, seq: int, relation: int, key: Key, next_key: Key) -> None:
        """The next parked event in the order of the log."""
        heads = self._heads.setdefault(relation, {})
        keys = {equal_form(key), equal_form(next_key)} - {None}
        # What follows a truncate follows all that was before it.
        ahead = [heads.get(own, heads.get(None)) for own in keys] if keys else heads.values()
        line = _joined({line for line in ahead if line}) or frozenset([seq])
        if not keys:
            heads.clear()
        for own in keys or {None}:
            heads[own] = line
        self._of[seq] = line

    def __contains__(self, seq: object) -> bool:
        return seq in self._of

    def heads(self, seqs: Iterable[int]) -> list[int]:
        """The heads of the lines of these events, in order."""
        return sorted(_joined({self._of[seq] for seq in seqs}))

    def all_heads(self) -> list[int]:
        """The heads of all lines, in order."""
        return self.heads(self._of)

    def behind(self) -> Counter[int]:
        """How many events wait behind each head."""
        counts: Counter[int] = Counter()
        for line, events in Counter(self._of.values()).items():
            for head in line:
                counts[head] += events
        counts.subtract(counts.keys())
        return counts


def _joined(lines: set[frozenset[int]]) -> frozenset[int]:
    """The one line, or a new one of them all: thousands of events may share one of thousands of heads."""
    return lines.pop() if len(lines) == 1 else frozenset[int]().union(*lines)


def _lines(
    connection: psycopg.Connection[Any], subscription: int | None, key: RowKey | None = None
) -> tuple[dict[int, Lines], list[int]]:
    """The lines of each subscription, and the events that are of a key."""
    parameters = {
        "subscription": subscription,
        "relation": key.relation if key else None,
        "key": key.json if key else None,
    }
    lines: dict[int, Lines] = {}
    found = []
    for of, seq, relation, own, next_own, wanted in _raw(connection, "places", parameters):
        lines.setdefault(of, Lines()).add(seq, relation, own, next_own)
        if wanted:
            found.append(seq)
    return lines, found


def _raw(connection: psycopg.Connection[Any], query: str, parameters: dict[str, Any]) -> list[Any]:
    return connections.raw_cursor(connection).execute(_QUERIES[query], parameters).fetchall()  # type: ignore[no-any-return]


def parked(connection: psycopg.Connection[Any], subscription: int | None = None) -> list[Parked]:
    """The events that are, or could be, tried next, of one subscription or all, with how many wait behind each."""
    lines, _ = _lines(connection, subscription)
    heads = [(of, seq, events) for of, found in lines.items() for seq, events in found.behind().items()]
    places = {"subscriptions": [of for of, _, _ in heads], "seqs": [seq for _, seq, _ in heads]}
    rows = _raw(connection, "parked", places | {"behind": [events for _, _, events in heads]})
    return [Parked(*_decoded(row)) for row in rows]


def skipped(connection: psycopg.Connection[Any], subscription: int | None = None) -> list[Skipped]:
    """What was given up for good, of one subscription or all."""
    return [Skipped(*_decoded(row)) for row in _raw(connection, "skipped", {"subscription": subscription})]


def _decoded(row: Iterable[Any]) -> list[Any]:
    return [msgspec.Raw(value) if isinstance(value, bytes) else value for value in row]


def all_heads(connection: psycopg.Connection[Any], subscription: int, name: str) -> list[int]:
    """All events that are tried next.

    :raises NotParked: if there is none.
    """
    return _some(_lines_of(connection, subscription).all_heads(), f"Nothing is set aside by {name}")


def heads_among(connection: psycopg.Connection[Any], subscription: int, name: str, seqs: Collection[int]) -> list[int]:
    """These events, each of which is tried next of its row.

    :raises NotParked: if one is not.
    """
    lines = _lines_of(connection, subscription)
    _check_parked(lines, name, seqs)
    for seq in seqs:
        if (ahead := lines.heads([seq])) != [seq]:
            raise errors.NotParked(
                f"Event {seq} of {name} waits behind event {ahead[0]} and was not tried yet: retry or skip that one."
            )
    return sorted(set(seqs))


def heads_before(connection: psycopg.Connection[Any], subscription: int, name: str, key: RowKey) -> list[int]:
    """The events that hold up a row: the first of it that is parked, or what that one waits behind.

    :raises NotParked: if there is none.
    """
    lines, found = _lines(connection, subscription, key)
    nothing = f"Nothing with the key {key.json} is set aside by {name}"
    return _some(lines[subscription].heads(found) if found else [], nothing)


def check_parked(connection: psycopg.Connection[Any], subscription: int, name: str, seqs: Collection[int]) -> None:
    """See to it that all these events are set aside.

    :raises NotParked: if one is not.
    """
    _check_parked(_lines_of(connection, subscription), name, seqs)


def _lines_of(connection: psycopg.Connection[Any], subscription: int) -> Lines:
    return _lines(connection, subscription)[0].get(subscription, Lines())


def _some(heads: list[int], otherwise: str) -> list[int]:
    if not heads:
        raise errors.NotParked(f"{otherwise}: {_CURE}.")
    return heads


def _check_parked(parked: Container[int], name: str, seqs: Iterable[int]) -> None:
    if missing := [seq for seq in seqs if seq not in parked]:
        events = f"Event {missing[0]} is" if len(missing) == 1 else f"Events {', '.join(map(str, missing))} are"
        raise errors.NotParked(f"{events} not set aside by {name}: {_CURE}.")


def retry(connection: psycopg.Connection[Any], subscription: int, seqs: Collection[int]) -> int:
    """Make events due now, dead letters with a fresh set of attempts; how many of them are still there."""
    with connection.transaction():
        due = connection.execute(_QUERIES["retry"], {"subscription": subscription, "seqs": list(seqs)}).rowcount
        connection.execute(_WAKEUPS["ring"])
    return due


def skip(connection: psycopg.Connection[Any], subscription: int, name: str, seqs: Collection[int]) -> None:
    """Give events up for good, on record; what waits behind them is free to go.

    :raises NotParked: if one of them is not parked any more; then none is given up.
    """
    with connection.transaction():
        rows = connection.execute(_QUERIES["skip"], {"subscription": subscription, "seqs": list(seqs)}).fetchall()
        _check_parked({seq for (seq,) in rows}, name, seqs)
        connection.execute(_WAKEUPS["ring"])
