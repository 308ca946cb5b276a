"""The records of what was taken out of the log, and what stands there instead."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql

from rowcall import errors
from rowcall.audit import merkle, reading
from rowcall.audit.canonical import Erased, Row, uncommitted
from rowcall.audit.catalog import Catalog
from rowcall.audit.reading import QUERIES
from rowcall.audit.seal import NOTHING_BEFORE, text_of

#: What was done to the events: some values erased, proofs given up with them, or the events dropped.
Kind = Literal["erase", "forgo", "prune"]

_decode_paths = msgspec.json.Decoder(dict[str, str]).decode
_RANGE = re.compile(r"\[(\d+),(\d+)\)")


@dataclass(frozen=True, slots=True)
class Ranges:
    """Places in the log, as a multirange has them."""

    starts: list[int]
    ends: list[int]

    @classmethod
    def parse(cls, text: str) -> Ranges:
        found = [(int(start), int(end)) for start, end in _RANGE.findall(text)]
        return cls([start for start, _ in found], [end for _, end in found])

    @classmethod
    def of(cls, seqs: Iterable[int]) -> Ranges:
        """The places themselves."""
        starts: list[int] = []
        ends: list[int] = []
        for seq in sorted(seqs):
            if not ends or seq > ends[-1]:
                starts.append(seq)
                ends.append(seq)
            ends[-1] = seq + 1
        return cls(starts, ends)

    def __str__(self) -> str:
        """As PostgreSQL writes them."""
        return "{" + ",".join(f"[{start},{end})" for start, end in zip(self.starts, self.ends, strict=True)) + "}"

    def __contains__(self, seq: int) -> bool:
        place = bisect_right(self.starts, seq) - 1
        return place >= 0 and seq < self.ends[place]


@dataclass(frozen=True, slots=True)
class Erasure:
    """A record of rowcall.erasure, see tables/seal_v1.sql.

    :ivar at: microseconds since 1970.
    :ivar paths: what was erased, each with the events that lost it; ``seqs``: all events; as PostgreSQL writes an int8multirange.
    """

    number: int
    kind: Kind
    at: int
    erased_by: str
    relation: int | None
    paths: Mapping[str, str]
    seqs: str
    events: int
    previous: bytes
    head: bytes

    @property
    def first(self) -> int:
        """The first of the events."""
        return Ranges.parse(self.seqs).starts[0]

    @property
    def last(self) -> int:
        """The last of them."""
        return Ranges.parse(self.seqs).ends[-1] - 1

    def text(self, installation: str) -> bytes:
        """The bytes that its head is the hash of."""
        lines = {
            "installation": installation,
            "number": self.number,
            "kind": self.kind,
            "at": self.at,
            "by": msgspec.json.encode(self.erased_by).decode(),
            "relation": self.relation,
            "paths": _paths(self.paths),
            "seqs": self.seqs,
            "events": self.events,
            "previous": self.previous.hex(),
        }
        return text_of("rowcall-erasure-1", lines)

    def chained(self, installation: str) -> Erasure:
        """The same with its head."""
        return replace(self, head=sha256(self.text(installation)).digest())


def _paths(paths: Mapping[str, str]) -> str:
    """As JSON, in the order of their octets."""
    return msgspec.json.encode(dict(sorted(paths.items(), key=lambda one: one[0].encode()))).decode()


def erasures(connection: psycopg.Connection[Any]) -> list[Erasure]:
    """All records, oldest first."""
    rows = connection.execute(QUERIES["erasures"])
    return [
        Erasure(number, kind, at, by, relation, _decode_paths(paths), seqs, events, previous, head)
        for number, kind, at, by, relation, paths, seqs, events, previous, head in rows
    ]


def check_chain(records: Sequence[Erasure], installation: str) -> Iterator[str]:
    """What is wrong with the chain of records."""
    head = NOTHING_BEFORE
    for number, record in enumerate(records, 1):
        if record.number != number or record.previous != head:
            yield f"the record of erasure {number} is missing, or was put there afterwards"
            return
        if record.chained(installation).head != record.head:
            yield f"the record of erasure {number} is not as it was written"
            return
        head = record.head


def erased_between(connection: psycopg.Connection[Any], first: int, last: int) -> dict[int, dict[str, Erased]]:
    """What stands for erased values, by event and path."""
    found: dict[int, dict[str, Erased]] = {}
    for seq, path, erasure, commitment, salt in connection.execute(QUERIES["erased"], {"first": first, "last": last}):
        found.setdefault(seq, {})[path] = Erased(erasure, commitment, salt)
    return found


def record(
    connection: psycopg.Connection[Any],
    kind: Kind,
    *,
    relation: int | None,
    paths: Mapping[str, str],
    seqs: str,
    events: int,
) -> Erasure:
    """Write a record, in the caller's transaction, which may then alter these events; nobody seals until its end.

    :param paths: what is erased, each with the events that lose it; ``seqs``: all events; as PostgreSQL writes an int8multirange.
    """
    connection.execute(QUERIES["wait_for_turn"])
    row = connection.execute(QUERIES["erasure_moment"]).fetchone()
    assert row is not None
    installation, number, previous, by, now = row
    before = previous or NOTHING_BEFORE
    made = Erasure(number + 1, kind, now, by, relation, paths, seqs, events, before, b"").chained(installation)
    values = {name: getattr(made, name) for name in Erasure.__slots__}
    connection.execute(QUERIES["insert_erasure"], values | {"paths": _paths(made.paths)})
    return made


def record_prune(
    connection: psycopg.Connection[Any], partitions: Sequence[str], *, kept: str | None = None
) -> Erasure | None:
    """Write down that partitions of the log are about to be dropped, in the transaction that does so.

    Their leaves stay, so that the seals hold, and so do proofs of their events. None where there are no seals, and nothing to write.

    :param partitions: their names in schema ``rowcall``.
    :param kept: the table of what stays of their events. Those that stay as they are are not in the record; of what stands for others,
        it has the hash, see :func:`stand_in_root`.
    :raises UsageError: if there is an event that is not sealed, of which nothing would remain.
    """
    connection.execute(QUERIES["wait_for_turn"])
    source = sql.SQL(" union all ").join(
        sql.SQL("select seq, operation from {}").format(sql.Identifier("rowcall", name)) for name in partitions
    )
    nothing = sql.SQL("(select null::bigint as seq, null::rowcall.operation as operation)")
    table: sql.Composable = nothing if kept is None else sql.Identifier("rowcall", kept)
    query = sql.SQL(QUERIES["leaving"]).format(source=source, kept=table)
    row = connection.execute(query).fetchone()
    assert row is not None
    seqs, events, unsealed, stand_ins, seals = row
    if not seals or not events:
        return None
    if unsealed:
        raise errors.UsageError(
            f"{unsealed:,} events of {', '.join(partitions)} are not sealed yet: let rowcall listen run, which seals them, then prune again."
        )
    paths = {}
    if kept is not None and stand_ins:
        root = stand_in_root(_stand_in_leaves(connection, kept, stand_ins))
        paths = {STAND_INS + root.hex(): str(Ranges.of(stand_ins))}
    return record(connection, "prune", relation=None, paths=paths, seqs=seqs, events=events)


#: What stands before the hash of stand-ins in the paths of a record.
STAND_INS = "stand-ins "


def stand_in_root(leaves: Mapping[int, bytes]) -> bytes:
    """The root of the tree over what stands for dropped events, in the order of their places."""
    return merkle.root([leaves[seq] for seq in sorted(leaves)])


def stand_in_leaf(row: Row, catalog: Catalog) -> bytes:
    """The leaf of what stands for a dropped event: of its canonical bytes without commitments."""
    return merkle.leaf(uncommitted(row, catalog.erasable(row.relation, row.seq)))


def _stand_in_leaves(connection: psycopg.Connection[Any], kept: str, seqs: Sequence[int]) -> dict[int, bytes]:
    catalog = Catalog.present(connection)
    query = reading.rendered("kept").replace("{kept}", sql.Identifier("rowcall", kept).as_string(connection))
    rows = reading.stream(connection, query, {"seqs": list(seqs), "erasable": catalog.erasing})
    return {row.seq: stand_in_leaf(row, catalog) for row in map(Row._make, rows)}
