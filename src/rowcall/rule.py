"""A validation that PostgreSQL checks by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal, get_args

from rowcall import errors, identifiers
from rowcall.event import Operation
from rowcall.selector import operations_of

#: What becomes of a write that breaks a rule.
OnViolation = Literal["refuse", "warn"]
#: The rows of a change that a condition can speak of.
RowName = Literal["old", "new"]

_STRINGS = re.compile(r"'(?:[^']|'')*'")
_ROWS: dict[RowName, re.Pattern[str]] = {
    "old": re.compile(r'\bold"?\s*\.', re.IGNORECASE),
    "new": re.compile(r'\bnew"?\s*\.', re.IGNORECASE),
}
#: The operations that have all the rows a condition speaks of.
_POSSIBLE: dict[tuple[RowName, ...], tuple[Operation, ...]] = {
    ("old", "new"): ("update",),
    ("old",): ("update", "delete"),
    ("new",): ("insert", "update"),
}


@singledispatch
def sql_of(expression: Any) -> str:
    """The SQL text of a condition. :mod:`rowcall.sqlalchemy` adds SQLAlchemy's expressions.

    :raises UsageError: for what is none.
    """
    raise errors.UsageError(
        f"{type(expression).__name__} is no condition: write SQL text such as 'new.age >= 18', or a SQLAlchemy expression"
        " over what old, new = rowcall.sqlalchemy.rows(Model) gives."
    )


@sql_of.register
def _(expression: str) -> str:
    return expression


def rows_of(expression: str) -> tuple[RowName, ...]:
    """Which of old and new an SQL condition speaks of."""
    text = _STRINGS.sub("''", expression)
    return tuple(row for row, mention in _ROWS.items() if mention.search(text))


def operations_with(
    rows: tuple[RowName, ...], on: str | Iterable[str] | None, allowed: tuple[Operation, ...] | None = None
) -> tuple[Operation, ...]:
    """The operations named by ``on=``; without it, all that have the rows.

    :param allowed: what is possible where no row is spoken of.
    :raises UsageError: if one of them does not have the rows.
    """
    return operations_of(on, _POSSIBLE[rows] if rows else allowed or ())


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over ``old`` and ``new`` that a write must not make false.

    :ivar expression: SQL; null passes, as in a CHECK.
    :ivar operations: when it is checked.
    :ivar rows: which of old and new it speaks of.
    :ivar on_violation: ``refuse`` the write, or ``warn``: let it happen and record it.
    """

    table: str
    name: str
    expression: str
    message: str
    operations: tuple[Operation, ...]
    rows: tuple[RowName, ...]
    on_violation: OnViolation = "refuse"

    @classmethod
    def of(
        cls,
        subject: Any,
        name: str,
        expression: Any,
        message: str | None,
        on: str | Iterable[str] | None,
        *,
        on_violation: OnViolation = "refuse",
    ) -> Rule:
        """A rule from what a user wrote. Without ``on=`` it is checked wherever the rows it speaks of exist.

        :raises UsageError: if it speaks of neither row, or of one that the operation does not have.
        """
        table = identifiers.one_table(subject)
        if not name or "\0" in name:
            raise errors.UsageError(f"{table}: a rule needs a name, and {name!r} is none.")
        if on_violation not in get_args(OnViolation):
            raise errors.UsageError(
                f"rule {name!r} of {table}: on_violation={on_violation!r} must be {' or '.join(get_args(OnViolation))}."
            )
        try:
            text = sql_of(expression)
        except errors.UsageError as error:
            raise errors.UsageError(f"rule {name!r} of {table}: {error}") from error
        rows = rows_of(text)
        if not rows:
            raise errors.UsageError(
                f"rule {name!r} of {table} mentions neither old nor new: write for example 'new.age >= 18'."
            )
        return cls(table, name, text, message or f"{text} is false", operations_with(rows, on), rows, on_violation)
