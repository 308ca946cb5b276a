"""Names of tables and columns as people write them."""

from __future__ import annotations

import re
import string
from typing import Any

from rowcall import errors

_PART = r'(?:"((?:[^"\0]|"")+)"|([^".\s\0]+))'
_NAME = re.compile(rf"(?:{_PART}\.)?{_PART}")
# Of a name without quotes PostgreSQL folds the ASCII letters only, where characters may take several bytes.
_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def _parts(name: str) -> tuple[str | None, str | None, str | None, str | None]:
    """Schema in quotes, schema without, table in quotes, table without; two of the four at most are there."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise errors.UsageError(
            f"{name!r} is not the name of a table: write table, schema.table, or quote odd names"
            ' as in "Odd schema"."Odd table".'
        )
    return match[1], match[2], match[3], match[4]


def _unquoted(quoted: str | None, plain: str | None) -> str | None:
    return quoted.replace('""', '"') if quoted is not None else plain.translate(_FOLDED) if plain else None


def split(name: str) -> tuple[str | None, str]:
    """Schema (None = by the search_path) and table of ``users``, ``shop.orders`` or ``"Odd schema"."T"``.

    :raises UsageError: for what is no name of a table.
    """
    parts = _parts(name)
    return _unquoted(*parts[:2]), _unquoted(*parts[2:]) or ""


def is_pattern(name: str) -> bool:
    """Whether a name may mean several tables: it has an asterisk outside quotes.

    :raises UsageError: for what is no name of a table.
    """
    return any("*" in (part or "") for part in _parts(name)[1::2])


def like_patterns(name: str) -> tuple[str | None, str]:
    """Patterns for LIKE that find the schema and the table a name or pattern means; an asterisk stands for anything.

    :raises UsageError: for what is no name of a table.
    """
    parts = _parts(name)
    return _like(*parts[:2]), _like(*parts[2:]) or ""


def _like(quoted: str | None, plain: str | None) -> str | None:
    found = _unquoted(quoted, plain)
    if found is None:
        return None
    return like_literally(found) if plain is None else like_literally(found).replace("*", "%")


def like_literally(name: str) -> str:
    """A pattern for LIKE that matches this name and no other."""
    return name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def quote(name: str) -> str:
    """A name as an SQL identifier, quotes doubled."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str | None, table: str) -> str:
    """The quoted, possibly qualified name of a table, fit for ``::regclass``."""
    return quote(table) if schema is None else f"{quote(schema)}.{quote(table)}"


def one_table(subject: Any) -> str:
    """As :func:`table_name`, where a pattern would not do.

    :raises UsageError: for what is no table, or may be several.
    """
    name = table_name(subject)
    if is_pattern(name):
        raise errors.UsageError(f"{name!r} is a pattern, but this takes one table: name each table by itself.")
    return name


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
