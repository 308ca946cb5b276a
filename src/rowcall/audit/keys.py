"""Tables and keys as people write them, and as the log keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from rowcall import errors, identifiers, resources
from rowcall.audit.connection import ask
from rowcall.postgres.layouts import Layouts
from rowcall.selector import Selector, Topic

_QUERIES = resources.queries("audit")
_LOG_QUERIES = resources.queries("log")

_ENCODER = msgspec.json.Encoder(decimal_format="number")

#: A row's key: a plain value, ``a=1,b=2`` or JSON as text; a value; or a mapping by column.
Key = Any


def load_layouts(connection: psycopg.Connection[Any]) -> Layouts:
    """What the images of every relation mean."""
    [installation] = ask(connection, _LOG_QUERIES["installation"])
    layouts = Layouts(installation[0])
    layouts.load(ask(connection, _LOG_QUERIES["layouts"]), "")
    return layouts


def relations(connection: psycopg.Connection[Any], table: str | None) -> list[int] | None:
    """The ids a table or pattern means, None for all.

    :raises UsageError: if the log has never heard of the table.
    """
    if table is None:
        return None
    if not identifiers.is_pattern(table):
        return [relation(connection, table)]
    topic: Topic = Selector(table, ()).topic()
    [(found,)] = ask(connection, _QUERIES["relations_like"], {"schema": topic.schema, "table": topic.table})
    if not found:
        raise errors.UsageError(f'The log knows no table like {table}: "rowcall watches" lists what is watched.')
    return list(found)


def relation(connection: psycopg.Connection[Any], table: Any) -> int:
    """The id of one table; a dropped one still has its history.

    :param table: its name, or a SQLAlchemy model or Table.
    :raises UsageError: if the log has never heard of it.
    """
    name = identifiers.one_table(table)
    schema, unqualified = identifiers.split(name)
    quoted = identifiers.qualified(schema, unqualified)
    rows = ask(connection, _QUERIES["relations"], {"schema": schema, "table": unqualified, "quoted": quoted})
    if not rows:
        raise errors.UsageError(f'The log knows no table {name}: "rowcall watches" lists what is watched.')
    return int(rows[0][0])


def key_json(connection: psycopg.Connection[Any], relation_id: int, key: Key) -> str:
    """A key as a person or a program writes it, as the log keeps it.

    :raises UsageError: if it does not fit the table's key.
    """
    columns = ask(connection, _QUERIES["key_types"], {"relation": relation_id})
    if isinstance(key, str) and key.lstrip().startswith("{"):
        return _checked_json(key)
    if not columns:
        if isinstance(key, Mapping):
            return _whole_row(key)
        raise errors.UsageError("The table has no key: give the whole row as JSON.")
    parts = _parts(key, [name for name, _, _ in columns])
    values = {name: _value(connection, name, kind, encoding, parts[name]) for name, kind, encoding in columns}
    return msgspec.json.encode(values).decode()


def key_names(connection: psycopg.Connection[Any], relation_id: int) -> list[str]:
    """The columns of a table's key, in order; empty for a table without one."""
    return [name for name, _, _ in ask(connection, _QUERIES["key_types"], {"relation": relation_id})]


def _parts(key: Key, names: list[str]) -> dict[str, str]:
    """The text of each of a key's columns."""
    if isinstance(key, Mapping):
        parts = {name: _text(value) for name, value in key.items()}
    elif not isinstance(key, str) or len(names) == 1:
        text = _text(key)
        return {names[0]: text.removeprefix(f"{names[0]}=")} if len(names) == 1 else _mismatch(names)
    else:
        parts = dict(part.partition("=")[::2] for part in key.split(","))
    return parts if sorted(parts) == sorted(names) else _mismatch(names)


def _mismatch(names: list[str]) -> dict[str, str]:
    example = ",".join(f"{name}=…" for name in names)
    raise errors.UsageError(f"The table's key is {', '.join(names)}: write {example}, or JSON.")


def _text(value: Any) -> str:
    """A Python value as PostgreSQL's input functions read it."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return f"\\x{value.hex()}"
    return str(value)


def _whole_row(row: Mapping[str, Any]) -> str:
    try:
        return _ENCODER.encode(dict(row)).decode()
    except TypeError as error:
        raise errors.UsageError(f"The row cannot be written as JSON ({error}): pass it as JSON text.") from error


def _checked_json(text: str) -> str:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise errors.UsageError(f"The key {text!r} is not a JSON object: {error}.") from error
    return text


def _value(connection: psycopg.Connection[Any], name: str, kind: str, encoding: str, text: str) -> msgspec.Raw:
    """A key's value as the log holds it: read by its type, and written as capture writes it."""
    # Of a type that cuts what is too long, a longer value would mean another row.
    known = kind.partition("(")[0] if kind.startswith("character varying") else kind
    query = sql.SQL(_QUERIES["key_value" if encoding == "plain" else "key_value_as_text"])
    cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
    try:
        with connection.transaction(force_rollback=True):
            cursor.execute(_QUERIES["capture_settings"])
            # The type's name is from the layout, where PostgreSQL itself wrote it.
            row = cursor.execute(query.format(value=sql.Literal(text), type=sql.SQL(known))).fetchone()
    except psycopg.errors.UndefinedObject:
        return msgspec.Raw(msgspec.json.encode(text))  # a type that is no more
    except psycopg.DataError as error:
        raise errors.UsageError(f"{text!r} is no {kind}, which {name} of the table's key is.") from error
    assert row is not None
    return msgspec.Raw(row[0].encode())
