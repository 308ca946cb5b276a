"""A validation that PostgreSQL checks by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rowcall import errors, identifiers
from rowcall.event import Operation
from rowcall.selector import operations_of

_STRINGS = re.compile(r"'(?:[^']|'')*'")
_OLD = re.compile(r"\bold\s*\.", re.IGNORECASE)
_NEW = re.compile(r"\bnew\s*\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over ``old`` and ``new`` that a write must not make false.

    :ivar expression: SQL; null passes, as in a CHECK.
    :ivar operations: when it is checked.
    """

    table: str
    name: str
    expression: str
    message: str
    operations: tuple[Operation, ...]

    @classmethod
    def of(cls, subject: Any, name: str, expression: Any, message: str | None, on: str | Iterable[str] | None) -> Rule:
        """A rule from what a user wrote. Without ``on=`` it is checked wherever the rows it speaks of exist.

        :raises UsageError: if it speaks of neither row, or of one that the operation does not have.
        """
        table = identifiers.one_table(subject)
        if not name or "\0" in name:
            raise errors.UsageError(f"{table}: a rule needs a name, and {name!r} is none.")
        if not isinstance(expression, str):
            raise errors.UsageError(f"rule {name!r} of {table} must be SQL text, not {type(expression).__name__}.")
        text = _STRINGS.sub("''", expression)
        old, new = bool(_OLD.search(text)), bool(_NEW.search(text))
        if not old and not new:
            raise errors.UsageError(
                f"rule {name!r} of {table} mentions neither old nor new: write for example 'new.age >= 18'."
            )
        possible: tuple[Operation, ...] = (
            ("update",) if old and new else ("update", "delete") if old else ("insert", "update")
        )
        return cls(table, name, expression, message or f"{expression} is false", operations_of(on, possible))
