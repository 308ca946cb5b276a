"""The declaration that a table's changes are captured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rowcall import errors, identifiers
from rowcall.event import Operation
from rowcall.selector import operations_of

Truncate = Literal["event", "rows", "forbid"]

#: The operations that a watch records unless it names fewer.
WATCHABLE: tuple[Operation, ...] = ("insert", "update", "delete", "truncate")


def _names(columns: str | Iterable[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(sorted(set(columns)))


@dataclass(frozen=True, slots=True)
class Watch:
    """A watched table and its options.

    :ivar table: the name as declared.
    :ivar exclude: columns absent from everything Rowcall keeps or shows.
    :ivar redact: columns whose changes are recorded but whose values are kept only as keyed hashes.
    :ivar notify: whether each statement also sends one NOTIFY on ``rowcall_<table>``, cut like any name of
        PostgreSQL's to 63 bytes.
    :ivar columns: record only updates that change one of these; empty = any.
    :ivar when: record only rows for which this SQL condition over ``old`` and ``new`` is true. It does not apply to an
        operation without the row it speaks of. Names outside PostgreSQL's own have to be qualified with their schema.
    :ivar operations: record only these; empty = insert, update, delete and truncate.
    :ivar erasable: columns whose values can be erased from the log for good, without breaking its seals.
    :ivar truncate: ``event`` records a TRUNCATE as one event, ``rows`` as a delete of every row, ``forbid`` refuses it,
        whatever is recorded.
    :ivar baseline: whether the rows that are there when it begins are logged too, as snapshot events.
    """

    table: str
    exclude: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    notify: bool = False
    columns: tuple[str, ...] = ()
    when: str | None = None
    operations: tuple[Operation, ...] = ()
    truncate: Truncate = "event"
    baseline: bool = False
    erasable: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        subject: Any,
        exclude: str | Iterable[str] = (),
        redact: str | Iterable[str] = (),
        notify: bool = False,
        *,
        columns: str | Iterable[str] = (),
        when: str | None = None,
        operations: str | Iterable[str] | None = None,
        truncate: Truncate = "event",
        baseline: bool = False,
        erasable: str | Iterable[str] = (),
    ) -> Watch:
        """A watch from what a user wrote.

        :raises UsageError: if the subject is no table or options contradict each other.
        """
        table = identifiers.one_table(subject)
        if truncate not in get_args(Truncate):
            raise errors.UsageError(
                f"truncate={truncate!r} is not possible: choose from {', '.join(get_args(Truncate))}."
            )
        watch = cls(
            table,
            _names(exclude),
            _names(redact),
            notify,
            _names(columns),
            when,
            () if operations is None else operations_of(operations, WATCHABLE, option="operations"),
            truncate,
            baseline,
            _names(erasable),
        )
        for option, names in (("redacted", watch.redact), ("erasable", watch.erasable)):
            if both := set(watch.exclude) & set(names):
                raise errors.UsageError(
                    f"{table}: {', '.join(sorted(both))} cannot be excluded and {option} at once: choose one."
                )
        return watch

    def options(self) -> dict[str, Any]:
        """The options as the database keeps them: only what differs from the default, and what the triggers need."""
        declared = {
            "exclude": list(self.exclude),
            "redact": list(self.redact),
            "notify": self.notify,
            "columns": list(self.columns),
            "when": self.when,
            "operations": list(self.operations),
            "erasable": list(self.erasable),
            "truncate": None if self.truncate == "event" else self.truncate,
        }
        return {name: value for name, value in declared.items() if value}
