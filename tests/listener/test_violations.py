"""After-handlers that reject what is committed: on record, exactly once, and the event is handled by that."""

from typing import Any

import psycopg
import pytest

from rowcall import Event, Reject, Retry, Rowcall, acting
from rowcall.listener.daemon import LeftOver
from tests.command import fine
from tests.conftest import Connect
from tests.listeners import drain, sync

Database = psycopg.Connection[Any]


@pytest.fixture
def database(connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key, name text, age int)")
    connection.execute("create table handled (id int, name text)")
    return connection


def recorded(database: Database) -> list[Any]:
    query = """select j.outcome, j.operation::text, j.key, j.handler, j.message, j.column_name, j.actor, j.xid = e.xid
        from rowcall.rejection as j join rowcall.event as e using (seq) order by j.id"""
    return database.execute(query).fetchall()


def delivered(database: Database) -> int:
    row = database.execute("select sum(delivered)::int from rowcall.cursor").fetchone()
    assert row
    return int(row[0])


def test_it_is_recorded_and_the_rest_goes_on(dsn: str, database: Database) -> None:
    app = Rowcall()
    app.watch("users")

    @app.after("users", name="check")
    def check(event: Event, conn: Any) -> None:
        row = event.new or {}
        conn.execute("insert into handled values (%s, %s)", (row["id"], row["name"]))
        if row["age"] < 18:
            raise Reject("too young", column="age")

    sync(app, dsn)
    with acting(database, actor="ann"):
        database.execute("insert into users values (1, 'a', 20), (2, 'b', 3), (3, 'c', 30)")
    database.execute("update users set age = 21 where id = 2")
    assert drain(app, dsn) == LeftOver(0, 0)
    assert database.execute("select id from handled order by id").fetchall() == [(1,), (2,), (3,)]
    assert recorded(database) == [("committed", "insert", {"id": 2}, "check", "too young", "age", "ann", True)]
    assert database.execute("select count(*) from rowcall.parked").fetchone() == (0,)
    assert delivered(database) == 4
    drain(app, dsn)
    assert len(recorded(database)) == 1
    [line] = fine("audit", "rejections", "--committed", "--dsn", dsn).lines
    assert (line["outcome"], line["key"], line["handler"], line["old"], line["new"]) == (
        "committed",
        {"id": 2},
        "check",
        None,
        None,
    )
    assert isinstance(line["seq"], int)
    assert fine("audit", "rejections", "--refused", "--dsn", dsn).lines == []
    table = fine("audit", "rejections", "--format", "table", "--dsn", dsn, COLUMNS="120").out
    assert "committed: insert users" in " ".join(table.split())


@pytest.mark.parametrize("is_async", [False, True])
def test_in_a_batch_it_is_found_out(dsn: str, database: Database, is_async: bool) -> None:
    app = Rowcall()
    app.watch("users")

    def judge(events: list[Event]) -> None:
        for event in events:
            if event.new and event.new["age"] < 18:
                raise Reject("too young")

    async def check_async(events: list[Event], conn: Any) -> None:
        for event in events:
            await conn.execute("insert into handled values (%s)", (event.key["id"],))
        judge(events)

    def check(events: list[Event], conn: Any) -> None:
        for event in events:
            conn.execute("insert into handled values (%s)", (event.key["id"],))
        judge(events)

    app.after("users", name="check", batch=50)(check_async if is_async else check)
    sync(app, dsn)
    database.execute(
        "insert into users select g, 'x', case when g % 10 = 7 then 3 else 30 end from generate_series(1, 40) as g"
    )
    drain(app, dsn)
    assert [row[2]["id"] for row in recorded(database)] == [7, 17, 27, 37]
    good = [(g,) for g in range(1, 41) if g % 10 != 7]
    assert database.execute("select id from handled order by id").fetchall() == good
    assert delivered(database) == 40


def test_after_a_retry(dsn: str, database: Database) -> None:
    app = Rowcall()
    app.watch("users")
    calls: list[int] = []

    @app.after("users", name="check")
    def check(event: Event) -> None:
        calls.append(event.key["id"])
        if calls.count(event.key["id"]) == 1:
            raise Retry("later", delay=0)
        raise Reject("still too young")

    sync(app, dsn)
    database.execute("insert into users values (1, 'a', 3), (2, 'b', 3)")
    database.execute("update users set age = 4 where id = 1")
    drain(app, dsn)
    assert [(row[1], row[2]["id"], row[4]) for row in recorded(database)] == [
        ("insert", 1, "still too young"),
        ("insert", 2, "still too young"),
        ("update", 1, "still too young"),
    ]
    assert database.execute("select count(*) from rowcall.parked").fetchone() == (0,)
    assert delivered(database) == 3
