"""Canonical bytes read again: what somebody who has them alone knows of an event. See SEALS.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_HEAD = re.compile(
    rb"rowcall-event-1(-apart)? (\d{1,19}) \d{1,20} (?:-?\d{1,20}|infinity) (\d{1,10}) (insert|update|delete|truncate|snapshot)"
    rb"((?: (?:-|\d{1,10})){3,7})\n"
)
_LENGTH = re.compile(rb"(\d{1,10})([:;])")
_COMMITTED = re.compile(rb" ([0-9a-f]{64})")
_IMAGES = 4


class NoStatement(ValueError):
    """These are no canonical bytes."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What they say.

    :ivar commitments: in hexadecimal, by path.
    """

    seq: int
    relation: int
    operation: str
    commitments: Mapping[str, str]

    @classmethod
    def read(cls, data: bytes) -> Statement:
        """Read all of them: a commitment is one where one can stand, and not wherever something looks like it.

        :raises NoStatement: if that is not what they are.
        """
        head = _HEAD.match(data)
        if head is None:
            raise NoStatement
        apart, seq, relation, operation, lengths = head.groups()
        parts = lengths.split()
        if len(parts) != (3 if apart else 7):
            raise NoStatement
        place = head.end() + sum(0 if part == b"-" else int(part) for part in parts)
        if apart:
            for _ in range(_IMAGES):
                place = _after_image(data, _after(data, place, b"\n"))
        return cls(int(seq), int(relation), operation.decode(), _commitments(data, place))


def _commitments(data: bytes, place: int) -> dict[str, str]:
    found: dict[str, str] = {}
    while place != len(data):
        start, end, kind = _span(data, _after(data, place, b"\n"))
        committed = _COMMITTED.match(data, end)
        path = data[start:end].decode()
        if kind != b":" or committed is None or path in found:
            raise NoStatement
        found[path] = committed[1].decode()
        place = committed.end()
    return found


def _after_image(data: bytes, place: int) -> int:
    """Where an image ends."""
    if data[place : place + 1] == b"-":
        return place + 1
    if data[place : place + 1] == b"=":
        return _span(data, place + 1)[1]
    many = _LENGTH.match(data, place)
    if many is None or many[2] != b";":
        raise NoStatement
    place = many.end()
    for _ in range(2 * int(many[1])):
        place = _span(data, place)[1]
    return place


def _span(data: bytes, place: int) -> tuple[int, int, bytes]:
    """The first and the last place of octets whose length stands before them, and what stands between."""
    length = _LENGTH.match(data, place)
    if length is None or length.end() + int(length[1]) > len(data):
        raise NoStatement
    return length.end(), length.end() + int(length[1]), length[2]


def _after(data: bytes, place: int, wanted: bytes) -> int:
    if data[place : place + 1] != wanted:
        raise NoStatement
    return place + 1
