"""What a handler receives: one change of one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
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
        except ValueError:
            return text

    return decode


def _number(raw: bytes) -> Any:
    # NaN and the infinities come as strings; Decimal knows them by the same names.
    return Decimal(raw.decode().strip('"')) if raw != b"null" else None


def _float(raw: bytes) -> Any:
    return float(raw.decode().strip('"')) if raw != b"null" else None


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


_DECODERS: dict[str, Decoder] = {
    "numeric": _number,
    "real": _float,
    "double precision": _float,
    "timestamp with time zone": _by(datetime.fromisoformat),
    "timestamp without time zone": _by(datetime.fromisoformat),
    "date": _by(date.fromisoformat),
    "time without time zone": _by(time.fromisoformat),
    "time with time zone": _by(time.fromisoformat),
    "uuid": _by(UUID),
    "bytea": _by(_bytes),
    "json": _by(msgspec.json.decode),
    "jsonb": msgspec.json.decode,
    "real[]": msgspec.json.decode,
    "double precision[]": msgspec.json.decode,
}


_exact: Decoder = msgspec.json.Decoder(type=Any, float_hook=Decimal).decode


def decoder(type_name: str) -> Decoder:
    """How values of a column type, named as PostgreSQL's ``format_type`` names it, become Python values."""
    name, _, rest = type_name.partition("(")
    suffix = rest.partition(")")[2]
    return _DECODERS.get((name + suffix).strip(), _exact)


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns and the key of a table at the time of an event."""

    table: str
    decoders: Mapping[str, Decoder]
    key: tuple[str, ...]

    def row(self, raw: bytes) -> Row:
        """An image's JSON as a dict of Python values."""
        return {
            name: self.decoders.get(name, _exact)(bytes(value))
            for name, value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()
        }


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
        return self.layout.row(self.raw_old) if self.raw_old else None

    @cached_property
    def old(self) -> Row | None:
        """The whole row before the change; None for insert, truncate and snapshot."""
        if self._old_stored is None or self.new is None:
            return self._old_stored
        return {**self.new, **self._old_stored}

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """Names of the columns an update changed; empty for the other operations."""
        if self.operation != "update" or self._old_stored is None or self.new is None:
            return ()
        new = self.new
        return tuple(name for name, value in self._old_stored.items() if name not in new or not _same(value, new[name]))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are written alike: 1.0 and 1.00 differ, although they are equal."""
    return type(one) is type(other) and (one == other and str(one) == str(other))
