"""What writers, sessions and servers do to the gate without asking: nobody else is to notice."""

import time
from concurrent.futures import CancelledError
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Rowcall
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0
#: What a busy machine may add to a deadline.
MARGIN = 0.5
WAITING = "select count(*) from rowcall.request where verdict is null and expires_at > clock_timestamp()"


def guarding(**options: Any) -> Rowcall:
    app = Rowcall()
    app.before("users", name="check", **options)(lambda event: {"name": "asked"})
    return app


def one(database: Database, query: str) -> Any:
    row = database.execute(query).fetchone()
    assert row
    return row[0]


def test_a_handler_whose_own_future_is_cancelled_is_a_failing_handler(
    dsn: str, database: Database, writer: Database
) -> None:
    app = Rowcall()

    @app.before("users", timeout=LONG)
    def check(event: Event) -> None:
        raise CancelledError

    sync(app, dsn)
    with listening(app, dsn):
        started = time.monotonic()
        with pytest.raises(pg.CheckViolation, match="something it awaited was cancelled"):
            writer.execute("insert into users values (1, 'x')")
        assert time.monotonic() - started < LONG / 2
