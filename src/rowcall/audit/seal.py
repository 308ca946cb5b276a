"""One seal: what it says, and the hash that the next one is chained to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any

import psycopg

from rowcall import resources
from rowcall.audit import merkle

_QUERIES = resources.queries("seals")

#: What the first seal is chained to, and the first record of an erasure.
NOTHING_BEFORE = bytes(32)
#: The snapshot that sees nothing, where windows begin.
NOTHING_SEEN = "1:1:"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as its row has it, see tables/seal_v1.sql.

    :ivar sealed_at: microseconds since 1970.
    """

    number: int
    epoch: int
    lower: str
    upper: str
    after_seq: int
    complete: bool
    events: int
    first_seq: int | None
    last_seq: int | None
    root: bytes
    erasures: int
    erasure_head: bytes
    catalog: str | None
    relations: bytes
    xid: int
    previous: bytes
    head: bytes
    sealed_at: int
    key_id: str | None
    signature: bytes | None

    @property
    def at(self) -> datetime:
        """When it was made."""
        return moment(self.sealed_at)

    @property
    def is_restored(self) -> bool:
        """Whether its events came with a dump, and their transactions were another cluster's."""
        return self.lower == self.upper

    def is_over(self, seqs: Sequence[int] | None, hashes: bytes | None) -> bool:
        """Whether these are the places and the leaves of its tree."""
        if seqs is None or hashes is None or not len(seqs) == self.events == len(hashes) / 32:
            return False
        ends = (seqs[0], seqs[-1]) if seqs else (None, None)
        leaves = [hashes[place : place + 32] for place in range(0, len(hashes), 32)]
        ordered = all(one < other for one, other in pairwise(seqs))
        return ordered and ends == (self.first_seq, self.last_seq) and merkle.root(leaves) == self.root

    def text(self, installation: str) -> bytes:
        """The bytes that its head is the hash of."""
        catalog = None if self.catalog is None else sha256(self.catalog.encode()).hexdigest()
        lines = {
            "installation": installation,
            "number": self.number,
            "epoch": self.epoch,
            "lower": self.lower,
            "upper": self.upper,
            "after": self.after_seq,
            "complete": int(self.complete),
            "events": self.events,
            "first": self.first_seq,
            "last": self.last_seq,
            "root": self.root.hex(),
            "erasures": self.erasures,
            "erasure-head": self.erasure_head.hex(),
            "catalog": catalog,
            "relations": self.relations.hex(),
            "xid": self.xid,
            "sealed-at": self.sealed_at,
            "key": self.key_id,
            "previous": self.previous.hex(),
        }
        return text_of("rowcall-seal-1", lines)


def text_of(title: str, lines: dict[str, Any]) -> bytes:
    """Names and values, a line each; a dash where there is no value."""
    said = "".join(f"{name} {'-' if value is None else value}\n" for name, value in lines.items())
    return f"{title}\n{said}".encode()


def values_of(text: bytes) -> dict[str, str]:
    """The values of such a text, by name; its title under the empty name."""
    title, *lines = text.decode().splitlines()
    return {"": title, **dict(line.partition(" ")[::2] for line in lines)}


def moment(microseconds: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return _EPOCH + timedelta(microseconds=microseconds)


def seals(connection: psycopg.Connection[Any], first: int = 1, last: int | None = None) -> Iterator[Seal]:
    """Seals in order, streamed; in a transaction of the caller's."""
    with connection.cursor(name="rowcall_seals") as cursor:
        cursor.execute(_QUERIES["seals"], {"first": first, "last": last})
        for row in cursor:
            yield Seal(*row)


def newest(connection: psycopg.Connection[Any]) -> Seal | None:
    """The last seal, None if there is none."""
    row = connection.execute(_QUERIES["newest"]).fetchone()
    return None if row is None else Seal(*row)
