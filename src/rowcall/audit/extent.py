"""What an erasure is about: the events of one row, and the columns that can be erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg

from rowcall import errors, resources
from rowcall.audit import archives, history
from rowcall.audit.archives import Archives
from rowcall.audit.catalog import Catalog
from rowcall.audit.keys import has_key, key_json
from rowcall.audit.keys import relation as relation_of
from rowcall.audit.prune import check_whole

_QUERIES = resources.queries("erasure")

_any = msgspec.json.decode


class NothingToErase(errors.RowcallError):
    """The log has nothing of the row; nothing was changed."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to erase.

    :ivar key: a plain value, ``a=1,b=2``, or JSON.
    :ivar columns: all erasable ones if there are none.
    :ivar context: names in the context that are erased too, beside those that hold an erased value.
    :ivar actor: whether the actor of these events is erased too.
    :ivar forgo: erase also what was sealed when its column was not erasable, and with it the proof of those events.
    """

    table: str
    key: str
    columns: Sequence[str] = ()
    context: Sequence[str] = ()
    actor: bool = False
    forgo: bool = False


@dataclass(frozen=True, slots=True)
class Extent:
    """What an erasure is about.

    :ivar seqs: the events of the row, through changes of its key.
    :ivar keys: its keys, as JSON.
    """

    relation: int
    table: str
    columns: frozenset[str]
    seqs: Sequence[int]
    keys: Sequence[str]


def extent(connection: psycopg.Connection[Any], wanted: Request, beside: Archives | None = None) -> Extent:
    """What an erasure would be about.

    :raises UsageError: for an unknown table, column or key, or if no column is erasable.
    :raises NothingToErase: if the log has no event of the row.
    """
    relation = relation_of(connection, wanted.table)
    catalog = Catalog.present(connection)
    table = catalog.name(relation)
    known, erasable = _columns(catalog, relation)
    if unknown := sorted(set(wanted.columns) - known):
        raise errors.UsageError(f"{table} never had a column {', '.join(unknown)}: correct --columns.")
    columns = catalog.namesakes(relation, frozenset(wanted.columns)) or erasable
    if not columns:
        raise errors.UsageError(
            f"{table} has no erasable columns: declare them with erasable=[…] or rowcall watch --erasable, and name what was"
            " sealed before with --columns and --forgo-proof."
        )
    if not has_key(connection, relation):
        seqs, keys = _rows(connection, relation, wanted, beside)
    else:
        seqs, keys = (_history if beside is None else _whole_history)(connection, relation, wanted)
    if not seqs:
        raise NothingToErase(f"The log has no event of {table} {wanted.key}.")
    return Extent(relation, table, columns, seqs, keys)


def _columns(catalog: Catalog, relation: int) -> tuple[frozenset[str], frozenset[str]]:
    """All columns that a relation has had, and those that were erasable."""
    known: set[str] = set()
    erasable: set[str] = set()
    for (of, since), layout in catalog.layouts.items():
        if of == relation:
            known.update(column["name"] for column in _any(layout.columns))
            erasable.update(catalog.erasable(relation, since))
    return frozenset(known), frozenset(erasable)


def _rows(
    connection: psycopg.Connection[Any], relation: int, wanted: Request, beside: Archives | None
) -> tuple[list[int], list[str]]:
    """The events of all rows of a table without a key that were like this one, and what they were before and after."""
    check_whole(connection)
    query = _QUERIES["events"].format(source=_QUERIES["log" if beside is None else "log_and_archives"])
    seqs: set[int] = set()
    rows: set[str] = set()
    for back in (True, False):
        found = {key_json(connection, relation, wanted.key)}
        while found:
            rows |= found
            parameters = {"relation": relation, "rows": list(found), "back": back}
            events = connection.execute(query, parameters).fetchall()
            seqs.update(seq for seq, _ in events)
            found = {row for _, row in events if row is not None} - rows
    return sorted(seqs), sorted(rows)


def _history(connection: psycopg.Connection[Any], relation: int, wanted: Request) -> tuple[list[int], list[str]]:
    """The events of a row and its keys: back through changes of its key, and onward where it has another one by now."""
    key: str | None = key_json(connection, relation, wanted.key)
    events = history.row(connection, wanted.table, wanted.key)
    seqs = [event.seq for event in events if event.seq is not None]
    keys = [raw.decode() for event in events for raw in (event.raw_key, event.raw_next_key) if raw is not None]
    while key is not None and seqs:
        parameters = {"relation": relation, "key": key, "from": seqs[-1]}
        key = None
        for seq, next_key in connection.execute(_QUERIES["onward"], parameters).fetchall():
            if seq != seqs[-1]:
                seqs.append(seq)
            if next_key is not None:
                key = next_key
                keys.append(next_key)
                break
    return seqs, sorted(set(keys))


def _whole_history(connection: psycopg.Connection[Any], relation: int, wanted: Request) -> tuple[list[int], list[str]]:
    """The same, of the log and of the archives beside it."""
    key: str | None = key_json(connection, relation, wanted.key)
    seqs: set[int] = set()
    keys: set[str] = set()
    before = 2**63 - 1
    while key is not None:
        parameters = {"relation": relation, "key": key, "before": before}
        rows = connection.execute(archives.QUERIES["row"], parameters).fetchall()
        start = max((place for place, row in enumerate(rows) if row[1] is not None), default=0)
        key = rows[start][1] if rows else None
        before = rows[start][0] if rows else 0
        seqs.update(row[0] for row in rows[start:])
        keys.update(text for row in rows[start:] for text in row[2:] if text is not None)
    key = key_json(connection, relation, wanted.key)
    while key is not None and seqs:
        parameters = {"relation": relation, "key": key, "from": max(seqs)}
        key = None
        for seq, next_key in connection.execute(archives.QUERIES["onward"], parameters).fetchall():
            seqs.add(seq)
            if next_key is not None and next_key not in keys:
                key = next_key
                keys.add(next_key)
                break
    return sorted(seqs), sorted(keys)
