"""A stretch of the log that is delivered again."""

from typing import Any

import pytest

from rowcall import Event, Rowcall
from tests.command import fine
from tests.conftest import Database
from tests.listeners import drain, sync
from tests.users import seen


class Handler:
    """Notes the ages it sees, and fails for those over its limit."""

    def __init__(self) -> None:
        self.ages: list[int] = []
        self.limit = 1000

    def __call__(self, event: Event, conn: Database) -> None:
        assert event.new
        if event.new["age"] > self.limit:
            raise ValueError("too old")
        self.ages.append(event.new["age"])
        conn.execute("insert into seen (what) values (%s)", (str(event.new["age"]),))


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def app(dsn: str, handler: Handler) -> Rowcall:
    made = Rowcall()
    made.watch("users")
    made.after("users", name="reader")(handler)
    return made


@pytest.fixture(autouse=True)
def written(dsn: str, database: Database, app: Rowcall) -> None:
    sync(app, dsn)
    for age in range(1, 6):
        database.execute("insert into users values (%s, 'x', %s)", (age, age))
    drain(app, dsn)


def seq_of(database: Database, age: int) -> int:
    query = "select seq from rowcall.event where (new ->> 'age')::int = %s order by seq limit 1"
    row = database.execute(query, (age,)).fetchone()
    assert row
    return int(row[0])


def replay(database: Database, dsn: str, age: int) -> None:
    fine("replay", "reader", "--from", str(seq_of(database, age)), "--yes", "--dsn", dsn)


def test_it_comes_again_and_then_what_is_new(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    database.execute("insert into users values (6, 'x', 6)")
    replay(database, dsn, 3)
    database.execute("insert into users values (7, 'x', 7)")
    drain(app, dsn)
    # What was not delivered before is no part of the replay.
    assert handler.ages == [1, 2, 3, 4, 5, 3, 4, 5, 6, 7]
    drain(app, dsn)
    assert len(handler.ages) == 10
    assert database.execute("select stage from rowcall.cursor").fetchall() == [(None,)]


def test_one_that_was_under_way_comes_once(
    dsn: str, database: Database, app: Rowcall, handler: Handler, connect: Any
) -> None:
    late = connect()
    late.execute("insert into users values (8, 'x', 8)")
    database.execute("insert into users values (9, 'x', 9)")
    drain(app, dsn)
    replay(database, dsn, 4)
    late.commit()
    drain(app, dsn)
    assert handler.ages == [1, 2, 3, 4, 5, 9, 4, 5, 9, 8]


def test_what_was_set_aside(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    handler.limit = 3
    database.execute("update users set age = age + 10 where id = 1")
    database.execute("update users set age = 2 where id = 1")
    drain(app, dsn)
    assert database.execute("select count(*) from rowcall.parked").fetchone() == (2,)
    handler.limit = 1000
    handler.ages.clear()
    replay(database, dsn, 4)
    drain(app, dsn)
    assert handler.ages == [4, 5, 11, 2]
    assert database.execute("select count(*) from rowcall.parked").fetchone() == (0,)


def test_failures_of_a_replay_are_set_aside(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    database.execute("delete from seen")
    handler.limit = 4
    replay(database, dsn, 3)
    assert drain(app, dsn).waiting == 1
    assert seen(database) == ["3", "4"]
    handler.limit = 1000
    database.execute("update rowcall.parked set due_at = now()")
    drain(app, dsn)
    assert seen(database) == ["3", "4", "5"]
