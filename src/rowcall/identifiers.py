"""Names of tables and columns as people write them."""

from __future__ import annotations

import re
from typing import Any

from rowcall import errors

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".\s]+)')


def split(name: str) -> tuple[str | None, str]:
    """Schema (None = by the search_path) and table of ``users``, ``shop.orders`` or ``"Odd schema"."T"``.

    Unquoted names are folded to lower case, as PostgreSQL does, but only if they are plain ASCII identifiers.

    :raises UsageError: for what is no name of a table.
    """
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(name, position)
        if match is None:
            break
        parts.append(match[1].replace('""', '"') if match[1] is not None else match[2].lower())
        position = match.end()
        if position == len(name):
            break
        if name[position] != ".":
            parts = []
            break
        position += 1
    if not parts or len(parts) > 2 or position != len(name):
        raise errors.UsageError(
            f"{name!r} is not the name of a table: write table, schema.table, or quote odd names"
            ' as in "Odd schema"."Odd table".'
        )
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def quote(name: str) -> str:
    """A name as an SQL identifier, quotes doubled."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str | None, table: str) -> str:
    """The quoted, possibly qualified name of a table, fit for ``::regclass``."""
    return quote(table) if schema is None else f"{quote(schema)}.{quote(table)}"


def table_name(subject: Any) -> str:
    """The table a subject means: a name as it is, or the table of a SQLAlchemy model or Table.

    :raises UsageError: for anything else.
    """
    if isinstance(subject, str):
        return subject
    table = getattr(subject, "__table__", subject)
    name, schema = getattr(table, "name", None), getattr(table, "schema", None)
    if isinstance(name, str) and hasattr(table, "columns"):
        return qualified(schema, name)
    raise errors.UsageError(f"{subject!r} is not a table: pass its name, a SQLAlchemy model or a Table.")
