"""Tables and keys as people write them, and as the log keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any, NoReturn

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
    return _read_key(connection, relation_id, key, whole=True)[0]


def key_part(connection: psycopg.Connection[Any], relation_id: int, key: Key) -> tuple[str, bool]:
    """A key, or as JSON or a mapping a part of one, as the log keeps it; and whether it is known to be a whole one.

    :raises UsageError: if it does not fit the table's key.
    """
    return _read_key(connection, relation_id, key, whole=False)


def has_key(connection: psycopg.Connection[Any], relation_id: int) -> bool:
    """Whether a table has a key at present, or its whole rows for keys."""
    return bool(_keys(connection, relation_id)[0])


def _read_key(connection: psycopg.Connection[Any], relation_id: int, key: Key, *, whole: bool) -> tuple[str, bool]:
    parts = _parts_of_json(key) if isinstance(key, str) and key.lstrip().startswith("{") else key
    keys = _keys(connection, relation_id)
    if not keys[0]:
        return _of_no_key(parts), False
    if not isinstance(parts, Mapping):
        parts = _parts_of_text(parts, keys[0])
    names = set(parts)
    columns = next((of for of in keys if names == set(of) or (names and not whole and names < set(of))), None)
    if columns is None:
        return _mismatch(keys[0])
    values = {name: _value(connection, name, *columns[name], parts[name]) for name in columns if name in parts}
    return msgspec.json.encode(values).decode(), len(values) == len(columns)


def _keys(connection: psycopg.Connection[Any], relation_id: int) -> list[dict[str, tuple[str, str]]]:
    """The keys that a table has had, the present one first: type and encoding by column. An empty one where it has none."""
    keys: dict[int, dict[str, tuple[str, str]]] = {}
    for since, name, kind, encoding in ask(connection, _QUERIES["key_types"], {"relation": relation_id}):
        columns = keys.setdefault(since, {})
        if name is not None:
            columns[name] = (kind, encoding)
    return list(keys.values()) or [{}]


def _parts_of_json(text: str) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise errors.UsageError(
            f"The key {text!r} is not a JSON object: {error}. If it is a value, write the column's name before it, COLUMN={text}."
        ) from error


def _of_no_key(row: Any) -> str:
    """The whole row, which is the key of a table that has none."""
    if not isinstance(row, Mapping):
        raise errors.UsageError("The table has no key: give the whole row as JSON.")
    try:
        return _ENCODER.encode(dict(row)).decode()
    except TypeError as error:
        raise errors.UsageError(f"The row cannot be written as JSON ({error}): pass it as JSON text.") from error


def _parts_of_text(key: Any, columns: Mapping[str, Any]) -> dict[str, str]:
    """The text of each of a key's columns."""
    if len(columns) == 1:
        [name] = columns
        return {name: _text(key).removeprefix(f"{name}=")}
    pairs = [part.partition("=") for part in key.split(",")] if isinstance(key, str) else []
    parts = {name.strip(): value for name, _, value in pairs}
    return parts if len(parts) == len(pairs) and parts.keys() == columns.keys() else _mismatch(columns)


def _mismatch(names: Iterable[str]) -> NoReturn:
    example = ",".join(f"{name}=…" for name in names)
    raise errors.UsageError(f"The table's key is {', '.join(names)}: write {example}, or JSON.")


def _text(value: Any) -> str:
    """A Python value as PostgreSQL's input functions read it."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return f"\\x{value.hex()}"
    return str(value)


#: Types whose values compare as JSON's numbers do, however they are written.
_NUMBERS = ("smallint", "integer", "bigint", "real", "double precision", "numeric")


def _value(connection: psycopg.Connection[Any], name: str, kind: str, encoding: str, value: Any) -> msgspec.Raw:
    """A key's value as the log holds it; JSON may write it otherwise, as whoever prints it does with numbers that a float would change."""
    if isinstance(value, (list, dict)):
        value = msgspec.Raw(_ENCODER.encode(value))
    if not isinstance(value, msgspec.Raw):
        return _read(connection, name, kind, encoding, _text(value))
    first = bytes(value)[:1]
    if kind in ("json", "jsonb") or first in b"[{" or (first != b'"' and kind.startswith(_NUMBERS)):
        return value
    text = msgspec.json.decode(value) if first == b'"' else bytes(value).decode()
    return _read(connection, name, kind, encoding, text)


def _read(connection: psycopg.Connection[Any], name: str, kind: str, encoding: str, text: str) -> msgspec.Raw:
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
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise errors.UsageError(f"{text!r} is no {kind}, which {name} of the table's key is.") from error
    assert row is not None
    return msgspec.Raw(row[0].encode())
