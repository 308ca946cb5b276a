"""A database as a user's tests have it, and a connection whose transaction stays open."""

from collections.abc import Callable
from typing import Any

import pytest

from rowcall import Event, Rowcall
from tests.conftest import Connect, Database
from tests.listeners import sync


class Notes:
    """A handler that writes what it is told to the table of notes, and fails where it is told to."""

    def __init__(self, fails: Callable[[Event], bool] = lambda event: False) -> None:
        self.fails = fails

    def __call__(self, event: Event, conn: Database) -> None:
        conn.execute("insert into notes (what) values (%s)", (f"{event.operation} {event.key.get('id')}",))
        if self.fails(event):
            raise LookupError(f"told to fail at {event.key}")


def app_with(handler: Any, subject: str = "users", **options: Any) -> Rowcall:
    app = Rowcall()
    app.watch("users")
    app.after(subject, name="reader", **options)(handler)
    return app


@pytest.fixture
def tables(connect: Connect) -> None:
    """The user's tables."""
    connect(autocommit=True).execute(
        "create table users (id int primary key, name text, age int);"
        "create table notes (place bigint generated always as identity primary key, what text)"
    )


@pytest.fixture
def conn(connect: Connect, tables: None) -> Database:
    """The connection of the user's test."""
    return connect()


@pytest.fixture
def notes(dsn: str, tables: None) -> Rowcall:
    """An app that notes every change of a user."""
    app = app_with(Notes())
    sync(app, dsn)
    return app


def noted(conn: Database) -> list[str]:
    return [what for (what,) in conn.execute("select what from notes order by place").fetchall()]
