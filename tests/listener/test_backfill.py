"""What a subscription that begins with a backfill, or at the beginning of the log, delivers."""

from typing import Any

import pytest

from rowcall import Event, Rowcall
from rowcall.postgres import backfill, connection
from tests.conftest import Database
from tests.listeners import NAME, drain, sync


class Mirror:
    """A copy of a table, kept by nothing but events; a row that comes twice or goes missing is an error."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}
        self.operations: list[str] = []

    def __call__(self, event: Event) -> None:
        self.operations.append(event.operation)
        if event.old is not None:
            assert self.rows.pop(event.old["id"]) == event.old
        if event.new is not None:
            assert event.new["id"] not in self.rows
            self.rows[event.new["id"]] = event.new


@pytest.fixture
def mirror() -> Mirror:
    return Mirror()


def app_for(mirror: Mirror, start: Any = "backfill", name: str = "mirror") -> Rowcall:
    app = Rowcall()
    app.watch("users")
    app.after("users", name=name, start=start)(mirror)
    return app


def fill(dsn: str) -> None:
    with connection.connect(dsn) as admin:
        for pending in backfill.pending(admin, NAME):
            backfill.run(admin, pending)


def people(database: Database) -> dict[int, Any]:
    rows = database.execute("select id, name, age from users").fetchall()
    return {row[0]: dict(zip(("id", "name", "age"), row, strict=True)) for row in rows}


@pytest.fixture(autouse=True)
def rows(database: Database) -> None:
    database.execute("insert into users select n, 'x', n from generate_series(1, 600) as n")


def test_rows_come_before_changes(dsn: str, database: Database, mirror: Mirror) -> None:
    app = app_for(mirror)
    sync(app, dsn)
    database.execute("update users set age = 0 where id % 7 = 0; delete from users where id % 7 = 1")
    database.execute("update users set id = id + 1000 where id % 7 = 2; insert into users values (0, 'new', 1)")
    fill(dsn)
    database.execute("update users set name = 'y' where id % 5 = 0")
    drain(app, dsn)
    assert mirror.operations[:600] == ["snapshot"] * 600
    assert "snapshot" not in mirror.operations[600:]
    assert mirror.rows == people(database)
    database.execute("delete from users where id = 3")
    drain(app, dsn)
    assert mirror.rows == people(database)


def test_it_is_not_read_before_it_is_complete(dsn: str, database: Database, mirror: Mirror) -> None:
    app = app_for(mirror)
    sync(app, dsn)
    database.execute("update users set age = 0 where id = 1")
    drain(app, dsn)
    assert mirror.operations == []
    fill(dsn)
    drain(app, dsn)
    assert mirror.rows == people(database)


def test_nobody_else_gets_the_rows(dsn: str, database: Database, mirror: Mirror) -> None:
    others = [Mirror(), Mirror()]
    app = app_for(mirror)
    app.after("users", name="now")(others[0])
    app.after("users", name="beginning", start="beginning")(others[1])
    sync(app, dsn)
    fill(dsn)
    database.execute("insert into users values (0, 'new', 1)")
    drain(app, dsn)
    assert mirror.rows == people(database)
    assert [other.operations for other in others] == [["insert"], ["insert"]]


def test_two_backfills_of_one_table(dsn: str, database: Database, mirror: Mirror) -> None:
    other = Mirror()
    app = app_for(mirror)
    sync(app, dsn)
    fill(dsn)
    app.after("users", name="later", start="backfill")(other)
    sync(app, dsn)
    fill(dsn)
    drain(app, dsn)
    assert len(mirror.operations) == len(other.operations) == 600
    assert mirror.rows == other.rows == people(database)


def test_the_beginning_of_the_log(dsn: str, database: Database, mirror: Mirror) -> None:
    watching = Rowcall()
    watching.watch("users")
    sync(watching, dsn)
    database.execute("insert into users values (0, 'new', 1); update users set age = 2 where id = 0")
    app = app_for(mirror, "beginning")
    sync(app, dsn)
    database.execute("delete from users where id = 0")
    drain(app, dsn)
    assert mirror.operations == ["insert", "update", "delete"]
