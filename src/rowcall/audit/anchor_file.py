"""The anchor: heads of seals in a file outside the database, a JSON line each, so that nobody can write them anew."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from rowcall import errors
from rowcall.audit.seal import Seal, seals

#: The last line is within so many octets of the file's end.
_TAIL = 4096


class Line(msgspec.Struct, frozen=True):
    """What the anchor says of a seal.

    :ivar events: how many it covers.
    :ivar sealed_at: RFC 3339.
    """

    seal: int
    head: str
    events: int
    sealed_at: str


class Disagreement(errors.RowcallError):
    """The database's seals are not those that were anchored."""

    exit_code = 1


_decode = msgspec.json.Decoder(Line).decode


def read(file: Path) -> Iterator[Line]:
    """The lines of an anchor.

    :raises UsageError: if it is none.
    """
    try:
        with file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                if not line.endswith(b"\n"):
                    return  # it was being written when the machine stopped
                yield _parsed(file, number, line)
    except OSError as error:
        raise errors.UsageError(
            f"{file} cannot be read ({error.strerror}): name the file of listen --anchor."
        ) from error


def heads(file: Path) -> dict[int, set[str]]:
    """The heads that an anchor has of each seal: one, unless somebody has added another.

    :raises UsageError: if it is none.
    """
    found: dict[int, set[str]] = {}
    for line in read(file):
        found.setdefault(line.seal, set()).add(line.head)
    return found


def _parsed(file: Path, number: int, line: bytes) -> Line:
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise errors.UsageError(f"Line {number} of {file} is no line of an anchor: {error}.") from error


def catch_up(file: Path, connection: psycopg.Connection[Any]) -> int:
    """Append what the file does not have yet, durably; how many lines. It does not matter who made the seals, or when.

    :raises Disagreement: if the last line is not of a seal that the database has.
    :raises OSError: if the file cannot be written.
    """
    with _locked(file) as descriptor:
        last = _last_line(file, descriptor)
        added = 0
        with connection.transaction():
            for seal in seals(connection, last.seal if last else 1):
                if last is not None and seal.number == last.seal:
                    _check(file, last, seal)
                    last = None
                    continue
                _check_found(file, last)
                os.write(descriptor, _line(seal))
                added += 1
        _check_found(file, last)
        if added:
            os.fsync(descriptor)
        return added


def _line(seal: Seal) -> bytes:
    at = seal.at.isoformat().replace("+00:00", "Z")
    return msgspec.json.encode(Line(seal.number, seal.head.hex(), seal.events, at)) + b"\n"


def _check(file: Path, last: Line, seal: Seal) -> None:
    if last.head != seal.head.hex():
        raise Disagreement(
            f"Seal {seal.number} is not the one anchored in {file}: rowcall audit verify --anchor says more."
        )


def _check_found(file: Path, last: Line | None) -> None:
    if last is not None:
        raise Disagreement(f"Seal {last.seal}, anchored in {file}, is gone: rowcall audit verify --anchor says more.")


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """The file for appending, by one process at a time."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _last_line(file: Path, descriptor: int) -> Line | None:
    """The last whole line; what a crash left of another one is cut off."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        os.ftruncate(descriptor, size - len(tail) + len(whole))
    if not whole:
        return None
    line = whole[:-1].rpartition(b"\n")[2]
    return _parsed(file, -1, line)
