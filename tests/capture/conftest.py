"""A database that the tests of capture share, with a schema for each: one of its own would cost most tests most of their time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from rowcall import embedded
from rowcall.audit import Filter, history
from rowcall.event import Event
from rowcall.migrate import upgrade
from tests.capture import kinds
from tests.capture.replay import assert_replayed

_numbers = count(1)

#: Of tests with values of a gigabyte, for runs that go deep.
takes_long = pytest.mark.skipif("ROWCALL_PROPERTY_EXAMPLES" not in os.environ, reason="takes long")


@dataclass(frozen=True, slots=True)
class Place:
    """A schema of a test's own, first on the search_path of an autocommit connection.

    :ivar since: the id of a transaction older than all that the test does.
    :ivar administrator: a session that has declared watches before: the first of a session takes three times as long.
    """

    dsn: str
    schema: str
    since: str
    connection: psycopg.Connection[Any]
    administrator: psycopg.Connection[Any]

    def run(self, *statements: str) -> None:
        """Execute statements one by one, each in a transaction of its own."""
        for statement in statements:
            self.connection.execute(statement)

    def together(self, *statements: str) -> None:
        """Execute statements in one transaction."""
        with self.connection.transaction():
            self.run(*statements)

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        return self.connection.execute(query, parameters or None).fetchall()

    def value(self, query: str, *parameters: Any) -> Any:
        return self.rows(query, *parameters)[0][0]

    def watch(self, table: str, **options: Any) -> None:
        """Watch a table, in the transaction that is open if there is one."""
        idle = self.connection.info.transaction_status is TransactionStatus.IDLE
        watching = self.administrator if idle else self.connection
        # The other session has another search_path.
        oid = self.value("select %s::regclass::oid", table)
        watching.execute("select rowcall.watch_v1(%s, %s, 'tests')", [oid, Jsonb(options)])

    def table(self, definition: str, name: str = "t", **options: Any) -> None:
        """Create a table and watch it."""
        self.run(f"create table {name} ({definition})")
        self.watch(name, **options)

    def events(self, table: str = "t") -> list[Event]:
        """The events of a table of this schema, in order, as a handler would get them."""
        return list(history.log(self.connection, Filter(table=f'"{self.schema}".{table}')))

    def log(self, table: str = "t") -> list[tuple[str, Any, Any]]:
        """The events of a table in short: operation, whole old row, new row."""
        return [(event.operation, event.old, event.new) for event in self.events(table)]

    def stored(self, table: str = "t") -> list[tuple[str, Any, Any, Any, Any]]:
        """The events of a table as the log holds them: operation, key, next_key, old, new."""
        return self.rows(
            "select operation::text, key, next_key, old, new from rowcall.event"
            " join rowcall.relation on relation.id = event.relation"
            " where schema_name = %s and table_name = %s order by seq",
            self.schema,
            table,
        )

    def assert_replayed(self, table: str = "t") -> int:
        """Check that the log says exactly what the table is, to the last bit; how many events that took."""
        with psycopg.connect(self.dsn, autocommit=True) as reader:
            return assert_replayed(reader, f'"{self.schema}".{table}')


@pytest.fixture(scope="session")
def shared_dsn(cluster: embedded.Server) -> str:
    """The database shared by the tests of capture."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as administrator:
        administrator.execute("create database capture template template0")
    upgrade(cluster.dsn("capture"))
    return cluster.dsn("capture")


@pytest.fixture(scope="session")
def kinds_dsn(shared_dsn: str) -> str:
    """The shared database, with the types of `tests.capture.kinds` in it."""
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        kinds.prepare(connection)
    return shared_dsn


@pytest.fixture(scope="session")
def administrator(shared_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def place(shared_dsn: str, administrator: psycopg.Connection[Any]) -> Iterator[Place]:
    """A schema of this test's own in the shared database."""
    schema = f"place_{next(_numbers)}"
    with psycopg.connect(shared_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create schema {0}; set search_path = {0}, public").format(sql.Identifier(schema)))
        [(since,)] = connection.execute("select pg_current_xact_id()").fetchall()
        yield Place(shared_dsn, schema, since, connection, administrator)
        connection.rollback()
        connection.execute(sql.SQL("reset all; drop schema {} cascade").format(sql.Identifier(schema)))


@pytest.fixture
def version(place: Place) -> int:
    """The server's major version."""
    return place.connection.info.server_version // 10000
