"""The tables that names and handlers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from rowcall import errors, identifiers, resources
from rowcall.app import Rowcall
from rowcall.handler import AfterHandler, BeforeHandler
from rowcall.selector import Topic

_QUERIES = resources.queries("declarations")


@dataclass(frozen=True, slots=True, order=True)
class Table:
    """A table that exists."""

    schema: str
    name: str

    @property
    def quoted(self) -> str:
        return identifiers.qualified(self.schema, self.name)

    @property
    def display(self) -> str:
        return f"{self.schema}.{self.name}"


def resolve(connection: psycopg.Connection[Any], name: str) -> Table:
    """The table a name means by the search_path.

    :raises UsageError: if there is none.
    """
    row = connection.execute(*reference(name)).fetchone()
    return resolved(row, name, connection.info.dbname)


def reference(name: str) -> tuple[str, dict[str, Any]]:
    """The query, with its parameters, for the table a name means."""
    return _QUERIES["resolve"], {"name": identifiers.qualified(*identifiers.split(name))}


def resolved(row: tuple[Any, ...] | None, name: str, database: str) -> Table:
    """The table that the query found.

    :raises UsageError: if there is none.
    """
    if row is None:
        raise errors.UsageError(
            f"There is no table {name} in database {database}: create it first, or correct the name or the search_path."
        )
    return Table(row[1], row[2])


@dataclass(frozen=True, slots=True)
class Subjects:
    """What an app's handlers are about, as the database knows it.

    :ivar topics: the tables each after-handler reads, by the handler's name.
    :ivar guarded: the before-handlers of each table, in their order.
    """

    topics: Mapping[str, Topic]
    guarded: Mapping[Table, Sequence[BeforeHandler]]


def subjects(connection: psycopg.Connection[Any], app: Rowcall) -> Subjects:
    """The tables an app's handlers are about.

    :raises UsageError: for one that does not exist.
    """
    topics = {handler.name: _topic(connection, handler) for handler in app.after_handlers}
    guarded: dict[Table, list[BeforeHandler]] = {}
    for handler in app.before_handlers:
        guarded.setdefault(resolve(connection, handler.selector.subject), []).append(handler)
    return Subjects(topics, guarded)


def _topic(connection: psycopg.Connection[Any], handler: AfterHandler) -> Topic:
    if handler.selector.is_pattern:
        return handler.selector.topic()
    table = resolve(connection, handler.selector.subject)
    return Topic.exactly(table.schema, table.name)
