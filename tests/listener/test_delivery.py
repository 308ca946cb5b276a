"""In order, once, and nothing lost: windows, failures, retries."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isnan
from typing import Any
from uuid import UUID

import pytest

from rowcall import Event, Retry, Rowcall, errors
from rowcall.listener import retry, subscription, worker
from tests.conftest import Connect, Database
from tests.listeners import drain, sync


class Recorder:
    """A handler that notes what it was called with, and fails where it is told to.

    What it sees again counts from then on only, as what it had written before was rolled back.
    """

    def __init__(self, fails: Callable[[Event], bool] = lambda event: False) -> None:
        self.events: list[Event] = []
        self.fails = fails

    def __call__(self, event: Event) -> None:
        if self.fails(event):
            raise LookupError("told to fail")
        self.events = [other for other in self.events if other.seq != event.seq] + [event]

    @property
    def ages(self) -> list[int]:
        return [event.new["age"] for event in self.events if event.new]


def app_with(handler: Any, subject: str = "users", **options: Any) -> Rowcall:
    app = Rowcall()
    app.watch("users")
    app.after(subject, name="reader", **options)(handler)
    return app


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def app(dsn: str, database: Database, recorder: Recorder) -> Rowcall:
    app = app_with(recorder)
    sync(app, dsn)
    return app


def insert(database: Database, *rows: tuple[int, int]) -> None:
    for key, age in rows:
        database.execute("insert into users values (%s, 'x', %s)", (key, age))


def parked(database: Database) -> list[tuple[int, int, bool]]:
    """Key, attempts and death of what is parked, in order."""
    query = "select (key ->> 'id')::int, attempts, dead from rowcall.parked order by seq"
    return database.execute(query).fetchall()


def make_due(database: Database) -> None:
    database.execute("update rowcall.parked set due_at = now()")


def delivered(database: Database) -> int:
    row = database.execute("select sum(delivered) from rowcall.cursor").fetchone()
    assert row
    return int(row[0])


def test_transactions_that_commit_out_of_order(
    dsn: str, database: Database, app: Rowcall, recorder: Recorder, connect: Connect
) -> None:
    insert(database, (1, 0))
    slow = connect()
    slow.execute("insert into users values (2, 'slow', 1)")
    insert(database, (3, 2))
    drain(app, dsn)
    assert recorder.ages == [0, 2]
    database.execute("update users set age = 3 where id = 3")
    slow.execute("update users set age = 4 where id = 2")
    drain(app, dsn)
    slow.commit()
    # The row changed by two transactions that overlap: the second waits for the first, whatever their ids.
    drain(app, dsn)
    assert recorder.ages == [0, 2, 3, 1, 4]
    assert delivered(database) == 5


def test_a_transaction_that_began_later_and_wrote_the_row_first(
    dsn: str, database: Database, app: Rowcall, recorder: Recorder, connect: Connect
) -> None:
    insert(database, (1, 0))
    drain(app, dsn)
    older, younger = connect(), connect()
    older.execute("select pg_current_xact_id()")
    younger.execute("update users set age = 1 where id = 1")
    younger.commit()
    older.execute("update users set age = 2 where id = 1")
    older.commit()
    drain(app, dsn)
    assert recorder.ages == [0, 1, 2]


def test_long_open_transactions_hold_nothing_up(
    database: Database, app: Rowcall, recorder: Recorder, connect: Connect, empty_dsn: str
) -> None:
    dsn, here, elsewhere = database.info.dsn, connect(), connect(empty_dsn)
    here.execute("insert into users values (9, 'open', 9)")
    elsewhere.execute("create table t (id int)")
    for age in range(3):
        insert(database, (age, age))
        drain(app, dsn)
    assert recorder.ages == [0, 1, 2]
    here.commit()
    drain(app, dsn)
    assert recorder.ages == [0, 1, 2, 9]


def test_what_was_rolled_back_is_not_delivered(
    dsn: str, database: Database, app: Rowcall, recorder: Recorder, connect: Connect
) -> None:
    writer = connect()
    writer.execute("insert into users values (1, 'x', 1)")
    writer.execute("savepoint s")
    writer.execute("insert into users values (2, 'x', 2)")
    writer.execute("rollback to s")
    writer.commit()
    writer.execute("insert into users values (3, 'x', 3)")
    writer.rollback()
    drain(app, dsn)
    assert recorder.ages == [1]


def test_a_window_of_many_slices_arrives_once_and_in_order(dsn: str, database: Database, recorder: Recorder) -> None:
    app = app_with(recorder)
    sync(app, dsn)
    count = 3 * subscription.SLICE + 7
    database.execute("insert into users select n, 'x', n from generate_series(1, %s) as n", (count,))
    drain(app, dsn)
    assert recorder.ages == list(range(1, count + 1))


def test_a_new_subscription_starts_when_it_is_made(dsn: str, database: Database, recorder: Recorder) -> None:
    sync(app_with(Recorder(), "users"), dsn, "other")
    insert(database, (1, 1))
    app = Rowcall("mine")
    app.after("users", name="later")(recorder)
    sync(app, dsn, "mine")
    insert(database, (2, 2))
    drain(app, dsn)
    assert recorder.ages == [2]


def test_only_the_failing_key_waits(dsn: str, database: Database) -> None:
    broken = True
    recorder = Recorder(lambda event: broken and event.key["id"] == 2)
    app = app_with(recorder)
    sync(app, dsn)
    insert(database, (1, 10), (2, 20), (3, 30))
    database.execute("update users set age = age + 1")
    drain(app, dsn)
    assert recorder.ages == [10, 30, 11, 31]
    assert parked(database) == [(2, 1, False), (2, 0, False)]
    # Later ones line up behind, also in another life of the listener.
    database.execute("update users set age = 22 where id = 2")
    drain(app, dsn)
    assert parked(database) == [(2, 1, False), (2, 0, False), (2, 0, False)]
    broken = False
    make_due(database)
    drain(app, dsn)
    assert recorder.ages == [10, 30, 11, 31, 20, 21, 22]
    assert parked(database) == []
    assert delivered(database) == 7


def test_an_event_is_handled_twice_at_most_however_many_others_fail(dsn: str, database: Database) -> None:
    calls: list[int] = []

    def handler(event: Event) -> None:
        calls.append(event.key["id"])
        if event.key["id"] % 5 == 0:
            raise ValueError

    app = app_with(handler)
    sync(app, dsn)
    database.execute("insert into users select n, 'x', n from generate_series(1, 100) as n")
    drain(app, dsn)
    assert len(parked(database)) == 20
    assert max(calls.count(key) for key in range(1, 101)) == 2
    assert delivered(database) == 80


def test_a_failing_event_is_found_within_its_batch(dsn: str, database: Database) -> None:
    done: list[int] = []

    def handler(events: list[Event]) -> None:
        if any(event.key["id"] == 13 for event in events):
            raise ValueError
        done.extend(event.key["id"] for event in events)

    app = app_with(handler, batch=10)
    sync(app, dsn)
    database.execute("insert into users select n, 'x', n from generate_series(1, 40) as n")
    drain(app, dsn)
    assert parked(database) == [(13, 1, False)]
    # Handlers may see an event again; what matters is that each was seen after everything before it of its key.
    assert set(done) == set(range(1, 41)) - {13}


def test_a_changed_key_is_in_the_history_of_both(dsn: str, database: Database) -> None:
    broken = True
    recorder = Recorder(lambda event: broken and event.changed == ("id",))
    app = app_with(recorder)
    sync(app, dsn)
    insert(database, (1, 1), (5, 5))
    database.execute("update users set id = 2 where id = 1")
    database.execute("update users set age = 20 where id = 2")
    insert(database, (1, 10))
    database.execute("update users set age = 50 where id = 5")
    drain(app, dsn)
    assert recorder.ages == [1, 5, 50]
    assert len(parked(database)) == 3
    make_due(database)
    drain(app, dsn)
    assert recorder.ages == [1, 5, 50]
    broken = False
    make_due(database)
    drain(app, dsn)
    assert recorder.ages == [1, 5, 50, 1, 20, 10]
    assert parked(database) == []


def test_a_truncate_is_in_the_history_of_every_key(dsn: str, database: Database) -> None:
    broken = True
    recorder = Recorder(lambda event: broken and (event.operation == "truncate" or event.key.get("id") == 1))
    app = app_with(recorder)
    sync(app, dsn)
    insert(database, (1, 1), (2, 2))
    database.execute("truncate users")
    insert(database, (3, 3))
    drain(app, dsn)
    assert recorder.ages == [2]
    assert [row[0] for row in parked(database)] == [1, None, 3]
    broken = False
    make_due(database)
    drain(app, dsn)
    assert [event.operation for event in recorder.events] == ["insert", "insert", "truncate", "insert"]
    assert recorder.ages == [2, 1, 3]


def test_retry_comes_back_when_it_asked_to(dsn: str, database: Database) -> None:
    attempts: list[int] = []

    def handler(event: Event) -> None:
        attempts.append(event.key["id"])
        if len(attempts) < 3:
            raise Retry(delay=0 if len(attempts) == 1 else 3600)

    app = app_with(handler)
    sync(app, dsn)
    insert(database, (1, 1))
    assert drain(app, dsn).waiting == 1
    assert len(attempts) == 2
    row = database.execute("select attempts, due_at - now() > '59 min', error from rowcall.parked").fetchone()
    assert row == (2, True, "Retry: retry requested")
    make_due(database)
    assert drain(app, dsn).waiting == 0
    assert len(attempts) == 3


def test_ten_attempts_and_an_event_is_dead(dsn: str, database: Database) -> None:
    attempts: list[int] = []

    def handler(event: Event) -> None:
        attempts.append(event.key["id"])
        if event.key["id"] == 1:
            raise Retry("not yet", delay=0)

    app = app_with(handler)
    sync(app, dsn)
    insert(database, (1, 1))
    left = drain(app, dsn)
    assert (left.waiting, left.dead) == (0, 1)
    assert attempts == [1] * retry.MAX_ATTEMPTS
    assert parked(database) == [(1, 10, True)]
    # Nothing failing is forgotten: its key goes on waiting, others do not, and nobody tries it again.
    database.execute("update users set age = 2")
    insert(database, (2, 2))
    left = drain(app, dsn)
    assert (left.waiting, left.dead) == (1, 1)
    assert attempts == [1] * retry.MAX_ATTEMPTS + [2]


def test_the_backoff_doubles_from_a_second_to_an_hour() -> None:
    longest = [max(retry.delay_after(attempt, ValueError()) for _ in range(50)) for attempt in (1, 2, 5, 30)]
    assert longest[0] <= 1 < longest[1] <= 2 < longest[2] <= 16 < longest[3] <= 3600
    assert retry.delay_after(3, Retry(delay=7)) == 7
    assert retry.delay_after(3, Retry(delay=-1)) == 0


def test_a_subscription_that_reads_little_writes_its_place_down_now_and_then(
    dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch, app: Rowcall
) -> None:
    lower = "select lower::text from rowcall.cursor"
    before = database.execute(lower).fetchone()
    drain(app, dsn)
    assert database.execute(lower).fetchone() == before
    monkeypatch.setattr(worker, "STRIDE", 3)
    for _ in range(3):
        database.execute("select pg_current_xact_id()")
    drain(app, dsn)
    assert database.execute(lower).fetchone() != before


def test_a_subscription_somebody_dropped_is_named(dsn: str, database: Database, app: Rowcall) -> None:
    database.execute("delete from rowcall.subscription")
    with pytest.raises(errors.UsageError, match=r'no subscription reader any more: "rowcall sync" creates it'):
        drain(app, dsn)


def test_one_that_is_dropped_while_it_is_read_delivers_nothing_more(
    dsn: str, database: Database, connect: Connect
) -> None:
    other = connect(autocommit=True)

    def handler(event: Event, conn: Database) -> None:
        conn.execute("insert into seen (what) values ('x')")
        other.execute("delete from rowcall.subscription")

    app = app_with(handler)
    sync(app, dsn)
    insert(database, (1, 1))
    with pytest.raises(errors.UsageError, match="was dropped or changed while it was read"):
        drain(app, dsn)
    assert database.execute("select count(*) from seen").fetchone() == (0,)


def test_selection_happens_by_table_operation_and_column(dsn: str, database: Database) -> None:
    database.execute(
        "create schema shop create table orders (id int primary key, total int) create table items (id int)"
    )
    database.execute("create table orders (id int primary key, total int)")
    app = Rowcall()
    for table in ("users", "shop.orders", "shop.items", "orders"):
        app.watch(table)
    found: dict[str, list[str]] = {}

    def reader(name: str, subject: str, **options: Any) -> None:
        events = found.setdefault(name, [])
        app.after(subject, name=name, **options)(lambda event: events.append(f"{event.operation} {event.table}"))

    reader("all of shop", "shop.*")
    reader("orders anywhere", "*.orders", on="insert")
    reader("unqualified", "orders")
    reader("totals", "*", columns="total", on=["update", "delete"])
    reader("quoted", '"shop"."orders"', on="update")
    sync(app, dsn)
    database.execute("insert into shop.orders values (1, 1); insert into orders values (1, 1)")
    database.execute("insert into shop.items values (1); insert into users values (1, 'x', 1)")
    database.execute("update shop.orders set total = 2; update shop.orders set id = 2; update users set age = 2")
    database.execute("delete from orders; truncate shop.items")
    drain(app, dsn)
    assert found == {
        "all of shop": [
            "insert shop.orders",
            "insert shop.items",
            "update shop.orders",
            "update shop.orders",
            "truncate shop.items",
        ],
        "orders anywhere": ["insert shop.orders", "insert public.orders"],
        "unqualified": ["insert public.orders", "delete public.orders"],
        "totals": ["update shop.orders", "delete public.orders"],
        "quoted": ["update shop.orders", "update shop.orders"],
    }


VALUES = {
    "numeric(12,2)": ("1234567890.10", Decimal("1234567890.10")),
    "numeric": ("123456789012345678901234567890.123456789", Decimal("123456789012345678901234567890.123456789")),
    "bigint": ("9223372036854775807", 2**63 - 1),
    "double precision": ("'Infinity'", float("inf")),
    "real": ("0.1", 0.1),
    "timestamptz": ("'2026-11-22 12:00:00.5+02'", datetime(2026, 11, 22, 10, 0, 0, 500000, UTC)),
    "timestamp": ("'2026-11-22 12:00'", datetime(2026, 11, 22, 12)),  # noqa: DTZ001 - as the type says
    "date": ("'2026-11-22'", date(2026, 11, 22)),
    "uuid": ("'6F9619FF-8B86-D011-B42D-00CF4FC964FF'", UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")),
    "bytea": (r"'\x00ff'", b"\x00\xff"),
    "jsonb": ("""'{"a": [1, 2.5, null]}'""", {"a": [1, 2.5, None]}),
    "json": ("""'{"a":  1, "a": 2}'""", {"a": 2}),
    "text": ("'größe \"x\" \\ \U0001f600'", 'größe "x" \\ \U0001f600'),
    "boolean": ("true", True),
    "int[]": ("'{{1,2},{3,null}}'", [[1, 2], [3, None]]),
    "numeric[]": ("'{1.10,2}'", [Decimal("1.10"), Decimal(2)]),
    "text[]": ("""'{"a,b",null}'""", ["a,b", None]),
    "timestamptz[]": ("'{2026-11-22 10:00+00}'", [datetime(2026, 11, 22, 10, tzinfo=UTC)]),
    "interval": ("'1 day 02:00'", "1 day 02:00:00"),
    "int4range": ("'[1,5)'", "[1,5)"),
}
STRINGS = {"timestamptz": "0044-03-15T12:00:00+00:00 BC", "date": "0044-03-15 BC", "timestamp": "infinity"}


def test_values_arrive_as_python_means_them(dsn: str, database: Database, recorder: Recorder) -> None:
    columns = [f"c{number} {kind}" for number, kind in enumerate(VALUES)]
    database.execute(f"create table kinds (id int primary key, {', '.join(columns)}, bc timestamptz, odd float8)")
    app = Rowcall()
    app.watch("kinds")
    app.after("kinds", name="kinds")(recorder)
    sync(app, dsn)
    literals = ", ".join(literal for literal, _ in VALUES.values())
    database.execute("set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set extra_float_digits = -3")
    database.execute(f"insert into kinds values (1, {literals}, '0044-03-15 12:00+00 BC', 'NaN')")
    drain(app, dsn)
    [event] = recorder.events
    assert event.new
    for number, (kind, (_, value)) in enumerate(VALUES.items()):
        found = event.new[f"c{number}"]
        assert (kind, type(found), found) == (kind, type(value), value)
        assert kind != "numeric(12,2)" or str(found) == "1234567890.10"
    assert event.new["bc"] == STRINGS["timestamptz"]
    assert isnan(event.new["odd"])


def test_layouts_change_and_each_event_is_read_by_its_own(dsn: str, database: Database, recorder: Recorder) -> None:
    app = app_with(recorder)
    sync(app, dsn)
    insert(database, (1, 1))
    database.execute("alter table users alter age type numeric(5,1)")
    database.execute("alter table users add born date")
    sync(app, dsn)
    database.execute("insert into users values (2, 'x', 2, '2026-11-22')")
    database.execute("alter table users drop born")
    database.execute("alter table users alter age type text")
    sync(app, dsn)
    database.execute("update users set age = 'three' where id = 2")
    drain(app, dsn)
    first, second, third = (event.new or {} for event in recorder.events)
    assert (first["age"], type(first["age"])) == (1, int)
    assert (second["age"], type(second["age"]), second["born"]) == (Decimal("2.0"), Decimal, date(2026, 11, 22))
    assert third == {"id": 2, "name": "x", "age": "three"}


def test_a_layout_that_was_committed_late_is_not_missed(
    dsn: str, database: Database, recorder: Recorder, connect: Connect
) -> None:
    """Of two layouts made at once, the one that drew the smaller number commits last, under a running listener."""
    database.execute("create table one (id int primary key); create table two (id int primary key)")
    late = connect()

    def commit_late(event: Event) -> None:
        recorder(event)
        if event.table == "public.two":
            late.commit()
            database.execute("insert into one values (1, '2026-11-22')")

    app = app_with(commit_late, "*")
    app.watch("one")
    sync(app, dsn)
    late.execute("alter table one add at date")
    late.execute("select rowcall.record_layout_v1(id) from rowcall.relation where table_name = 'one'")
    database.execute("select rowcall.watch_v1('two', '{}', 'early')")
    database.execute("insert into two values (1)")
    drain(app, dsn)
    assert [event.table for event in recorder.events] == ["public.two", "public.one"]
    assert recorder.events[1].new == {"id": 1, "at": date(2026, 11, 22)}


def test_a_renamed_table_keeps_its_place_under_its_new_name(dsn: str, database: Database, recorder: Recorder) -> None:
    app = app_with(recorder, "*")
    sync(app, dsn)
    insert(database, (1, 1))
    database.execute("alter table users rename to people")
    people = Rowcall()
    people.watch("people")
    people.after("*", name="reader")(recorder)
    sync(people, dsn)
    database.execute("insert into people values (2, 'x', 2)")
    drain(people, dsn)
    assert [event.table for event in recorder.events] == ["public.people", "public.people"]
    assert replace(recorder.events[0]).relation == recorder.events[1].relation
