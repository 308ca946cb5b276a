"""Code meets rows that it was not generated for, although an event trigger follows DDL: nothing is lost, nothing runs as us."""

from collections.abc import Iterator, Sequence
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
    inner = source.split("from (")[-1].split(") as rowcall_row;")[0].replace("new_rows", "t")
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
