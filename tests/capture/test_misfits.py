"""Code meets rows that it was not generated for, although an event trigger follows DDL: nothing is lost, nothing runs as us."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from tests.capture.conftest import Place
from tests.capture.test_attacker import Mallory
from tests.capture.test_attacker import mallory as mallory  # noqa: PLC0414 - a fixture

_CASTS = ("json", "jsonb", "text", "text[]", "float8", "float8[]")


def _betray(mallory: Mallory, kind: str, targets: Sequence[str]) -> None:
    """Casts of a type that note who runs them."""
    for number, target in enumerate(targets):
        name = f"betray_{number}"
        mallory.run(
            f"create function {name}({kind}) returns {target} language plpgsql as"
            f" $$ begin perform {mallory.place.schema}.spy('{kind} to {target}'); return null; end $$",
            f"create cast ({kind} as {target}) with function {name}({kind})",
        )


@pytest.mark.parametrize("base", ["json", "float8", "jsonb"])
def test_arrays_of_a_users_domain(mallory: Mallory, base: str) -> None:
    mallory.run(f"create domain own as {base}")
    _betray(mallory, "own[]", _CASTS)
    mallory.table("id integer primary key, x own[]", truncate="rows")
    value = {"json": '{"{}"}', "float8": "{-0,1}", "jsonb": "{null}"}[base]
    mallory.run(
        f"insert into t values (1, '{value}'), (2, null)",
        "update t set x = null where id = 1",
        f"update t set x = '{value}' where id = 2",
        "set rowcall.context = '{'",
        "delete from t where id = 1",
        "truncate t",
    )
    assert mallory.spied() == []
    assert [event.operation for event in mallory.place.events()] == ["insert"] * 2 + ["update"] * 2 + ["delete"] * 2


@pytest.mark.parametrize("exclude", [[], ["hidden"]])
@pytest.mark.parametrize(
    "ddl",
    [
        "alter table t alter c type mood using convert(c::text)",
        "alter table t add column d mood default convert('a')",
    ],
)
def test_writes_in_the_middle_of_ddl(mallory: Mallory, ddl: str, exclude: list[str]) -> None:
    mallory.run("create type mood as enum ('a', 'b')")
    _betray(mallory, "mood", ("json", "jsonb"))
    mallory.table("id integer primary key, c text, hidden text", exclude=exclude)
    mallory.run(
        "create function convert(text) returns mood language plpgsql as $$ begin"
        "   if coalesce(current_setting('mallory.done', true), '') = '' then"
        "     perform set_config('mallory.done', '1', true);"
        "     insert into t (id) values (2); update t set id = 3 where id = 2; delete from t where id = 3;"
        "   end if; return 'b'; end $$",
        "insert into t values (1, 'a', 'x')",
    )
    mallory.run(ddl)
    assert mallory.spied() == []
    assert [event.operation for event in mallory.place.events()] == ["insert", "insert", "update", "delete"]


def test_ddl_of_a_parent_is_ddl_of_its_children(mallory: Mallory) -> None:
    mallory.run("create type mood as enum ('a', 'b')", "create table parent (id integer, c text)")
    _betray(mallory, "mood", ("json", "jsonb"))
    mallory.run("create table t (primary key (id)) inherits (parent)")
    mallory.place.watch("t")
    mallory.run(
        "alter table parent alter c type mood using 'a', add column d text",
        "insert into t values (1, 'b', 'd')",
        "update t set d = 'e'",
    )
    assert mallory.spied() == []
    assert [event.new for event in mallory.place.events()] == [
        {"id": 1, "c": "b", "d": "d"},
        {"id": 1, "c": "b", "d": "e"},
    ]


@pytest.fixture
def other(place: Place) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(place.dsn, autocommit=True, options=f"-c search_path={place.schema}") as connection:
        yield connection


def test_ddl_in_a_transaction_that_sees_the_catalog_as_it_was(place: Place, other: psycopg.Connection[Any]) -> None:
    place.table("id integer primary key, c text, x integer, hidden text", exclude=["hidden"])
    other.execute("begin isolation level repeatable read")
    other.execute("select 1")
    place.run("alter table t add column y integer")
    other.execute("alter table t rename x to z")
    other.execute("commit")
    place.run(
        "insert into t (id, c, z, y, hidden) values (1, 'a', 2, 3, 'secret')",
        "update t set y = 4",
        "update t set z = 5",
    )
    assert [(event.operation, event.changed) for event in place.events()] == [
        ("insert", ()),
        ("update", ("y",)),
        ("update", ("z",)),
    ]
    assert "secret" not in str(place.stored())


@pytest.fixture
def late(mallory: Mallory) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of Mallory's that sees the catalog as it was, with a table whose columns are altered meanwhile."""
    mallory.run("create type mood as enum ('a', 'b')")
    _betray(mallory, "mood", ("json", "jsonb"))
    mallory.table("id integer primary key, c text", truncate="rows")
    with psycopg.connect(mallory.place.dsn, autocommit=True, user=mallory.name) as connection:
        connection.execute(f"set search_path = {mallory.place.schema}".encode())
        connection.execute("begin isolation level repeatable read")
        connection.execute("select 1")
        yield connection


_COMINGS = {
    "come and gone": (
        f"alter table t {', '.join(f'add c{number} integer' for number in range(20))}, add evil mood",
        f"alter table t {', '.join(f'drop c{number}' for number in range(20))}",
    ),
    "come": ("alter table t add evil mood",),
    "another type": ("alter table t alter c type mood using 'a', add evil integer",),
    "only another type": ("alter table t alter c type mood using 'a'",),
    "dropped": ("alter table t drop c, add c mood",),
}


@pytest.mark.parametrize("coming", _COMINGS)
@pytest.mark.parametrize(
    "ddl", ["alter table t set (fillfactor = 90)", "alter table t add late integer default write()", ""]
)
def test_what_was_altered_since_the_catalog_was_as_it_was(
    mallory: Mallory, late: psycopg.Connection[Any], coming: str, ddl: str
) -> None:
    writes = (
        "insert into t (id, c) values (2, 'b')",
        "update t set c = 'a' where id = 2",
        "delete from t where id = 2",
    )
    mallory.run(
        "create function write() returns integer language plpgsql as $$ begin"
        "   if coalesce(current_setting('mallory.done', true), '') = '' then perform set_config('mallory.done', '1', false);"
        f"  {'; '.join(writes)}; end if; return 1; end $$",
        "insert into t values (1, 'a')",
        *_COMINGS[coming],
    )
    # Generates the code anew for the table as this transaction sees it, where it can.
    with suppress(psycopg.errors.SerializationFailure):
        if ddl:
            late.execute(ddl.encode())
        for write in (*writes, "truncate t"):
            late.execute(write.encode())
    late.execute("commit")
    mallory.run("insert into t (id, c) values (3, 'b')", "update t set c = 'a'", "delete from t")
    assert mallory.spied() == []
    assert [event.key["id"] for event in mallory.place.events()][-1] == 3


def test_ddl_fails_where_its_functions_cannot_be_made_anew(place: Place, other: psycopg.Connection[Any]) -> None:
    place.table("id integer primary key, c text")
    place.run("insert into t values (1, 'a')", "set lock_timeout = '50ms'")
    (capture,) = place.rows("select 'capture_' || id from rowcall.relation where oid = 't'::regclass")[0]
    with other.transaction(force_rollback=True):
        other.execute(f"alter function rowcall.{capture}() cost 101".encode())
        with pytest.raises(psycopg.errors.LockNotAvailable, match="could not be generated anew") as failure:
            place.run("alter table t add d text")
    assert "Nothing was altered. Try again" in str(failure.value.diag.message_hint)
    place.run("update t set c = 'b'", "alter table t add d text", "update t set d = 'c'")
    assert [event.changed for event in place.events()] == [(), ("c",), ("d",)]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_session_with_plans_notices_what_others_alter(
    place: Place, other: psycopg.Connection[Any], isolation: str
) -> None:
    place.table("id integer primary key, c text, n integer")
    other.execute(f"set default_transaction_isolation = '{isolation}'".encode())
    statements = (
        "insert into t (id) values (%(id)s)",
        "update t set c = '1' where id = %(id)s",
        "delete from t where id = %(id)s",
    )
    for id_ in range(8):
        for statement in statements:
            other.execute(statement, {"id": id_})
    before = len(place.events())
    with other.transaction():
        other.execute("select 1")
        place.run("alter table t add d integer default 7, alter n type text using 'x', alter c type varchar(10)")
        for statement in statements:
            other.execute(statement, {"id": 9})
    inserted, updated, deleted = place.events()[before:]
    assert inserted.new == {"id": 9, "c": None, "n": None, "d": 7}
    assert updated.new == {"id": 9, "c": "1", "n": None, "d": 7}
    assert updated.changed == ("c",)
    assert deleted.old == {"id": 9, "c": "1", "n": None, "d": 7}


def test_a_table_that_becomes_a_partition(place: Place) -> None:
    place.run("create table root (id integer primary key, v text) partition by range (id)")
    place.table("id integer primary key, v text")
    place.run(
        "insert into t values (1, 'a')",
        "alter table root attach partition t for values from (0) to (100)",
        "insert into root values (2, 'b')",
        "delete from root where id = 1",
        "update root set v = 'c'",
    )
    assert [(event.operation, event.key["id"]) for event in place.events()] == [
        ("insert", 1),
        ("insert", 2),
        ("delete", 1),
        ("update", 2),
    ]


def test_options_go_by_name_where_columns_have_other_numbers(place: Place) -> None:
    place.run(
        "create table t (id integer primary key, secret text, v text) partition by range (id)",
        "create table leaf (id integer not null, v text, secret text)",
        "alter table t attach partition leaf for values from (0) to (100)",
    )
    place.watch("t", exclude=["secret"])
    place.run(
        "insert into t values (1, 's3cret', 'v')",
        "set rowcall.context = '{'",
        "insert into t values (2, 's3cret', 'v')",
        "update t set v = 'changed' where id = 1",
    )
    assert [event.new for event in place.events()] == [
        {"id": 1, "v": "v"},
        {"id": 2, "v": "v"},
        {"id": 1, "v": "changed"},
    ]


def test_numbers_of_another_database_are_forgotten(place: Place) -> None:
    """As after a restore: the table has another OID, its columns other numbers."""
    place.run("create table t (gone integer, id integer primary key, secret text, v text)", "alter table t drop gone")
    place.watch("t", exclude=["secret"])
    place.run(
        """update rowcall.watch set options = jsonb_set(options, '{attnums}', '{"": 1, "secret": 4}')
        where relation = (select id from rowcall.relation where oid = 't'::regclass)""",
        "alter table t add w text",
        "insert into t values (1, 's3cret', 'v', 'w')",
    )
    assert [event.new for event in place.events()] == [{"id": 1, "v": "v", "w": "w"}]


def test_a_trigger_put_in_place_of_ours_shows(mallory: Mallory) -> None:
    mallory.table("id integer primary key")
    mallory.run(
        "create function nothing() returns trigger language plpgsql as 'begin return null; end'",
        'create or replace trigger "00_rowcall_update" after update on t for each row execute function nothing()',
    )
    relation = mallory.place.value("select id from rowcall.relation where oid = 't'::regclass")
    mallory.run("insert into t values (1)", "update t set id = 2")
    current = mallory.place.value("select rowcall.capture_is_current_v1(%s)", relation)
    assert (current, len(mallory.place.events())) in ((False, 1), (True, 2))


def test_a_table_that_took_the_name_of_one_renamed_unseen(place: Place) -> None:
    place.table("id integer primary key, v text")
    place.run("insert into t values (1, 'old')", "alter event trigger rowcall_follow_ddl disable")
    try:
        place.run("alter table t rename to t_old", "create table t (id integer primary key, v text)")
    finally:
        place.run("alter event trigger rowcall_follow_ddl enable always")
    place.watch("t")
    place.run("insert into t values (1, 'new')", "update t_old set v = 'x'")
    assert [event.new for event in place.events()] == [{"id": 1, "v": "new"}]
    assert [event.new for event in place.events("t_old")] == [{"id": 1, "v": "old"}, {"id": 1, "v": "x"}]


@pytest.mark.parametrize("setting", ["standard_conforming_strings = off", "quote_all_identifiers = on"])
def test_settings_that_bend_literals(place: Place, setting: str) -> None:
    place.table('id integer primary key, ssn text, "a\\b" text', redact=["ssn"])
    with psycopg.connect(
        place.dsn, autocommit=True, options=f"-c {setting.replace(' ', '')} -c search_path={place.schema}"
    ) as bent:
        bent.execute("insert into t (id, ssn) values (1, '123')")
        bent.execute("update t set ssn = '456'")
        bent.execute("alter table t add column x integer")
        bent.execute("update t set x = 1")
        bent.execute("delete from t")
    events = place.events()
    assert [(event.operation, event.changed) for event in events[:3]] == [
        ("insert", ()),
        ("update", ("ssn",)),
        ("update", ("x",)),
    ]
    assert str((events[1].new or {})["ssn"]).startswith("hmac-sha256:")


def test_columns_named_as_our_variables(place: Place) -> None:
    names = ("v_user", "v_role", "v_at", "v_xid", "v_context", "v_fits", "v_key", "v_old", "v_new", "v_text", "tg_op")
    place.table("id integer primary key, " + ", ".join(f"{name} text" for name in names))
    place.run("insert into t (id, v_user) values (1, 'a')", "update t set v_key = 'b', v_old = 'c'", "delete from t")
    assert [(event.operation, event.changed) for event in place.events()] == [
        ("insert", ()),
        ("update", ("v_key", "v_old")),
        ("delete", ()),
    ]
    place.assert_replayed()


def test_a_key_given_up_and_taken_in_one_command(place: Place, version: int) -> None:
    place.table("id integer primary key, v text")
    place.run(
        "insert into t values (1, 'a'), (9, 'z')",
        "with d as (delete from t where id = 1 returning *), i as (insert into t select id, 'new' from d returning *),"
        " e as (delete from t where id = 9 returning *) select * from i",
    )
    place.assert_replayed()
    if version >= 15:
        place.run(
            "insert into t values (5, 'x')",
            "merge into t using (values (1), (5)) as s (m) on t.id = s.m when matched and s.m = 1 then delete"
            " when matched then update set id = 1",
        )
        place.assert_replayed()


def test_a_column_added_unseen_is_in_every_image(place: Place) -> None:
    place.table("id integer primary key, v text")
    place.run("insert into t values (1, 'a')", "alter event trigger rowcall_follow_ddl disable")
    try:
        place.run("alter table t add w text")
    finally:
        place.run("alter event trigger rowcall_follow_ddl enable always")
    place.run("insert into t values (2, 'b', 'c'), (3, 'd', 'e')", "update t set v = 'x', w = 'y'")
    assert [event.new for event in place.events()][1:3] == [
        {"id": 2, "v": "b", "w": "c"},
        {"id": 3, "v": "d", "w": "e"},
    ]
    assert {event.changed for event in place.events()[3:]} == {("v", "w")}


def test_inserts_are_checked_when_they_are_planned_only(place: Place) -> None:
    place.table("id integer primary key, v text")
    place.run("insert into t values (1, 'a')")
    source = place.value("""
        select prosrc from rowcall.relation as r join pg_proc as p on p.oid = ('rowcall.capture_bulk_' || r.id)::regproc
        where r.oid = 't'::regclass""")
    inner = source.split(") as rowcall_row;")[0].split("from (")[-1].replace("new_rows", "t")
    plan = "\n".join(row[0] for row in place.rows(f"explain (costs off) {inner}"))
    assert plan == "Seq Scan on t", plan
    # And nothing was amiss: what the generic code writes has spaces.
    assert place.rows(
        "select new::text from rowcall.event where relation ="
        " (select id from rowcall.relation where oid = 't'::regclass)"
    ) == [('{"id":1,"v":"a"}',)]


def test_tables_made_and_renamed_by_other_commands(place: Place) -> None:
    place.run("create type kind as (id integer, v text)", "create table typed of kind (primary key (id))")
    place.watch("typed", exclude=["v"])
    place.run("create table root (id integer primary key) partition by range (id)")
    place.watch("root", truncate="rows")
    made = f"{place.schema}_made"
    place.run(
        "alter type kind add attribute w text cascade",
        "insert into typed values (1, 'v', 'w')",
        "update typed set w = 'x'",
        f"create schema {made} create table leaf partition of {place.schema}.root for values from (0) to (10)",
        "insert into root values (1)",
        f"truncate {made}.leaf",
        "alter index root rename to other",
        "insert into other values (2)",
    )
    assert [event.new for event in place.events("typed")] == [{"id": 1, "w": "w"}, {"id": 1, "w": "x"}]
    assert [event.operation for event in place.events("other")] == ["insert", "delete", "insert"]
    place.run(f"drop schema {made} cascade")
