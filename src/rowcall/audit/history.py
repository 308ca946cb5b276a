"""What happened: the log by filters, and the history of one row."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from rowcall import errors, identifiers, resources
from rowcall.event import Event
from rowcall.postgres import connection as connections
from rowcall.postgres.layouts import Layouts
from rowcall.selector import Selector, Topic

_QUERIES = resources.queries("audit")
_LOG_QUERIES = resources.queries("log")
_END_OF_LOG = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are asked for; None asks for all.

    :ivar table: a table or a pattern such as ``shop.*``.
    :ivar key: the row's key, or a part of a composite one.
    :ivar column: updates that changed it.
    :ivar since: not before this time, ``until``: before this time; anything PostgreSQL reads as a timestamptz.
    :ivar context: keys and values its context has.
    :ivar limit: only the newest so many.
    """

    table: str | None = None
    key: str | None = None
    actor: str | None = None
    operation: str | None = None
    column: str | None = None
    since: str | None = None
    until: str | None = None
    transaction: int | None = None
    context: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None


def load_layouts(connection: psycopg.Connection[Any]) -> Layouts:
    """What the images of every relation mean."""
    row = connection.execute(_LOG_QUERIES["installation"]).fetchone()
    assert row is not None
    layouts = Layouts(row[0])
    layouts.load(connections.raw_cursor(connection).execute(_LOG_QUERIES["layouts"]).fetchall(), "")
    return layouts


def relations(connection: psycopg.Connection[Any], table: str | None) -> list[int] | None:
    """The ids a table or pattern means, None for all.

    :raises UsageError: if the log has never heard of the table.
    """
    if table is None:
        return None
    if "*" not in table:
        return [relation(connection, table)]
    topic: Topic = Selector(table, ()).topic()
    row = connection.execute(_QUERIES["relations_like"], {"schema": topic.schema, "table": topic.table}).fetchone()
    if row is None or not row[0]:
        raise errors.UsageError(f'The log knows no table like {table}: "rowcall watches" lists what is watched.')
    return list(row[0])


def relation(connection: psycopg.Connection[Any], name: str) -> int:
    """The id of one table; a dropped one still has its history.

    :raises UsageError: if the log has never heard of it.
    """
    schema, table = identifiers.split(name)
    quoted = identifiers.qualified(schema, table)
    row = connection.execute(_QUERIES["relations"], {"schema": schema, "table": table, "quoted": quoted}).fetchone()
    if row is None:
        raise errors.UsageError(f'The log knows no table {name}: "rowcall watches" lists what is watched.')
    return int(row[0])


def log(connection: psycopg.Connection[Any], wanted: Filter) -> Generator[Event]:
    """The events that pass the filter, oldest first, streamed.

    :raises UsageError: for a filter that cannot be understood.
    """
    layouts = load_layouts(connection)
    ids = relations(connection, wanted.table)
    parameters = {
        "relations": ids,
        "key": _key_filter(connection, ids, wanted.key),
        "actor": wanted.actor,
        "operation": wanted.operation,
        "column": wanted.column,
        "since": wanted.since,
        "until": wanted.until,
        "transaction": None if wanted.transaction is None else str(wanted.transaction),
        "context": msgspec.json.encode(wanted.context).decode() if wanted.context else None,
        "limit": wanted.limit,
    }
    for row in connections.stream(connection, _QUERIES["log"], parameters):
        yield layouts.event(row)


def _key_filter(connection: psycopg.Connection[Any], ids: list[int] | None, key: str | None) -> str | None:
    if key is None:
        return None
    if ids is None or len(ids) != 1:
        raise errors.UsageError("--key needs --table with one table, whose key it is.")
    return key_json(connection, ids[0], key)


def row(connection: psycopg.Connection[Any], table: str, key: str) -> list[Event]:
    """The history of one row, oldest first, through changes of its key.

    :param key: a plain value, ``a=1,b=2``, or JSON.
    :raises UsageError: for an unknown table or a key that does not fit it.
    """
    layouts = load_layouts(connection)
    relation_id = relation(connection, table)
    wanted: str | None = key_json(connection, relation_id, key)
    before = _END_OF_LOG
    history: list[Event] = []
    while wanted is not None:
        rows = (
            connections.raw_cursor(connection)
            .execute(_QUERIES["row"], {"relation": relation_id, "key": wanted, "before": before})
            .fetchall()
        )
        start, wanted = _beginning(rows)
        history[:0] = [layouts.event(found[:11]) for found in rows[start:]]
        before = rows[start][0] if rows else 0
    return history


def _beginning(rows: list[Any]) -> tuple[int, str | None]:
    """Where the newest life of a key begins: the event that gave it to the row, and the key the row had before."""
    for index in range(len(rows) - 1, -1, -1):
        if rows[index][11] is not None:
            return index, rows[index][11].decode()
    return 0, None


def key_json(connection: psycopg.Connection[Any], relation_id: int, text: str) -> str:
    """A key as a person writes it, as the log keeps it.

    :raises UsageError: if it does not fit the table's key.
    """
    columns = connection.execute(_QUERIES["key_types"], {"relation": relation_id}).fetchall()
    if text.lstrip().startswith("{"):
        return _checked_json(text)
    if not columns:
        raise errors.UsageError("The table has no key: give the whole row as JSON.")
    parts = _parts(text, [name for name, _, _ in columns])
    values = {name: _value(connection, name, kind, encoding, parts[name]) for name, kind, encoding in columns}
    return msgspec.json.encode(values).decode()


def _parts(text: str, names: list[str]) -> dict[str, str]:
    """The values of a key's columns: the text itself, or the parts of ``a=1,b=2``."""
    if len(names) == 1 and not text.startswith(f"{names[0]}="):
        return {names[0]: text}
    if len(names) == 1:
        return {names[0]: text.removeprefix(f"{names[0]}=")}
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    if sorted(parts) != sorted(names):
        example = ",".join(f"{name}=…" for name in names)
        raise errors.UsageError(f"The table's key is {', '.join(names)}: write {example}, or JSON.")
    return parts


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
    try:
        with connection.transaction():
            connection.execute(_QUERIES["capture_settings"])
            # The type's name is from the layout, where PostgreSQL itself wrote it.
            row = connection.execute(query.format(value=sql.Literal(text), type=sql.SQL(known))).fetchone()
    except psycopg.errors.UndefinedObject:
        return msgspec.Raw(msgspec.json.encode(text))  # a type that is no more
    except psycopg.DataError as error:
        raise errors.UsageError(f"{text!r} is no {kind}, which {name} of the table's key is.") from error
    assert row is not None
    return msgspec.Raw(row[0].encode())
