"""Handlers are told what the test's connection sees, when the test says so, and nothing outlives the test."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from rowcall import Event, Retry, Rowcall, acting, errors
from rowcall.testing import Delivery
from tests.conftest import Connect, Database
from tests.listeners import sync
from tests.testing.conftest import Notes, app_with, noted


def keys(events: list[Event]) -> list[Any]:
    return [event.key.get("id") for event in events]


def test_a_transaction_that_is_open_and_rolled_back(conn: Database, notes: Rowcall) -> None:
    delivery = Delivery.over(notes, conn)
    conn.execute("insert into users values (1, 'Ada', 36)")
    conn.execute("update users set age = 37")
    delivered = delivery.deliver()
    assert [(event.operation, event.changed) for event in delivered["reader"]] == [("insert", ()), ("update", ("age",))]
    assert [call.handler for call in delivered.calls] == ["reader", "reader"]
    assert noted(conn) == ["insert 1", "update 1"]
    assert delivery.deliver().calls == ()
    conn.rollback()
    assert noted(conn) == []
    assert delivery.deliver().calls == ()
    conn.execute("insert into users values (2, 'Grace', 45)")
    assert keys(delivery.deliver()["reader"]) == [2]


def test_what_is_committed_is_delivered_and_stays(conn: Database, notes: Rowcall, connect: Connect) -> None:
    delivery = Delivery.over(notes, conn)
    other = connect()
    conn.execute("insert into users values (1, 'Ada', 36)")
    other.execute("insert into users values (2, 'Grace', 45)")
    conn.commit()
    assert keys(delivery.deliver()["reader"]) == [1]
    # In no transaction, so every call was one.
    assert noted(other) == ["insert 1"]
    other.commit()
    assert keys(delivery.deliver()["reader"]) == [2]


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_connection_that_was_in_no_transaction_is_in_none(connect: Connect, notes: Rowcall, autocommit: bool) -> None:
    conn = connect(autocommit=autocommit)
    delivery = Delivery.over(notes, conn)
    delivery.deliver()
    delivery.skip()
    assert conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_it_starts_when_it_is_made(conn: Database, notes: Rowcall, connect: Connect) -> None:
    late = connect()
    late.execute("insert into users values (1, 'committed later', 1)")
    conn.execute("insert into users values (2, 'before, in this transaction', 1)")
    delivery = Delivery.over(notes, conn)
    conn.execute("insert into users values (3, 'after', 1)")
    late.commit()
    assert keys(delivery.deliver()["reader"]) == [1, 3]


def test_skipping_what_the_test_only_arranged(conn: Database, notes: Rowcall) -> None:
    delivery = Delivery.over(notes, conn)
    conn.execute("insert into users values (1, 'Ada', 36)")
    delivery.skip()
    conn.execute("update users set age = 37")
    assert [event.operation for event in delivery.deliver()["reader"]] == ["update"]


def test_a_savepoint_takes_back_the_event(conn: Database, notes: Rowcall) -> None:
    delivery = Delivery.over(notes, conn)
    conn.execute("insert into users values (1, 'Ada', 36)")
    with conn.transaction(force_rollback=True):
        conn.execute("insert into users values (2, 'Grace', 45)")
        assert keys(delivery.deliver()["reader"]) == [1, 2]
    assert noted(conn) == []
    # The rollback took back that the first was delivered, with what its handler wrote.
    assert keys(delivery.deliver()["reader"]) == [1]
    assert noted(conn) == ["insert 1"]


def test_a_savepoint_that_is_kept(conn: Database, notes: Rowcall) -> None:
    delivery = Delivery.over(notes, conn)
    with conn.transaction():
        conn.execute("insert into users values (1, 'Ada', 36)")
        delivery.deliver()
    assert delivery.deliver().calls == ()


def test_two_deliveries_do_not_know_each_other(conn: Database, notes: Rowcall) -> None:
    one, other = Delivery.over(notes, conn), Delivery.over(notes, conn)
    conn.execute("insert into users values (1, 'Ada', 36)")
    assert keys(one.deliver()["reader"]) == keys(other.deliver()["reader"]) == [1]


def test_everything_an_event_is(dsn: str, conn: Database, connect: Connect) -> None:
    connect(autocommit=True).execute("create table prices (id int primary key, amount numeric, at timestamptz)")
    app = Rowcall()
    app.watch("prices")
    seen: list[Event] = []
    app.after("prices", name="reader")(lambda event: seen.append(event))
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    with acting(conn, actor="ann", request_id=7):
        conn.execute("insert into prices values (1, 9.90, '2026-11-22 10:00+00')")
        conn.execute("update prices set amount = 9.9")
    delivered = delivery.deliver()
    insert, update = seen
    assert delivered["reader"] == seen
    assert (insert.table, insert.actor, insert.context) == ("public.prices", "ann", {"request_id": 7})
    assert insert.new is not None
    assert (str(insert.new["amount"]), insert.new["at"].isoformat()) == ("9.90", "2026-11-22T10:00:00+00:00")
    assert update.changed == ("amount",)
    assert update.old == insert.new
    assert update.seq is not None
    assert update.id.endswith(f"-{update.seq}")


def test_columns_that_are_altered_in_the_transaction_and_altered_back(conn: Database, notes: Rowcall) -> None:
    delivery = Delivery.over(notes, conn)
    with conn.transaction(force_rollback=True):
        conn.execute("alter table users alter age type numeric")
        conn.execute("insert into users values (1, 'Ada', 36.5)")
        [event] = delivery.deliver()["reader"]
        assert (event.new or {})["age"] == Decimal("36.5")
    conn.execute("insert into users values (1, 'Ada', 36)")
    [event] = delivery.deliver()["reader"]
    assert type((event.new or {})["age"]) is int


@pytest.mark.parametrize(
    ("subject", "options", "expected"),
    [
        ("users", {"on": "insert"}, ["insert"]),
        ("users", {"on": ["update", "delete"]}, ["update", "update", "delete"]),
        ("users", {"on": "update", "columns": "age"}, ["update"]),
        ("users", {"columns": "age"}, ["insert", "update", "delete", "truncate"]),
        ("*.us*", {"on": "delete"}, ["delete"]),
        ("other.*", {}, []),
    ],
)
def test_handlers_are_told_what_they_ask_for(
    dsn: str, conn: Database, subject: str, options: dict[str, Any], expected: list[str]
) -> None:
    app = app_with(lambda event: None, subject, **options)
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'Ada', 36)")
    conn.execute("update users set age = 37; update users set name = 'Ada L.'")
    conn.execute("delete from users; truncate users")
    assert [event.operation for event in delivery.deliver()["reader"]] == expected


def test_events_come_in_batches_and_in_order_when_keys_change(dsn: str, conn: Database) -> None:
    calls: list[list[Any]] = []

    def take(events: list[Event]) -> None:
        calls.append([(event.key["id"], (event.new or {}).get("id")) for event in events])

    app = app_with(take, batch=3)
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'Ada', 36)")
    conn.execute("update users set id = 2; update users set id = 3; update users set age = 1")
    conn.execute("update users set id = 1; delete from users")
    delivered = delivery.deliver()
    assert calls == [[(1, 1), (1, 2), (2, 3)], [(3, 3), (3, 1), (1, None)]]
    assert [len(call.events) for call in delivered.calls] == [3, 3]


def test_only_some_of_the_handlers(dsn: str, conn: Database) -> None:
    app = app_with(lambda event: None)
    wanted = Notes()
    app.after("users", name="other")(wanted)
    sync(app, dsn)
    delivery = Delivery.over(app, conn, handlers=[wanted])
    conn.execute("insert into users values (1, 'Ada', 36)")
    delivered = delivery.deliver()
    assert keys(delivered[wanted]) == keys(delivered["other"]) == [1]
    with pytest.raises(
        errors.UsageError, match="'reader' is no after-handler that is delivered to here; there is other"
    ):
        delivered["reader"]
    with pytest.raises(errors.UsageError, match="'nobody' is no after-handler"):
        Delivery.over(app, conn, handlers=["nobody"])


def test_a_handler_finds_the_connection_as_a_listener_gives_it(dsn: str, connect: Connect, tables: None) -> None:
    rows: list[Any] = []
    app = Rowcall()
    app.watch("users")

    @app.after("users")
    def ask(conn: Database) -> None:
        rows.append(conn.execute("select 1").fetchone())
        conn.row_factory = dict_row

    sync(app, dsn)
    conn = connect(row_factory=dict_row, cursor_factory=psycopg.ClientCursor)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'Ada', 36), (2, 'Grace', 45)")
    delivery.deliver()
    assert rows == [(1,), (1,)]
    assert (conn.row_factory, conn.cursor_factory) == (dict_row, psycopg.ClientCursor)


def test_what_handlers_write_is_not_their_tests_doing(dsn: str, conn: Database) -> None:
    app = app_with(Notes())
    app.watch("notes")
    actors: list[str | None] = []
    app.after("notes")(lambda event: actors.append(event.actor))
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    with acting(conn, actor="ann", why="test"):
        conn.execute("insert into users values (1, 'Ada', 36)")
        delivery.deliver()
        conn.execute("insert into users values (2, 'Grace', 45)")
    conn.execute("insert into users values (3, 'Edith', 40)")
    delivered = delivery.deliver()
    assert actors == [None, None, None]
    assert [(event.actor, event.context) for event in delivered["reader"]] == [("ann", {"why": "test"}), (None, {})]


# Events that handlers cause


def test_what_handlers_cause_is_delivered_round_by_round(dsn: str, conn: Database) -> None:
    app = Rowcall()
    app.watch("users")
    app.watch("notes")
    order: list[str] = []

    @app.after("notes", name="second")
    def second(event: Event) -> None:
        order.append(f"second {(event.new or {})['what']}")

    @app.after("users", name="first")
    def first(event: Event, conn: Database) -> None:
        order.append(f"first {event.operation} {event.key['id']}")
        conn.execute("insert into notes (what) values (%s)", (event.operation,))
        if event.operation == "insert":
            conn.execute("update users set age = age + 1 where id = %s", (event.key["id"],))

    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'Ada', 36), (2, 'Grace', 45)")
    delivery.deliver()
    assert order == [
        *("first insert 1", "first insert 2"),
        *("second insert", "second insert", "first update 1", "first update 2"),
        *("second update", "second update"),
    ]
    assert delivery.deliver().calls == ()


def test_a_loop_of_handlers_is_named(dsn: str, conn: Database) -> None:
    app = Rowcall()
    app.watch("users")
    app.watch("notes")
    app.after("users", name="bystander", on="insert")(lambda event: None)

    @app.after("users", name="ping", on="update")
    def ping(conn: Database) -> None:
        conn.execute("insert into notes (what) values ('ping')")

    @app.after("notes", name="pong")
    def pong(conn: Database) -> None:
        conn.execute("update users set age = age + 1")

    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'Ada', 36); update users set age = 0")
    with pytest.raises(errors.UsageError) as caught:
        delivery.deliver(limit=20)
    said = str(caught.value)
    assert "caused more than 20 events" in said
    assert "ping (update of public.users)" in said
    assert "pong (insert of public.notes)" in said
    assert "bystander" not in said
    conn.rollback()
    assert delivery.deliver().calls == ()


def test_the_limit_counts_what_handlers_cause(dsn: str, conn: Database) -> None:
    app = app_with(Notes())
    app.watch("notes")
    app.after("notes", name="other")(lambda event: None)
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users select n from generate_series(1, 5) as n")
    assert len(delivery.deliver(limit=5)["other"]) == 5


# Handlers that fail


def test_a_handlers_own_exception_comes_through(dsn: str, conn: Database) -> None:
    handler = Notes(lambda event: event.key["id"] == 2)
    app = app_with(handler)
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    with pytest.raises(LookupError, match="told to fail"):
        delivery.deliver()
    assert noted(conn) == ["insert 1"]
    handler.fails = lambda event: False
    assert keys(delivery.deliver()[handler]) == [2, 3]
    assert noted(conn) == ["insert 1", "insert 2", "insert 3"]


def test_the_transaction_survives_an_error_of_the_database(dsn: str, conn: Database) -> None:
    app = app_with(lambda conn: conn.execute("select 1 / 0"))
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    with acting(conn, actor="ann"):
        conn.execute("insert into users values (1, 'a', 1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            delivery.deliver()
        conn.execute("insert into users values (2, 'b', 2)")
    log = "select actor from rowcall.event where operation = 'insert' order by seq"
    assert conn.execute(log).fetchall() == [("ann",), ("ann",)]


def test_failures_can_be_collected_and_hold_up_their_own_row_only(dsn: str, conn: Database) -> None:
    handler = Notes(lambda event: event.key["id"] == 2 and event.operation == "insert")
    app = app_with(handler)
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'a', 1), (2, 'b', 2); update users set age = 0 where id = 2")
    conn.execute("update users set age = 0 where id = 1")
    delivered = delivery.deliver(collect=True)
    assert noted(conn) == ["insert 1", "update 1"]
    [failure] = delivered.failures
    assert (failure.handler, failure.event.key) == ("reader", {"id": 2})
    assert isinstance(failure.error, LookupError)
    handler.fails = lambda event: False
    assert [event.operation for event in delivery.deliver(collect=True)[handler]] == ["insert", "update"]


def test_of_a_batch_that_failed_the_culprit_is_found(dsn: str, conn: Database) -> None:
    def take(events: list[Event], conn: Database) -> None:
        for event in events:
            conn.execute("insert into notes (what) values (%s)", (str(event.key["id"]),))
            if event.key["id"] == 2:
                raise Retry("later", delay=60)

    app = app_with(take)
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    with pytest.raises(Retry):
        delivery.deliver()
    assert noted(conn) == []
    delivered = delivery.deliver(collect=True)
    assert noted(conn) == ["1", "3"]
    assert [(failure.event.key["id"], type(failure.error)) for failure in delivered.failures] == [(2, Retry)]


@pytest.mark.parametrize(
    ("statement", "what"), [("select 1 / 0", "it swallowed an error"), ("rollback", "it ended the transaction")]
)
def test_what_a_handler_must_not_do_with_its_transaction(
    dsn: str, connect: Connect, tables: None, statement: str, what: str
) -> None:
    def spoil(conn: Database) -> None:
        with suppress(psycopg.Error):
            conn.execute(statement)

    app = app_with(spoil)
    sync(app, dsn)
    conn = connect(autocommit=True)
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'a', 1)")
    with pytest.raises(errors.HandlerError, match=what):
        delivery.deliver()


# What is in the way


def test_without_rowcall_or_the_watch_it_says_what_to_do(
    conn: Database, connect: Connect, empty_dsn: str, tables: None
) -> None:
    app = app_with(lambda event: None)
    with pytest.raises(errors.SchemaError, match=r"is not installed in database .*: call rowcall\.testing\.install"):
        Delivery.over(app, connect(empty_dsn))
    with pytest.raises(
        errors.UsageError, match=r"public\.users, which is not watched in database .* rowcall\.testing\.install"
    ):
        Delivery.over(app, conn)
    with pytest.raises(errors.UsageError, match="There is no table nothing in database"):
        Delivery.over(app_with(lambda event: None, "nothing"), conn)


def test_an_async_handler_needs_an_async_connection(dsn: str, conn: Database) -> None:
    async def handler(event: Event) -> None:
        raise AssertionError

    app = app_with(handler)
    sync(app, dsn)
    delivery = Delivery.over(app, conn)
    assert delivery.deliver(collect=True).calls == ()
    conn.execute("insert into users values (1, 'a', 1)")
    with pytest.raises(errors.UsageError, match=r"reader is async.*await AsyncDelivery\.over.*handlers=\[…\]"):
        delivery.deliver(collect=True)


@pytest.mark.parametrize("subject", ["postgresql://", None, object()])
def test_what_is_no_connection_is_refused(notes: Rowcall, subject: Any) -> None:
    with pytest.raises(errors.UsageError, match="is no connection that works here: pass one of psycopg 3"):
        Delivery.over(notes, subject)
