"""What a watch leaves out."""

import json
from typing import Any

import psycopg
import pytest

from tests.capture.log import events, watch
from tests.conftest import Connect


@pytest.fixture
def conn(connect: Connect) -> psycopg.Connection[Any]:
    connection = connect(autocommit=True)
    connection.execute("create table o (id int primary key, status text, v int)")
    return connection


def test_columns(conn: psycopg.Connection[Any]) -> None:
    watch(conn, "o", columns=["status"])
    conn.execute("insert into o values (1, 'a', 1)")
    conn.execute("update o set v = 2")
    conn.execute("update o set status = 'b'")
    assert [event[0] for event in events(conn)] == ["insert", "update"]


def test_when(conn: psycopg.Connection[Any]) -> None:
    watch(conn, "o", when="new.v > 5")
    conn.execute("insert into o values (1, 'a', 1), (2, 'b', 6)")
    conn.execute("update o set status = 'z'")
    conn.execute("delete from o")
    assert [(event[0], event[1]["id"]) for event in events(conn)] == [
        ("insert", 2),
        ("update", 2),
        ("delete", 1),
        ("delete", 2),
    ]


def test_operations(conn: psycopg.Connection[Any]) -> None:
    watch(conn, "o", operations=["delete"])
    conn.execute("insert into o values (1, 'a', 1)")
    conn.execute("update o set v = 2")
    conn.execute("delete from o")
    conn.execute("truncate o")
    assert [event[0] for event in events(conn)] == ["delete"]


def test_truncate_as_rows(conn: psycopg.Connection[Any]) -> None:
    watch(conn, "o", truncate="rows")
    conn.execute("insert into o values (1, 'a', 1)")
    conn.execute("truncate o")
    assert events(conn)[-1] == ("delete", {"id": 1}, {"id": 1, "status": "a", "v": 1}, None)
    assert len(events(conn)) == 2


def test_truncate_forbidden(conn: psycopg.Connection[Any]) -> None:
    watch(conn, "o", truncate="forbid")
    conn.execute("insert into o values (1, 'a', 1)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="forbidden by its watch"):
        conn.execute("truncate o")
    assert conn.execute("select count(*) from o").fetchone() == (1,)


@pytest.mark.parametrize("operations", [["insert"], ["insert", "update", "delete"], ["truncate"]])
def test_truncate_is_forbidden_whatever_is_recorded(conn: psycopg.Connection[Any], operations: list[str]) -> None:
    conn.execute("create table part (id int primary key) partition by list (id)")
    conn.execute("create table one partition of part for values in (1)")
    conn.execute("create table child (id int primary key references o)")
    for table in ("o", "part"):
        watch(conn, table, truncate="forbid", operations=operations)
    for statement in ("truncate o cascade", "truncate part", "truncate one", "truncate child, o"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="forbidden by its watch"):
            conn.execute(statement)


def test_a_statement_is_announced_once_with_the_seqs_of_its_rows(conn: psycopg.Connection[Any]) -> None:
    conn.execute("create table p (id int, part int, primary key (id, part)) partition by list (part)")
    conn.execute("create table p1 partition of p for values in (1) partition by list (id)")
    conn.execute("create table p11 partition of p1 for values in (1)")
    conn.execute("create table p12 partition of p1 for values in (2)")
    watch(conn, "o", notify=True, truncate="rows")
    watch(conn, "p", notify=True)
    announced: list[Any] = []
    conn.add_notify_handler(lambda notify: announced.append((notify.channel, json.loads(notify.payload))))
    conn.execute("listen rowcall_o")
    conn.execute("listen rowcall_p")
    for table, operation, rows, statement in (
        ("o", "insert", 3, "insert into o select n, 'a', n from generate_series(1, 3) as n"),
        ("o", "update", 1, "update o set v = 7 where id = 2"),
        ("o", "delete", 1, "delete from o where id = 1"),
        ("o", "truncate", 2, "truncate o"),
        ("p", "insert", 2, "insert into p values (1, 1), (2, 1)"),
        ("p", "truncate", 2, "truncate p1"),
        ("p", "truncate", 1, "truncate p"),
    ):
        (known,) = conn.execute("select coalesce(max(seq), 0) from rowcall.event").fetchone() or (0,)
        conn.execute(statement.encode())
        counted = conn.execute("select count(*), min(seq), max(seq) from rowcall.event where seq > %s", (known,))
        count, first, last = counted.fetchone() or (0, 0, 0)
        assert (statement, count) == (statement, rows)
        assert announced == [
            (f"rowcall_{table}", {"table": f"public.{table}", "operation": operation, "seq": [first, last]})
        ]
        announced.clear()
    conn.execute("truncate o")
    conn.execute("update o set v = 1")
    assert announced == []


def test_the_channel_of_a_long_name_is_cut_between_characters(conn: psycopg.Connection[Any]) -> None:
    name = "ä" * 31
    conn.execute(f'create table "{name}" (id int primary key)'.encode())
    watch(conn, f'"{name}"', notify=True)
    channels: list[str] = []
    conn.add_notify_handler(lambda notify: channels.append(notify.channel))
    # Clients cut it likewise.
    conn.execute(f'listen "rowcall_{name}"'.encode())
    conn.execute(f'insert into "{name}" values (1)'.encode())
    assert channels == ["rowcall_" + "ä" * 27]


def test_a_range_set_by_hand_never_comes_between_a_write_and_its_announcement(conn: psycopg.Connection[Any]) -> None:
    watch(conn, "o", notify=True)
    (relation,) = conn.execute("select id from rowcall.relation").fetchone() or (0,)
    announced: list[Any] = []
    conn.add_notify_handler(lambda notify: announced.append(json.loads(notify.payload)["seq"]))
    conn.execute("listen rowcall_o")
    for number, garbage in enumerate(("garbage", "1" * 9000, "9" * 19, '1],"x":[3', "-1", " ", "x 5 ", "٣"), start=1):
        conn.execute("select set_config(%s, %s, false)", (f"rowcall.range_{relation}", garbage))
        conn.execute("insert into o values (%s, 'a', 1)", (number,))
        (last,) = conn.execute("select max(seq) from rowcall.event").fetchone() or (0,)
        assert (garbage, announced) == (garbage, [[last, last]])
        announced.clear()
    # Nothing was written, so nothing is certain.
    conn.execute("select set_config(%s, 'garbage', false)", (f"rowcall.range_{relation}",))
    conn.execute("update o set v = 1 where false")
    assert announced == []


def test_options_can_change(conn: psycopg.Connection[Any]) -> None:
    assert watch(conn, "o", truncate="forbid", operations=["insert", "truncate"]) == "created"
    assert watch(conn, "o", truncate="forbid", operations=["insert", "truncate"]) == "unchanged"
    assert watch(conn, "o") == "changed"
    conn.execute("insert into o values (1, 'a', 1)")
    conn.execute("delete from o")
    conn.execute("truncate o")
    assert [event[0] for event in events(conn)] == ["insert", "delete", "truncate"]


def test_an_update_that_changes_nothing_is_no_event(conn: psycopg.Connection[Any]) -> None:
    watch(conn, "o", exclude=["v"])
    conn.execute("insert into o values (1, 'a', 1)")
    conn.execute("update o set v = 2, status = status")
    assert events(conn) == [("insert", {"id": 1}, None, {"id": 1, "status": "a"})]
