"""Everything that one transaction did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from rowcall import errors, resources
from rowcall.audit.connection import ask, opened
from rowcall.audit.filters import xid_text
from rowcall.event import Operation

_QUERIES = resources.queries("audit")


@dataclass(frozen=True, slots=True)
class Touched:
    """How often a transaction did something to a table."""

    table: str
    operation: Operation
    events: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a transaction did; ``log(conn, Filter(transaction=xid))`` gives its events.

    :ivar first: the time of its first event, ``last``: of its last one.
    :ivar first_seq: the place of its first event in the log, ``last_seq``: of its last one.
    :ivar actors: who, as the application claimed; ``contexts``: why.
    :ivar db_users: the session's user, ``db_roles``: the roles it had set, ``applications``: the names of the programs.
    :ivar tables: what it did to which table, in the order in which it came to it.
    """

    xid: int
    events: int
    first: datetime
    last: datetime
    first_seq: int
    last_seq: int
    actors: Sequence[str]
    contexts: Sequence[dict[str, Any]]
    db_users: Sequence[str]
    db_roles: Sequence[str]
    applications: Sequence[str]
    tables: Sequence[Touched]


def transaction(conn: Any, xid: int) -> Transaction:
    """What one transaction did.

    :param conn: a psycopg connection, or SQLAlchemy's connection, session or engine.
    :param xid: its id, as events and ``pg_current_xact_id()`` have it.
    :raises NotInLog: if the log has nothing of it.
    """
    with opened(conn) as connection:
        asked = {"transaction": xid_text(xid)}
        [row] = ask(connection, _QUERIES["transaction"], asked)
        number, first_seq, last_seq, first, last, actors, users, roles, applications, contexts = row
        if not number:
            raise errors.NotInLog(f"The log has nothing of transaction {xid}: it changed no watched table.")
        tables = [Touched(*found) for found in ask(connection, _QUERIES["transaction_tables"], asked)]
        return Transaction(
            xid,
            number,
            first,
            last,
            first_seq,
            last_seq,
            actors or [],
            msgspec.json.decode(contexts),
            users,
            roles or [],
            applications or [],
            tables,
        )
