"""Backfills: one snapshot event for each row that was there, however people write meanwhile."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rowcall import Event, Rowcall, errors
from rowcall.postgres import backfill, connection, subscriptions, tables
from tests.capture.replay import Replica
from tests.conftest import Connect, Database
from tests.listeners import NAME, sync
from tests.writers import KINDS, fill_table, write, writing

#: ROWCALL_BACKFILL_SEEDS=200 tries so many programs of each kind instead of the few that a test run has time for.
SEEDS = int(os.environ.get("ROWCALL_BACKFILL_SEEDS", "4"))

#: A row of the table as text, which tells apart whatever differs.
Content = list[str]


def app_for(*subjects: str, watched: tuple[str, ...] = (), **options: Any) -> Rowcall:
    made = Rowcall()
    for subject in watched or subjects:
        made.watch(subject, **options)
    for subject in subjects:
        made.after(subject, name=f"fill {subject}", start="backfill")(handle)
    return made


def handle(event: Event) -> None:
    del event


def fill(dsn: str) -> int:
    with connection.connect(dsn) as admin:
        return sum(backfill.run(admin, pending) for pending in backfill.pending(admin, NAME))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "CHUNK", 7)
    monkeypatch.setattr(backfill, "LARGEST", 7)


def begin(dsn: str, app: Rowcall, table: str) -> Content:
    """Create an app's subscriptions; the rows that are there at that moment, by the same snapshot."""
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        moment = subscriptions.this_moment(reader)
        rows = content(reader, table)
        with connection.connect(dsn) as admin:
            subscriptions.create_missing(admin, app, tables.subjects(admin, app).topics, NAME, moment)
    return rows


def content(reader: Database, table: str) -> Content:
    rows = reader.execute(sql.SQL("select to_jsonb(t.*)::text from {} as t").format(sql.SQL(table)))
    return sorted(text for (text,) in rows)


def snapshot_rows(database: Database) -> Content:
    rows = database.execute("select new::jsonb::text from rowcall.event where operation = 'snapshot'")
    return sorted(text for (text,) in rows)


class FromTheBackfill(Replica):
    """A table as a subscription that began with a backfill sees it."""

    def begin(self) -> None:
        for (image,) in self._connection.execute(
            "select new::text from rowcall.event where operation = 'snapshot'"
        ).fetchall():
            self._connection.execute(self._insertion(), [image])

    def go_on(self) -> None:
        query = """
            select e.operation::text, e.new::text, rowcall.old_image_v1(e.old, e.new)::text
            from rowcall.event as e, rowcall.cursor as c
            where not pg_visible_in_snapshot(e.xid, c.lower) and e.operation <> 'snapshot' order by seq"""
        for operation, new, old in self._connection.execute(query).fetchall():
            self._apply(operation, old, new)


def assert_exact(dsn: str, table: str, before: Content) -> None:
    """The snapshot events are the rows at the beginning; with all later events they come to the table as it is."""
    with psycopg.connect(dsn, autocommit=True) as reader:
        assert snapshot_rows(reader) == before
        replica = FromTheBackfill(reader, table)
        replica.begin()
        replica.go_on()
        assert replica.differences() == []


@contextmanager
def between_chunks(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> Iterator[None]:
    """Do something before each transaction of a backfill."""
    steps = 0
    step = backfill._step

    def acting(*arguments: Any) -> Any:
        nonlocal steps
        if arguments[2] in ("chunk", "rest"):
            act(steps)
            steps += 1
        return step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(backfill, "_step", acting)
        yield


def test_a_quiet_table(dsn: str, database: Database) -> None:
    database.execute("insert into users select n, 'x' || n, n % 9 from generate_series(1, 50) as n")
    app = app_for("users")
    sync(app, dsn)
    row = database.execute("select ready, stage from rowcall.subscription join rowcall.cursor on true").fetchone()
    assert row == (False, None)
    assert fill(dsn) == 50
    assert_exact(dsn, "users", content(database, "users"))
    first, last = database.execute("select min(seq), max(seq) from rowcall.event").fetchone() or (0, 0)
    cursor = "select ready, stage::text, stage_seq, stage_until from rowcall.subscription join rowcall.cursor on true"
    assert database.execute(cursor).fetchone() == (True, "backfill", first - 1, last)
    events = database.execute(
        "select distinct operation::text, context, actor, old::text, key = jsonb_build_object('id', new::jsonb -> 'id')"
        " from rowcall.event"
    ).fetchall()
    number = database.execute("select id from rowcall.subscription").fetchone() or (0,)
    assert events == [("snapshot", {"backfill": number[0]}, None, None, True)]
    # Once.
    assert fill(dsn) == 0
    assert sync(app, dsn) == ["watch public.users unchanged"]


def test_an_empty_table(dsn: str, database: Database) -> None:
    sync(app_for("users"), dsn)
    assert fill(dsn) == 0
    row = database.execute("select ready, stage from rowcall.subscription join rowcall.cursor on true").fetchone()
    assert row == (True, None)


def test_a_pattern_of_which_nothing_is_watched(dsn: str, database: Database) -> None:
    sync(app_for("nothing.*", watched=("users",)), dsn)
    assert fill(dsn) == 0
    assert database.execute("select ready from rowcall.subscription").fetchone() == (True,)


def test_a_pattern_takes_every_watched_table(dsn: str, database: Database) -> None:
    database.execute("create table user_roles (role text); create table others (id int primary key)")
    database.execute(
        "insert into users values (1); insert into user_roles values ('a'), ('b'); insert into others values (1)"
    )
    sync(app_for("user*", watched=("users", "user_roles", "others")), dsn)
    assert fill(dsn) == 3


def test_hidden_columns_stay_hidden(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'secret', 36)")
    sync(app_for("users", exclude="age", redact="name"), dsn)
    fill(dsn)
    database.execute("update users set age = 1")
    database.execute("update users set name = 'other'")
    [(image,), (redacted,)] = database.execute(
        "select coalesce(rowcall.old_image_v1(old, new), new::jsonb) from rowcall.event order by seq"
    ).fetchall()
    assert image == redacted
    assert image["name"].startswith("hmac-sha256:")
    assert set(image) == {"id", "name"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_happens_between_the_chunks(
    dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, kind: str, seed: int
) -> None:
    chance = random.Random(f"{kind} {seed}")
    writer = connect(autocommit=True)
    fill_table(writer, kind)
    watching = Rowcall()
    watching.watch("t")
    sync(watching, dsn)
    app = app_for("t")
    write(writer, chance, 10)
    # One that is under way at the beginning.
    late = connect()
    write_late = [
        f"update t set v = 7 where id = {chance.randint(1, 40)}",
        f"delete from t where id = {chance.randint(1, 40)}",
    ]
    for statement in write_late:
        late.execute(statement)
    before = begin(dsn, app, "t")
    steps = chance.randint(0, 3)

    def act(step: int) -> None:
        if step == steps:
            late.commit()
        elif step > steps:
            write(writer, chance, chance.randint(0, 12))

    with between_chunks(monkeypatch, act):
        fill(dsn)
    late.commit()
    write(writer, chance, 5)
    assert_exact(dsn, "t", before)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_writers_all_the_while(dsn: str, connect: Connect, kind: str) -> None:
    database = connect(autocommit=True)
    fill_table(database, kind)
    watching = Rowcall()
    watching.watch("t")
    sync(watching, dsn)
    with writing(dsn):
        before = begin(dsn, app_for("t"), "t")
        fill(dsn)
    assert_exact(dsn, "t", before)


def test_it_goes_on_after_a_crash(dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("insert into users select n from generate_series(1, 40) as n")
    sync(app_for("users"), dsn)
    before = content(database, "users")

    def die(step: int) -> None:
        database.execute("update users set age = %s where id = %s", (step, 40 - step))
        if step == 3:
            raise KeyboardInterrupt

    with between_chunks(monkeypatch, die), pytest.raises(KeyboardInterrupt):
        fill(dsn)
    with connection.connect(dsn) as admin:
        [pending] = backfill.pending(admin, NAME)
        assert [part.events for part in pending.parts] == [21]
        assert backfill.run(admin, pending) == 40
    assert_exact(dsn, "users", before)


def test_two_at_once_take_turns(dsn: str, database: Database) -> None:
    database.execute("insert into users select n from generate_series(1, 300) as n")
    sync(app_for("users"), dsn)
    done: list[int] = []
    threads = [threading.Thread(target=lambda: done.append(fill(dsn))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    assert_exact(dsn, "users", content(database, "users"))


@pytest.mark.parametrize("truncate", ["event", "rows"])
def test_a_truncate_meanwhile(dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch, truncate: str) -> None:
    database.execute("insert into users select n from generate_series(1, 20) as n")
    sync(app_for("users", truncate=truncate), dsn)
    before = content(database, "users")

    def empty(step: int) -> None:
        if step == 1:
            database.execute("truncate users; insert into users values (1)")

    with between_chunks(monkeypatch, empty):
        if truncate == "rows":
            fill(dsn)
            assert_exact(dsn, "users", before)
            return
        with pytest.raises(errors.NotFilled) as caught:
            fill(dsn)
    assert str(caught.value) == (
        "The backfill of fill users cannot be completed, because public.users was truncated meanwhile, and its watch does not"
        ' record which rows that took: run rowcall subscriptions drop "fill users", then rowcall sync, which begins anew.'
    )
    with connection.connect(dsn) as admin:
        subscriptions.drop(admin, "fill users")
    sync(app_for("users"), dsn)
    assert fill(dsn) == 1


def test_columns_that_come_meanwhile(dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("insert into users select n, 'x', n from generate_series(1, 20) as n")
    sync(app_for("users"), dsn)

    def alter(step: int) -> None:
        if step == 1:
            database.execute("update users set age = 0 where id in (2, 19); insert into users values (30, 'x', 1)")
            database.execute("alter table users add column more int default 5")
            database.execute("update users set more = 6 where id in (3, 19, 20); delete from users where id = 30")

    with between_chunks(monkeypatch, alter):
        assert fill(dsn) == 20
    keys = database.execute(
        "select key ->> 'id' from rowcall.event where operation = 'snapshot' order by (key ->> 'id')::int"
    )
    assert [int(key) for (key,) in keys] == list(range(1, 21))


def test_a_key_that_changes_meanwhile(dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("insert into users select n, 'x' || n, n from generate_series(1, 20) as n")
    sync(app_for("users"), dsn)

    def alter(step: int) -> None:
        if step == 1:
            database.execute("alter table users drop constraint users_pkey, add primary key (name)")

    with between_chunks(monkeypatch, alter), pytest.raises(errors.NotFilled, match="the key of public.users changed"):
        fill(dsn)


def test_row_level_security_hides_nothing(dsn: str, database: Database) -> None:
    database.execute("insert into users select n, 'x', n from generate_series(1, 5) as n")
    database.execute("create role clerk login; alter table users enable row level security")
    database.execute("create policy few on users using (id < 3)")
    try:
        sync(app_for("users"), dsn)
        database.execute("grant select on users to clerk; grant usage on schema rowcall to clerk")
        database.execute(
            "grant all on all tables in schema rowcall to clerk; grant all on all sequences in schema rowcall to clerk"
        )
        database.execute("grant execute on all functions in schema rowcall to clerk")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            fill(dsn.replace("postgres@", "clerk@"))
        assert snapshot_rows(database) == []
        assert fill(dsn) == 5
    finally:
        database.execute("drop owned by clerk; drop role clerk")


KEYS = {
    'text collate "C"': ["b", "a", "Z", "", "ä"],
    "text": ["b", "a", "Z", "", "ä"],
    "float8": ["1e300", "-0", "NaN", "Infinity", "0.1"],
    "numeric": ["1.50", "NaN", "-3", "1e40"],
    "timestamptz": ["2020-01-01 00:00+05", "infinity", "-infinity", "0044-03-15 12:00+00 BC"],
    "bytea": ["\\x00ff", "\\x", "\\x7f"],
    "int[]": ["{1,2}", "{}", "{NULL,1}", "[0:1]={1,2}"],
    "uuid": ["00000000-0000-0000-0000-000000000001", "ffffffff-0000-0000-0000-000000000001"],
    "interval": ["1 mon", "29 days 1:00", "-1 day"],
    "mood": ["sad", "ok", "happy"],
    "int4range": ["[1,3)", "empty", "(,5)"],
    "citext": ["b", "A", "C", "d"],
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_any_type(dsn: str, database: Database, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "CHUNK", 1)
    monkeypatch.setattr(backfill, "LARGEST", 1)
    database.execute("create type mood as enum ('sad', 'ok', 'happy')")
    if kind == "citext":
        database.execute("create extension citext")
    database.execute(
        f"create table t (n int, k {kind}, primary key (k, n))".replace("(k, n)", "(k)" if len(kind) % 2 else "(k, n)")
    )
    for number, value in enumerate(KEYS[kind]):
        database.execute(f"insert into t values (%s, %s::{kind.partition(' ')[0]})", (number, value))
    database.execute("set timezone = 'Asia/Tokyo'; set intervalstyle = 'sql_standard'")
    sync(app_for("t"), dsn)
    assert fill(dsn) == len(KEYS[kind])
    numbers = database.execute("select (new ->> 'n')::int from rowcall.event where operation = 'snapshot' order by 1")
    assert [number for (number,) in numbers] == list(range(len(KEYS[kind])))
