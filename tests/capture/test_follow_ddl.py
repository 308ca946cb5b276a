"""Capture follows the tables while people change them."""

import re
from typing import Any

import psycopg
import pytest

from tests.capture.log import events, triggers, watch
from tests.conftest import Connect


@pytest.fixture
def conn(connect: Connect) -> psycopg.Connection[Any]:
    connection = connect(autocommit=True)
    connection.execute("create table p (id int primary key, email text)")
    watch(connection, "p")
    connection.execute("insert into p values (1, 'a')")
    return connection


def test_an_added_column_is_captured_at_once(conn: psycopg.Connection[Any]) -> None:
    conn.execute("alter table p add column extra int default 3")
    conn.execute("update p set extra = 4")
    assert events(conn)[-1] == ("update", {"id": 1}, {"extra": 3}, {"id": 1, "email": "a", "extra": 4})


@pytest.mark.parametrize("ddl", ["drop column email", "rename email to mail", "alter email type varchar(10)"])
def test_no_write_fails_because_a_column_went_away(conn: psycopg.Connection[Any], ddl: str) -> None:
    conn.execute(f"alter table p {ddl}")
    conn.execute("insert into p (id) values (2)")
    conn.execute("update p set id = 3 where id = 2")
    conn.execute("delete from p where id = 3")
    assert [event[:2] for event in events(conn)[1:]] == [
        ("insert", {"id": 2}),
        ("update", {"id": 2}),
        ("delete", {"id": 3}),
    ]


@pytest.mark.parametrize(
    "ddl", ["drop column email", "rename id to ident", "alter email type int using 7", "add z int"]
)
def test_nor_while_the_event_trigger_sleeps(conn: psycopg.Connection[Any], connect: Connect, ddl: str) -> None:
    other = connect(autocommit=True)
    other.execute("update p set email = 'b'")
    conn.execute("alter event trigger rowcall_follow_ddl disable")
    conn.execute(f"alter table p {ddl}")
    for connection in (conn, other):
        connection.execute("insert into p select 2 from p having max(0) = 0")
        connection.execute(
            "delete from p where p.* is not null and (to_jsonb(p) ->> 0 is not null or true) and ctid > '(0,1)'"
        )
        connection.execute("truncate p")
        connection.execute("insert into p values (1)")
    kinds = [event[0] for event in events(conn)]
    assert kinds.count("insert") == 1 + 2 * 2
    assert kinds.count("truncate") == 2
    assert events(conn)[-1][3]["id" if "ident" not in ddl else "ident"] == 1


def test_history_stays_under_one_relation(conn: psycopg.Connection[Any]) -> None:
    conn.execute("alter table p rename to q")
    conn.execute("create schema shop")
    conn.execute("alter table q set schema shop")
    conn.execute("alter schema shop rename to store")
    conn.execute("update store.q set email = 'b'")
    conn.execute("drop table store.q")
    conn.execute("create table store.q (id int primary key, email text)")
    assert watch(conn, "store.q") == "created"
    conn.execute("insert into store.q values (9, 'z')")
    assert conn.execute("select distinct relation from rowcall.event").fetchall() == [(1,)]
    assert conn.execute("select schema_name, table_name, dropped_at from rowcall.relation").fetchall() == [
        ("store", "q", None)
    ]


def test_another_trigger_brings_the_row_level_back(conn: psycopg.Connection[Any]) -> None:
    assert triggers(conn, "p")["00_rowcall_insert"] == "statement"
    conn.execute("""
        create function touch() returns trigger language plpgsql as $$
        begin update p set email = 'touched' where id = new.id; return null; end $$""")
    conn.execute("create trigger touch after insert on p for each row execute function touch()")
    assert triggers(conn, "p")["00_rowcall_insert"] == "row"
    conn.execute("insert into p values (2, 'b')")
    assert [event[0] for event in events(conn)[-2:]] == ["insert", "update"]
    assert events(conn)[-1][2:] == ({"email": "b"}, {"id": 2, "email": "touched"})


def test_a_disabled_trigger_stays_disabled_until_watched_again(conn: psycopg.Connection[Any]) -> None:
    conn.execute("alter table p disable trigger all")
    conn.execute("alter table p add column extra int")
    conn.execute("update p set extra = 1")
    assert len(events(conn)) == 1
    assert conn.execute("select rowcall.capture_is_enabled_v1(1)").fetchone() == (False,)
    assert watch(conn, "p") == "changed"
    conn.execute("update p set extra = 2")
    assert len(events(conn)) == 2


def test_names_cannot_break_out_of_generated_code(conn: psycopg.Connection[Any]) -> None:
    table = '"we$capture$ird\'"""'
    conn.execute(f'create table {table} ("a$body$b" int primary key, "x$rows$%I" text, "$header$" text)')
    watch(conn, table, truncate="rows")
    conn.execute(f"insert into {table} values (1, 'x', 'y')")
    conn.execute(f'update {table} set "$header$" = null')
    conn.execute(f"truncate {table}")
    expected: list[tuple[Any, ...]] = [
        ("insert", {"a$body$b": 1}, None),
        ("update", {"a$body$b": 1}, {"$header$": "y"}),
        ("delete", {"a$body$b": 1}, {"a$body$b": 1, "x$rows$%I": "x", "$header$": None}),
    ]
    assert [event[:3] for event in events(conn)[1:]] == expected


def test_bulk_capture_costs_no_transaction_id_a_statement(conn: psycopg.Connection[Any]) -> None:
    with conn.transaction():
        conn.execute("insert into p select i from generate_series(100, 199) as i")
        conn.execute("delete from p where id >= 100")
        conn.execute("update p set email = 'c'")
        row = conn.execute("select pg_current_xact_id()::text::bigint").fetchone()
    assert row is not None
    after = conn.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    assert after == (row[0] + 1,)


def test_what_it_reads_of_the_catalog_does_not_multiply(conn: psycopg.Connection[Any]) -> None:
    for number in range(10):
        conn.execute(f"create table t{number} (id int primary key)")
        watch(conn, f"t{number}")
    query = """
        select seq_tup_read + coalesce(idx_tup_fetch, 0), (select count(*) from pg_trigger)
        from pg_stat_xact_sys_tables where relname = 'pg_trigger'
    """
    with conn.transaction():
        [(before, _)] = conn.execute(query).fetchall()
        conn.execute(
            "create trigger mine before update on t1 for each row execute function suppress_redundant_updates_trigger()"
        )
        [(after, existing)] = conn.execute(query).fetchall()
    # Each trigger a few times, not once for each function.
    assert after - before < 30 * existing


def test_room_is_made_for_little_at_each_command(conn: psycopg.Connection[Any]) -> None:
    """PostgreSQL makes room for the rows that it expects before it knows that there are none: once milliseconds a command."""
    plans: list[str] = []
    conn.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    conn.execute("""
        load 'auto_explain';
        set auto_explain.log_nested_statements = on;
        set auto_explain.log_min_duration = 0;
        set client_min_messages = log""")
    conn.execute("create table another (id int primary key)")
    expected = [int(rows) for plan in plans for rows in re.findall(r"rows=(\d+)", plan)]
    assert expected
    assert max(expected) < 5000
