"""Which events are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from rowcall import errors, resources
from rowcall.audit.connection import ask
from rowcall.audit.keys import Key, key_part, relations
from rowcall.event import OPERATIONS

_QUERIES = resources.queries("audit")

#: A moment: an aware datetime, or anything PostgreSQL reads as a timestamptz, such as ``yesterday``.
Moment = str | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events are asked for; None asks for all, and every condition has to hold.

    :ivar table: a table or a pattern such as ``shop.*``.
    :ivar key: the row's key, before or after the event: a value, ``a=1,b=2``, JSON, or a mapping; also a part of a composite one
        as JSON or a mapping.
    :ivar actor: who, as the application claimed.
    :ivar role: a database role: the session's user, or the one it had set.
    :ivar operation: insert, update, delete, truncate or snapshot.
    :ivar column: updates that changed it.
    :ivar values: columns and what they were before the event or were after it, as text.
    :ivar since: not before this time, ``until``: before this time.
    :ivar transaction: its id.
    :ivar context: keys and values its context has.
    :ivar context_keys: keys its context has, whatever their values.
    :ivar limit: only the newest so many.
    """

    table: str | None = None
    key: Key | None = None
    actor: str | None = None
    role: str | None = None
    operation: str | None = None
    column: str | None = None
    values: Mapping[str, str | None] = field(default_factory=dict)
    since: Moment | None = None
    until: Moment | None = None
    transaction: int | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    context_keys: Sequence[str] = ()
    limit: int | None = None

    def parameters(self, connection: psycopg.Connection[Any]) -> dict[str, Any]:
        """As the query takes them.

        :raises UsageError: for what cannot be understood.
        """
        if self.operation is not None and self.operation not in OPERATIONS:
            raise errors.UsageError(f"operation {self.operation}: choose from {', '.join(OPERATIONS)}.")
        if self.limit is not None and self.limit < 1:
            raise errors.UsageError(f"limit {self.limit}: ask for one event at least.")
        ids = relations(connection, self.table)
        check_columns(connection, ids, {*self.values, *filter(None, [self.column])})
        check_times(connection, self.since, self.until)
        key, is_whole = self._key(connection, ids)
        return {
            "relations": ids,
            "key_part": key,
            "key_whole": is_whole,
            "actor": self.actor,
            "role": self.role,
            "operation": self.operation,
            "column": self.column,
            "values": _encoded(self.values),
            "since": self.since,
            "until": self.until,
            "transaction": xid_text(self.transaction),
            "context": _encoded(self.context),
            "context_keys": list(self.context_keys) or None,
            "limit": self.limit,
        }

    def _key(self, connection: psycopg.Connection[Any], ids: list[int] | None) -> tuple[str | None, bool]:
        """The key, and whether it is a whole one."""
        if self.key is None:
            return None, False
        if ids is None or len(ids) != 1:
            raise errors.UsageError("--key needs --table with one table, whose key it is.")
        return key_part(connection, ids[0], self.key)


def check_columns(connection: psycopg.Connection[Any], ids: list[int] | None, names: Collection[str]) -> None:
    """Refuse columns that the log has of none of the tables; of all tables for None.

    :raises UsageError: for such a one.
    """
    if not names:
        return
    [(known,)] = ask(connection, _QUERIES["columns"], {"relations": ids})
    for name in sorted(names):
        if name not in known:
            raise errors.UsageError(
                f"The log has no column {name} of the tables asked for: a watch may leave it out, else it has {', '.join(known)}."
            )


def check_times(connection: psycopg.Connection[Any], since: Moment | None, until: Moment | None) -> None:
    """Refuse a time that ends before it begins.

    :raises UsageError: for such a one, or a time that PostgreSQL cannot read.
    """
    if since is None or until is None:
        return
    try:
        with connection.transaction():
            [(is_backward,)] = ask(connection, _QUERIES["backward"], {"since": since, "until": until})
    except psycopg.DataError as error:
        raise errors.UsageError(f"{error.diag.message_primary or error}: correct that option.") from error
    if is_backward:
        raise errors.UsageError(f"Nothing is since {since} and until {until}: give the earlier time first.")


def _encoded(values: Mapping[str, Any]) -> str | None:
    return msgspec.json.encode(dict(values)).decode() if values else None


def xid_text(xid: int | None) -> str | None:
    """A transaction's id as the queries take it.

    :raises UsageError: for what is none.
    """
    if xid is None:
        return None
    if not 0 <= xid < 2**64:
        raise errors.UsageError(f"transaction {xid}: it is a number as pg_current_xact_id() gives it.")
    return str(xid)
