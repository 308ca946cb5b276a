"""Events made by hand, for handlers that are tested without a database."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from rowcall import errors, identifiers
from rowcall.event import OPERATIONS, Event, Layout, Operation, Row, decoder
from rowcall.gate.verdict import encode, jsonable

_SEQ = count(1)
_as_stored = decoder("text")

#: Whether each operation has an old row, and a new one.
_ROWS: dict[Operation, tuple[bool, bool]] = {
    "insert": (False, True),
    "update": (True, True),
    "delete": (True, False),
    "truncate": (False, False),
    "snapshot": (False, True),
}


@dataclass(slots=True)
class _Given:
    """The decoder of one column: gives back what it was given, instead of what a column of some type would make of it."""

    values: dict[bytes, Any] = field(default_factory=dict)

    def __call__(self, raw: bytes) -> Any:
        return deepcopy(self.values[raw]) if raw in self.values else _as_stored(raw)


class _Images:
    """Writes rows as the log holds them, and remembers what they were made of."""

    def __init__(self) -> None:
        self.decoders: dict[str, _Given] = {}

    def write(self, row: Mapping[str, Any] | None) -> dict[str, bytes] | None:
        """A row's values as JSON, by column."""
        return None if row is None else {name: self._write(name, value) for name, value in row.items()}

    def _write(self, name: str, value: Any) -> bytes:
        try:
            raw = encode(jsonable(value))
        except (TypeError, ValueError) as error:
            raise errors.UsageError(f"{name}={value!r} is not a value that a column can have: {error}.") from error
        self.decoders.setdefault(name, _Given()).values[raw] = deepcopy(value)
        return raw


def _joined(image: Mapping[str, bytes] | None) -> bytes | None:
    if image is None:
        return None
    return b"{%s}" % b",".join(encode(name) + b":" + value for name, value in image.items())


def make_event(
    table: Any,
    operation: Operation,
    *,
    key: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    actor: str | None = None,
    context: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    seq: int | None = None,
    xid: int = 1,
) -> Event:
    """An event as a handler gets it, whose values are the ones given here.

    Of an update it is enough to give one row whole: what the other leaves out is as in that one.

    :param table: ``schema.table``, or a table of schema ``public``; a SQLAlchemy model or Table.
    :param key: the row's key before the change; the column ``id`` unless given, if there is one.
    :param at: now, unless given.
    :param seq: the place in the log; one higher with each event unless given.
    :raises UsageError: for a row that the operation does not have, or lacks.
    """
    schema, name = identifiers.split(identifiers.one_table(table))
    display = f"{schema or 'public'}.{name}"
    _check_rows(display, operation, old, new)
    old, new = _completed(old, new)
    key = _key(old, new) if key is None else key
    place = next(_SEQ) if seq is None else seq
    images = _Images()
    before, raw_old, raw_new = images.write(key), images.write(old), images.write(new)
    after = {column: (raw_new or {}).get(column, raw) for column, raw in (before or {}).items()}
    return Event(
        place,
        xid,
        at or datetime.now(UTC),
        operation,
        actor,
        deepcopy(dict(context or {})),
        f"test-{place}",
        Layout(display, images.decoders, tuple(key)),
        _joined(before or None),
        _joined(_differing(raw_old, raw_new)),
        _joined(raw_new),
        0,
        _joined(after) if operation == "update" and after != before else None,
    )


def _check_rows(table: str, operation: Operation, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> None:
    if operation not in _ROWS:
        raise errors.UsageError(f"operation {operation!r} is not possible: choose from {', '.join(OPERATIONS)}.")
    for name, row, has in zip(("old", "new"), (old, new), _ROWS[operation], strict=True):
        if has and row is None:
            raise errors.UsageError(f"{operation} of {table} lacks its {name} row: pass {name}={{…}}.")
        if row is not None and not has:
            raise errors.UsageError(f"{operation} of {table} has no {name} row: leave out {name}=.")


def _completed(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[Row | None, Row | None]:
    if old is None or new is None:
        return (None if old is None else dict(old)), (None if new is None else dict(new))
    return {**new, **old}, {**old, **new}


def _key(old: Row | None, new: Row | None) -> Row:
    row = new if old is None else old
    return {"id": row["id"]} if row and "id" in row else {}


def _differing(old: dict[str, bytes] | None, new: dict[str, bytes] | None) -> dict[str, bytes] | None:
    """Of an update the log holds what the new row does not tell."""
    if old is None or new is None:
        return old
    return {name: raw for name, raw in old.items() if new.get(name) != raw}
