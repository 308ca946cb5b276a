"""Taking the values of one row out of the log for good, so that its seals still prove the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from rowcall import errors, resources
from rowcall.audit import archive, archives, erasures, history, merkle, reading
from rowcall.audit.archive import Manifest
from rowcall.audit.archives import Archives
from rowcall.audit.canonical import (
    IMAGES,
    NOTHING_ERASED,
    SALT,
    WHOLE,
    Erased,
    Erasures,
    Row,
    canonical,
    commitment,
    own_salt,
    stand_in,
)
from rowcall.audit.catalog import Catalog
from rowcall.audit.erasures import Erasure, Ranges
from rowcall.audit.keys import key_json
from rowcall.audit.keys import relation as relation_of

_QUERIES = resources.queries("erasure")
_SEALS = resources.queries("seals")

#: Shorter texts and numbers are not looked for in contexts: they would be found everywhere.
_TELLING = 4

_object = msgspec.json.Decoder(type=dict[str, msgspec.Raw]).decode
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


@dataclass(slots=True)
class Result:
    """What was erased.

    :ivar records: of it, one, or a second of the events that nothing is proven of any more.
    :ivar files: archives that were written anew.
    :ivar rejections: refused writes of the row, from which the values were erased too.
    :ivar texts: errors of handlers and reasons of refusals, which could hold them.
    """

    extent: Extent
    events: int = 0
    rejections: int = 0
    texts: int = 0
    records: list[Erasure] = field(default_factory=list)
    files: list[tuple[Path, Manifest]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """An event of the row with what its seal says of it.

    :ivar index: its place in the seal, None if it is not sealed.
    """

    row: Row
    actor: str | None
    seal: int | None
    index: int | None
    columns: frozenset[str]
    salt: bytes
    leaf: bytes


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
    columns = frozenset(wanted.columns) or erasable
    if not columns:
        raise errors.UsageError(
            f"{table} has no erasable columns: declare them with erasable=[…] or rowcall watch --erasable, and name what was"
            " sealed before with --columns and --forgo-proof."
        )
    seqs, keys = (_history if beside is None else _whole_history)(connection, relation, wanted)
    if not seqs:
        raise NothingToErase(f"The log has no event of {table} {wanted.key}.")
    return Extent(relation, table, columns, seqs, keys)


def erase(connection: psycopg.Connection[Any], wanted: Request, beside: Archives | None = None) -> Result:
    """Take the values out of the log, and out of what else Rowcall keeps of the row, on record; in one transaction.

    Archives are written anew before it commits, and put in their places afterwards: if it ends in between, another call does that.

    :param connection: of the log's owner.
    :param beside: archives to erase from too.
    :raises UsageError: beside what :func:`extent` raises, if a column was not erasable when an event was sealed.
    :raises NothingToErase: if there is nothing left to erase.
    """
    with connection.transaction():
        connection.execute(_SEALS["wait_for_turn"])
        found = extent(connection, wanted, beside)
        work = _Erasing(connection, wanted, found, beside)
        result = work.run()
    for path, manifest in result.files:
        archive.exchange(path, manifest)
    return result


def _columns(catalog: Catalog, relation: int) -> tuple[frozenset[str], frozenset[str]]:
    """All columns that a relation has had, and those that were erasable."""
    known: set[str] = set()
    erasable: set[str] = set()
    for (of, since), layout in catalog.layouts.items():
        if of == relation:
            known.update(column["name"] for column in _any(layout.columns))
            erasable.update(catalog.erasable(relation, since))
    return frozenset(known), frozenset(erasable)


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


class _Erasing:
    """One erasure, in the caller's transaction."""

    def __init__(
        self, connection: psycopg.Connection[Any], wanted: Request, found: Extent, beside: Archives | None
    ) -> None:
        self._connection = connection
        self._archives = beside
        # What the log has of the events, and what each archived file has of them.
        self._logged: dict[int, Row] = {}
        self._archived: dict[int, dict[int, Row]] = {}
        self._wanted = wanted
        self._extent = found
        self._result = Result(found)
        self._erased = erasures.erased_between(connection, min(found.seqs), max(found.seqs))

    def run(self) -> Result:
        events = list(self._events())
        values = self._values([*self._logged.values(), *self._archived_rows(), *(one.row for one in events)])
        given_up = [one for one in events if one.seal is not None and self._is_beyond_proof(one)]
        if given_up and not self._wanted.forgo:
            raise errors.UsageError(self._refusal(given_up))
        beyond = {one.row.seq for one in given_up}
        kept = {one.row.seq: self._paths(one, values) for one in events if one.row.seq not in beyond}
        changed = [one for one in events if kept.get(one.row.seq)]
        if not changed and not given_up and not self._changes(values):
            raise NothingToErase(f"Nothing of {self._extent.table} {self._wanted.key} is left to erase.")
        if changed:
            paths = {path for found in kept.values() for path in found}
            self._record("erase", [one.row.seq for one in changed], paths)
            for one in changed:
                self._erase(one, kept[one.row.seq])
        if given_up:
            self._record("forgo", [one.row.seq for one in given_up], {WHOLE})
            for one in given_up:
                self._give_up(one, self._paths(one, values))
        self._result.events = len(changed) + len(given_up)
        if changed or given_up:
            self._erase_elsewhere(values)
        self._rewrite(values)
        return self._result

    def _archived_rows(self) -> Iterator[Row]:
        for rows in self._archived.values():
            yield from rows.values()

    def _rewrite(self, values: set[str]) -> None:
        """Write archives anew without the values."""
        for number, changes in self._changes(values).items():
            assert self._archives is not None
            file = self._archives.files[number]
            manifest = archive.rewritten(file.path, file.manifest, changes)
            parameters = {"sha256": manifest.sha256, "name": file.path.name}
            self._connection.execute(archives.QUERIES["rewritten"], parameters)
            self._result.files.append((file.path, manifest))

    def _changes(self, values: set[str]) -> dict[int, dict[int, dict[str, str | None]]]:
        """What has to be written anew, by file, event and column."""
        gone = erasures.erased_between(self._connection, min(self._extent.seqs), max(self._extent.seqs))
        found: dict[int, dict[int, dict[str, str | None]]] = {}
        for number, rows in self._archived.items():
            changes = {seq: self._change(row, gone.get(seq, NOTHING_ERASED), values) for seq, row in rows.items()}
            changes = {seq: change for seq, change in changes.items() if change}
            assert self._archives is not None
            if changes or number in self._archives.unequal:
                found[number] = changes
        return found

    def _change(self, row: Row, gone: Erasures, values: set[str]) -> dict[str, str | None]:
        """The columns of an archived event that still hold what is erased, without that."""
        texts = dict(zip((*IMAGES, "context"), (*row[8:12], row.context), strict=True))
        changed = {part: None if text is None else text.decode() for part, text in texts.items()}
        actor = original = row.actor.decode() if row.actor else None
        for path in self._present(row, actor, values) | {path for path in gone if path != WHOLE}:
            known = gone.get(path)
            if known is not None and known.commitment is None:
                continue
            number = (known or gone.get(WHOLE) or self._latest()).erasure
            if path == "actor":
                actor = stand_in(path, number).decode()
                continue
            part = path.partition(".")[0]
            text = changed.get(part)
            if text is not None:
                changed[part] = scrubbed(text.encode(), part, [path], number)
        different = {
            part: text
            for part, text in changed.items()
            if _members(texts[part]) != _members(None if text is None else text.encode())
        }
        return different if actor == original else {**different, "actor": actor}

    def _latest(self) -> Erased:
        """What stands for a value that no seal covers: the newest record is of its erasure."""
        return Erased(self._result.records[-1].number if self._result.records else 0, b"", None)

    def _events(self) -> Iterator[_Sealed]:
        """The events, with what their seals say of them."""
        seqs = list(self._extent.seqs)
        places = {
            seq: (seal, index, bytes(leaf), bytes(salt or b""))
            for seq, seal, index, leaf, salt in self._connection.execute(_QUERIES["places"], {"seqs": seqs})
        }
        catalogs: dict[int, Catalog] = {}
        present = Catalog.present(self._connection)
        parameters = {"seqs": seqs, "erasable": [self._extent.relation]}
        for values in reading.stream(self._connection, _at_places("range"), parameters):
            row = Row._make(values)
            self._logged[row.seq] = row
        if self._archives is not None:
            for *parts, number in reading.stream(self._connection, _at_places("archived"), parameters):
                row = Row._make(parts)
                self._archived.setdefault(number, {})[row.seq] = row
        pruned = [Ranges.parse(one.seqs) for one in erasures.erasures(self._connection) if one.kind == "prune"]
        for seq in seqs:
            copies = [rows[seq] for rows in (self._logged, *self._archived.values()) if seq in rows]
            row = copies[0]
            seal, index, leaf, salt = places.get(row.seq, (None, None, b"", b""))
            catalog = present
            if seal is not None:
                catalog = catalogs.setdefault(seal, Catalog.sealed(self._connection, seal))
            columns = catalog.erasable(row.relation, row.seq)
            if seal is not None and any(seq in ranges for ranges in pruned):
                # In the log there may be a stand-in, of which the seal says nothing.
                gone = self._erased.get(seq, NOTHING_ERASED)
                sealed = [one for one in copies if merkle.leaf(canonical(one, columns, salt, gone)[0]) == leaf]
                row = sealed[0] if sealed else row
                if not sealed and WHOLE not in gone and self._archives is None:
                    seal = index = None
            yield _Sealed(row, row.actor.decode() if row.actor else None, seal, index, columns, salt, leaf)

    def _is_beyond_proof(self, one: _Sealed) -> bool:
        """Whether the event has a value to be erased that its seal does not only have a commitment to."""
        if WHOLE in self._erased.get(one.row.seq, NOTHING_ERASED):
            return True
        fixed = self._extent.columns - one.columns
        return any(not fixed.isdisjoint(_members(image)) for image in one.row[8:12])

    def _refusal(self, given_up: Sequence[_Sealed]) -> str:
        names = sorted({name for one in given_up for name in self._extent.columns - one.columns})
        return (
            f"{len(given_up):,} of {len(self._extent.seqs):,} events of {self._extent.table} {self._wanted.key} were sealed when"
            f" {', '.join(names)} was not declared erasable. Declare it for the events to come; --forgo-proof erases these all the"
            " same, and gives up the proof of what they were."
        )

    def _values(self, rows: Iterable[Row]) -> set[str]:
        """The texts of the values to be erased that could be told again elsewhere."""
        return {
            text
            for row in rows
            for image in row[8:12]
            for name, value in _members(image).items()
            if name in self._extent.columns and len(text := _text(value)) >= _TELLING
        }

    def _paths(self, one: _Sealed, values: set[str]) -> set[str]:
        """What to erase of an event that is still there."""
        found = self._present(one.row, one.actor, values)
        gone = self._erased.get(one.row.seq, NOTHING_ERASED)
        return {path for path in found if path not in gone or gone[path].commitment is None}

    def _present(self, row: Row, actor: str | None, values: set[str]) -> set[str]:
        """Where an event has what is to be erased, or what is in its place."""
        found = {
            f"{part}.{name}"
            for part, image in zip(IMAGES, row[8:12], strict=True)
            for name in _members(image)
            if name in self._extent.columns
        }
        if actor is not None and (self._wanted.actor or actor in values):
            found.add("actor")
        for name, value in _members(row.context).items():
            # What says that an event belongs to a backfill is no data of anybody's.
            if name != "backfill" and (name in self._wanted.context or _holds(_any(value), values)):
                found.add(f"context.{name}")
        return found

    def _record(self, kind: erasures.Kind, seqs: Sequence[int], paths: Iterable[str]) -> None:
        ranges = "{" + ",".join(f"[{seq},{seq}]" for seq in seqs) + "}"
        made = erasures.record(
            self._connection,
            kind,
            relation=self._extent.relation,
            paths=sorted(paths),
            seqs=ranges,
            events=len(seqs),
        )
        self._result.records.append(made)

    def _erase(self, one: _Sealed, paths: set[str]) -> None:
        if one.seal is not None:
            self._commit(one, paths)
        self._blank(one, paths)

    def _commit(self, one: _Sealed, paths: set[str]) -> None:
        """Keep commitments to what is erased, and the keys of the others, instead of the salt that all come from."""
        gone = self._erased.get(one.row.seq, NOTHING_ERASED)
        _, fields = canonical(one.row, one.columns, one.salt, gone)
        for path, value in fields:
            own = own_salt(path, one.salt, gone)
            if own is None:
                continue  # erased before
            erased = path in paths
            self._keep(one.row.seq, path, commitment(own, value) if erased else None, None if erased else own)
        self._forget_salt(one)

    def _give_up(self, one: _Sealed, paths: set[str]) -> None:
        """Keep nothing but the leaf."""
        if WHOLE not in self._erased.get(one.row.seq, NOTHING_ERASED):
            self._keep(one.row.seq, WHOLE, one.leaf, None)
        self._forget_salt(one)
        self._blank(one, paths)

    def _keep(self, seq: int, path: str, committed: bytes | None, salt: bytes | None) -> None:
        parameters = {
            "seq": seq,
            "path": path,
            "erasure": self._result.records[-1].number,
            "commitment": committed,
            "salt": salt,
        }
        self._connection.execute(_QUERIES["keep"], parameters)

    def _forget_salt(self, one: _Sealed) -> None:
        assert one.index is not None
        parameters = {"seal": one.seal, "from": SALT * one.index + 1, "zeros": bytes(SALT)}
        self._connection.execute(_QUERIES["forget_salt"], parameters)

    def _blank(self, one: _Sealed, paths: set[str]) -> None:
        row = self._logged.get(one.row.seq)
        if row is None:
            return
        number = self._result.records[-1].number
        values = dict(zip(IMAGES, row[8:12], strict=True)) | {"context": row.context}
        if row is not one.row:
            # A stand-in for an event that is archived, whose parts are others.
            paths = {f"{part}.{name}" for part in IMAGES for name in self._extent.columns} | paths
        changed = {part: scrubbed(image, part, paths, number) for part, image in values.items()}
        actor = stand_in("actor", number).decode() if "actor" in paths else one.actor
        self._connection.execute(_QUERIES["blank"], {**changed, "actor": actor, "seq": one.row.seq})

    def _erase_elsewhere(self, values: set[str]) -> None:
        """What else Rowcall keeps of the row: refused writes, errors of handlers, and keys of what is set aside."""
        number = self._result.records[-1].number
        about = {"relation": self._extent.relation, "keys": list(self._extent.keys), "seqs": list(self._extent.seqs)}
        for place, key, old, new, actor, context, message, handler in self._connection.execute(
            _QUERIES["rejections"], about
        ).fetchall():
            parts = {"key": key, "old": old, "new": new, "context": context}
            raw = {part: None if text is None else text.encode() for part, text in parts.items()}
            paths = {f"{part}.{name}" for part in ("key", "old", "new") for name in self._extent.columns}
            paths |= {
                f"context.{name}" for name, value in _members(raw["context"]).items() if _holds(_any(value), values)
            }
            paths |= {f"context.{name}" for name in self._wanted.context}
            blank = {part: scrubbed(image, part, paths, number) for part, image in raw.items()}
            hidden = self._wanted.actor or actor in values
            told = handler is not None or any(value in message for value in values)
            self._result.rejections += 1
            self._result.texts += told
            self._connection.execute(
                _QUERIES["blank_rejection"],
                {
                    **blank,
                    "id": place,
                    "actor": stand_in("actor", number).decode() if actor is not None and hidden else actor,
                    "message": "erased" if told else message,
                },
            )
        for query in ("blank_parked", "blank_skipped", "blank_suspects"):
            self._result.texts += self._connection.execute(_QUERIES[query], about).rowcount
        for query in ("rekey_parked", "rekey_skipped", "forget_requests", "forget_positions"):
            self._connection.execute(_QUERIES[query], about)


def _at_places(name: str) -> str:
    """One of the queries over events, of those at some places."""
    return reading.rendered(name).replace("e.seq between %(first)s and %(last)s", "e.seq = any (%(seqs)s)")


def scrubbed(image: bytes | None, part: str, paths: Iterable[str], erasure: int) -> str | None:
    """A JSON object without the values to be erased: what :func:`~rowcall.audit.canonical.stand_in` says is in their place.

    Archives of the log that were made before the erasure can be mended with it.

    :param part: ``key``, ``next_key``, ``old``, ``new`` or ``context``.
    :param paths: such as ``new.email``; those of other parts do not matter.
    :param erasure: number of the record.
    """
    if image is None:
        return None
    names = {path.partition(".")[2] for path in paths if path.startswith(f"{part}.")}
    members = _members(image)
    if names.isdisjoint(members):
        return image.decode()
    blank = {
        name: msgspec.Raw(stand_in(f"{part}.{name}", erasure)) if name in names else msgspec.Raw(value)
        for name, value in members.items()
    }
    if "" in blank and part != "context":
        blank[""] = _notes_without(names, members[""])
    return msgspec.json.encode(blank).decode()


def _notes_without(names: set[str], note: bytes) -> msgspec.Raw:
    """What an image says beside its values, without what it says of some."""
    kept = {
        kind: {of: msgspec.Raw(text) for of, text in _members(texts).items() if of not in names}
        for kind, texts in _members(note).items()
    }
    return msgspec.Raw(msgspec.json.encode(kept))


def _members(image: bytes | None) -> Mapping[str, bytes]:
    """A JSON object's members; none if it is no object."""
    if image is None:
        return {}
    try:
        return {name: bytes(value) for name, value in _object(image).items()}
    except msgspec.DecodeError:
        return {}


def _text(value: bytes) -> str:
    """A scalar as a text that could be found elsewhere; nothing for others."""
    decoded = _any(value)
    if isinstance(decoded, str):
        return decoded
    return value.decode() if isinstance(decoded, (int, float)) and not isinstance(decoded, bool) else ""


def _holds(value: Any, texts: set[str]) -> bool:
    """Whether one of the texts is somewhere in a JSON value, whole."""
    if isinstance(value, Mapping):
        return any(_holds(one, texts) for one in value.values())
    if isinstance(value, list):
        return any(_holds(one, texts) for one in value)
    return value is not None and str(value) in texts
