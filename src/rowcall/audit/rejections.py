"""What validation did not like: writes it refused or warned of, and committed ones that an after-handler rejected."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import psycopg

from rowcall import errors, resources
from rowcall.audit.filters import check_times, xid_text
from rowcall.audit.keys import key_part, relations
from rowcall.postgres import connection as connections

_QUERIES = resources.queries("audit")

#: What became of the write.
Outcome = Literal["refused", "warned", "committed"]

#: The fields of a rejection, in the order of the query's columns.
COLUMNS = (
    "at",
    "table",
    "operation",
    "key",
    "rule",
    "handler",
    "message",
    "actor",
    "outcome",
    "column",
    "old",
    "new",
    "context",
    "db_user",
    "db_role",
    "xid",
    "seq",
    "suppressed",
)
_JSON = frozenset({"key", "old", "new", "context"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rejections are asked for; None asks for all.

    :ivar table: a table or a pattern such as ``shop.*``.
    :ivar key: the row's key, or a part of a composite one.
    :ivar column: the column that the rule or the handler found at fault.
    :ivar rule: the rule's name, ``handler``: the handler's.
    :ivar role: the database's role, of the session or by SET ROLE.
    :ivar since: not before this time, ``until``: before this time; anything PostgreSQL reads as a timestamptz.
    :ivar context: keys and values its context has.
    :ivar limit: only the newest so many.
    """

    table: str | None = None
    key: str | None = None
    actor: str | None = None
    operation: str | None = None
    column: str | None = None
    outcome: Outcome | None = None
    rule: str | None = None
    handler: str | None = None
    role: str | None = None
    since: str | None = None
    until: str | None = None
    transaction: int | None = None
    context: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None


def rejections(connection: psycopg.Connection[Any], wanted: Filter) -> Generator[dict[str, Any]]:
    """Rejections, oldest first, each with :data:`COLUMNS`; one with ``suppressed`` stands for so many more that were not recorded
    one by one.

    :raises UsageError: for a filter that cannot be understood.
    """
    ids = relations(connection, wanted.table)
    check_times(connection, wanted.since, wanted.until)
    parameters = {
        "relations": ids,
        "key": _key(connection, ids, wanted.key),
        "actor": wanted.actor,
        "operation": wanted.operation,
        "column": wanted.column,
        "outcome": wanted.outcome,
        "rule": wanted.rule,
        "handler": wanted.handler,
        "role": wanted.role,
        "since": wanted.since,
        "until": wanted.until,
        "transaction": xid_text(wanted.transaction),
        "context": msgspec.json.encode(wanted.context).decode() if wanted.context else None,
        "limit": wanted.limit,
    }
    for row in connections.stream(connection, _QUERIES["rejections"], parameters):
        found = dict(zip(COLUMNS, row, strict=True))
        yield found | {name: msgspec.Raw(found[name]) for name in _JSON if found[name] is not None}


def _key(connection: psycopg.Connection[Any], ids: list[int] | None, key: str | None) -> str | None:
    if key is None:
        return None
    if ids is None or len(ids) != 1:
        raise errors.UsageError("--key needs --table with one table, whose key it is.")
    return key_part(connection, ids[0], key)[0]
