"""Images of rows as the log holds them: made whole, and compared."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import msgspec

from rowcall.event import values

#: A column's value: its JSON, and its text where JSON does not hold it whole.
Value = tuple[Any, str | None]

_decode = msgspec.json.Decoder(type=Any, float_hook=Decimal).decode


def whole(raw_old: bytes, raw_new: bytes | None) -> bytes:
    """A row before an event, of which an update stores only what it changed; as rowcall.old_image_v1 makes it."""
    if raw_new is None:
        return raw_old
    old, exact_old = values(raw_old)
    new, exact_new = values(raw_new)
    exact = {name: text for name, text in exact_new.items() if name not in old} | exact_old
    image: dict[str, Any] = {name: msgspec.Raw(value) for name, value in (new | old).items()}
    return msgspec.json.encode(image | ({"": {"exact": exact}} if exact else {}))


def comparable(raw: bytes) -> dict[str, Value]:
    """An image by column, in a form in which the same values are equal, however they were written."""
    stored, exact = values(raw)
    return {name: (_digits(_decode(value)), exact.get(name)) for name, value in stored.items()}


def place(key: bytes | None) -> str:
    """The same text for keys that are equal as jsonb, to which 1.0 is 1.00: where at most one row is."""
    return "" if key is None else repr(_sorted(_decode(key)))


def _sorted(value: Any) -> Any:
    """JSON with its members in one order, and its numbers in one form."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return (f"{Decimal(value).normalize() + 0:f}",)
    if isinstance(value, dict):
        return sorted((name, _sorted(item)) for name, item in value.items())
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _digits(value: Any) -> Any:
    """JSON with its numbers as all their digits: 1.0 is not 1.00, and json and jsonb write exponents differently."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return (f"{abs(value) if value == 0 else value:f}" if isinstance(value, Decimal) else str(value),)
    if isinstance(value, dict):
        return {name: _digits(item) for name, item in value.items()}
    return [_digits(item) for item in value] if isinstance(value, list) else value


def without(raw: bytes, names: Collection[str]) -> bytes:
    """An image without some columns."""
    if not names:
        return raw
    stored, exact = values(raw)
    image: dict[str, Any] = {name: msgspec.Raw(value) for name, value in stored.items() if name not in names}
    return msgspec.json.encode(image | {"": {"exact": {name: text for name, text in exact.items() if name in image}}})


def overlaid(raw: bytes, over: bytes, columns: Collection[str]) -> bytes:
    """An image with some of its columns as another one has them."""
    return whole(without(over, names(over) - set(columns)), raw)


def names(raw: bytes | None) -> set[str]:
    """The columns of an image."""
    return set() if raw is None else values(raw)[0].keys() | set()


def omitted(raw: bytes | None) -> set[str]:
    """The columns whose values were too big for the log."""
    note = None if raw is None else msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get("")
    return set() if note is None else set(msgspec.json.decode(note).get("omitted", ()))


def changed(old: bytes, new: bytes) -> tuple[str, ...]:
    """The columns in which two images differ."""
    before, after = comparable(old), comparable(new)
    return tuple(name for name in before | after if before.get(name) != after.get(name))
