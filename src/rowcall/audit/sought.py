"""What an erasure looks for in events, and in what else tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from rowcall.audit.canonical import IMAGES, Row
from rowcall.audit.extent import Request
from rowcall.audit.scrubbing import members, strings, texts

# Numbers as they are written.
_exactly = msgspec.json.Decoder(float_hook=Decimal).decode

#: Shorter texts and numbers are not looked for in contexts: they would be found everywhere.
_TELLING = 4


@dataclass(frozen=True, slots=True)
class Sought:
    """Columns, and their values, which could be told again elsewhere.

    :ivar context: names in the context that are erased whatever they say; ``actor``: whether the actor is.
    """

    columns: frozenset[str]
    values: frozenset[str]
    context: frozenset[str]
    actor: bool

    @classmethod
    def of(cls, wanted: Request, columns: frozenset[str], rows: Iterable[Row]) -> Sought:
        """What is to be looked for where these rows are to be erased."""
        values = frozenset(
            found
            for row in rows
            for image in row[8:12]
            for name, value in members(image).items()
            if name in columns
            for found in texts(_exactly(value))
            if len(found) >= _TELLING
        )
        return cls(columns, values, frozenset(wanted.context), wanted.actor)

    def paths(self, row: Row) -> set[str]:
        """Where an event has what is to be erased, or what is in its place."""
        found = self.image_paths(dict(zip(IMAGES, row[8:12], strict=True))) | self.context_paths(row.context)
        if self.is_actor(None if row.actor is None else row.actor.decode()):
            found.add("actor")
        return found

    def image_paths(self, images: dict[str, bytes | None]) -> set[str]:
        """The same of images, by what they are called."""
        return {f"{part}.{name}" for part, image in images.items() for name in members(image) if name in self.columns}

    def context_paths(self, context: bytes | None) -> set[str]:
        """The same of a context."""
        return {
            f"context.{name}"
            for name, value in members(context).items()
            # What says that an event belongs to a backfill is no data of anybody's.
            if name != "backfill" and (name in self.context or any(map(self.is_in, strings(_exactly(value)))))
        }

    def is_actor(self, actor: str | None) -> bool:
        """Whether an actor is to be erased."""
        return actor is not None and (self.actor or self.is_in(actor))

    def is_in(self, text: str) -> bool:
        """Whether a text holds a value, not as a part of a word."""
        return any(
            re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None for value in self.values if value in text
        )

    def is_told(self, message: str) -> bool:
        """Whether a message holds a value."""
        return any(value in message for value in self.values)
