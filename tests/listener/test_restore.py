"""Databases restored from a dump into another cluster: every event is delivered exactly once, in the order of its row."""

from collections.abc import Iterator
from typing import Any

import pytest

from rowcall import Event, Rowcall, embedded
from rowcall.migrate import upgrade
from rowcall.postgres import backfill, connection
from tests.conftest import Connect, Database, new_server
from tests.listeners import NAME, drain, sync
from tests.stages.restoring import restored
from tests.users import seen


class Handler:
    """Notes the ages it sees, in the database as well, and fails once at an age."""

    def __init__(self) -> None:
        self.fails_at = -1

    def __call__(self, event: Event, conn: Database) -> None:
        age = event.new["age"] if event.new else None
        if age == self.fails_at:
            raise ValueError("told to fail")
        conn.execute("insert into seen (what) values (%s)", (f"{event.operation} {event.key['id']} {age}",))


@pytest.fixture(scope="module")
def other() -> Iterator[embedded.Server]:
    """Another cluster, younger in transactions than the one the tests use."""
    with new_server() as server:
        yield server


@pytest.fixture
def handler() -> Handler:
    return Handler()


def app_for(handler: Handler, **options: Any) -> Rowcall:
    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader", **options)(handler)
    return app


def write(database: Database, *ages: int) -> None:
    for age in ages:
        statement = "insert into users values (%s, 'x', %s) on conflict (id) do update set age = excluded.age"
        database.execute(statement, (age % 10, age))


def logged(database: Database) -> list[str]:
    """What has to be seen, in the order of the log."""
    query = """select operation || ' ' || (key ->> 'id') || ' ' || (new ->> 'age') from rowcall.event
        where operation <> 'snapshot' order by seq"""
    return [what for (what,) in database.execute(query).fetchall()]


def assert_all_once(database: Database) -> None:
    """Each event once; those of a row in order."""
    told, done = logged(database), seen(database)
    assert sorted(told) == sorted(done)
    for number in range(10):
        row = f" {number} "
        assert [what for what in done if row in what] == [what for what in told if row in what]


def test_what_was_pending_and_what_came_after(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect, handler: Handler
) -> None:
    app = app_for(handler)
    sync(app, dsn)
    write(database, 1, 2, 3)
    drain(app, dsn)
    write(database, 11, 12, 4)
    new_dsn = restored(cluster, dsn, other)
    new = connect(new_dsn, autocommit=True)
    write(new, 21, 5, 14)
    upgrade(new_dsn)
    write(new, 31, 15)
    drain(app, new_dsn)
    assert_all_once(new)
    write(new, 41, 25)
    drain(app, new_dsn)
    assert_all_once(new)
    assert new.execute("select distinct stage from rowcall.cursor").fetchall() == [(None,)]


def test_one_that_committed_out_of_order(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect, handler: Handler
) -> None:
    app = app_for(handler)
    sync(app, dsn)
    late = connect()
    write(late, 7)
    write(database, 1, 2, 3)
    drain(app, dsn)
    late.commit()
    write(database, 8)
    new_dsn = restored(cluster, dsn, other)
    new = connect(new_dsn, autocommit=True)
    write(new, 17, 18)
    upgrade(new_dsn)
    drain(app, new_dsn)
    assert_all_once(new)


def test_a_window_in_the_middle(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect, handler: Handler
) -> None:
    """As a listener leaves it that was killed between two slices."""
    app = app_for(handler)
    sync(app, dsn)
    write(database, 1, 2, 3, 4)
    database.execute(
        "update rowcall.cursor set upper = pg_current_snapshot(),"
        " last_seq = (select seq from rowcall.event where (new ->> 'age')::int = 2)"
    )
    database.execute("insert into seen (what) values ('insert 1 1'), ('insert 2 2')")
    write(database, 12, 13)
    new_dsn = restored(cluster, dsn, other)
    upgrade(new_dsn)
    new = connect(new_dsn, autocommit=True)
    write(new, 22, 5)
    drain(app, new_dsn)
    assert_all_once(new)


def test_what_was_set_aside(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect, handler: Handler
) -> None:
    app = app_for(handler)
    sync(app, dsn)
    handler.fails_at = 2
    write(database, 1, 2, 12, 3)
    drain(app, dsn)
    write(database, 22)
    new_dsn = restored(cluster, dsn, other)
    upgrade(new_dsn)
    new = connect(new_dsn, autocommit=True)
    write(new, 32, 11)
    handler.fails_at = -1
    new.execute("update rowcall.parked set due_at = now()")
    for _ in range(4):
        drain(app, new_dsn)
    assert_all_once(new)


def test_the_rows_of_a_backfill_come_first(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect, handler: Handler
) -> None:
    app = app_for(handler, start="backfill")
    write(database, 1, 2, 3)
    sync(app, dsn)
    write(database, 11)
    with connection.connect(dsn) as admin:
        for pending in backfill.pending(admin, NAME):
            backfill.run(admin, pending)
    write(database, 12)
    new_dsn = restored(cluster, dsn, other)
    upgrade(new_dsn)
    new = connect(new_dsn, autocommit=True)
    write(new, 13)
    drain(app, new_dsn)
    assert sorted(seen(new)[:3]) == ["snapshot 1 1", "snapshot 2 2", "snapshot 3 3"]
    assert seen(new)[3:] == ["update 1 11", "update 2 12", "update 3 13"]


def test_a_subscription_that_begins_with_the_log(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect, handler: Handler
) -> None:
    watching = Rowcall()
    watching.watch("users")
    sync(watching, dsn)
    write(database, 1, 2, 11)
    new_dsn = restored(cluster, dsn, other)
    upgrade(new_dsn)
    new = connect(new_dsn, autocommit=True)
    write(new, 21)
    app = app_for(handler, start="beginning")
    sync(app, new_dsn)
    write(new, 31)
    drain(app, new_dsn)
    assert_all_once(new)
