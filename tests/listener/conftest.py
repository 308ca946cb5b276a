"""The database that most tests of the listener use."""

from typing import Any

import psycopg
import pytest

from rowcall.listener import daemon
from tests.conftest import Connect


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain leaves over what failed instead of waiting for its next attempt."""
    monkeypatch.setattr(daemon, "DRAIN_PATIENCE", 0.0)


@pytest.fixture
def database(connect: Connect) -> psycopg.Connection[Any]:
    """The test's database with a table to watch, and one for what handlers do."""
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key, name text, age int)")
    connection.execute("create table seen (place bigserial, what text)")
    return connection
