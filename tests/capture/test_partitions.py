"""Partitioned tables are watched as one."""

from typing import Any

import psycopg
import pytest

from tests.capture.log import events, triggers, watch
from tests.conftest import Connect


@pytest.fixture
def conn(connect: Connect) -> psycopg.Connection[Any]:
    connection = connect(autocommit=True)
    connection.execute("create table m (id int, at int, v text, primary key (id, at)) partition by range (at)")
    connection.execute("create table m1 partition of m for values from (0) to (10)")
    watch(connection, "m")
    connection.execute("create table m2 partition of m for values from (10) to (20)")
    return connection


def test_writes_to_root_and_leaf(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (1, 1, 'a'), (2, 12, 'b')")
    conn.execute("insert into m2 values (3, 13, 'c')")
    conn.execute("update m2 set v = 'd' where id = 3")
    conn.execute("delete from m where id = 2")
    assert [(event[0], event[1]["id"]) for event in events(conn)] == [
        ("insert", 1),
        ("insert", 2),
        ("insert", 3),
        ("update", 3),
        ("delete", 2),
    ]


def test_a_row_that_moves_is_one_update(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (1, 1, 'a'), (2, 2, 'b')")
    conn.execute("update m set at = at + 10, v = upper(v)")
    assert events(conn)[2:] == [
        ("update", {"id": 1, "at": 1}, {"at": 1, "v": "a"}, {"id": 1, "at": 11, "v": "A"}),
        ("update", {"id": 2, "at": 2}, {"at": 2, "v": "b"}, {"id": 2, "at": 12, "v": "B"}),
    ]
    assert conn.execute("select next_key from rowcall.event order by seq desc limit 1").fetchone() == (
        {"id": 2, "at": 12},
    )
    assert conn.execute("select count(*) from rowcall.moving").fetchone() == (0,)


def test_a_move_that_is_suppressed_is_a_delete(conn: psycopg.Connection[Any]) -> None:
    conn.execute("create function no() returns trigger language plpgsql as $$ begin return null; end $$")
    conn.execute("create trigger no before insert on m2 for each row execute function no()")
    conn.execute("insert into m values (1, 1, 'a'), (2, 2, 'b')")
    conn.execute("update m set at = at + 10")
    assert [(event[0], event[1]["id"]) for event in events(conn)[2:]] == [("delete", 1), ("delete", 2)]


def test_a_delete_and_an_insert_stay_two_events(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (1, 1, 'a')")
    with conn.transaction():
        conn.execute("delete from m where id = 1")
        conn.execute("insert into m values (1, 11, 'a')")
    assert [event[0] for event in events(conn)] == ["insert", "delete", "insert"]


def test_moves_and_savepoints(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (1, 1, 'a')")
    with conn.transaction():
        with conn.transaction(force_rollback=True):
            conn.execute("update m set at = 11")
        conn.execute("update m set at = 12")
    assert [event[0] for event in events(conn)] == ["insert", "update"]
    assert events(conn)[1][3]["at"] == 12


def test_a_hostile_hint_loses_nothing(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (1, 1, 'a'), (2, 11, 'b')")
    with conn.transaction():
        conn.execute("set local rowcall.statements = 'uuuuuu'")
        conn.execute("delete from m where id = 1")
        conn.execute("insert into m values (3, 3, 'c')")
        conn.execute("delete from m")
    assert [(event[0], event[1]["id"]) for event in events(conn)[2:]] == [
        ("delete", 1),
        ("insert", 3),
        ("delete", 3),
        ("delete", 2),
    ]


def test_truncate_of_a_partition_says_which_rows(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (1, 1, 'a'), (2, 12, 'b')")
    conn.execute("truncate m2")
    assert events(conn)[-1] == ("delete", {"id": 2, "at": 12}, {"id": 2, "at": 12, "v": "b"}, None)
    conn.execute("truncate m")
    assert events(conn)[-1][0] == "truncate"


def test_a_truncate_never_fails_because_of_us(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (1, 1, 'a')")
    conn.execute("revoke all on m1 from rowcall_capture")
    conn.execute("truncate m1")
    assert events(conn)[-1] == ("truncate", None, {"": {"table": "public.m1"}}, None)


def test_a_detached_partition_is_watched_no_more(conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into m values (2, 12, 'b')")
    conn.execute("alter table m detach partition m2")
    conn.execute("insert into m2 values (9, 9, 'z')")
    conn.execute("truncate m2")
    assert len(events(conn)) == 1
    assert triggers(conn, "m2") == {}
    conn.execute("alter table m attach partition m2 for values from (10) to (20)")
    conn.execute("insert into m2 values (3, 13, 'c')")
    assert events(conn)[-1][:2] == ("insert", {"id": 3, "at": 13})
    assert "00_rowcall_leave" in triggers(conn, "m2")
