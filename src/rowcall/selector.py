"""Which events a handler wants: tables by name or topic pattern, operations, columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rowcall import errors, identifiers
from rowcall.event import OPERATIONS, Event, Operation


def operations_of(
    on: str | Iterable[str] | None, allowed: Sequence[Operation], *, option: str = "on"
) -> tuple[Operation, ...]:
    """The operations named by ``on=``; None means all that are allowed.

    :param option: what it is called where the user wrote it.
    :raises UsageError: for an unknown or impossible operation.
    """
    if on is None:
        return tuple(allowed)
    wanted = [on] if isinstance(on, str) else list(on)
    unknown = [name for name in wanted if name not in allowed]
    if unknown or not wanted:
        raise errors.UsageError(f"{option}={on!r} is not possible here: choose from {', '.join(allowed)}.")
    return tuple(operation for operation in allowed if operation in wanted)


@dataclass(frozen=True, slots=True)
class Topic:
    """Which tables, as LIKE patterns for schema and name."""

    schema: str
    table: str

    @classmethod
    def exactly(cls, schema: str, table: str) -> Topic:
        """One table; an asterisk in its name is just that."""
        return cls(identifiers.like_literally(schema), identifiers.like_literally(table))


@dataclass(frozen=True, slots=True)
class Selector:
    """A topic pattern with conditions.

    :ivar subject: ``users``, ``shop.orders``, or a pattern with ``*`` such as ``shop.*`` or ``*.orders``.
    :ivar operations: what kinds of change.
    :ivar columns: for updates, at least one of these must have changed; empty = any.
    """

    subject: str
    operations: tuple[Operation, ...]
    columns: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        subject: Any,
        on: str | Iterable[str] | None,
        columns: str | Iterable[str],
        allowed: Sequence[Operation] = OPERATIONS,
    ) -> Selector:
        """A selector from what a decorator was given.

        :raises UsageError: if the subject is no table or the operations are not possible.
        """
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        subject_name = identifiers.table_name(subject)
        identifiers.split(subject_name)
        return cls(subject_name, operations_of(on, allowed), names)

    @property
    def is_pattern(self) -> bool:
        """Whether the subject may mean several tables."""
        return identifiers.is_pattern(self.subject)

    def topic(self) -> Topic:
        """The tables a pattern means. Where no schema is named, those of every schema."""
        schema, table = identifiers.like_patterns(self.subject)
        return Topic(schema or "%", table)

    def wants(self, event: Event) -> bool:
        """Whether the event's operation and changed columns are asked for; its table is matched elsewhere."""
        if event.operation not in self.operations:
            return False
        if not self.columns or event.operation != "update":
            return True
        return not set(self.columns).isdisjoint(event.changed)
