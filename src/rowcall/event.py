"""What a handler receives: one change of one row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from math import isfinite
from typing import Any, Literal
from uuid import UUID

import msgspec

Operation = Literal["insert", "update", "delete", "truncate", "snapshot"]
OPERATIONS: tuple[Operation, ...] = ("insert", "update", "delete", "truncate", "snapshot")

Row = dict[str, Any]
Decoder = Callable[[bytes], Any]


def _by(parse: Callable[[str], Any]) -> Decoder:
    """A decoder for what JSON holds as a string; values Python cannot hold (infinity, BC) stay strings."""

    def decode(raw: bytes) -> Any:
        text = msgspec.json.decode(raw)
        try:
            return parse(text) if isinstance(text, str) else text
        except (ValueError, ArithmeticError):
            return text

    return decode


def _number(parse: Callable[[str], Any]) -> Decoder:
    """A decoder for numbers, of which NaN and the infinities come as strings that Python knows too."""
    from_string = _by(parse)

    def decode(raw: bytes) -> Any:
        return parse(raw.decode()) if raw[:1] in b"-0123456789" else from_string(raw)

    return decode


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


def _float_or_exact(text: str) -> float | Decimal:
    """A float, or where it is beyond every float the number itself."""
    number = float(text)
    return number if isfinite(number) else Decimal(text)


_json = msgspec.json.Decoder(type=Any, float_hook=_float_or_exact).decode
_exact: Decoder = msgspec.json.Decoder(type=Any, float_hook=Decimal).decode
_elements = msgspec.json.Decoder(type=list[msgspec.Raw] | None)


def _array_of(element: Decoder) -> Decoder:
    """A decoder for an array, of any number of dimensions."""

    def decode(raw: bytes) -> Any:
        if not raw.startswith(b"["):
            return element(raw)
        return [decode(bytes(value)) for value in _elements.decode(raw) or ()]

    return decode


_DECODERS: dict[str, Decoder] = {
    "numeric": _number(Decimal),
    "real": _number(float),
    "double precision": _number(float),
    "timestamp with time zone": _by(datetime.fromisoformat),
    "timestamp without time zone": _by(datetime.fromisoformat),
    "date": _by(date.fromisoformat),
    "time without time zone": _by(time.fromisoformat),
    "time with time zone": _by(time.fromisoformat),
    "uuid": _by(UUID),
    "bytea": _by(_bytes),
    "json": _by(_json),
    "jsonb": _json,
    # A list within could be a second dimension or a value.
    "jsonb[]": _json,
}


def decoder(type_name: str) -> Decoder:
    """How values of a column type, named as PostgreSQL's ``format_type`` names it, become Python values."""
    name, _, rest = type_name.partition("(")
    known = (name + rest.partition(")")[2]).strip()
    if known not in _DECODERS and known.endswith("[]"):
        return _array_of(decoder(known.removesuffix("[]")))
    return _DECODERS.get(known, _exact)


class _Note(msgspec.Struct):
    """What an image holds beside the row's values, under the name that no column can have.

    :ivar exact: the text, as PostgreSQL prints it, of values that JSON does not hold whole.
    """

    exact: dict[str, str] = {}


_image = msgspec.json.Decoder(type=dict[str, msgspec.Raw]).decode
_note = msgspec.json.Decoder(type=_Note).decode


def values(raw: bytes) -> tuple[dict[str, bytes], dict[str, str]]:
    """An image's values as JSON by column, and the texts of those that JSON does not hold whole."""
    image = _image(raw)
    note = image.pop("", None)
    return {name: bytes(value) for name, value in image.items()}, {} if note is None else _note(note).exact


_NEGATIVE_ZERO = re.compile(r"(^|[{,])-0([,}]|$)")
_ELEMENT = re.compile(r"[^{},]+")
#: As jsonb writes a zero without its sign, and as json writes it.
_ZEROS = (b"0", b"-0")
_JSON_ELEMENT = re.compile(rb'"[^"]*"|[^\[\], ]+')


def _whole(value: bytes, text: str) -> bytes:
    """JSON that decodes to the value it holds only in part, which its text holds whole.

    JSON null is None like SQL's, and a list does not say where it begins; what remains is the sign of zeros, and values
    of which JSON holds nothing.
    """
    if value == b"null":
        return value if text == "null" else msgspec.json.encode(text)
    if '"' in text or not _NEGATIVE_ZERO.search(text):
        return value
    elements = iter(_ELEMENT.findall(text.rpartition("=")[2]))
    return _JSON_ELEMENT.sub(
        lambda found: b"-0.0" if next(elements, "") == "-0" and found[0] in _ZEROS else found[0], value
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns and the key of a table at the time of an event.

    :ivar redacted: the columns of which there are hashes only.
    """

    table: str
    decoders: Mapping[str, Decoder]
    key: tuple[str, ...]
    redacted: frozenset[str] = frozenset()

    def row(self, raw: bytes) -> Row:
        """An image's JSON as a dict of Python values."""
        stored, exact = values(raw)
        for name in exact.keys() & stored.keys():
            stored[name] = _whole(stored[name], exact[name])
        return {name: self.decoders.get(name, _exact)(value) for name, value in stored.items()}


@dataclass(frozen=True)
class Event:
    """One committed change of a row, or in a before-handler one about to be made.

    :ivar seq: place in the log; None in a before-handler, whose change is not in the log yet.
    :ivar xid: the transaction, as PostgreSQL's 64-bit id.
    :ivar at: when the change was made (aware datetime, by the server's clock).
    :ivar table: ``schema.name``.
    :ivar operation: insert, update, delete, truncate or snapshot.
    :ivar actor: who, as the application claimed with ``acting`` or ``rowcall.act``; else None.
    :ivar context: why, a dict.
    :ivar id: stable idempotency key: the same for every delivery of this event, unique across installations.
    """

    seq: int | None
    xid: int | None
    at: datetime
    operation: Operation
    actor: str | None
    context: dict[str, Any]
    id: str
    layout: Layout = field(repr=False)
    raw_key: bytes | None = field(repr=False)
    raw_old: bytes | None = field(repr=False)
    raw_new: bytes | None = field(repr=False)
    relation: int = field(repr=False)
    raw_next_key: bytes | None = field(default=None, repr=False)

    @property
    def table(self) -> str:
        return self.layout.table

    @cached_property
    def key(self) -> Row:
        """The row's key before the change (after it, for an insert); empty for a truncate."""
        return self.layout.row(self.raw_key) if self.raw_key else {}

    @cached_property
    def new(self) -> Row | None:
        """The whole row after the change; None for delete and truncate."""
        return self.layout.row(self.raw_new) if self.raw_new else None

    @cached_property
    def _old_stored(self) -> Row | None:
        # A truncate may say there which partition it emptied.
        return self.layout.row(self.raw_old) if self.raw_old and self.operation != "truncate" else None

    @cached_property
    def old(self) -> Row | None:
        """The whole row before the change; None for insert, truncate and snapshot."""
        if self._old_stored is None or self.new is None:
            return self._old_stored
        return {**self.new, **self._old_stored}

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """Names of the columns an update changed; empty for the other operations."""
        if self.operation != "update" or self.raw_old is None or self.raw_new is None:
            return ()
        # As they are stored: 1.0 and 1.00 differ although they are equal, JSON null and SQL's although both are None.
        old, exact_old = values(self.raw_old)
        new, exact_new = values(self.raw_new)
        return tuple(name for name in old if (old[name], exact_old.get(name)) != (new.get(name), exact_new.get(name)))
