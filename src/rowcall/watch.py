"""The declaration that a table's changes are captured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rowcall import errors, identifiers


def _names(columns: str | Iterable[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(sorted(set(columns)))


@dataclass(frozen=True, slots=True)
class Watch:
    """A watched table and its options.

    :ivar table: the name as declared.
    :ivar exclude: columns absent from everything Rowcall keeps or shows.
    :ivar redact: columns whose changes are recorded but whose values are kept only as keyed hashes.
    :ivar notify: whether each statement also sends one NOTIFY on ``rowcall_<table>``.
    """

    table: str
    exclude: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    notify: bool = False

    @classmethod
    def of(
        cls,
        subject: Any,
        exclude: str | Iterable[str] = (),
        redact: str | Iterable[str] = (),
        notify: bool = False,
    ) -> Watch:
        """A watch from what a user wrote.

        :raises UsageError: if the subject is no table or a column is both excluded and redacted.
        """
        table = identifiers.table_name(subject)
        identifiers.split(table)
        watch = cls(table, _names(exclude), _names(redact), notify)
        both = set(watch.exclude) & set(watch.redact)
        if both:
            raise errors.UsageError(
                f"{table}: {', '.join(sorted(both))} cannot be excluded and redacted at once: choose one."
            )
        return watch

    def options(self) -> dict[str, Any]:
        """The options as the database keeps them: only what differs from the default."""
        declared = {"exclude": list(self.exclude), "redact": list(self.redact), "notify": self.notify}
        return {name: value for name, value in declared.items() if value}
