"""Tables change while they are watched: no write fails, events say what happened, history stays together."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rowcall import embedded
from rowcall.migrate import upgrade
from tests.capture.conftest import Place

_TRIGGERS = ("rowcall_follow_ddl", "rowcall_follow_drop")


@pytest.fixture(params=["at once", "before capture is generated anew"])
def follows(request: pytest.FixtureRequest, place: Place) -> Iterator[bool]:
    """Whether an event trigger regenerates capture, or is not permitted, as on many hosted servers."""
    if request.param == "at once":
        yield True
        return
    _alter_event_triggers(place, "disable")
    yield False
    place.run("rollback")
    _alter_event_triggers(place, "enable")


def _alter_event_triggers(place: Place, action: str) -> None:
    for name in _TRIGGERS:
        place.connection.execute(sql.SQL("alter event trigger {} " + action).format(sql.Identifier(name)))


@pytest.fixture
def t(place: Place, follows: bool) -> Place:
    """A watched table, and a session that has its plans cached."""
    place.run("create type mood as enum ('sad', 'ok')")
    place.table("id integer primary key, a text, b integer, c float8, d timestamptz")
    place.run(
        "insert into t values (1, 'a', 1, 1, now())", "update t set a = 'b'", "update t set b = 2", "delete from t"
    )
    return place


def open_session(place: Place) -> psycopg.Connection[Any]:
    return psycopg.connect(place.dsn, autocommit=True, options=f"-c search_path={place.schema}")


@dataclass(frozen=True, slots=True)
class Change:
    """DDL, and columns that can be written after it with two values each."""

    ddl: str
    key: str
    column: str
    values: tuple[str, str]


CHANGES: Sequence[Change] = (
    Change("alter table t add column e integer", "id", "e", ("1", "2")),
    Change("alter table t add column e integer default 7", "id", "a", ("'x'", "'y'")),
    Change("alter table t add column e mood", "id", "e", ("'sad'", "'ok'")),
    Change("alter table t add column e json default 'null'", "id", "e", ("'{}'", "'{ }'")),
    Change("alter table t add column e jsonb[]", "id", "e", ("array['null'::jsonb]", "null")),
    Change("alter table t add column e integer generated always as (b + 1) stored", "id", "b", ("1", "2")),
    Change("alter table t drop column a", "id", "b", ("1", "2")),
    Change("alter table t drop column a, drop column b, drop column c", "id", "d", ("now()", "null")),
    Change("alter table t drop column a, add column a integer", "id", "a", ("1", "2")),
    Change("alter table t drop column a, add column a mood", "id", "a", ("'sad'", "'ok'")),
    Change("alter table t add column e integer; alter table t drop column e; alter table t add column f integer", "id", "f", ("1", "2")),
    Change("alter table t rename column a to renamed", "id", "renamed", ("'x'", "'y'")),
    Change("alter table t rename column a to x; alter table t rename column b to a; alter table t rename column x to b", "id", "b", ("'x'", "'y'")),
    Change("alter table t rename column id to number", "number", "a", ("'x'", "'y'")),
    Change("alter table t alter a type varchar(10)", "id", "a", ("'x'", "'y'")),
    Change("alter table t alter a type integer using 1", "id", "a", ("1", "2")),
    Change("alter table t alter a type mood using 'sad'", "id", "a", ("'sad'", "'ok'")),
    Change("alter table t alter a type json using '1'", "id", "a", ("'1'", "'1 '")),
    Change("alter table t alter a type jsonb using '1'", "id", "a", ("'null'", "null")),
    Change("alter table t alter b type float8", "id", "b", ("'-0'", "0")),
    Change("alter table t alter b type float8[] using array[b]", "id", "b", ("'[0:0]={-0}'", "'{0}'")),
    Change("alter table t alter b type text", "id", "b", ("'x'", "'y'")),
    Change("alter table t alter c type numeric", "id", "c", ("1.0", "1.00")),
    Change("alter table t alter id type bigint", "id", "a", ("'x'", "'y'")),
    Change("alter table t alter id type text", "id", "a", ("'x'", "'y'")),
    Change("alter table t drop constraint t_pkey", "id", "a", ("'x'", "'y'")),
    Change("alter table t drop constraint t_pkey, add primary key (id, b)", "id, b", "a", ("'x'", "'y'")),
    Change("alter table t drop column id", "", "a", ("'x'", "'y'")),
    Change("alter table t alter b set default 3, alter a set not null, add check (b < 1000)", "id", "a", ("'x'", "'y'")),
    Change("alter table t rename to t2; alter table t2 rename to t", "id", "a", ("'x'", "'y'")),
    Change("alter type mood add value 'new'; alter type mood rename to temper", "id", "a", ("'x'", "'y'")),
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.ddl)
def test_writes_after_ddl_never_fail_and_are_logged_right(t: Place, follows: bool, change: Change) -> None:
    with open_session(t) as other, open_session(t) as altering:
        for session in (other, altering):
            session.execute("insert into t values (1, 'a', 1, 1, now())")
            session.execute("update t set a = 'b', b = 2")
            session.execute("delete from t")
        for statement in change.ddl.split(";"):
            altering.execute(statement.encode())
        with open_session(t) as fresh:
            for session in (altering, other, fresh, t.connection):
                _write_and_compare(t, session, change)


def _write_and_compare(place: Place, session: psycopg.Connection[Any], change: Change) -> None:
    """An insert, updates and a delete of one row, each compared with the row as it was before and after."""
    known = _last(session)
    names = [name for name in (*change.key.split(", "), change.column) if name]
    before, after = change.values
    values = ", ".join(["5"] * (len(names) - 1) + [before])
    session.execute(f"insert into t ({', '.join(names)}) values ({values})".encode())
    first = _row(session)
    session.execute(f"update t set {change.column} = {after}".encode())
    second = _row(session)
    session.execute(f"update t set {change.column} = {change.column}".encode())
    session.execute("delete from t")
    found = session.execute(
        "select operation::text, rowcall.old_image_v1(old, new) - '', new::jsonb - '' from rowcall.event"
        " where seq > %s and relation = (select id from rowcall.relation where oid = 't'::regclass) order by seq",
        [known],
    ).fetchall()
    assert found == [("insert", None, first), ("update", first, second), ("delete", second, None)]


def _last(session: psycopg.Connection[Any]) -> int:
    row = session.execute("select max(seq) from rowcall.event").fetchone()
    assert row is not None
    return int(row[0])


def _row(session: psycopg.Connection[Any]) -> Any:
    """The row as an image holds it, but for what JSON loses."""
    row = session.execute("select rowcall.fallback_image_v1(t.*, 't'::regclass, '{}') - '' from t").fetchone()
    assert row is not None
    return row[0]


def test_ddl_and_writes_in_one_transaction(t: Place, follows: bool) -> None:
    t.together(
        "insert into t (id, a) values (1, 'before')",
        "alter table t add column e integer default 3",
        "update t set e = 4",
        "alter table t drop column a",
        "update t set e = 5",
        "alter table t rename column e to f",
        "update t set f = 6",
        "delete from t",
    )
    events = [(event.operation, event.changed) for event in t.events()[-5:]]
    assert [operation for operation, _ in events] == ["insert", "update", "update", "update", "delete"]
    changed = [
        {name for name, value in (event.old or {}).items() if (event.new or {}).get(name) != value}
        for event in t.events()[-4:-1]
    ]
    assert changed == [{"e"}, {"e"}, {"f"}]


def test_a_rolled_back_change_changes_nothing(t: Place, follows: bool) -> None:
    with t.connection.transaction(force_rollback=True):
        t.run("alter table t drop column a", "insert into t (id) values (9)")
    t.run("insert into t (id, a) values (1, 'x')", "update t set a = 'y'")
    assert [event.new["a"] for event in t.events()[-2:] if event.new] == ["x", "y"]
    t.run("alter table t drop column c")
    t.run("update t set a = 'z'")
    assert t.events()[-1].changed == ("a",)


def test_values_keep_the_types_they_had_when_they_were_written(t: Place, follows: bool) -> None:
    t.run(
        "insert into t (id, d) values (1, '2026-11-22 10:00:00+00')",
        "alter table t alter d type text",
        "update t set a = 'x'",
    )
    typed, text = (event.new["d"] for event in t.events()[-2:] if event.new)
    assert typed.isoformat() == "2026-11-22T10:00:00+00:00"
    # Where nothing follows DDL, values are read as the types they had when the capture was generated.
    assert isinstance(text, str) is follows


@pytest.mark.parametrize(
    "moves",
    [
        ["alter table t rename to u"],
        ["create schema {0}_b", "alter table t set schema {0}_b"],
        ["alter schema {0} rename to {0}_c"],
        ["alter table t rename to u", "create table t (id integer primary key)"],
    ],
)
def test_history_and_capture_follow_a_table_that_moves(t: Place, moves: list[str], follows: bool) -> None:
    oid = t.value("select 't'::regclass::oid")
    known = t.value("select count(*) from rowcall.event")
    t.run(*(move.format(t.schema) for move in moves))
    try:
        table = t.value("select %s::oid::regclass::text", oid)
        t.run(f"insert into {table} (id) values (8)", f"update {table} set a = 'moved'")
        if not follows:
            t.watch(table)
        assert t.rows(
            "select count(distinct relation), count(*) from rowcall.event where seq > 0 and relation ="
            " (select id from rowcall.relation where oid = %s and dropped_at is null)",
            oid,
        ) == [(1, 6)]
        names = t.rows("select schema_name || '.' || table_name from rowcall.relation where oid = %s", oid)
        assert names == t.rows(
            "select n.nspname || '.' || c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = %s",
            oid,
        )
    finally:
        t.run(f"drop schema if exists {t.schema}_b cascade")
        t.run(
            f"do $$ begin if to_regnamespace('{t.schema}_c') is not null then alter schema {t.schema}_c rename to {t.schema}; end if; end $$"
        )
    assert t.value("select count(*) from rowcall.event") == known + 2


def test_a_table_dropped_and_made_anew_goes_on_in_the_same_history(t: Place, follows: bool) -> None:
    t.run("insert into t (id, a) values (1, 'old')", "drop table t", "create table t (id integer primary key, z text)")
    t.watch("t")
    t.run("insert into t values (1, 'new')", "update t set z = 'newer'")
    assert [event.operation for event in t.events()][-3:].count("update") == 1
    assert [event.new for event in t.events()[-2:]] == [{"id": 1, "z": "new"}, {"id": 1, "z": "newer"}]
    assert (t.events()[0].new or {})["a"] == "a"


def test_the_rows_of_a_dropped_table_do_not_live_on_in_its_successor(t: Place, follows: bool) -> None:
    """What the log says the table is: without the rows that went with the old one."""
    t.run(
        "insert into t (id, a) values (1, 'old'), (2, 'old')",
        "drop table t",
        "create table t (id integer primary key, a text)",
    )
    t.watch("t")
    t.watch("t")
    t.run("insert into t values (1, 'new')")
    assert [event.operation for event in t.events()][-2:] == ["truncate", "insert"]
    t.assert_replayed()


def test_a_watch_ends_with_its_table(t: Place, follows: bool) -> None:
    t.run("drop table t")
    assert t.events() != []
    t.run("create table t (id integer)", "insert into t values (1)")
    assert len(t.events()) == 4
    # Nor does it stand in the way of one by somebody else.
    assert t.value("select rowcall.watch_v1('t', '{\"notify\": true}', 'somebody else')") == "created"


def test_unwatched_tables_keep_their_history_and_their_writers(t: Place) -> None:
    with open_session(t) as other:
        other.execute("insert into t (id) values (1)")
        known = len(t.events())
        assert t.value("select rowcall.unwatch_v1('t')") is True
        for session in (other, t.connection):
            session.execute("insert into t (id) values (7)")
            session.execute("update t set a = 'x'")
            session.execute("delete from t")
            session.execute("truncate t")
    assert len(t.events()) == known
    assert t.value("select rowcall.unwatch_v1('t')") is False
    assert t.value("select count(*) from pg_trigger where tgrelid = 't'::regclass and not tgisinternal") == 0


def test_a_user_who_may_not_write_to_our_schema_may_alter_the_table(place: Place) -> None:
    place.run("drop role if exists tenant", "create role tenant", f"grant all on schema {place.schema} to tenant")
    try:
        place.table("id integer primary key, v text")
        place.run(
            "alter table t owner to tenant",
            "set role tenant",
            "insert into t values (1, 'a')",
            "alter table t add w integer",
        )
        place.run(
            "update t set w = 1",
            "alter table t drop column v",
            "update t set w = 2",
            "alter table t rename to u",
            "reset role",
        )
        assert [event.changed for event in place.events("u")] == [(), ("w",), ("w",)]
    finally:
        place.run("reset role", "drop owned by tenant", "drop role tenant")


@pytest.fixture
def restored(cluster: embedded.Server, dsn: str, empty_dsn: str) -> tuple[str, str]:
    """The DSNs of a database and of a copy of it, made by pg_dump and psql."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "create type mood as enum ('sad', 'ok'); create domain positive as integer check (value > 0)"
        )
        connection.execute(
            "create table t (id positive primary key, v text, m mood, j jsonb);"
            " create table p (id integer, part integer, primary key (id, part)) partition by list (part);"
            " create table p1 partition of p for values in (1); create table p2 partition of p for values in (2)"
        )
        for table in ("t", "p"):
            connection.execute("select rowcall.watch_v1(%s::regclass, '{\"truncate\": \"rows\"}', 'tests')", [table])
        connection.execute(
            "insert into t values (1, 'a', 'sad', 'null'); update t set v = 'b'; insert into p values (1, 1)"
        )
    programs = cluster.bin_directory
    dump = subprocess.run([programs / "pg_dump", "--no-sync", dsn], check=True, capture_output=True)
    subprocess.run(
        [programs / "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", empty_dsn],
        input=dump.stdout,
        check=True,
        capture_output=True,
    )
    return dsn, empty_dsn


_LOG = "select seq, operation::text, key, old::text, new::text from rowcall.event order by seq"


def test_a_restored_database_has_its_history_and_captures_on(restored: tuple[str, str]) -> None:
    original, copy = restored
    with psycopg.connect(original, autocommit=True) as before, psycopg.connect(copy, autocommit=True) as after:
        history = before.execute(_LOG).fetchall()
        assert after.execute(_LOG).fetchall() == history
        # Even before anybody declares the watch again.
        after.execute("insert into t values (2, 'c', 'ok', '{}')")
        for table in ("t", "p"):
            after.execute("select rowcall.watch_v1(%s::regclass, '{\"truncate\": \"rows\"}', 'tests')", [table])
        after.execute("update t set v = 'd' where id = 1; update p set part = 2; truncate t")
        events = after.execute(_LOG).fetchall()
        assert events[: len(history)] == history
        assert [(operation, key) for _, operation, key, *_ in events[len(history) :]] == [
            ("insert", {"id": 2}),
            ("update", {"id": 1}),
            ("update", {"id": 1, "part": 1}),
            ("delete", {"id": 2}),
            ("delete", {"id": 1}),
        ]
        relations = after.execute("select count(*), count(distinct table_name) from rowcall.relation").fetchone()
        assert relations == (2, 2)
        assert after.execute("select rowcall.watch_v1('t', '{\"truncate\": \"rows\"}', 'tests')").fetchone() == (
            "unchanged",
        )


def test_migrating_a_restored_database_is_nothing_to_do(restored: tuple[str, str]) -> None:
    _, copy = restored
    upgrade(copy)
    with psycopg.connect(copy, autocommit=True) as after:
        after.execute("insert into t values (3, 'x', null, null)")
