"""What somebody who may write, and owns the very tables that are watched, cannot do: gain rights, forge or alter the log, stop it.

What no test here can forbid, because the database gives these rights by design, is said by the tests named "…_limit".
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.capture.conftest import Place

_numbers = count(1)

# Everything of the attacker's notes who it runs as.
SPY = """
create table spied (who name default current_user, what text);
grant usage on schema {schema} to public;
grant all on spied to public;
create function spy(what text) returns text language sql volatile as $$ insert into {schema}.spied (what) values (what) returning what $$;
"""

_OURS = ("rowcall_capture", "rowcall_gate", "postgres")


class Mallory:
    """An ordinary role with a schema of its own, which an administrator watches tables in."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        self.connection = psycopg.connect(place.dsn, autocommit=True, user=name)
        self.run(f"set search_path = {place.schema}, public", *SPY.format(schema=place.schema).split(";\n"))

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement.encode())

    def table(self, definition: str, name: str = "t", **options: Any) -> None:
        """A table of Mallory's, watched by the administrator."""
        self.run(f"create table {name} ({definition})")
        self.place.watch(name, **options)

    def spied(self) -> list[tuple[str, str]]:
        """What ran as somebody else than Mallory."""
        rows = self.place.rows(f"select distinct who, what from {self.place.schema}.spied where who <> %s", self.name)
        return [(who, what) for who, what in rows if who in _OURS]


@contextmanager
def _unfollowed(place: Place) -> Iterator[None]:
    """Where nothing follows DDL for a while."""
    place.run("alter event trigger rowcall_follow_ddl disable")
    try:
        yield
    finally:
        place.run("alter event trigger rowcall_follow_ddl enable always")


@pytest.fixture
def mallory(place: Place) -> Iterator[Mallory]:
    name = f"rowcall_test_mallory_{next(_numbers)}"
    place.run(f"create role {name} login", f"grant all on schema {place.schema} to {name}")
    attacker = Mallory(place, name)
    yield attacker
    # The server drops temporary tables after the connection is gone, which would get in the way of what follows.
    attacker.connection.rollback()
    attacker.run("discard temp")
    attacker.connection.close()
    place.run("reset role", f"reassign owned by {name} to postgres", f"drop owned by {name}", f"drop role {name}")


def test_a_writer_needs_no_right_on_our_schema(mallory: Mallory) -> None:
    mallory.table("id integer primary key, v text", notify=True, truncate="rows")
    mallory.run(
        "insert into t values (1, 'a'), (2, 'b')",
        "select rowcall.act('mallory', '{\"why\": 1}')",
        "update t set v = 'c'",
        "delete from t where id = 1",
        "truncate t",
    )
    assert [event.operation for event in mallory.place.events()] == [
        "insert",
        "insert",
        "update",
        "update",
        "delete",
        "delete",
    ]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.run("select * from rowcall.event")


# Types of Mallory's whose casts and checks spy, with a value.
TYPES: Sequence[tuple[str, str, str]] = (
    ("enum", "create type evil as enum ('a', 'b')", "'a'"),
    ("composite", "create type evil as (a integer)", "'(1)'"),
    ("range", "create type evil as range (subtype = integer)", "'[1,2)'"),
    ("domain", "create domain evil as text check (spy('domain check') is not null)", "'a'"),
    ("domain over a domain", "create domain base as integer; create domain evil as base check (spy('domain check') is not null)", "1"),
)  # fmt: skip


def _arm(mallory: Mallory, definition: str) -> None:
    """Make the type, and every cast from it that its owner may make."""
    mallory.run(*definition.split("; "))
    if "domain" in definition:
        return
    for target in ("json", "jsonb", "text", "double precision", "integer", "boolean", "text[]"):
        name = "to_" + target.split()[0].replace("[]", "_list")
        value = {"json": "'1'", "jsonb": "'1'", "text": "'x'", "text[]": "'{x}'", "boolean": "true"}.get(target, "1")
        mallory.run(
            f"create function {name}(evil) returns {target} language sql volatile as $$ select spy('cast to {target}'); select {value}::{target} $$",
            f"create cast (evil as {target}) with function {name}(evil) as implicit",
        )


@pytest.mark.parametrize(("what", "definition", "value"), TYPES)
def test_no_cast_or_check_of_a_writers_type_runs_as_us(
    mallory: Mallory, what: str, definition: str, value: str
) -> None:
    _arm(mallory, definition)
    mallory.table(
        "id integer primary key, e evil, es evil[], plain text, hidden evil, hashed evil",
        exclude=["hidden"],
        redact=["hashed"],
        truncate="rows",
    )
    values = f"{value}, array[{value}]::evil[], 'x', {value}, {value}"
    for session in (mallory.connection, mallory.place.connection):
        session.execute(f"insert into t values (1, {values})".encode())
        session.execute(b"update t set e = null, es = null, hashed = null")
        session.execute(f"update t set e = {value}, es = array[{value}]::evil[], hashed = {value}".encode())
        session.execute(b"delete from t")
        session.execute(f"insert into t values (1, {values})".encode())
        session.execute(b"truncate t")
    assert [who for who, what in mallory.spied() if who != "postgres"] == []
    assert len(mallory.place.events()) == 12


@pytest.mark.parametrize("evasion", ["trigger of our name", "no event trigger"])
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize("truncate", ["rows", "event"])
def test_nor_of_a_type_that_a_column_got_after_it_was_watched(
    mallory: Mallory, evasion: str, keyed: bool, partitioned: bool, truncate: str
) -> None:
    """Code generated for built-in types must not meet others, even where triggers cannot be made anew or nothing follows DDL."""
    place = mallory.place
    _arm(mallory, TYPES[0][1])
    with _unfollowed(place) if evasion == "no event trigger" else nullcontext():
        _become_evil(mallory, evasion, keyed=keyed, partitioned=partitioned, truncate=truncate)
    assert mallory.spied() == []
    operations = [event.operation for event in place.events()]
    assert operations[:2] == ["insert", "insert"]
    assert operations.count("update") >= 2
    assert operations.count("delete") >= 1


def _become_evil(mallory: Mallory, evasion: str, *, keyed: bool, partitioned: bool, truncate: str) -> None:
    key = "id integer primary key" if keyed else "id integer"
    if partitioned:
        mallory.run(f"create table t ({key}, a text, b integer, f float8, j json) partition by range (id)")
        mallory.run("create table leaf partition of t default")
        mallory.place.watch("t", truncate=truncate)
    else:
        mallory.table(f"{key}, a text, b integer, f float8, j json", truncate=truncate)
    if evasion == "trigger of our name":
        table = "leaf" if partitioned else "t"
        mallory.run(
            "create function nothing() returns trigger language plpgsql as 'begin return null; end'",
            f'drop trigger "00_rowcall_truncate" on {table}',
            f'create constraint trigger "00_rowcall_truncate" after insert on {table} for each row execute function nothing()',
        )
    mallory.run(
        *(f"alter table t alter {name} type evil using 'a'::evil" for name in ("a", "b", "f", "j")),
        "alter table t add added evil",
        "insert into t values (1, 'a', 'a', 'a', 'a', 'a'), (2, null, null, null, null, null)",
        "update t set a = 'b', b = 'b', f = 'b', j = 'b', added = 'b'",
        "update t set added = 'a'",
        "delete from t where id = 1",
        *([] if partitioned else ["alter table t alter id drop default"]),
        "truncate t",
    )


def test_a_key_may_become_evil_too(mallory: Mallory) -> None:
    _arm(mallory, TYPES[0][1])
    mallory.table("id text, v text, primary key (id)")
    mallory.run(
        "alter table t alter id type evil using 'a'::evil",
        "insert into t values ('a', 'x')",
        "update t set id = 'b'",
        "delete from t",
    )
    assert mallory.spied() == []
    assert [(operation, key) for operation, key, *_ in mallory.place.stored()] == [
        ("insert", {"id": "a"}),
        ("update", {"id": "a"}),
        ("delete", {"id": "b"}),
    ]


def test_the_row_type_of_a_table_has_casts_too(mallory: Mallory) -> None:
    mallory.table("id integer primary key, v text", truncate="rows")
    mallory.run(
        "create function to_json_(t) returns json language sql as $$ select spy('row cast'); select '1'::json $$",
        "create cast (t as json) with function to_json_(t) as implicit",
        "create function to_jsonb_(t) returns jsonb language sql as $$ select spy('row cast'); select '1'::jsonb $$",
        "create cast (t as jsonb) with function to_jsonb_(t) as implicit",
        "insert into t values (1, 'a')",
        "update t set v = 'b'",
        "delete from t",
        "insert into t values (1, 'a')",
        "truncate t",
    )
    assert mallory.spied() == []
    assert len(mallory.place.events()) == 5


# Functions that our code calls, by name, arguments and result; the pseudo-type "any" is for functions in C only.
_SHADOWS: Sequence[tuple[str, str, str]] = (
    ("to_jsonb", "anyelement", "jsonb"), ("to_jsonb", "t", "jsonb"), ("jsonb_build_object", "text, integer", "jsonb"), ("concat", "text", "text"),
    ("jsonb_build_object", "variadic text[]", "jsonb"), ("concat", "variadic text[]", "text"), ("concat", "anyarray", "text"), ("nextval", "text", "bigint"),
    ("nextval", "regclass", "bigint"), ("current_setting", "text, boolean", "text"), ("current_setting", "text", "text"), ("clock_timestamp", "", "timestamptz"),
    ("pg_current_xact_id", "", "xid8"), ("pg_current_xact_id_if_assigned", "", "xid8"), ("pg_typeof", "anyelement", "regtype"),
    ("num_nulls", "anyelement", "integer"), ("record_image_ne", "record, record", "boolean"), ("has_column_privilege", "oid, int2, text", "boolean"),
    ("lower", "text", "text"), ("set_config", "text, text, boolean", "text"), ("pg_notify", "text, text", "void"), ("format", "text, variadic text[]", "text"),
    ("pg_try_advisory_xact_lock_shared", "integer, integer", "boolean"), ("sha256", "bytea", "bytea"), ("jsonb_typeof", "jsonb", "text"),
    ("array_lower", "anyarray", "integer"), ("array_ndims", "anyarray", "integer"), ("json_build_object", "variadic text[]", "json"),
)  # fmt: skip


def _shadow_functions() -> Iterator[str]:
    for name, arguments, result in _SHADOWS:
        answer = "" if result == "void" else "return null;"
        body = f"begin perform spy('function {name}'); {answer} end"
        yield f"create function {name}({arguments}) returns {result} language plpgsql as $$ {body} $$"


def _shadow_operators() -> Iterator[str]:
    for name, left, right, result in (
        ("=", "jsonb", "jsonb", "boolean"), ("<>", "integer", "integer", "boolean"), ("=", "text", "text", "boolean"), ("||", "jsonb", "jsonb", "jsonb"),
        ("||", "text", "text", "text"), ("-", "jsonb", "text[]", "jsonb"), ("->", "jsonb", "text", "jsonb"), ("=", "integer", "integer", "boolean"),
        ("*<>", "record", "record", "boolean"), ("<>", "oid", "oid", "boolean"), ("<>", "regtype", "integer", "boolean"),
    ):  # fmt: skip
        number = next(_numbers)
        body = f"begin perform spy('operator {name}'); return null; end"
        yield f"create function operator_{number}({left}, {right}) returns {result} language plpgsql as $$ {body} $$"
        yield f"create operator {name} (leftarg = {left}, rightarg = {right}, function = operator_{number})"


@pytest.mark.parametrize("path", ["{0}, pg_catalog", "pg_temp, {0}, pg_catalog", "{0}, rowcall, pg_catalog, pg_temp"])
def test_nothing_that_shadows_ours_is_ever_used(mallory: Mallory, path: str) -> None:
    """Tables, functions and operators of the names that our code uses, found before the real ones by Mallory's search_path."""
    mallory.table(
        "id integer primary key, v text, j jsonb, r text, f float8[]", redact=["r"], notify=True, truncate="rows"
    )
    mallory.run(*_shadow_functions(), *_shadow_operators())
    for table in (
        "event",
        "relation",
        "secret",
        "watch",
        "moving",
        "layout",
        "pg_attribute",
        "pg_type",
        "new_rows",
        "old_rows",
    ):
        mallory.run(f"create temp table {table} (like spied)", f"create table {table} (like spied)")
    mallory.run(
        "create sequence event_seq", "create temp sequence event_seq", "create type operation as enum ('insert')"
    )
    schema = mallory.place.schema
    mallory.run(
        f"set search_path = {path.format(schema)}",
        f"insert into {schema}.t values (1, 'a', 'null', 'secret', '{{-0}}')",
        f"update {schema}.t set v = 'b', j = null, f = null",
        f"delete from {schema}.t",
        f"insert into {schema}.t values (2, 'c')",
        f"truncate {schema}.t",
    )
    assert mallory.spied() == []
    assert [operation for operation, *_ in mallory.place.stored()] == ["insert", "update", "delete", "insert", "delete"]
    assert mallory.place.value(f"select count(*) from {schema}.event") == 0


GARBAGE: Sequence[tuple[str, str]] = (
    ("rowcall.context", "no json"),
    ("rowcall.context", '{"a": "\\u0000"}'),
    ("rowcall.context", '{"a": 1e999999}'),
    ("rowcall.context", "[" * 20000),
    ("rowcall.context", "[1]"),
    ("rowcall.context", "null"),
    ("rowcall.context", '"text"'),
    ("rowcall.actor", "'; drop table t; --" * 100),
    ("rowcall.statements", "uuuuuuuu"),
    ("rowcall.statements", "x" * 10000),
    ("rowcall.amendment", '{"v": "forged"}'),
    ("rowcall.amendment", "no json"),
    ("rowcall.range_{relation}", "garbage"),
    ("rowcall.range_{relation}", "1 2],\"x\":[3"),
    ("rowcall.range_{relation}", "1" * 9000),
    ("search_path", ""),
    ("row_security", "off"),
    ("plpgsql.extra_errors", "all"),
    ("plpgsql.check_asserts", "on"),
    ("transform_null_equals", "on"),
    ("standard_conforming_strings", "off"),
    ("default_transaction_deferrable", "on"),
    ("check_function_bodies", "off"),
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("client_min_messages", "debug5"),
    ("lock_timeout", "1"),
    ("application_name", "x" * 100),
    ("work_mem", "64"),
    ("jit_above_cost", "0"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
    ("temp_tablespaces", ""),
)  # fmt: skip


@pytest.mark.parametrize("kind", ["plain", "partitioned"])
@pytest.mark.parametrize(("setting", "value"), GARBAGE, ids=lambda text: text[:20])
def test_no_setting_fails_a_write_or_loses_an_event(mallory: Mallory, kind: str, setting: str, value: str) -> None:
    if kind == "partitioned":
        mallory.run("create table t (id integer, v text, primary key (id)) partition by range (id)")
        mallory.run(
            "create table low partition of t for values from (minvalue) to (10)",
            "create table high partition of t default",
        )
        mallory.place.watch("t", notify=True)
    else:
        mallory.table("id integer primary key, v text", notify=True)
    schema = mallory.place.schema
    relation = mallory.place.value("select id from rowcall.relation where oid = 't'::regclass")
    mallory.connection.execute("select set_config(%s, %s, false)", [setting.format(relation=relation), value])
    mallory.run(
        f"insert into {schema}.t values (1, 'a')",
        f"update {schema}.t set v = 'b'",
        f"update {schema}.t set id = 20",
        f"delete from {schema}.t",
        f"begin; insert into {schema}.t values (3, 'x'); update {schema}.t set v = 'y'; delete from {schema}.t; commit",
        f"truncate {schema}.t",
    )
    events = mallory.place.events()
    assert [event.operation for event in events] == [
        "insert", "update", "update", "delete", "insert", "update", "delete", "truncate",
    ]  # fmt: skip
    assert all(isinstance(event.context, dict) for event in events)
    assert [(event.new or {}).get("v") for event in events[:2]] == ["a", "b"]


def test_a_context_that_is_no_json_object_is_kept_as_text(mallory: Mallory) -> None:
    mallory.table("id integer primary key")
    mallory.run(
        "set rowcall.context = 'no json'",
        "insert into t values (1)",
        "set rowcall.context = '[1]'",
        "update t set id = 2",
    )
    assert [event.context for event in mallory.place.events()] == [{"unparsed": "no json"}, {"unparsed": "[1]"}]


def test_settings_that_would_silence_capture_are_denied(mallory: Mallory) -> None:
    mallory.table("id integer primary key")
    for setting in (
        "session_replication_role = replica",
        "session authorization postgres",
        "role = rowcall_capture",
        "role = rowcall_gate",
    ):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue)):
            mallory.run(f"set {setting}")


def test_the_database_role_is_recorded_beside_the_claim(mallory: Mallory) -> None:
    place = mallory.place
    mallory.table("id integer primary key")
    other = f"{mallory.name}_role"
    place.run(
        f"create role {other}",
        f"grant {other} to {mallory.name}",
        f"grant all on schema {place.schema} to {other}",
        f"grant insert on t to {other}",
    )
    try:
        mallory.run(
            "set rowcall.actor = 'the queen'",
            "set application_name = 'app'",
            "insert into t values (1)",
            f"set role {other}",
            "insert into t values (2)",
            "reset role",
        )
        rows = place.rows(
            "select actor, db_user, db_role, application_name from rowcall.event"
            " where relation = (select id from rowcall.relation where oid = 't'::regclass) order by seq"
        )
        assert rows == [("the queen", mallory.name, None, "app"), ("the queen", mallory.name, other, "app")]
    finally:
        place.run(f"drop owned by {other}", f"drop role {other}")


_ALTERATIONS = (
    "update rowcall.event set actor = 'nobody'",
    "delete from rowcall.event",
    "truncate rowcall.event",
    "update rowcall.{partition} set actor = 'nobody'",
    "delete from rowcall.{partition}",
    "truncate rowcall.{partition}",
    "merge into rowcall.event as e using (values (1)) as s (x) on true when matched then delete",
)
_FORGERIES = (
    "insert into rowcall.event (seq, xid, at, relation, operation, db_user) values (1, '1', now(), 1, 'delete', 'x')",
    "insert into rowcall.{partition} (seq, xid, at, relation, operation, db_user) values (1, '1', now(), 1, 'delete', 'x')",
    "copy rowcall.event (seq, xid, at, relation, operation, db_user) from stdin",
    "select nextval('rowcall.event_seq')",
    "select setval('rowcall.event_seq', 1)",
    "begin; lock table rowcall.event",
    "alter table rowcall.event disable trigger all",
    "drop table rowcall.event",
    "create table rowcall.mine (id integer)",
    "create function rowcall.mine() returns integer language sql as 'select 1'",
    "select * from rowcall.secret",
    "select rowcall.redacted_v1('guess'::text)",
    "select rowcall.watch_v1('{schema}.t', '{{}}', 'mallory')",
    "select rowcall.unwatch_v1('{schema}.t')",
    "select rowcall.fallback_context_v1()",
    "create trigger mine after insert on {schema}.t for each row execute function rowcall.capture_{relation}()",
    "create trigger mine after insert on {schema}.t for each statement execute function rowcall.capture_truncate_v1('1')",
    "create trigger mine before insert on {schema}.t for each row execute function rowcall.amend_v1()",
    "alter function rowcall.capture_{relation}() owner to current_user",
    "create or replace function rowcall.capture_{relation}() returns trigger language plpgsql as 'begin return null; end'",
    "grant rowcall_capture to current_user",
    "alter event trigger rowcall_follow_ddl disable",
)


@pytest.mark.parametrize("statement", [*_ALTERATIONS, *_FORGERIES])
def test_an_ordinary_role_can_neither_alter_nor_forge_the_log(mallory: Mallory, statement: str) -> None:
    mallory.table("id integer primary key")
    mallory.run("insert into t values (1)")
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidObjectDefinition)):
        mallory.run(_filled(mallory, statement))


@pytest.mark.parametrize("statement", _ALTERATIONS)
@pytest.mark.parametrize("right", ["pg_write_all_data", "a grant of everything"])
def test_nor_can_whoever_may_write_everything_alter_it(mallory: Mallory, right: str, statement: str) -> None:
    mallory.table("id integer primary key")
    mallory.run("insert into t values (1)")
    if right == "pg_write_all_data":
        mallory.place.run(f"grant pg_write_all_data, pg_read_all_data to {mallory.name}")
    else:
        mallory.place.run(f"grant all on all tables in schema rowcall to {mallory.name}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.run(_filled(mallory, statement))


def test_pg_write_all_data_can_forge_events_limit(mallory: Mallory) -> None:
    """That role may INSERT into every table and set every sequence: doctor has to warn of its members."""
    mallory.place.run(f"grant pg_write_all_data to {mallory.name}")
    mallory.run("begin", _filled(mallory, _FORGERIES[0]), "rollback")


def test_a_table_owner_can_take_capture_off_its_table_limit(mallory: Mallory) -> None:
    """The owner of a table rules its triggers; it shows, and declaring the watch again brings them back."""
    mallory.table("id integer primary key")
    relation = mallory.place.value("select id from rowcall.relation where oid = 't'::regclass")
    current = "select rowcall.capture_is_current_v1(%s) and rowcall.capture_is_enabled_v1(%s)"
    assert mallory.place.value(current, relation, relation) is True
    for attack in (
        "alter table t disable trigger user",
        'drop trigger "00_rowcall_update" on t',
        'alter trigger "00_rowcall_insert" on t rename to mine',
    ):
        mallory.run(attack)
        # Renaming one is noticed at once.
        assert mallory.place.value(current, relation, relation) is attack.startswith("alter trigger"), attack
        mallory.place.watch("t")
        assert mallory.place.value(current, relation, relation) is True, attack
    mallory.run("insert into t values (1)", "update t set id = 2")
    assert [event.operation for event in mallory.place.events()] == ["insert", "update"]


def test_a_reader_of_the_log_reads_and_nothing_more(mallory: Mallory) -> None:
    mallory.table("id integer primary key")
    mallory.run("insert into t values (1)")
    mallory.place.run(f"grant select on rowcall.event to {mallory.name}")
    assert mallory.connection.execute("select operation::text, key, new from rowcall.event order by seq desc limit 1").fetchone() == (
        "insert", {"id": 1}, {"id": 1},
    )  # fmt: skip
    for statement in _ALTERATIONS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            mallory.run(_filled(mallory, statement))


def _filled(mallory: Mallory, statement: str) -> str:
    place = mallory.place
    partition = place.value(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'rowcall.event'::regclass limit 1"
    )
    relation = place.rows("select id from rowcall.relation where oid = to_regclass('t')")
    return statement.format(
        partition=partition.removeprefix("rowcall."), schema=place.schema, relation=relation[0][0] if relation else 0
    )


@pytest.fixture
def everything(place: Place) -> Place:
    """A database in which every kind of function that we generate exists."""
    place.table("id integer primary key, v text, r text", redact=["r"], truncate="rows", notify=True)
    place.run(
        "create table p (id integer primary key) partition by range (id)", "create table p1 partition of p default"
    )
    place.watch("p")
    return place


_FUNCTIONS = """
select p.oid::regprocedure::text, p.prosecdef, p.proconfig, pg_get_userbyid(p.proowner),
  has_function_privilege('public', p.oid, 'execute')
from pg_proc as p
where p.pronamespace = 'rowcall'::regnamespace
  and not exists (select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
"""

# They run as whoever installed Rowcall, because they make triggers and functions, on nobody's call but the server's.
_RUN_AS_INSTALLER = {"rowcall.follow_ddl_v1()", "rowcall.follow_drop_v1()"}


def test_functions_with_rights_of_their_own_are_few_owned_and_pinned(everything: Place) -> None:
    definers = [row for row in everything.rows(_FUNCTIONS) if row[1]]
    assert len(definers) > 5
    for name, _, config, owner, _ in definers:
        paths = [setting for setting in config or [] if setting.startswith("search_path=")]
        assert paths == ["search_path=pg_catalog, pg_temp"], name
        assert owner in {"rowcall_capture", "rowcall_gate"} or name in _RUN_AS_INSTALLER, name


def test_nobody_but_act_can_be_called_by_everybody(everything: Place) -> None:
    callable_by_all = {name for name, *_, by_all in everything.rows(_FUNCTIONS) if by_all}
    assert callable_by_all == {"rowcall.act(text,jsonb)"}


def test_no_right_on_our_functions_can_be_handed_on(everything: Place) -> None:
    grants = everything.rows(
        "select p.oid::regprocedure::text, g.grantee::regrole::text, g.is_grantable from pg_proc as p"
        " cross join lateral aclexplode(p.proacl) as g"
        " where p.pronamespace = 'rowcall'::regnamespace and g.grantee <> p.proowner"
    )
    assert {grantee for _, grantee, _ in grants} <= {"-", "rowcall_capture", "rowcall_gate"}
    assert not any(grantable for *_, grantable in grants)


def test_everything_but_the_amendment_pins_its_search_path(everything: Place) -> None:
    """What runs with the writer's rights qualifies every name instead."""
    loose = {
        name
        for name, _, config, _, _ in everything.rows(_FUNCTIONS)
        if not any("search_path=" in part for part in config or [])
    }
    assert {
        name
        for name in loose
        if not name.startswith(("rowcall.gate_", "rowcall.guard_", "rowcall.make_rule", "rowcall.make_guard"))
    } == {
        "rowcall.amend_v1()",
        # Prints values of types that may bring code of their own.
        "rowcall.moved_v1()",
        # Inlined into what the listener asks, by its own login.
        "rowcall.lane_v1(integer,jsonb)",
        "rowcall.in_lanes_v1(integer,jsonb,jsonb,integer[])",
        "rowcall.at_home_v1(integer,jsonb,smallint[])",
        "rowcall.of_backfill_v1(rowcall.operation,jsonb)",
        "rowcall.in_stage_v1(rowcall.stage,integer,pg_snapshot,pg_snapshot,bigint,bigint,bigint,xid8,rowcall.operation,jsonb)",
    }


@pytest.mark.parametrize("role", ["rowcall_capture", "rowcall_gate"])
def test_our_roles_can_do_what_they_must_and_nothing_else(everything: Place, role: str) -> None:
    rights = everything.rows(
        "select c.relname::text, string_agg(distinct lower(g.privilege_type), ' ' order by lower(g.privilege_type)) from pg_class as c"
        " cross join lateral aclexplode(c.relacl) as g"
        " where c.relnamespace = 'rowcall'::regnamespace and g.grantee = %s::regrole group by c.relname",
        role,
    )
    assert (
        dict(rights)
        == {
            "rowcall_capture": {
                "event": "insert",
                "event_seq": "usage",
                "moving": "delete insert select",
                "secret": "select",
            },
            "rowcall_gate": {
                "request": "delete insert select update",
                "request_id": "usage",
                "rejection": "insert select",
                "rejection_tally": "insert select",
                "secret": "select",
            },
        }[role]
    )
    assert everything.rows(
        "select rolsuper or rolcanlogin or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication,"
        " has_schema_privilege(rolname, 'rowcall', 'create'), (select count(*) from pg_auth_members where member = r.oid)"
        " from pg_roles as r where rolname = %s",
        role,
    ) == [(False, False, 0)]


def test_nobody_else_has_a_right_on_our_tables(everything: Place) -> None:
    grants = everything.rows(
        "select c.relname::text, g.grantee::regrole::text from pg_class as c cross join lateral aclexplode(c.relacl) as g"
        " where c.relnamespace = 'rowcall'::regnamespace and g.grantee <> c.relowner"
        " and g.grantee not in ('rowcall_capture'::regrole, 'rowcall_gate'::regrole)"
    )
    assert grants == []
    assert everything.rows(
        "select g.privilege_type from pg_namespace as n cross join lateral aclexplode(n.nspacl) as g"
        " where n.nspname = 'rowcall' and g.grantee = 0"
    ) == [("USAGE",)]


@pytest.fixture
def secret() -> str:
    """A value to look for, unlike that of any other test in the same database."""
    return f"s3cr3t-Välue-{next(_numbers)}-"


def _everything_we_hold(place: Place) -> str:
    """All that this test put into our schema, as text: other tests may have left a long log."""
    tables = place.rows(
        "select oid::regclass::text from pg_class where relnamespace = 'rowcall'::regnamespace and relkind = 'r'"
    )
    query = "select string_agg(x::text, ' ') from {} as x where x.xmin::text::bigint > %s::bigint"
    held = "\n".join(str(place.rows(query.format(table), place.since)) for (table,) in tables)
    assert place.schema in held
    return held


_PATHS = {
    "fast": [],
    "not generated anew": ["alter table t add added integer"],
    "row by row": ["create function nothing() returns trigger language plpgsql as 'begin return null; end'",
                   "create trigger other after insert or delete on t for each row execute function nothing()"],
    "renamed": ["alter table t rename column hidden to hidden_now", "alter table t rename column hashed to hashed_now"],
    "renamed, not generated anew": ["alter table t rename column hidden to hidden_now", "alter table t rename column hashed to hashed_now"],
    "retyped": ["alter table t alter hidden type varchar(100)", "alter table t alter hashed type varchar(100)"],
    "retyped, not generated anew": ["alter table t alter hidden type varchar(100)", "alter table t alter hashed type varchar(100)"],
}  # fmt: skip


@pytest.mark.parametrize("truncate", ["rows", "event"])
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("path", _PATHS)
def test_an_excluded_or_redacted_value_is_nowhere(
    mallory: Mallory, secret: str, path: str, keyed: bool, truncate: str
) -> None:
    key = "id integer primary key" if keyed else "id integer"
    mallory.table(
        f"{key}, seen text, hidden text, hashed text", exclude=["hidden"], redact=["hashed"], truncate=truncate
    )
    notices: list[str] = []
    mallory.connection.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
    with _unfollowed(mallory.place) if path.endswith("not generated anew") else nullcontext():
        mallory.run(*_PATHS[path])
    hidden, hashed = ("hidden_now", "hashed_now") if path.startswith("renamed") else ("hidden", "hashed")
    mallory.run(
        f"insert into t values (1, 'a', '{secret}', '{secret}')",
        f"update t set seen = 'b', {hidden} = {hidden} || '1', {hashed} = {hashed} || '1'",
        f"update t set {hidden} = '{secret}', {hashed} = '{secret}'",
        "update t set id = 2",
        "delete from t",
        f"insert into t values (1, 'a', '{secret}', '{secret}')",
        "truncate t",
    )
    assert secret not in _everything_we_hold(mallory.place)
    assert not any(secret in notice for notice in notices)
    updates = [event for event in mallory.place.events() if event.operation == "update"]
    assert [hashed in event.changed for event in updates] == [True, True, False]
    assert all(str((event.new or {})[hashed]).startswith("hmac-sha256:") for event in updates)


def test_a_hash_tells_equal_values_from_others_and_needs_the_key(place: Place) -> None:
    place.table("id integer primary key, ssn text, n numeric", redact=["ssn", "n"])
    place.run("insert into t values (1, 'x', 1.0), (2, 'x', 1.00), (3, 'y', 1.0), (4, null, null)")
    one, two, three, four = (event.new for event in place.events())
    assert one and two and three and four  # noqa: PT018
    assert one["ssn"] == two["ssn"] != three["ssn"]
    assert four["ssn"] is None
    assert one["n"] != two["n"]
    key = place.value("select redaction from rowcall.secret")
    assert one["ssn"] == "hmac-sha256:" + hmac.new(key, b"x", hashlib.sha256).hexdigest()


def test_an_excluded_value_is_in_no_rejection_or_message(place: Place, secret: str) -> None:
    place.table("id integer primary key, age integer, hidden text, hashed text", exclude=["hidden"], redact=["hashed"])
    rules = [
        {
            "name": "adult",
            "expression": "new.age >= 18",
            "message": "must be an adult",
            "operations": ["insert", "update"],
        }
    ]
    place.connection.execute("select rowcall.guard_v1('t', %s, '[]', 'tests')", [Jsonb(rules)])
    place.run("insert into t values (1, 20, 'x', 'y')")
    for statement in (
        f"insert into t values (2, 5, '{secret}', '{secret}')",
        f"update t set age = 5, hidden = '{secret}', hashed = '{secret}'",
    ):
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            place.run(statement)
        told = caught.value.diag
        assert not any(secret in (text or "") for text in (told.message_primary, told.message_detail, told.context))
    assert secret not in _everything_we_hold(place)
