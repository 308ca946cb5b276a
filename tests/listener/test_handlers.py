"""What handlers get, and what becomes of what they do."""

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from rowcall import Event, Retry, Rowcall, errors
from tests.conftest import Database
from tests.listeners import drain, sync
from tests.users import seen


def app_with(*handlers: Any, **options: Any) -> Rowcall:
    app = Rowcall()
    app.watch("users")
    for handler in handlers:
        app.after("users", **options)(handler)
    return app


def test_everything_a_handler_may_ask_for(dsn: str, database: Database) -> None:
    kinds: dict[str, tuple[str, ...]] = {}

    def nothing() -> None:
        kinds["nothing"] = ()

    def event_only(event: Event) -> None:
        kinds["event"] = (type(event).__name__,)

    def events_conn_session(events: list[Event], conn: psycopg.Connection[Any], session: Session) -> None:
        kinds["sync"] = (type(events[0]).__name__, type(conn).__name__, type(session).__name__)
        conn.execute("insert into seen (what) values ('sync conn')")
        session.execute(text("insert into seen (what) values ('sync session')"))

    async def async_nothing() -> None:
        kinds["async nothing"] = ()

    async def all_async(session: AsyncSession, conn: psycopg.AsyncConnection[Any], event: Event) -> None:
        kinds["async"] = (type(event).__name__, type(conn).__name__, type(session).__name__)
        await conn.execute("insert into seen (what) values ('async conn')")
        await session.execute(text("insert into seen (what) values ('async session')"))

    async def only_session(events: list[Event], session: AsyncSession) -> None:
        await session.execute(text("insert into seen (what) values ('only session')"))

    app = app_with(nothing, event_only, events_conn_session, async_nothing, all_async, only_session)
    sync(app, dsn)
    database.execute("insert into users values (1, 'ann', 30)")
    assert drain(app, dsn).dead == 0
    assert kinds == {
        "nothing": (),
        "event": ("Event",),
        "sync": ("Event", "Connection", "Session"),
        "async nothing": (),
        "async": ("Event", "AsyncConnection", "AsyncSession"),
    }
    assert sorted(seen(database)) == ["async conn", "async session", "only session", "sync conn", "sync session"]
    assert drain(app, dsn) == drain(app, dsn)
    assert len(seen(database)) == 5


def test_events_come_whole(dsn: str, database: Database) -> None:
    events: list[Event] = []

    def collect(event: Event) -> None:
        events.append(event)

    app = app_with(collect)
    sync(app, dsn)
    database.execute("begin")
    database.execute("select rowcall.act('ann', '{\"why\": 1}')")
    database.execute("insert into users values (1, 'ann', 30)")
    database.execute("update users set id = 2, age = 31")
    database.execute("commit")
    database.execute("delete from users")
    database.execute("truncate users")
    drain(app, dsn)
    insert, update, delete, truncate = events
    assert [event.operation for event in events] == ["insert", "update", "delete", "truncate"]
    assert {event.table for event in events} == {"public.users"}
    assert (insert.key, insert.old, insert.new) == ({"id": 1}, None, {"id": 1, "name": "ann", "age": 30})
    assert (update.key, update.changed) == ({"id": 1}, ("id", "age"))
    assert update.old == {"id": 1, "name": "ann", "age": 30}
    assert (delete.new, delete.old) == (None, {"id": 2, "name": "ann", "age": 31})
    assert (truncate.key, truncate.old, truncate.new) == ({}, None, None)
    assert (insert.actor, insert.context, delete.actor, delete.context) == ("ann", {"why": 1}, None, {})
    assert insert.xid == update.xid != delete.xid
    assert insert.at.tzinfo is not None
    assert len({event.id for event in events}) == 4
    assert [event.seq for event in events] == sorted(event.seq or 0 for event in events)


def test_batches_are_no_larger_than_asked(dsn: str, database: Database) -> None:
    sizes: list[int] = []
    app = app_with(lambda events: sizes.append(len(events)), name="collect", batch=3)
    sync(app, dsn)
    database.execute("insert into users select n, 'x', n from generate_series(1, 10) as n")
    drain(app, dsn)
    assert sum(sizes) == 10
    assert max(sizes) == 3


def test_when_chooses_among_what_is_selected(dsn: str, database: Database) -> None:
    app = Rowcall()
    app.watch("users")
    single: list[int] = []
    batches: list[list[int]] = []

    @app.after("users", name="single", when=lambda event: event.new is not None and event.new["age"] > 2)
    def one(event: Event) -> None:
        single.append(event.new["age"] if event.new else 0)

    @app.after("users", name="batches", batch=3, when=lambda event: event.new is not None and event.new["age"] % 2 == 0)
    async def many(events: list[Event]) -> None:
        batches.append([event.new["age"] for event in events if event.new])

    @app.after("users", name="broken", when=lambda event: event.context["nothing"])
    def never(event: Event) -> None:
        raise AssertionError

    sync(app, dsn)
    database.execute("insert into users select n, 'x', n from generate_series(1, 6) as n")
    drain(app, dsn)
    assert single == [3, 4, 5, 6]
    assert batches == [[2], [4, 6]]
    assert database.execute("select count(*), min(error) from rowcall.parked").fetchone() == (6, "KeyError: 'nothing'")
    with pytest.raises(errors.HandlerError, match="must be a function of an event"):
        app.after("users", name="other", when="age > 2")(one)  # type: ignore[arg-type]


def test_what_a_handler_writes_is_undone_with_its_failure(dsn: str, database: Database) -> None:
    def fail(event: Event, conn: Database, session: Session) -> None:
        conn.execute("insert into seen (what) values ('conn')")
        session.execute(text("insert into seen (what) values ('session')"))
        session.commit()
        raise LookupError("no")

    app = app_with(fail)
    sync(app, dsn)
    database.execute("insert into users values (1, 'ann', 30)")
    assert drain(app, dsn).waiting == 1
    assert seen(database) == []


def commit(conn: Database) -> None:
    conn.execute("insert into seen (what) values ('written')")
    conn.commit()


def commit_by_sql(conn: Database) -> None:
    conn.execute("commit")


async def async_commit(conn: psycopg.AsyncConnection[Any]) -> None:
    await conn.execute("insert into seen (what) values ('written')")
    await conn.commit()


async def async_rollback_by_sql(conn: psycopg.AsyncConnection[Any]) -> None:
    await conn.execute("rollback")


def swallow(conn: Database) -> None:
    try:
        conn.execute("select 1/0")
    except psycopg.Error:
        return


async def async_swallow(conn: psycopg.AsyncConnection[Any]) -> None:
    try:
        await conn.execute("select 1/0")
    except psycopg.Error:
        return


def errors_of(database: Database) -> dict[str, str]:
    """What each subscription's parked event failed with."""
    query = "select name, error from rowcall.parked join rowcall.subscription on id = subscription"
    return dict(database.execute(query).fetchall())


def test_a_handler_cannot_end_its_transaction(dsn: str, database: Database) -> None:
    app = Rowcall()
    app.watch("users")
    reasons: dict[Any, str] = {
        commit: "ProgrammingError: Explicit commit() forbidden",
        async_commit: "ProgrammingError: Explicit commit() forbidden",
        commit_by_sql: "HandlerError: it ended the transaction it was given",
        async_rollback_by_sql: "HandlerError: it ended the transaction it was given",
        swallow: "HandlerError: it swallowed an error of the database",
        async_swallow: "HandlerError: it swallowed an error of the database",
    }
    for handler in reasons:
        app.after("users", name=handler.__name__)(handler)
    sync(app, dsn)
    database.execute("insert into users values (1, 'ann', 30)")
    assert drain(app, dsn).waiting == len(reasons)
    assert seen(database) == []
    found = errors_of(database)
    for handler, reason in reasons.items():
        assert found[handler.__name__].startswith(reason)


def test_a_session_commits_to_a_savepoint_only(dsn: str, database: Database) -> None:
    def twice(event: Event, session: Session) -> None:
        session.execute(text("insert into seen (what) values ('kept')"))
        session.commit()
        session.execute(text("insert into seen (what) values ('dropped')"))
        session.rollback()

    app = app_with(twice)
    sync(app, dsn)
    database.execute("insert into users values (1, 'ann', 30)")
    drain(app, dsn)
    assert seen(database) == ["kept"]


def test_what_a_handler_does_to_its_connection_is_its_own_affair(dsn: str, database: Database) -> None:
    from psycopg.rows import dict_row
    from psycopg.types.json import set_json_loads

    def rearrange(event: Event, conn: Any) -> None:
        conn.row_factory = dict_row
        set_json_loads(lambda text: "mine", conn)
        if event.new and event.new["age"] < 0:
            raise ValueError
        conn.execute("insert into seen (what) values (%s)", (event.key["id"],))

    app = app_with(rearrange)
    sync(app, dsn)
    database.execute("insert into users values (1, 'a', -1), (2, 'b', 2), (3, 'c', 3)")
    assert drain(app, dsn).waiting == 1
    assert seen(database) == ["2", "3"]


def fails_oddly(error: BaseException) -> Any:
    def handler(event: Event) -> None:
        raise error

    return handler


async def is_cancelled(event: Event) -> None:
    raise asyncio.CancelledError


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def test_no_failure_of_a_handler_ends_the_listener(dsn: str, database: Database) -> None:
    done: list[int] = []
    app = Rowcall()
    app.watch("users")
    app.after("users")(lambda event: done.append(event.key["id"]))
    reasons = {
        "exit": (fails_oddly(SystemExit(3)), "SystemExit: 3"),
        "iteration": (fails_oddly(StopIteration()), "StopIteration: "),
        "rollback": (fails_oddly(psycopg.Rollback()), "Rollback"),
        "characters": (fails_oddly(ValueError("a\0b \ud800")), "ValueError: a\\0b \\ud800"),
        "unprintable": (fails_oddly(Unprintable()), "Unprintable: (its text cannot be read)"),
        "long": (fails_oddly(ValueError("x" * 5000)), "ValueError: xxxx"),
        "cancelled": (is_cancelled, "HandlerError: something it awaited was cancelled"),
        "delay": (fails_oddly(Retry(delay=float("inf"))), "Retry: retry requested"),
    }
    for name, (handler, _) in reasons.items():
        app.after("users", name=name)(handler)
    sync(app, dsn)
    database.execute("insert into users values (1, 'ann', 30)")
    assert drain(app, dsn).waiting == len(reasons)
    assert done == [1]
    found = errors_of(database)
    for name, (_, reason) in reasons.items():
        assert found[name].startswith(reason)
        assert len(found[name]) <= 2000


def test_a_deferred_constraint_fails_its_own_event_only(dsn: str, database: Database) -> None:
    database.execute("create table once (id int unique deferrable initially deferred)")

    def insert(event: Event, conn: Database) -> None:
        assert event.new
        conn.execute("insert into once values (%s)", (event.new["age"],))

    app = app_with(insert)
    sync(app, dsn)
    database.execute("insert into users values (1, 'a', 1), (2, 'b', 1), (3, 'c', 3)")
    assert drain(app, dsn).waiting == 1
    assert database.execute("select id from once order by id").fetchall() == [(1,), (3,)]


def test_handlers_may_write_to_watched_tables(dsn: str, database: Database) -> None:
    def copy(event: Event, conn: Database) -> None:
        assert event.new
        if event.new["age"] < 5:
            conn.execute("insert into users values (%s, 'copy', %s)", (event.new["id"] + 1, event.new["age"] + 1))

    app = app_with(copy, on="insert")
    sync(app, dsn)
    database.execute("insert into users values (1, 'a', 1)")
    drain(app, dsn)
    assert database.execute("select id, age from users order by id").fetchall() == [(n, n) for n in range(1, 6)]
