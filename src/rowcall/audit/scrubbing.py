"""JSON objects without the values that are erased."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from rowcall.audit.canonical import stand_in

_object = msgspec.json.Decoder(type=dict[str, msgspec.Raw]).decode


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
    values = members(image)
    if names.isdisjoint(values):
        return image.decode()
    blank = {
        name: msgspec.Raw(stand_in(f"{part}.{name}", erasure)) if name in names else msgspec.Raw(value)
        for name, value in values.items()
    }
    if "" in blank and part != "context":
        blank[""] = _notes_without(names, values[""])
    return msgspec.json.encode(blank).decode()


def _notes_without(names: set[str], note: bytes) -> msgspec.Raw:
    """What an image says beside its values, without what it says of some."""
    kept = {
        kind: {of: msgspec.Raw(text) for of, text in members(texts).items() if of not in names}
        for kind, texts in members(note).items()
    }
    return msgspec.Raw(msgspec.json.encode(kept))


def members(image: bytes | None) -> Mapping[str, bytes]:
    """A JSON object's members; none if it is no object."""
    if image is None:
        return {}
    try:
        return {name: bytes(value) for name, value in _object(image).items()}
    except msgspec.DecodeError:
        return {}


def texts(value: Any) -> Iterator[str]:
    """The scalars in a JSON value as texts that could be found elsewhere."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def strings(value: Any) -> Iterator[str]:
    """The same, with the names of members."""
    yield from texts(value)
    if isinstance(value, Mapping):
        yield from value
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
