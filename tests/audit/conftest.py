"""A little history to ask about."""

from typing import Any

import psycopg
import pytest

from tests.command import fine
from tests.conftest import Connect

Database = psycopg.Connection[Any]


@pytest.fixture
def database(dsn: str, connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("set timezone = 'UTC'")
    connection.execute("create schema shop")
    connection.execute("create table users (id int primary key, name text, age int)")
    connection.execute("create table shop.orders (id bigint primary key, total numeric(12,2))")
    fine("watch", "users", "shop.orders", "--dsn", dsn)
    return connection


@pytest.fixture
def history(database: Database) -> Database:
    """Two rows that come and change, and one of them goes; by two people."""
    with database.transaction():
        database.execute('select rowcall.act(\'ann\', \'{"request": "r1", "try": 1}\')')
        database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40)")
    with database.transaction():
        database.execute("select rowcall.act('bob', '{\"request\": \"r2\"}')")
        database.execute("update users set name = 'Ada', age = 37 where id = 1")
    database.execute("insert into shop.orders values (7, 10.50)")
    database.execute("update users set age = 38 where id = 1")
    database.execute("delete from users where id = 2")
    database.execute("truncate shop.orders")
    return database
