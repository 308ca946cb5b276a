"""Proofs that an event is in a sealed log, for people who have no access to the database."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from rowcall import errors
from rowcall.audit import anchor_file, erasures, merkle, reading, seal
from rowcall.audit.canonical import NOTHING_ERASED, SALT, WHOLE, Row, canonical, commitment, own_salt
from rowcall.audit.catalog import Catalog
from rowcall.audit.reading import QUERIES
from rowcall.audit.seal import values_of
from rowcall.audit.signing import Verifier

#: What kind of file a proof is.
FORMAT = "rowcall-proof-1"


class Opening(msgspec.Struct, frozen=True):
    """What a commitment stands for.

    :ivar salt: its key, in hexadecimal.
    :ivar value: as in the log; after a NUL, what the log keeps beside it.
    """

    path: str
    salt: str
    value: str


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
    table: str
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
        catalog.name(row.relation),
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
    except msgspec.DecodeError as error:
        raise errors.UsageError(f"{file} is no proof ({error}): rowcall audit prove writes one.") from error
    if proof.format != FORMAT:
        raise errors.UsageError(f"{file} is a proof of another kind, {proof.format}: this Rowcall reads {FORMAT}.")
    return proof


def check(
    proof: Proof, *, root: str | None = None, public_keys: Sequence[Verifier] = (), anchor: Path | None = None
) -> str:
    """What a proof shows, as a sentence. Needs no database.

    :param root: a hash that is trusted, in hexadecimal: the head of the proof's last seal, or the root of its first.
    :param anchor: a file that is trusted.
    :raises NotProven: if it does not show that.
    :raises UsageError: if nothing is given that is trusted.
    """
    if root is None and not public_keys and anchor is None:
        raise errors.UsageError("A proof is judged by what you trust: give --root, --public-key or --anchor.")
    _check_openings(proof)
    first = values_of(proof.seals[0].encode()) if proof.seals else {}
    try:
        size = int(first["events"])
        path = [bytes.fromhex(node) for node in proof.path]
    except (KeyError, ValueError):
        raise NotProven("The proof's seals are no seals.") from None
    found = merkle.root_from(merkle.leaf(proof.event.encode()), proof.index, size, path)
    if found is None or found.hex() != first.get("root"):
        raise NotProven(f"The proof does not lead from event {proof.seq} to the root of its seal.")
    heads = _heads(proof)
    _check_trust(proof, first, heads, root=root, public_keys=public_keys, anchor=anchor)
    return f"Event {proof.seq} of {proof.table} is in seal {first['number']}, as it was when it was sealed."


def _check_openings(proof: Proof) -> None:
    """Whether the event is the one that it says, and what it says of values is what it is committed to."""
    if proof.event.split(" ")[1:2] != [str(proof.seq)]:
        raise NotProven(f"The proof is not one of event {proof.seq}.")
    for one in proof.openings:
        try:
            made = commitment(bytes.fromhex(one.salt), one.value.encode()).hex()
        except ValueError:
            raise NotProven(f"The salt of {one.path} is none.") from None
        if f"\n{len(one.path.encode())}:{one.path} {made}" not in proof.event:
            raise NotProven(f"The value of {one.path} is not the one that event {proof.seq} is committed to.")


def _heads(proof: Proof) -> list[str]:
    """The heads of its seals, each chained to the one before."""
    heads: list[str] = []
    for text in proof.seals:
        if heads and values_of(text.encode()).get("previous") != heads[-1]:
            raise NotProven("The proof's seals are not chained to each other.")
        heads.append(sha256(text.encode()).hexdigest())
    return heads


def _check_trust(
    proof: Proof,
    first: dict[str, str],
    heads: list[str],
    *,
    root: str | None,
    public_keys: Sequence[Verifier],
    anchor: Path | None,
) -> None:
    if root is not None and root.lower() not in (heads[-1], first["root"]):
        raise NotProven("The proof leads to another head than the one given.")
    if public_keys and not _is_signed(proof, heads[-1], public_keys):
        raise NotProven("The proof's last seal is not signed with a key given.")
    if anchor is not None:
        anchored = {line.seal: line.head for line in anchor_file.read(anchor)}
        numbers = [int(values_of(text.encode())["number"]) for text in proof.seals]
        if all(anchored.get(number) != head for number, head in zip(numbers, heads, strict=True)):
            raise NotProven("None of the proof's seals is one of the anchor's.")


def _is_signed(proof: Proof, head: str, public_keys: Sequence[Verifier]) -> bool:
    if proof.signature is None:
        return False
    try:
        signature = bytes.fromhex(proof.signature.signature)
    except ValueError:
        return False
    return any(key.accepts(bytes.fromhex(head), signature) for key in public_keys)
