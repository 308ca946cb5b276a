"""Before-handlers accept, amend or reject a row inside the writer's transaction."""

import asyncio
import threading
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy
from psycopg import errors as pg
from structlog.testing import capture_logs

from rowcall import Event, Reject, Rowcall, errors
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0


def rows(database: Database) -> list[Any]:
    return database.execute("select id, name, age, email from users order by id").fetchall()


def rejections(database: Database) -> list[Any]:
    query = "select operation::text, key, old, new, handler, message, column_name from rowcall.rejection order by id"
    return database.execute(query).fetchall()


@pytest.mark.parametrize("is_async", [False, True])
def test_each_verdict_on_each_operation(dsn: str, database: Database, writer: Database, is_async: bool) -> None:
    judged: list[tuple[Any, ...]] = []

    def judge(event: Event) -> Mapping[str, Any] | None:
        judged.append((event.operation, event.key, event.old, event.new, event.seq, event.actor))
        name = (event.new or event.old or {})["name"]
        if name == "refuse":
            raise Reject("not this one", column="name", hint="Take another.")
        if name == "amend" and event.new:
            return {"email": f"{event.operation}@example.org", "age": event.new["age"] + 1}
        return None

    async def judge_async(event: Event) -> Mapping[str, Any] | None:
        await asyncio.sleep(0)
        return judge(event)

    app = Rowcall()
    app.before("users", timeout=LONG, name="judge")(judge_async if is_async else judge)
    sync(app, dsn)
    with listening(app, dsn):
        with writer.transaction():
            writer.execute("select rowcall.act('ann', '{\"why\": 1}')")
            writer.execute("insert into users values (1, 'ok', 1, 'a'), (2, 'amend', 1, 'b')")
        assert rows(database) == [(1, "ok", 1, "a"), (2, "amend", 2, "insert@example.org")]
        assert judged[0] == ("insert", {"id": 1}, None, {"id": 1, "name": "ok", "age": 1, "email": "a"}, None, "ann")
        with pytest.raises(pg.CheckViolation) as caught:
            writer.execute("insert into users values (3, 'refuse', 1, 'c')")
        diagnosis = caught.value.diag
        assert diagnosis.message_primary == "insert of public.users was rejected by judge: not this one"
        assert (diagnosis.sqlstate, diagnosis.constraint_name, diagnosis.column_name) == ("23514", "judge", "name")
        assert (diagnosis.schema_name, diagnosis.table_name) == ("public", "users")
        assert diagnosis.message_hint == "Take another."
        writer.execute("update users set age = 10")
        assert rows(database) == [(1, "ok", 10, "a"), (2, "amend", 11, "update@example.org")]
        with pytest.raises(pg.CheckViolation):
            writer.execute("update users set age = 20 where id = 2; update users set name = 'refuse' where id = 1")
        assert rows(database)[0][2] == 10
        writer.execute("delete from users where id = 1")
        assert judged[-1][:4] == ("delete", {"id": 1}, {"id": 1, "name": "ok", "age": 10, "email": "a"}, None)
        writer.execute("alter table users disable trigger user; update users set name = 'refuse'")
        writer.execute("alter table users enable trigger user")
        with pytest.raises(pg.CheckViolation, match=r"delete of public\.users was rejected by judge"):
            writer.execute("delete from users")
    refused = rejections(database)
    assert [(operation, key, handler, column) for operation, key, _, _, handler, _, column in refused] == [
        ("insert", {"id": 3}, "judge", "name"),
        ("update", {"id": 1}, "judge", "name"),
        ("delete", {"id": 2}, "judge", "name"),
    ]
    assert refused[1][2:4] == (
        {"id": 1, "name": "ok", "age": 10, "email": "a"},
        {"id": 1, "name": "refuse", "age": 10, "email": "a"},
    )
    assert database.execute("select count(*) from rowcall.request where verdict is null").fetchone() == (0,)


def test_sqlalchemy_sees_an_integrity_error(dsn: str, database: Database) -> None:
    app = Rowcall()

    @app.before("users", timeout=LONG)
    def never(event: Event) -> None:
        raise Reject("never")

    sync(app, dsn)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with listening(app, dsn), engine.connect() as connection, pytest.raises(sqlalchemy.exc.IntegrityError):
        connection.execute(sqlalchemy.text("insert into users (id) values (1)"))
    engine.dispose()


def test_handlers_run_in_order_and_see_what_those_before_amended(
    dsn: str, database: Database, writer: Database
) -> None:
    app = Rowcall()
    asked: list[str] = []

    @app.before("users", timeout=LONG)
    def lower(event: Event) -> dict[str, Any]:
        asked.append("lower")
        assert event.new
        return {"email": event.new["email"].lower()}

    @app.before("users", timeout=LONG, on="update", columns="age")
    def only_age(event: Event) -> None:
        asked.append("only_age")

    @app.before("users", timeout=LONG)
    async def check(event: Event) -> dict[str, Any]:
        asked.append("check")
        assert event.new
        if "@" not in event.new["email"]:
            raise Reject("no @", column="email")
        return {"name": event.new["email"].split("@")[0]}

    @app.before("users", timeout=LONG)
    def last(event: Event) -> None:
        asked.append(f"last {(event.new or {})['name']}")

    sync(app, dsn)
    with listening(app, dsn):
        writer.execute("insert into users values (1, 'x', 1, 'ANN@EXAMPLE.ORG')")
        assert rows(database) == [(1, "ann", 1, "ann@example.org")]
        assert asked == ["lower", "check", "last ann"]
        asked.clear()
        writer.execute("update users set age = 2")
        assert asked == ["lower", "only_age", "check", "last ann"]
        asked.clear()
        with pytest.raises(pg.CheckViolation, match="rejected by check: no @"):
            writer.execute("update users set email = 'NOWHERE'")
        assert asked == ["lower", "check"]
    assert rejections(database)[0][3]["email"] == "NOWHERE"


def test_two_apps_guard_one_table_and_each_is_asked(dsn: str, database: Database, writer: Database) -> None:
    first, second = Rowcall(), Rowcall()
    first.before("users", timeout=LONG, name="one")(lambda event: {"name": f"{event.new['name']} one"})
    second.before("users", timeout=LONG, name="two")(lambda event: {"name": f"{event.new['name']} two"})
    sync(first, dsn, "a")
    sync(second, dsn, "b")
    with listening(first, dsn), listening(second, dsn):
        writer.execute("insert into users values (1, 'x', 1, 'e')")
    assert rows(database)[0][1] == "x one two"
    third = Rowcall()
    third.before("users", name="two")(lambda event: None)
    with pytest.raises(errors.UsageError, match=r"before-handler named two of .*users is declared by b already"):
        sync(third, dsn, "c")


def test_handlers_of_the_same_name_keep_to_their_tables(dsn: str, database: Database, writer: Database) -> None:
    database.execute("create table orders (id int primary key, name text)")
    app = Rowcall()
    for table in ("users", "orders"):

        def check(event: Event, table: str = table) -> dict[str, Any]:
            assert event.table == f"public.{table}"
            return {"name": f"checked {table}"}

        app.before(table, timeout=LONG)(check)
    sync(app, dsn)
    with listening(app, dsn):
        writer.execute("insert into users (id) values (1); insert into orders (id) values (1)")
    assert rows(database)[0][1] == "checked users"
    assert database.execute("select name from orders").fetchone() == ("checked orders",)


def test_what_a_handler_gets_wrong_is_said_to_the_writer(dsn: str, database: Database, writer: Database) -> None:
    answers: dict[str, Any] = {
        "crash": ZeroDivisionError("by 0"),
        "exit": SystemExit(1),
        "cancel": asyncio.CancelledError(),
        "list": [1],
        "unknown": {"nope": 1, "also": 2},
        "object": {"name": object()},
        "nul": {"name": "a\0b"},
        "surrogate": {"name": "\ud800"},
        "type": {"age": "many"},
        "odd": Reject("nul \0 and \ud800"),
    }

    async def answer(event: Event) -> Any:
        found = answers[(event.new or {})["name"]]
        if isinstance(found, BaseException):
            raise found
        return found

    app = Rowcall()
    app.before("users", timeout=LONG, on="insert")(answer)
    sync(app, dsn)
    said: dict[str, str] = {}
    with capture_logs() as logs, listening(app, dsn):
        for name in answers:
            with pytest.raises(psycopg.Error) as caught:
                writer.execute("insert into users values (1, %s, 1, 'e')", (name,))
            said[name] = (caught.value.diag.message_primary or "").removeprefix(
                "insert of public.users was rejected by "
            )
    assert said == {
        "crash": "answer: it failed: ZeroDivisionError: by 0",
        "exit": "answer: it failed: SystemExit: 1",
        "cancel": "answer: it failed: RuntimeError: something it awaited was cancelled",
        "list": "answer: it failed: TypeError: a before-handler returns None or a mapping of columns, not list",
        "unknown": "answer: it failed: ValueError: there is no column also, nope to amend in public.users",
        "object": "answer: it failed: TypeError: Encoding objects of type object is unsupported",
        "nul": "answer: it failed: ValueError: PostgreSQL cannot store a NUL character in a text",
        "surrogate": said["surrogate"],
        "type": 'what answer amended in public.users cannot be written: invalid input syntax for type integer: "many"',
        "odd": "answer: nul \\0 and \\ud800",
    }
    assert said["surrogate"].startswith("answer: it failed: UnicodeEncodeError")
    assert len([log for log in logs if log["event"] == "a before-handler failed"]) == 8
    assert rows(database) == []


def test_a_delete_cannot_be_amended_and_a_forgiving_handler_may_fail(
    dsn: str, database: Database, writer: Database
) -> None:
    writer.execute("insert into users values (1, 'x', 1, 'e'), (2, 'y', 1, 'e')")
    app = Rowcall()
    app.before("users", timeout=LONG, on="delete", name="amends")(
        lambda event: {"name": "z"} if event.key["id"] == 1 else None
    )

    @app.before("users", timeout=LONG, on_unavailable="accept")
    def fails(event: Event) -> None:
        raise LookupError("no matter")

    sync(app, dsn)
    with listening(app, dsn):
        with pytest.raises(pg.CheckViolation, match="amends: it failed: ValueError: a delete has no new row to amend"):
            writer.execute("delete from users where id = 1")
        writer.execute("delete from users where id = 2")
    assert [row[0] for row in rows(database)] == [1]


def test_a_slow_handler_is_named_before_the_deadline(dsn: str, database: Database, writer: Database) -> None:
    go_on = threading.Event()
    app = Rowcall()

    @app.before("users", timeout=0.3)
    def hangs(event: Event) -> None:
        go_on.wait(10)

    @app.before("users", timeout=LONG, on_unavailable="accept")
    async def quick(event: Event) -> None: ...

    sync(app, dsn)
    try:
        with listening(app, dsn):
            started = time.monotonic()
            with pytest.raises(pg.CheckViolation, match="rejected by hangs: it did not answer within 300 ms"):
                writer.execute("insert into users (id) values (1)")
            assert 0.3 <= time.monotonic() - started < LONG / 2
            go_on.set()
    finally:
        go_on.set()
    assert rejections(database)[0][5] == "it did not answer within 300 ms"


def test_a_whole_row_may_be_returned_as_it_came(dsn: str, database: Database, writer: Database) -> None:
    database.execute(
        "alter table users add ssn text, add secret text, add twice int generated always as (age * 2) stored"
    )
    app = Rowcall()
    app.watch("users", redact="ssn", exclude="secret")

    @app.before("users", timeout=LONG, name="in place")
    def in_place(event: Event) -> Any:
        assert event.new
        event.new["name"] = event.new["name"].upper()
        return event.new

    @app.before("users", timeout=LONG, name="silent")
    def silent(event: Event) -> None:
        assert event.new
        assert event.new["ssn"].startswith("hmac-sha256:")
        assert "secret" not in event.new
        event.new["email"] = "ignored"

    @app.before("users", timeout=LONG, name="copy")
    def copy(event: Event) -> Any:
        return {**(event.new or {}), "age": 7}

    sync(app, dsn)
    with listening(app, dsn):
        writer.execute("insert into users values (1, 'ann', 1, 'e', '123', 's')")
        query = "select id, name, age, email, ssn, secret, twice from users"
        assert database.execute(query).fetchall() == [(1, "ANN", 7, "e", "123", "s", 14)]
        writer.execute("update users set ssn = '456'")
        assert database.execute(query).fetchall() == [(1, "ANN", 7, "e", "456", "s", 14)]
    assert database.execute("select new::jsonb ? 'secret', new ->> 'ssn' from rowcall.event limit 1").fetchone() != (
        True,
        "123",
    )


AMENDED: dict[str, tuple[Any, Any]] = {
    "smallint": (7, 7),
    "bigint": (2**62, 2**62),
    "numeric": (Decimal("12345678901234567890.1234567890"), Decimal("12345678901234567890.1234567890")),
    "numeric(5,1)": (1.25, Decimal("1.3")),
    "double precision": (float("nan"), "nan"),
    "real": (float("-inf"), float("-inf")),
    "boolean": (True, True),
    "text": ('größe \\ "x" \U0001f600', 'größe \\ "x" \U0001f600'),
    "varchar(5)": ("abc", "abc"),
    "timestamptz": (datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC)),
    "timestamp": ("-infinity", "-infinity"),
    "date": (date(2026, 11, 22), date(2026, 11, 22)),
    "interval": (timedelta(days=1, hours=2), timedelta(days=1, hours=2)),
    "uuid": (UUID(int=7), UUID(int=7)),
    "bytea": (b"\x00\xff", b"\x00\xff"),
    "jsonb": ({"a": [1, None, Decimal("2.50")]}, {"a": [1, None, 2.5]}),
    "json": ({"b": True}, {"b": True}),
    "int[]": ([1, None, 3], [1, None, 3]),
    "text[]": (["a,b", None], ["a,b", None]),
    "timestamptz[]": ([datetime(2026, 11, 22, tzinfo=UTC)], [datetime(2026, 11, 22, tzinfo=UTC)]),
    "int4range": ("[1,5)", "[1, 5)"),
    "mood": ("happy", "happy"),
    "positive": (3, 3),
    "inet": ("10.0.0.1", "10.0.0.1"),
}


def test_amended_values_of_many_types(dsn: str, database: Database, writer: Database) -> None:
    database.execute("create type mood as enum ('sad', 'happy'); create domain positive as int check (value > 0)")
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(AMENDED))
    database.execute(f"create table kinds (id int primary key, {columns})")
    app = Rowcall()
    answer = {f"c{number}": value for number, (value, _) in enumerate(AMENDED.values())}
    app.before("kinds", timeout=LONG, name="fill", on="insert")(
        lambda event: answer if event.key["id"] == 1 else {"c22": -1}
    )
    app.before("kinds", timeout=LONG, name="empty", on="update")(lambda event: dict.fromkeys(answer))
    sync(app, dsn)
    database.execute("set timezone = 'UTC'")
    with listening(app, dsn):
        writer.execute("insert into kinds (id) values (1)")
        database.execute("alter table kinds alter c10 type text")
        row = database.execute("select * from kinds").fetchone()
        assert row
        for number, (kind, (_, value)) in enumerate(AMENDED.items(), start=1):
            found = row[number]
            assert (kind, str(found) if isinstance(value, str) else found) == (kind, value)
        writer.execute("update kinds set id = 2")
        row = database.execute("select * from kinds").fetchone()
        assert row == (2, *[None] * len(AMENDED))
        with pytest.raises(pg.CheckViolation, match="domain positive"):
            writer.execute("insert into kinds (id) values (3)")


def copy_in(writer: Database, *rows: tuple[int, str]) -> None:
    with writer.cursor() as cursor, cursor.copy("copy users (id, name) from stdin") as copy:
        for row in rows:
            copy.write_row(row)


def test_every_way_to_write_a_row(dsn: str, database: Database, writer: Database) -> None:
    asked: list[str] = []

    def check(event: Event) -> dict[str, Any] | None:
        asked.append(event.operation)
        if event.new and event.new["name"] == "bad":
            raise Reject("bad")
        return {"email": "seen"} if event.new else None

    app = Rowcall()
    app.before("users", timeout=LONG)(check)
    sync(app, dsn)
    with listening(app, dsn):
        copy_in(writer, *((key, "copied") for key in range(3)))
        with pytest.raises(pg.CheckViolation):
            copy_in(writer, (8, "fine"), (9, "bad"))
        writer.execute("insert into users values (1, 'x') on conflict (id) do update set name = 'upserted'")
        with pytest.raises(pg.CheckViolation):
            writer.execute("insert into users values (1, 'x') on conflict (id) do update set name = 'bad'")
        writer.execute(
            "merge into users using (values (2, 'merged'), (3, 'new')) as m (id, name) on users.id = m.id"
            " when matched then update set name = m.name when not matched then insert (id, name) values (m.id, m.name)"
        )
        writer.execute(
            "with gone as (delete from users where id = 0 returning id) insert into users select 10, 'cte' from gone"
        )
        with writer.transaction():
            writer.execute("savepoint s")
            with pytest.raises(pg.CheckViolation):
                writer.execute("update users set name = 'bad' where id = 10")
            writer.execute("rollback to s")
            writer.execute("update users set age = 1 where id = 10")
        for level in ("repeatable read", "serializable"):
            writer.execute(f"begin isolation level {level}")
            writer.execute("update users set age = 2 where id = 10")
            writer.execute("commit")
        writer.execute("prepare p as update users set age = age + 1 where id = 10; execute p; execute p")
    assert rows(database) == [
        (1, "upserted", None, "seen"),
        (2, "merged", None, "seen"),
        (3, "new", None, "seen"),
        (10, "cte", 4, "seen"),
    ]
    assert len(rejections(database)) == 3
    assert asked.count("delete") == 1


def test_sessions_of_a_database_with_other_defaults(dsn: str, database: Database, writer: Database) -> None:
    name = database.execute("select current_database()").fetchone()
    assert name
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "statement_timeout = '1ms'",
        "search_path = nowhere",
        "client_min_messages = 'error'",
    ):
        database.execute(f"alter database {name[0]} set {setting}")
    app = Rowcall()
    app.before("users", timeout=LONG)(lambda event: {"name": "asked"})
    sync(app, dsn + "&options=-cstatement_timeout%3D0%20-cdefault_transaction_read_only%3Doff%20-csearch_path%3Dpublic")
    listener = dsn + "&options=-cstatement_timeout%3D0%20-cdefault_transaction_read_only%3Doff%20-csearch_path%3Dpublic"
    with listening(app, listener):
        writer.execute("insert into users (id) values (1)")
    for setting in (
        "default_transaction_isolation",
        "default_transaction_read_only",
        "statement_timeout",
        "search_path",
    ):
        database.execute(f"alter database {name[0]} reset {setting}")
    assert rows(database)[0][1] == "asked"


def test_partitioned_tables_and_changed_tables(dsn: str, database: Database, writer: Database) -> None:
    database.execute("create table parts (id int, name text, ssn text, primary key (id)) partition by range (id)")
    database.execute("create table parts_1 partition of parts for values from (0) to (10)")
    app = Rowcall()
    app.watch("parts", redact="ssn")
    names: list[Any] = []

    def note(event: Event) -> dict[str, Any]:
        names.append((event.table, sorted(event.new or {})))
        return {"name": "asked"}

    app.before("parts", timeout=LONG)(note)
    sync(app, dsn)
    with listening(app, dsn):
        writer.execute("insert into parts values (1, 'x', '1')")
        writer.execute("insert into parts_1 values (2, 'x', '2')")
        database.execute("create table parts_2 partition of parts for values from (10) to (20)")
        writer.execute("insert into parts values (11, 'x', '3')")
        # A column that the generated functions name goes, another comes: no write fails for it.
        database.execute("alter table parts drop ssn; alter table parts add born date")
        writer.execute("insert into parts values (12, 'x', '2026-11-22')")
    assert database.execute("select id, name from parts order by id").fetchall() == [
        (key, "asked") for key in (1, 2, 11, 12)
    ]
    assert {table for table, _ in names} == {"public.parts"}
    assert names[-1][1] == ["born", "id", "name"]
