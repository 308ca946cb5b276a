"""The bytes of an event that its leaf is the hash of. SEALS.md beside this file is their specification.

What may have to be erased some day is not among them, but commitments to it: keyed hashes, with a key of each value's own that
is erased with the value.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

#: Octets of an event's salt.
SALT = 16

#: Where a path is not that of a value but of an event of which nothing is proven any more.
WHOLE = "*"

_object = msgspec.json.Decoder(type=dict[str, msgspec.Raw]).decode
#: The images, in the order of the canonical bytes.
IMAGES = ("key", "next_key", "old", "new")
_NOTES = ("exact", "omitted")


class Row(NamedTuple):
    """An event as the log has it, for hashing: its values as UTF-8.

    :ivar at: microseconds since 1970; None where it is infinite.
    :ivar plain: what all events of a table without erasable columns have in their canonical bytes; None for others, of
        which the rest is given.
    """

    seq: int
    xid: int
    at: int | None
    relation: int
    plain: bytes | None
    actor: bytes | None
    context: bytes | None
    operation: bytes | None
    key: bytes | None
    next_key: bytes | None
    old: bytes | None
    new: bytes | None
    db_user: bytes | None
    db_role: bytes | None
    application_name: bytes | None


@dataclass(frozen=True, slots=True)
class Erased:
    """What stands for a value of an event of which something is erased.

    :ivar erasure: number of the record that says who erased it.
    :ivar commitment: if the value is erased. Else ``salt`` is its own.
    """

    erasure: int
    commitment: bytes | None
    salt: bytes | None


#: By path.
Erasures = Mapping[str, Erased]
NOTHING_ERASED: Erasures = {}

#: A value that is committed to: its path, and what is hashed of it.
Field = tuple[str, bytes]


def stand_in(path: str, erasure: int) -> bytes:
    """What is in the place of an erased value. A key's says of which erasure it is, so that the rows stay apart."""
    part = path.partition(".")[0]
    if part == "actor":
        return b"erased:%d" % erasure
    return b'"erased:%d"' % erasure if part in ("key", "next_key") else b"null"


def field_salt(path: str, salt: bytes) -> bytes:
    """The key of one value's commitment."""
    return sha256(path.encode() + b"\0" + salt).digest()


def commitment(own_salt: bytes, value: bytes) -> bytes:
    """What stands for a value in the canonical bytes."""
    return hmac.digest(own_salt, value, "sha256")


def canonical(
    row: Row, columns: frozenset[str], salt: bytes | None, erased: Erasures = NOTHING_ERASED
) -> tuple[bytes, list[Field]]:
    """An event's canonical bytes, and what they hold commitments to.

    :param columns: the erasable ones.
    :param salt: the event's, None if it has none.
    """
    fields: list[Field] = []
    if row.plain is not None:
        body = row.plain
    elif columns:
        body = _apart(row, columns, fields)
    else:
        body = _plain(row)
    if row.actor is not None:
        fields.append(("actor", row.actor))
    if row.context is not None:
        fields += _context(row.context)
    if not fields:
        return body, fields
    return body + b"".join(_committed(path, value, salt, erased) for path, value in fields), fields


def uncommitted(row: Row, columns: frozenset[str]) -> bytes:
    """An event's canonical bytes without commitments: nothing of what may have to be erased."""
    if row.plain is not None:
        return row.plain
    return _apart(row, columns, []) if columns else _plain(row)


def _committed(path: str, value: bytes, salt: bytes | None, erased: Erasures) -> bytes:
    name = path.encode()
    return b"\n%d:%b %b" % (len(name), name, _commitment(path, value, salt, erased).hex().encode())


def _commitment(path: str, value: bytes, salt: bytes | None, erased: Erasures) -> bytes:
    known = erased.get(path)
    if known is None:
        return commitment(field_salt(path, salt or b""), value)
    if known.salt is not None:
        return commitment(known.salt, value)
    assert known.commitment is not None
    # Anything but the stand-in was put there afterwards.
    return known.commitment if value == stand_in(path, known.erasure) else commitment(b"", value)


def own_salt(path: str, salt: bytes, erased: Erasures) -> bytes | None:
    """The key of a value's commitment; None if that is erased."""
    known = erased.get(path)
    return field_salt(path, salt) if known is None else known.salt


def _length(value: bytes | None) -> bytes:
    return b"-" if value is None else b"%d" % len(value)


def _head(row: Row) -> bytes:
    return b"%d %d %b %d %b" % (
        row.seq,
        row.xid,
        b"infinity" if row.at is None else b"%d" % row.at,
        row.relation,
        row.operation or b"",
    )


def _plain(row: Row) -> bytes:
    """The same that the server makes of an event whose table has no erasable columns."""
    parts = row[8:]
    lengths = b" ".join(_length(part) for part in parts)
    return b"rowcall-event-1 %b %b\n%b" % (_head(row), lengths, b"".join(part or b"" for part in parts))


def _apart(row: Row, columns: frozenset[str], fields: list[Field]) -> bytes:
    """Images taken apart into their members, without the erasable ones."""
    facts = row[12:]
    lengths = b" ".join(_length(fact) for fact in facts)
    body = b"rowcall-event-1-apart %b %b\n%b" % (_head(row), lengths, b"".join(fact or b"" for fact in facts))
    for part, image in zip(IMAGES, row[8:12], strict=True):
        body += b"\n" + _image(part, image, columns, fields)
    return body


def _image(part: str, image: bytes | None, columns: frozenset[str], fields: list[Field]) -> bytes:
    if image is None:
        return b"-"
    members = _members(image)
    if members is None:
        return b"=%d:%b" % (len(image), image)
    notes = {kind: _members(texts) or {} for kind, texts in (_members(members.get("", b"{}")) or {}).items()}
    kept = {}
    for name, value in members.items():
        if name == "":
            rest = {
                kind: _netstrings({of: text for of, text in texts.items() if of not in columns})
                for kind, texts in notes.items()
            }
            kept[name] = _netstrings(rest)
        elif name in columns:
            fields.append((f"{part}.{name}", value + _noted(name, notes)))
        else:
            kept[name] = value
    return _netstrings(kept)


def _noted(name: str, notes: Mapping[str, Mapping[str, bytes]]) -> bytes:
    """What the image says of a value beside it."""
    return b"".join(b"\0%b\0%b" % (kind.encode(), notes[kind][name]) for kind in _NOTES if name in notes.get(kind, {}))


def _members(text: bytes) -> dict[str, bytes] | None:
    """A JSON object's members, each value's text as it stands there; None if it is no object."""
    try:
        return {name: bytes(value) for name, value in _object(text).items()}
    except msgspec.DecodeError:
        return None


def _netstrings(members: Mapping[str, bytes]) -> bytes:
    parts: Iterable[bytes] = (
        b"%d:%b%d:%b" % (len(encoded := name.encode()), encoded, len(value), value) for name, value in members.items()
    )
    return b"%d;%b" % (len(members), b"".join(parts))


def _context(context: bytes) -> list[Field]:
    members = _members(context)
    if not members:
        return [("context", context)]
    return [(f"context.{name}", value) for name, value in members.items()]


def row_of(values: Any) -> Row:
    """A row of the query ``rendering``."""
    return Row._make(values)
