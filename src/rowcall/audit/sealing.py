"""Making seals: reading the log by snapshot windows, as subscriptions do, with the newest seal for a cursor."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import psycopg

from rowcall import errors
from rowcall.audit import merkle, reading
from rowcall.audit.canonical import SALT, Row, canonical
from rowcall.audit.catalog import Catalog
from rowcall.audit.reading import QUERIES
from rowcall.audit.seal import NOTHING_BEFORE, NOTHING_SEEN, Seal, newest
from rowcall.audit.signing import Signer

#: Most events of one seal: some 10 MB are read for it, and held for a moment.
EVENTS = 10_000

_leaf = merkle.leaf


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next seal reads.

    :ivar query: the window's beginning, its next slice, or what a dump brought.
    :ivar after: the last seq that is sealed of it.
    """

    query: str
    lower: str
    upper: str | None
    after: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What a seal says beside its events."""

    installation: str
    epoch: int
    floor: int
    anchor: str
    mark: str
    erasures: int
    erasure_head: bytes | None
    now: int


@dataclass(slots=True)
class _Slice:
    """What was read for a seal."""

    upper: str
    seqs: list[int]
    hashes: list[bytes]
    salts: bytes | None


class Sealer:
    """Seals what is not sealed yet, over one connection in autocommit mode.

    :param signer: signs each seal.
    :param limit: most events of a seal.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], signer: Signer | None = None, *, limit: int = EVENTS
    ) -> None:
        self._connection = connection
        self._signer = signer
        self._limit = limit
        self._sealed: Catalog | None = None
        self._known = 0
        self._mark: str | None = None
        self._present: tuple[str, Catalog] | None = None
        self.newest = 0

    def is_pending(self) -> bool:
        """Whether there is anything to seal, whoever does it."""
        with self._connection.transaction():
            self._connection.execute(QUERIES["planning"])
            row = self._connection.execute(QUERIES["pending"]).fetchone()
        assert row is not None
        pending, mark, self.newest = row
        return bool(pending) or mark != self._mark

    def seal(self) -> Seal | None:
        """Make the next seal, of what is committed by now; None if there is nothing to seal, or another process is at it."""
        with self._connection.transaction():
            if not self._take_turn():
                return None
            self._connection.execute(QUERIES["planning"])
            before = newest(self._connection)
            sealed = self._catalog_up_to(before)
            moment = self._moment()
            present = self._present_at(moment.mark)
            news = present.news(sealed)
            made = self._read(before, moment, present)
            if self._moment().mark != moment.mark:
                # A table changed meanwhile, and what was read could be of both sides of that: once more.
                raise psycopg.errors.SerializationFailure("the layouts changed while the log was read")
            if not made.seqs and news is None and _says_nothing_new(before, moment):
                self._mark = moment.mark
                return None
            # Read anew unless this is committed.
            self._sealed = None
            if news is not None:
                sealed.add(news)
            seal = self._write(before, moment, made, news=news, relations=sealed.root())
        self._sealed = sealed
        self._mark, self._known, self.newest = moment.mark, seal.number, seal.number
        return seal

    def _take_turn(self) -> bool:
        row = self._connection.execute(QUERIES["take_turn"]).fetchone()
        return row is not None and bool(row[0])

    def _moment(self) -> Moment:
        row = self._connection.execute(QUERIES["moment"]).fetchone()
        assert row is not None
        return Moment(*row)

    def _catalog_up_to(self, seal: Seal | None) -> Catalog:
        """What seals say of relations; read anew if others have sealed since."""
        number = 0 if seal is None else seal.number
        if self._sealed is None or number != self._known:
            self._sealed = Catalog.sealed(self._connection, number)
            self._known = number
        return self._sealed

    def _present_at(self, mark: str) -> Catalog:
        """What the database says of relations; read anew if that has changed."""
        if self._present is None or self._present[0] != mark:
            self._present = mark, Catalog.present(self._connection)
        return self._present[1]

    def _read(self, before: Seal | None, moment: Moment, catalog: Catalog) -> _Slice:
        place = _place(before, moment)
        parameters = reading.unseen(place.lower) | {
            "upper": place.upper,
            "after": place.after,
            "floor": moment.floor,
            "erasable": catalog.erasing,
            "limit": self._limit,
        }
        found = _Slice(place.upper or "", [], [], None)
        secrets = bytearray()
        salted = False
        for upper, *values in reading.stream(self._connection, reading.rendered(place.query), parameters):
            found.upper = upper
            if values[0] is None:
                continue  # the one row of an empty window
            row = Row._make(values)
            found.seqs.append(row.seq)
            if row.plain is not None and row.actor is None and row.context is None:
                found.hashes.append(_leaf(row.plain))
                secrets += bytes(SALT)
                continue
            salt = os.urandom(SALT)
            secrets += salt
            salted = True
            body, _ = canonical(row, catalog.erasable(row.relation, row.seq), salt)
            found.hashes.append(_leaf(body))
        if salted:
            found.salts = bytes(secrets)
        return found

    def _write(self, before: Seal | None, moment: Moment, made: _Slice, *, news: str | None, relations: bytes) -> Seal:
        place = _place(before, moment)
        [xid] = self._connection.execute(QUERIES["xid"]).fetchone() or (0,)
        seal = Seal(
            number=1 if before is None else before.number + 1,
            epoch=moment.epoch,
            lower=place.lower,
            upper=made.upper or place.lower,
            after_seq=place.after,
            complete=len(made.seqs) < self._limit,
            events=len(made.seqs),
            first_seq=made.seqs[0] if made.seqs else None,
            last_seq=made.seqs[-1] if made.seqs else None,
            root=merkle.root(made.hashes),
            erasures=moment.erasures,
            erasure_head=moment.erasure_head or NOTHING_BEFORE,
            catalog=news,
            relations=relations,
            xid=xid,
            previous=NOTHING_BEFORE if before is None else before.head,
            head=b"",
            sealed_at=moment.now,
            key_id=None if self._signer is None else self._signer.key_id,
            signature=None,
        )
        seal = replace(seal, head=sha256(seal.text(moment.installation)).digest())
        if self._signer is not None:
            seal = replace(seal, signature=self._signer.sign(seal.head))
        values = {name: getattr(seal, name) for name in Seal.__slots__}
        self._connection.execute(QUERIES["insert"], values)
        leaves = {"seal": seal.number, "seqs": made.seqs, "hashes": b"".join(made.hashes)}
        self._connection.execute(QUERIES["insert_leaves"], leaves, binary=True)
        if made.salts is not None:
            self._connection.execute(QUERIES["insert_salts"], {"seal": seal.number, "salts": made.salts}, binary=True)
        return seal


def _place(before: Seal | None, moment: Moment) -> Place:
    """Where the seal after another one reads."""
    if before is None or before.epoch != moment.epoch:
        if moment.floor:
            return Place("restored_slice", moment.anchor, moment.anchor, 0)
        return Place("new_window", NOTHING_SEEN, None, 0)
    if before.complete:
        return Place("new_window", before.upper, None, 0)
    query = "restored_slice" if before.is_restored else "next_slice"
    return Place(query, before.lower, before.upper, before.last_seq or 0)


def _says_nothing_new(before: Seal | None, moment: Moment) -> bool:
    """Whether a seal without events would say what the one before said already."""
    if before is None:
        return moment.erasures == 0 and not moment.floor
    return before.epoch == moment.epoch and before.complete and before.erasures == moment.erasures


def seal_pending(
    connection: psycopg.Connection[Any],
    signer: Signer | None = None,
    *,
    limit: int = EVENTS,
    made: Callable[[Seal], None] | None = None,
) -> int:
    """Seal all that is committed by now, unless another process is sealing; how many events that were.

    :param connection: in autocommit mode.
    :param limit: most events of a seal.
    :param made: called with each seal once it is committed.
    :raises UsageError: if the database is a standby.
    """
    sealer = Sealer(connection, signer, limit=limit)
    sealed = 0
    while (seal := _next(sealer)) is not None:
        sealed += seal.events
        if made is not None:
            made(seal)
        if seal.complete and not sealer.is_pending():
            break
    return sealed


def _next(sealer: Sealer) -> Seal | None:
    while True:
        try:
            return sealer.seal()
        except psycopg.errors.SerializationFailure:
            continue
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise errors.UsageError(
                "The database is a standby, where nothing can be sealed: name the primary."
            ) from error
