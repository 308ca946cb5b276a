"""A guarded table, its writer, and handlers with time enough for a busy machine."""

from typing import Any

import psycopg
import pytest

from tests.conftest import Connect

Database = psycopg.Connection[Any]


@pytest.fixture
def database(connect: Connect, gate: str) -> Database:
    """The test's database with the gate open and a table to guard."""
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key, name text, age int, email text)")
    return connection


@pytest.fixture
def writer(connect: Connect, database: Database) -> Database:
    """Somebody who writes, in transactions of psycopg's making."""
    return connect(autocommit=True)
