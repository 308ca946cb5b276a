"""The events of one row, in the log and in archives, with what their seals say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from rowcall import resources
from rowcall.audit import erasures, merkle, reading
from rowcall.audit.archives import Archives
from rowcall.audit.canonical import NOTHING_ERASED, WHOLE, Erasures, Row, canonical
from rowcall.audit.catalog import Catalog
from rowcall.audit.erasures import Ranges
from rowcall.audit.extent import Extent

_QUERIES = resources.queries("erasure")


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """An event with what its seal says of it.

    :ivar index: its place in the seal, None if it is not sealed.
    :ivar columns: those that were erasable then.
    :ivar gone: what of it was erased before.
    """

    row: Row
    seal: int | None
    index: int | None
    columns: frozenset[str]
    salt: bytes
    leaf: bytes
    gone: Erasures


@dataclass(frozen=True, slots=True)
class RowEvents:
    """The events of a row.

    :ivar logged: what the log has of them.
    :ivar archived: what archived files have of them, by the files' numbers.
    """

    events: Sequence[SealedEvent]
    logged: Mapping[int, Row] = field(default_factory=dict)
    archived: Mapping[int, Mapping[int, Row]] = field(default_factory=dict)

    def copies(self) -> Iterator[Row]:
        """All that there is of them."""
        for rows in (self.logged, *self.archived.values()):
            yield from rows.values()


def read(connection: psycopg.Connection[Any], extent: Extent, beside: Archives | None) -> RowEvents:
    """Read them, in a transaction of the caller's."""
    parameters = {"seqs": list(extent.seqs), "erasable": [extent.relation]}
    logged = {row.seq: row for row in map(Row._make, reading.stream(connection, _at_places("range"), parameters))}
    archived: dict[int, dict[int, Row]] = {}
    if beside is not None:
        for *parts, number in reading.stream(connection, _at_places("archived"), parameters):
            row = Row._make(parts)
            archived.setdefault(number, {})[row.seq] = row
    events = list(_sealed(connection, extent, [logged, *archived.values()], with_archives=beside is not None))
    return RowEvents(events, logged, archived)


def _at_places(name: str) -> str:
    """One of the queries over events, of those at some places."""
    return reading.rendered(name).replace("e.seq between %(first)s and %(last)s", "e.seq = any (%(seqs)s)")


def _sealed(
    connection: psycopg.Connection[Any], extent: Extent, sources: Sequence[Mapping[int, Row]], *, with_archives: bool
) -> Iterator[SealedEvent]:
    places = {
        seq: (number, index, bytes(leaf), bytes(salt or b""))
        for seq, number, index, leaf, salt in connection.execute(_QUERIES["places"], {"seqs": list(extent.seqs)})
    }
    catalogs: dict[int, Catalog] = {}
    present = Catalog.present(connection)
    gone = erasures.erased_between(connection, min(extent.seqs), max(extent.seqs))
    pruned = [Ranges.parse(one.seqs) for one in erasures.erasures(connection) if one.kind == "prune"]
    for seq in extent.seqs:
        copies = [rows[seq] for rows in sources if seq in rows]
        row, erased = copies[0], gone.get(seq, NOTHING_ERASED)
        number, index, leaf, salt = places.get(seq, (None, None, b"", b""))
        if number is not None and number not in catalogs:
            catalogs[number] = Catalog.sealed(connection, number)
        columns = (present if number is None else catalogs[number]).erasable(row.relation, seq)
        if number is not None and any(seq in ranges for ranges in pruned):
            # In the log there may be a stand-in, of which the seal says nothing.
            as_sealed = [one for one in copies if merkle.leaf(canonical(one, columns, salt, erased)[0]) == leaf]
            row = as_sealed[0] if as_sealed else row
            if not as_sealed and WHOLE not in erased and not with_archives:
                number = index = None
        yield SealedEvent(row, number, index, columns, salt, leaf, erased)
