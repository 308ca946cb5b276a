"""Every way to write a row leaves its events, in the order in which things happened, and nothing else does."""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rowcall import embedded
from rowcall.migrate import upgrade
from rowcall.postgres import wakeups
from rowcall.postgres.wakeups import Doorbell
from tests.capture.conftest import Place
from tests.capture.replay import assert_replayed
from tests.conftest import bin_directory


@pytest.fixture
def t(place: Place) -> Place:
    """Two watched rows."""
    place.table("id integer primary key, v text")
    place.run("insert into t values (1, 'a'), (2, 'b')")
    return place


def row(key: int, value: str | None) -> dict[str, Any]:
    return {"id": key, "v": value}


def after(place: Place, known: int = 2) -> list[tuple[str, Any, Any]]:
    """The events after the first ones, and a check that all of them make the table."""
    place.assert_replayed()
    return place.log()[known:]


def test_insert_update_and_delete(t: Place) -> None:
    t.run("insert into t values (3, null)", "update t set v = 'z' where id > 1", "delete from t where id < 3")
    assert after(t) == [
        ("insert", None, row(3, None)),
        ("update", row(2, "b"), row(2, "z")),
        ("update", row(3, None), row(3, "z")),
        ("delete", row(1, "a"), None),
        ("delete", row(2, "z"), None),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into t select 3, 'x' where false",
        "update t set v = v",
        "update t set v = 'x' where false",
        "delete from t where false",
        "insert into t values (1, 'x') on conflict do nothing",
        "insert into t values (1, 'x') on conflict (id) do update set v = 'y' where false",
        "merge into t using (values (1)) as s (id) on t.id = s.id when matched then do nothing",
    ],
)
def test_a_statement_that_changes_nothing_leaves_no_event(t: Place, statement: str) -> None:
    t.run(statement)
    assert after(t) == []


def test_truncate(t: Place) -> None:
    t.run("truncate t", "insert into t values (1, 'c')")
    truncate, insert = t.events()[2:]
    assert (truncate.operation, truncate.key, truncate.old, truncate.new) == ("truncate", {}, None, None)
    assert insert.new == row(1, "c")
    t.assert_replayed()


def test_truncate_cascade_is_an_event_of_each_table(t: Place) -> None:
    t.table("id integer references t", name="child")
    t.run("insert into child values (1)", "truncate t cascade")
    assert [event.operation for event in t.events()] == ["insert", "insert", "truncate"]
    assert [event.operation for event in t.events("child")] == ["insert", "truncate"]
    t.assert_replayed()
    t.assert_replayed("child")


def test_truncate_of_several_tables_and_restarted_sequences(t: Place) -> None:
    t.table("id serial", name="other")
    t.run("insert into other default values", "truncate t, other restart identity", "insert into other default values")
    assert [event.operation for event in t.events()] == ["insert", "insert", "truncate"]
    assert [(event.operation, event.new) for event in t.events("other")] == [
        ("insert", {"id": 1}),
        ("truncate", None),
        ("insert", {"id": 1}),
    ]


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy(t: Place, form: str) -> None:
    t.run(
        "create temp table source (id integer, v text)",
        "insert into source select i, md5(i::text) from generate_series(3, 2000) as i",
    )
    with t.connection.cursor().copy(f"copy source to stdout (format {form})".encode()) as outward:
        data = b"".join(bytes(block) for block in outward)
    with t.connection.cursor().copy(f"copy t from stdin (format {form})".encode()) as inward:
        inward.write(data)
    events = after(t)
    assert len(events) == 1998
    assert [new["id"] for _, _, new in events] == list(range(3, 2001))


def test_a_copy_that_fails_leaves_nothing(t: Place) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation), t.connection.cursor().copy("copy t from stdin") as copy:
        copy.write("3\tx\n1\ty\n")
    assert after(t) == []


def test_on_conflict_logs_what_became_of_each_row(t: Place) -> None:
    t.run("insert into t values (2, 'n'), (3, 'n') on conflict (id) do update set v = excluded.v || t.v")
    assert sorted(after(t)) == [("insert", None, row(3, "n")), ("update", row(2, "b"), row(2, "nb"))]


def test_merge_logs_what_became_of_each_row(t: Place) -> None:
    t.run(
        "insert into t values (3, 'c')",
        """
        merge into t using (values (1, 'x'), (2, 'x'), (3, 'x'), (4, 'x')) as s (id, v) on t.id = s.id
        when matched and t.id = 1 then update set v = s.v
        when matched and t.id = 2 then delete
        when matched then do nothing
        when not matched then insert values (s.id, s.v)
        """,
    )
    assert sorted(after(t, 3), key=repr) == [
        ("delete", row(2, "b"), None),
        ("insert", None, row(4, "x")),
        ("update", row(1, "a"), row(1, "x")),
    ]


def test_merge_by_source(t: Place, version: int) -> None:
    if version < 17:
        pytest.skip("PostgreSQL 17 and later")
    t.run("merge into t using (values (1)) as s (id) on t.id = s.id when not matched by source then delete")
    assert after(t) == [("delete", row(2, "b"), None)]


def test_data_modifying_ctes(t: Place) -> None:
    t.run(
        """
        with gone as (delete from t where id = 1 returning *),
             changed as (update t set v = 'z' where id = 2 returning *),
             again as (insert into t select id + 10, v from gone returning *)
        insert into t select id + 20, v from changed
        """
    )
    assert sorted(after(t), key=repr) == [
        ("delete", row(1, "a"), None),
        ("insert", None, row(11, "a")),
        ("insert", None, row(22, "z")),
        ("update", row(2, "b"), row(2, "z")),
    ]


def test_writes_through_views_rules_and_functions(t: Place) -> None:
    t.run(
        "create view seen as select id, v from t",
        "insert into seen values (3, 'c')",
        "create function write() returns void language sql as $$ update t set v = 'f' where id = 3 $$",
        "select write()",
        "create procedure erase() language plpgsql as $$ begin delete from t where id = 3; commit; end $$",
        "call erase()",
        "create view ruled as select 1 as id",
        "create rule r as on insert to ruled do instead insert into t values (new.id, 'r')",
        "insert into ruled values (9)",
        "prepare p as insert into t values ($1, 'p')",
        "execute p (10)",
        "create table made as select 11 as id",
        "insert into t select id, 'm' from made",
    )
    assert [(operation, (new or old)["v"]) for operation, old, new in after(t)] == [
        ("insert", "c"),
        ("update", "f"),
        ("delete", "f"),
        ("insert", "r"),
        ("insert", "p"),
        ("insert", "m"),
    ]


def test_foreign_keys_that_cascade_and_set_null(t: Place) -> None:
    t.table("id integer primary key, t integer references t on delete cascade on update cascade", name="child")
    t.table(
        "id integer primary key, t integer references t on delete set null on update set default default 2",
        name="friend",
    )
    t.run(
        "insert into child values (1, 1), (2, 2)",
        "insert into friend values (1, 1)",
        "update t set id = 3 where id = 1",
    )
    t.run("delete from t where id = 2", "insert into t values (2, 'new')", "delete from t")
    assert t.log("child")[2:] == [
        ("update", {"id": 1, "t": 1}, {"id": 1, "t": 3}),
        ("delete", {"id": 2, "t": 2}, None),
        ("delete", {"id": 1, "t": 3}, None),
    ]
    assert t.log("friend")[1:] == [
        ("update", {"id": 1, "t": 1}, {"id": 1, "t": 2}),
        ("update", {"id": 1, "t": 2}, {"id": 1, "t": None}),
    ]
    for table in ("t", "child", "friend"):
        t.assert_replayed(table)


@pytest.mark.parametrize("action", ["cascade", "set null"])
def test_a_foreign_key_onto_the_table_itself(place: Place, action: str) -> None:
    place.table(f"id integer primary key, parent integer references t on delete {action} on update {action}")
    place.run(
        "insert into t values (1, null), (2, 1), (3, 2), (4, 3)",
        "update t set id = 20 where id = 2",
        "delete from t where id = 1",
    )
    place.assert_replayed()


_TOUCH = """
create function touch() returns trigger language plpgsql as $$
begin update t set v = coalesce(v, '') || '!' where id = new.id and coalesce(length(v), 0) < 4; return null; end $$
"""


@pytest.mark.parametrize("operation", ["insert", "update"])
@pytest.mark.parametrize("created", ["before watching", "after watching"])
def test_a_trigger_that_changes_the_same_row_again_comes_after_its_cause(
    place: Place, created: str, operation: str
) -> None:
    place.run("create table t (id integer primary key, v text)", _TOUCH)
    trigger = f"create trigger a_first after {operation} on t for each row execute function touch()"
    if created == "before watching":
        place.run(trigger)
    place.watch("t")
    if created == "after watching":
        place.run(trigger)
    place.run("insert into t values (1, 'a'), (2, 'b')", "update t set v = 'c'")
    place.assert_replayed()
    values = [(old or {}).get("v") for _, old, _ in place.log()]
    inserted = ["a", "b"] if operation == "insert" else []
    assert len([value for value in values if value is not None]) == len(values) - 2
    assert set(inserted) <= set(values)


def test_a_trigger_that_deletes_what_was_just_inserted(place: Place) -> None:
    place.table("id integer primary key, v text")
    place.run(
        "create function undo() returns trigger language plpgsql as $$ begin delete from t where id = new.id; return null; end $$",
        "create trigger undo after insert on t for each row execute function undo()",
        "insert into t values (1, 'a'), (2, 'b')",
    )
    place.assert_replayed()
    assert sorted(operation for operation, *_ in place.log()) == ["delete", "delete", "insert", "insert"]


def test_before_triggers_have_the_last_word_on_the_image(t: Place) -> None:
    t.run(
        "create function shout() returns trigger language plpgsql as $$ begin new.v := upper(new.v); return new; end $$",
        "create trigger zzz before insert or update on t for each row execute function shout()",
        "insert into t values (3, 'c')",
        "update t set v = 'd' where id = 3",
    )
    assert after(t) == [("insert", None, row(3, "C")), ("update", row(3, "C"), row(3, "D"))]


def test_before_triggers_that_suppress_a_row_suppress_its_event(t: Place) -> None:
    t.run(
        "create function no() returns trigger language plpgsql as $$ begin return null; end $$",
        "create trigger no before insert or update or delete on t for each row execute function no()",
        "insert into t values (3, 'c')",
        "update t set v = 'd'",
        "delete from t",
    )
    assert after(t) == []


def test_constraint_triggers_and_deferred_keys(place: Place) -> None:
    place.table("id integer primary key deferrable initially deferred, v text")
    place.run("insert into t values (1, 'a'), (2, 'b')")
    place.together(
        "update t set id = 3 - id",
        "insert into t values (1, 'dup')",
        "delete from t where v = 'b'",
        "update t set v = 'x' where v = 'dup'",
    )
    place.assert_replayed()


def test_savepoints_keep_what_was_kept(t: Place) -> None:
    t.together(
        "insert into t values (3, 'kept')",
        "savepoint one",
        "update t set v = 'lost'",
        "savepoint two",
        "delete from t",
        "rollback to one",
        "update t set v = 'after' where id = 3",
        "savepoint three",
        "insert into t values (4, 'released')",
        "release three",
    )
    assert after(t) == [
        ("insert", None, row(3, "kept")),
        ("update", row(3, "kept"), row(3, "after")),
        ("insert", None, row(4, "released")),
    ]
    assert len({event.xid for event in t.events()[2:]}) == 1


def test_exception_blocks_keep_what_was_kept(t: Place) -> None:
    t.run(
        """
        do $$
        begin
          update t set v = 'kept' where id = 1;
          begin
            update t set v = 'lost';
            delete from t;
            raise exception 'no';
          exception when others then
            insert into t values (3, 'rescue');
          end;
          begin
            insert into t values (4, 'x');
            insert into t values (3, 'dup');
          exception when unique_violation then null;
          end;
        end $$
        """
    )
    assert after(t) == [("update", row(1, "a"), row(1, "kept")), ("insert", None, row(3, "rescue"))]


def test_what_is_rolled_back_never_was(t: Place) -> None:
    with t.connection.transaction(force_rollback=True):
        t.run("insert into t values (3, 'x')", "update t set v = 'x'", "delete from t", "truncate t")
    with pytest.raises(psycopg.errors.UniqueViolation):
        t.run("insert into t values (5, 'x'), (1, 'x')")
    with pytest.raises(psycopg.errors.DivisionByZero):
        t.run("update t set v = (1 / (id - 2))::text")
    assert after(t) == []


def test_a_constraint_that_fails_at_commit_leaves_nothing(place: Place) -> None:
    place.table("id integer primary key, v integer unique deferrable initially deferred")
    with pytest.raises(psycopg.errors.UniqueViolation):
        place.together("insert into t values (1, 1)", "insert into t values (2, 1)")
    assert place.log() == []


def test_several_writes_to_one_row_in_one_transaction(t: Place) -> None:
    t.together(
        "update t set v = 'x' where id = 1",
        "update t set v = 'y' where id = 1",
        "delete from t where id = 1",
        "insert into t values (1, 'z')",
    )
    assert after(t) == [
        ("update", row(1, "a"), row(1, "x")),
        ("update", row(1, "x"), row(1, "y")),
        ("delete", row(1, "y"), None),
        ("insert", None, row(1, "z")),
    ]


def test_two_writes_to_one_row_in_one_statement(t: Place) -> None:
    """A function that writes the row which the statement around it writes too."""
    t.run(
        "create function also(integer) returns text language sql as $$ update t set v = v || '+' where id = $1 + 1 returning 'by ' || id $$",
        "update t set v = also(id) where id = 1",
    )
    assert after(t) == [("update", row(2, "b"), row(2, "b+")), ("update", row(1, "a"), row(1, "by 2"))]


def test_writers_one_after_another_on_one_row(t: Place) -> None:
    """The second writer waits for the first one's lock, and its event says what it really replaced."""
    with (
        psycopg.connect(t.dsn, autocommit=True, options=f"-c search_path={t.schema}") as other,
        other.pipeline() as pipeline,
    ):
        with t.connection.transaction():
            t.run("update t set v = 'first' where id = 1")
            other.execute("update t set v = v || ' second' where id = 1")
        pipeline.sync()
    assert after(t) == [("update", row(1, "a"), row(1, "first")), ("update", row(1, "first"), row(1, "first second"))]


def test_order_is_the_order_of_the_writes_not_of_the_transactions(t: Place) -> None:
    with psycopg.connect(t.dsn, options=f"-c search_path={t.schema}") as early:
        early.execute("insert into t values (8, 'early')")
        t.run("insert into t values (9, 'late')", "update t set v = 'x' where id = 1")
        early.execute("update t set v = 'y' where id = 1")
        early.commit()
    assert [new["v"] for _, _, new in after(t)] == ["early", "late", "x", "y"]
    seqs = [event.seq for event in t.events()]
    assert seqs == sorted(set(seqs), key=lambda seq: seq or 0)


def test_read_committed_repeatable_read_and_serializable(t: Place) -> None:
    for level in ("read committed", "repeatable read", "serializable"):
        t.run(f"begin isolation level {level}; update t set v = '{level}' where id = 1; commit")
    assert [new["v"] for _, _, new in after(t)] == ["read committed", "repeatable read", "serializable"]


def test_writes_by_logical_apply_and_replica_role_are_not_seen_unless_asked_for(t: Place) -> None:
    """A limit: ordinary triggers do not fire then; ENABLE ALWAYS does."""
    t.run("set session_replication_role = replica", "insert into t values (3, 'unseen')")
    t.run("set session_replication_role = default")
    triggers = t.rows("select tgname from pg_trigger where tgrelid = 't'::regclass and tgname like '00%'")
    t.run(*(f'alter table t enable always trigger "{name}"' for (name,) in triggers))
    t.run(
        "set session_replication_role = replica", "insert into t values (4, 'seen')", "reset session_replication_role"
    )
    assert t.log()[2:] == [("insert", None, row(4, "seen"))]


def test_a_hundred_thousand_rows(place: Place) -> None:
    place.table("id integer primary key, v text")
    place.run(
        "insert into t select i, 'v' from generate_series(1, 20000) as i", "update t set v = 'w'", "delete from t"
    )
    assert place.rows(
        "select operation::text, count(*), count(distinct key), count(distinct xid) from rowcall.event"
        " where relation = (select id from rowcall.relation where oid = 't'::regclass) group by operation order by 1"
    ) == [("delete", 20000, 20000, 1), ("insert", 20000, 20000, 1), ("update", 20000, 20000, 1)]


def test_vacuum_cluster_and_reindex_are_no_changes(t: Place) -> None:
    t.run(
        "vacuum full t", "cluster t using t_pkey", "reindex table t", "analyze t", "alter table t set (fillfactor = 50)"
    )
    assert after(t) == []


@pytest.fixture(scope="module")
def preparing() -> Iterator[str]:
    """The DSN of a database on a server that has prepared transactions."""
    with embedded.Server(bin_directory=bin_directory(), settings={"max_prepared_transactions": "4"}) as server:
        upgrade(server.dsn())
        yield server.dsn()


def logged(connection: psycopg.Connection[Any]) -> list[tuple[str | None, str, Any]]:
    return connection.execute("select actor, operation::text, new from rowcall.event order by seq").fetchall()


@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_prepared_transactions(preparing: str, how: str) -> None:
    with psycopg.connect(preparing, autocommit=True) as connection:
        table = f"made_to_{how}"
        connection.execute(f"create table {table} (id integer primary key, v text)".encode())
        connection.execute("select rowcall.watch_v1(%s::regclass, '{}', 'tests')", [table])
        known = len(logged(connection))
        connection.execute("begin")
        connection.execute("select rowcall.act('alice', '{\"request\": 1}')")
        connection.execute(f"insert into {table} values (1, 'a')".encode())
        connection.execute(f"update {table} set v = 'b'".encode())
        connection.execute("prepare transaction 'prepared'")
        assert logged(connection)[known:] == []
        connection.execute(f"{how} prepared 'prepared'".encode())
        events = [("alice", "insert", row(1, "a")), ("alice", "update", row(1, "b"))] if how == "commit" else []
        assert logged(connection)[known:] == events
        assert_replayed(connection, table)


def test_prepared_transactions_while_a_listener_sleeps(preparing: str) -> None:
    """A transaction that sent NOTIFY cannot be prepared, so on such a server no listener asks for a ring."""

    async def prepare_beside_a_sleeper() -> wakeups.Place:
        doorbell = await Doorbell.open(preparing)
        place = await doorbell.lie_down()
        with psycopg.connect(preparing, autocommit=True) as connection:
            connection.execute("drop table if exists t; create table t (id integer primary key, v text)")
            connection.execute("select rowcall.watch_v1('t', '{}', 'tests')")
            connection.execute("begin; insert into t values (7, 'x'); prepare transaction 'beside'")
            connection.execute("commit prepared 'beside'")
            assert logged(connection)[-1] == (None, "insert", row(7, "x"))
        await doorbell.close()
        return place

    assert asyncio.run(prepare_beside_a_sleeper()) == "open"
