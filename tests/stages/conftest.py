"""The database of the tests of stages."""

from typing import Any

import psycopg
import pytest

from tests.conftest import Connect


@pytest.fixture
def database(connect: Connect) -> psycopg.Connection[Any]:
    """The test's database with a table to watch."""
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key, name text, age int)")
    return connection
