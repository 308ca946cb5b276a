"""What a watch leaves out."""

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
