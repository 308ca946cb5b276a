"""Proofs that an event is in a sealed log, for people who have no access to the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from rowcall import errors
from rowcall.audit import anchor_file, erasures, merkle, reading, seal
from rowcall.audit.canonical import NOTHING_ERASED, SALT, WHOLE, Row, canonical, commitment, own_salt
from rowcall.audit.catalog import Catalog, Relation
from rowcall.audit.reading import QUERIES
from rowcall.audit.seal import values_of
from rowcall.audit.signing import Verifier
from rowcall.audit.statement import Statement

#: What kind of file a proof is.
FORMAT = "rowcall-proof-1"
#: No number in a seal has so many.
_DIGITS = 20


class Opening(msgspec.Struct, frozen=True):
    """What a commitment stands for.

    :ivar salt: its key, in hexadecimal.
    :ivar value: as in the log; after a NUL, what the log keeps beside it.
    """

    path: str
    salt: str
    value: str


class Name(msgspec.Struct, frozen=True):
    """The name of the event's table, with the way from it to the root that its seal has of all names.

    :ivar size: how many tables these are.
    """

    schema: str
    table: str
    index: int
    size: int
    path: list[str]


class Signature(msgspec.Struct, frozen=True):
    """A signature of the last seal of a proof."""

    key: str
    signature: str


class Proof(msgspec.Struct, frozen=True):
    """An event, the way from it to a seal's root, and the chain of seals from there.

    :ivar event: the canonical bytes, which are UTF-8.
    :ivar index: of the leaf.
    :ivar path: hashes from the leaf to the root, in hexadecimal.
    :ivar seals: their texts; the head of each is what the next one is chained to.
    """

    format: str
    seq: int
    name: Name
    event: str
    openings: list[Opening]
    index: int
    path: list[str]
    seals: list[str]
    signature: Signature | None = None


class NotProven(errors.RowcallError):
    """A proof does not show what it says."""

    exit_code = 1


def prove(connection: psycopg.Connection[Any], seq: int, *, last: int | None = None) -> Proof:
    """A proof that an event is in the log as it was sealed.

    :param connection: in autocommit mode.
    :param last: the seal that the proof leads to; unless given, that of the event, or the first signed one from there.
    :raises UsageError: if the event is not sealed, was dropped, or nothing of it is proven any more.
    :raises NotProven: if it is not what was sealed.
    """
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        found = connection.execute(QUERIES["seal_of"], {"seq": seq}).fetchone()
        if found is None:
            raise errors.UsageError(
                f"Event {seq} is not sealed: rowcall audit log lists events, rowcall status what waits."
            )
        number, index = found
        seals = _seals(connection, number, last)
        row, body, openings, leaves, catalog = _event(connection, seq, number, index)
        if merkle.leaf(body) != leaves[index] or merkle.root(leaves) != seals[0].root:
            raise NotProven(f"Event {seq} is not as it was sealed: rowcall audit verify says more.")
    installation = _installation(connection)
    signed = seals[-1]
    signature = None
    if signed.key_id is not None and signed.signature is not None:
        signature = Signature(signed.key_id, signed.signature.hex())
    return Proof(
        FORMAT,
        seq,
        _name(catalog, row.relation),
        body.decode(),
        openings,
        index,
        [node.hex() for node in merkle.path(leaves, index)],
        [one.text(installation).decode() for one in seals],
        signature,
    )


def _seals(connection: psycopg.Connection[Any], number: int, last: int | None) -> list[seal.Seal]:
    """The chain from a seal on to the one that a proof leads to."""
    chain = []
    for one in seal.seals(connection, number, last):
        chain.append(one)
        if last is None and one.signature is not None:
            return chain
    if not chain or (last is not None and chain[-1].number != last):
        raise errors.UsageError(f"Seal {last} does not come after seal {number}, in which the event is.")
    return chain if last is not None else chain[:1]


def _event(
    connection: psycopg.Connection[Any], seq: int, number: int, index: int
) -> tuple[Row, bytes, list[Opening], list[bytes], Catalog]:
    catalog = Catalog.sealed(connection, number)
    _, hashes, salts = _one(connection, "leaves", seal=number)
    parameters = {"first": seq, "last": seq, "erasable": catalog.erasing}
    rows = [Row._make(row) for row in reading.stream(connection, reading.rendered("range"), parameters)]
    if not rows:
        raise errors.UsageError(f"Event {seq} is not in the log any more.")
    gone = erasures.erased_between(connection, seq, seq).get(seq, NOTHING_ERASED)
    if WHOLE in gone:
        raise errors.UsageError(f"Event {seq} was erased with --forgo-proof: nothing of it is proven any more.")
    row = rows[0]
    salt = b"" if salts is None else salts[SALT * index : SALT * (index + 1)]
    body, fields = canonical(row, catalog.erasable(row.relation, seq), salt, gone)
    openings = [
        Opening(path, own.hex(), value.decode())
        for path, value in fields
        if (own := own_salt(path, salt, gone)) is not None
    ]
    return row, body, openings, [hashes[place : place + 32] for place in range(0, len(hashes), 32)], catalog


def _name(catalog: Catalog, number: int) -> Name:
    one = catalog.relations[number]
    index, size, path = catalog.place(number)
    return Name(one.schema, one.table, index, size, [node.hex() for node in path])


def _one(connection: psycopg.Connection[Any], query: str, **parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(QUERIES[query], parameters).fetchone()
    assert row is not None
    return tuple(row)


def _installation(connection: psycopg.Connection[Any]) -> str:
    return str(_one(connection, "moment")[0])


def write(proof: Proof) -> str:
    """A proof as a file has it."""
    return msgspec.json.format(msgspec.json.encode(proof), indent=2).decode() + "\n"


def read(file: Path) -> Proof:
    """A proof out of a file.

    :raises UsageError: if it is none.
    """
    try:
        proof = msgspec.json.decode(file.read_bytes(), type=Proof)
    except OSError as error:
        raise errors.UsageError(f"{file} cannot be read ({error.strerror}).") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise errors.UsageError(f"{file} is no proof ({error}): rowcall audit prove writes one.") from error
    if proof.format != FORMAT:
        raise errors.UsageError(f"{file} is a proof of another kind, {proof.format}: this Rowcall reads {FORMAT}.")
    return proof


def check(
    proof: Proof, *, root: str | None = None, public_keys: Sequence[Verifier] = (), anchor: Path | None = None
) -> str:
    """What a proof shows, as a sentence. Needs no database.

    :param root: a hash that is trusted, in hexadecimal: the head of the proof's last seal, or the root of its first, which says less.
    :param anchor: a file that is trusted.
    :raises NotProven: if it does not show that.
    :raises UsageError: if nothing is given that is trusted.
    """
    if root is None and not public_keys and anchor is None:
        raise errors.UsageError("A proof is judged by what you trust: give --root, --public-key or --anchor.")
    try:
        said = Statement.read(proof.event.encode())
        path = _nodes(proof.path)
        seals = [_Sealed.read(text) for text in proof.seals]
    except ValueError:
        raise NotProven("The proof is none: its event, its path or its seals are not what they should be.") from None
    if said.seq != proof.seq or not seals:
        raise NotProven(f"The proof is not one of event {proof.seq}.")
    _check_openings(proof, said)
    first = seals[0]
    found = merkle.root_from(merkle.leaf(proof.event.encode()), proof.index, first.events, path)
    if found is None or found.hex() != first.root:
        raise NotProven(f"The proof does not lead from event {proof.seq} to the root of its seal.")
    _check_chain(seals)
    if root is not None and root.lower() == first.root and not public_keys and anchor is None:
        return f"Event {proof.seq} is under that root, as it was when it was sealed."
    _check_trust(proof, seals, root=root, public_keys=public_keys, anchor=anchor)
    _check_name(proof.name, said, first)
    return (
        f"Event {proof.seq} of {proof.name.schema}.{proof.name.table} is in seal {first.number} of log {first.installation}, as it was"
        " when it was sealed."
    )


@dataclass(frozen=True, slots=True)
class _Sealed:
    """What a seal's text says, and its head."""

    installation: str
    number: int
    events: int
    root: str
    relations: str
    previous: str
    head: str

    @classmethod
    def read(cls, text: str) -> _Sealed:
        """Read it.

        :raises ValueError: if it is none.
        """
        values = values_of(text.encode())
        if values[""] != "rowcall-seal-1":
            raise ValueError
        numbers = [values.get(name, "") for name in ("number", "events")]
        if not all(number.isdecimal() and len(number) < _DIGITS for number in numbers):
            raise ValueError
        names = ("installation", "root", "relations", "previous")
        installation, root, relations, previous = (values.get(name, "") for name in names)
        head = sha256(text.encode()).hexdigest()
        return cls(installation, int(numbers[0]), int(numbers[1]), root, relations, previous, head)


def _nodes(path: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(node) for node in path]


def _check_openings(proof: Proof, said: Statement) -> None:
    """Whether what the proof says of values is what its event is committed to."""
    for one in proof.openings:
        try:
            made = commitment(bytes.fromhex(one.salt), one.value.encode()).hex()
        except ValueError:
            raise NotProven(f"The salt of {one.path} is none.") from None
        if said.commitments.get(one.path) != made:
            raise NotProven(f"The value of {one.path} is not the one that event {proof.seq} is committed to.")


def _check_name(name: Name, said: Statement, first: _Sealed) -> None:
    """Whether a table has the name that the seal knew it by."""
    leaf = Relation(said.relation, name.schema, name.table).leaf
    try:
        found = merkle.root_from(leaf, name.index, name.size, _nodes(name.path))
    except ValueError:
        found = None
    if found is None or found.hex() != first.relations:
        raise NotProven(f"The event's table was not called {name.schema}.{name.table} when it was sealed.")


def _check_chain(seals: Sequence[_Sealed]) -> None:
    for before, current in pairwise(seals):
        if current.previous != before.head:
            raise NotProven("The proof's seals are not chained to each other.")


def _check_trust(
    proof: Proof, seals: Sequence[_Sealed], *, root: str | None, public_keys: Sequence[Verifier], anchor: Path | None
) -> None:
    if root is not None and root.lower() not in (seals[-1].head, seals[0].root):
        raise NotProven("The proof leads to another head than the one given.")
    if public_keys and not _is_signed(proof, seals[-1].head, public_keys):
        raise NotProven("The proof's last seal is not signed with a key given.")
    if anchor is not None:
        anchored = anchor_file.heads(anchor)
        if not any(anchored.get(one.number) == {one.head} for one in seals):
            raise NotProven("None of the proof's seals is one of the anchor's.")


def _is_signed(proof: Proof, head: str, public_keys: Sequence[Verifier]) -> bool:
    if proof.signature is None:
        return False
    try:
        signature = bytes.fromhex(proof.signature.signature)
    except ValueError:
        return False
    return any(key.accepts(bytes.fromhex(head), signature) for key in public_keys)
