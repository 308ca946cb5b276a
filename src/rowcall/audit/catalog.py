"""What the numbers of relations in the log mean: their names, columns and keys, as they are and as they were sealed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg

from rowcall import resources
from rowcall.audit import merkle

_QUERIES = resources.queries("seals")
_NONE: frozenset[str] = frozenset()


class Relation(msgspec.Struct, frozen=True):
    """A relation's name."""

    id: int
    schema: str
    table: str

    @property
    def leaf(self) -> bytes:
        """The hash that stands for it in seals."""
        schema, table = self.schema.encode(), self.table.encode()
        return merkle.leaf(b"rowcall-relation-1 %d %d:%b%d:%b" % (self.id, len(schema), schema, len(table), table))


class Column(msgspec.Struct, frozen=True):
    """Of a column of a layout, what matters here."""

    name: str
    erasable: bool = False


class Layout(msgspec.Struct, frozen=True):
    """A relation's columns and key, for its events from a place in the log on.

    :ivar columns: as :class:`Column`, in JSON as the database has it.
    """

    relation: int
    since: int
    columns: str
    key: list[str]


class Entries(msgspec.Struct, frozen=True):
    """What a seal adds to the catalog."""

    relations: list[Relation]
    layouts: list[Layout]


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Entries).decode
_columns = msgspec.json.Decoder(list[Column]).decode


class Catalog:
    """Names and layouts, by relation."""

    def __init__(self) -> None:
        self.relations: dict[int, Relation] = {}
        self.layouts: dict[tuple[int, int], Layout] = {}
        self._erasable: dict[int, tuple[list[int], list[frozenset[str]]]] = {}

    @classmethod
    def present(cls, connection: psycopg.Connection[Any]) -> Catalog:
        """What the database has."""
        catalog = cls()
        for row in connection.execute(_QUERIES["catalog"]):
            catalog._name(Relation(*row))
        for row in connection.execute(_QUERIES["layouts"]):
            catalog._lay(Layout(*row))
        return catalog

    @classmethod
    def sealed(cls, connection: psycopg.Connection[Any], last: int) -> Catalog:
        """What seals say, up to one of them."""
        catalog = cls()
        for _, text in connection.execute(_QUERIES["sealed_catalog"], {"last": last}):
            catalog.add(text)
        return catalog

    def add(self, text: str) -> None:
        """Learn what a seal says."""
        entries = _decode(text)
        for relation in entries.relations:
            self._name(relation)
        for layout in entries.layouts:
            self._lay(layout)

    def root(self) -> bytes:
        """Of the Merkle tree over the relations' names, in the order of their ids."""
        return merkle.root(self._leaves())

    def place(self, relation: int) -> tuple[int, int, list[bytes]]:
        """Where a relation's name is in that tree, its size, and the way to the root."""
        index = sorted(self.relations).index(relation)
        return index, len(self.relations), merkle.path(self._leaves(), index)

    def _leaves(self) -> list[bytes]:
        return [self.relations[number].leaf for number in sorted(self.relations)]

    def namesakes(self, relation: int, columns: frozenset[str]) -> frozenset[str]:
        """These columns, and the erasable ones that were called so before or are by now: the same place in the next layout."""
        found = set(columns)
        before: list[Column] = []
        pairs: list[tuple[str, str]] = []
        for (of, _), layout in sorted(self.layouts.items()):
            if of == relation:
                now = _columns(layout.columns)
                pairs += _renamed(before, now)
                before = now
        for one, other in (*pairs, *reversed(pairs)):
            if not found.isdisjoint((one, other)):
                found |= {one, other}
        return frozenset(found)

    def is_ever_keyless(self, relation: int) -> bool:
        """Whether a relation had no key at some time."""
        return any(not layout.key for (of, _), layout in self.layouts.items() if of == relation)

    def _name(self, relation: Relation) -> None:
        self.relations[relation.id] = relation

    def _lay(self, layout: Layout) -> None:
        self.layouts[layout.relation, layout.since] = layout
        columns = frozenset(column.name for column in _columns(layout.columns) if column.erasable)
        if columns or layout.relation in self._erasable:
            self._erasable[layout.relation] = self._of(layout.relation)

    def _of(self, relation: int) -> tuple[list[int], list[frozenset[str]]]:
        since = sorted(place for of, place in self.layouts if of == relation)
        columns = (_columns(self.layouts[relation, place].columns) for place in since)
        return since, [frozenset(one.name for one in found if one.erasable) for found in columns]

    def news(self, sealed: Catalog) -> str | None:
        """What a seal has to say so that seals say all this; None if they do."""
        relations = [found for number, found in self.relations.items() if sealed.relations.get(number) != found]
        layouts = [found for place, found in self.layouts.items() if sealed.layouts.get(place) != found]
        return _encode(Entries(relations, layouts)).decode() if relations or layouts else None

    def differences(self, sealed: Catalog) -> Iterator[str]:
        """What the database says otherwise than the seals: altered or taken away. New entries are left out."""
        for number, relation in sealed.relations.items():
            if number not in self.relations:
                yield f"relation {number}, sealed as {relation.schema}.{relation.table}, is gone"
        for place, layout in sealed.layouts.items():
            if self.layouts.get(place) != layout:
                yield f"the layout of {sealed.name(layout.relation)} since seq {layout.since} is not as it was sealed"

    def renamed(self, sealed: Catalog) -> Iterator[str]:
        """Names that differ from the ones that were sealed last."""
        for number, relation in sealed.relations.items():
            now = self.relations.get(number)
            if now is not None and now != relation:
                yield f"{relation.schema}.{relation.table} is called {now.schema}.{now.table} now"

    def name(self, relation: int) -> str:
        """A relation as people know it."""
        found = self.relations.get(relation)
        return f"relation {relation}" if found is None else f"{found.schema}.{found.table}"

    @property
    def erasing(self) -> list[int]:
        """The relations that have erasable columns, or had."""
        return list(self._erasable)

    def erasable(self, relation: int, seq: int) -> frozenset[str]:
        """The erasable columns of a relation's event."""
        found = self._erasable.get(relation)
        if found is None:
            return _NONE
        place = bisect_right(found[0], seq) - 1
        return found[1][place] if place >= 0 else _NONE


def _renamed(before: list[Column], now: list[Column]) -> list[tuple[str, str]]:
    """The erasable column that was renamed between two layouts, if that is all."""
    if len(before) != len(now):
        return []
    different = [(one, other) for one, other in zip(before, now, strict=True) if one.name != other.name]
    return [
        (one.name, other.name) for one, other in different if len(different) == 1 and one.erasable and other.erasable
    ]
