"""`rowcall audit check` finds every row that was changed while nobody captured it, and no other."""

from typing import Any

import psycopg
import pytest

from tests.command import Said, fine, refused, rowcall
from tests.conftest import Connect

Database = psycopg.Connection[Any]


@pytest.fixture
def table(dsn: str, connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("create table t (id int primary key, v numeric, w text, secret text, ssn text)")
    connection.execute("insert into t select n, n, 'x', 's' || n, 'n' || n from generate_series(1, 5) as n")
    fine("watch", "t", "--exclude", "secret", "--redact", "ssn", "--baseline", "--dsn", dsn)
    return connection


def asked(dsn: str) -> Said:
    return rowcall("audit", "check", "t", "--format", "jsonl", "--dsn", dsn)


def unseen(database: Database, *statements: str) -> None:
    database.execute("set session_replication_role = replica")
    for statement in statements:
        database.execute(statement)
    database.execute("set session_replication_role = origin")


def test_a_complete_log(dsn: str, table: Database) -> None:
    for statement in (
        "update t set v = 2.50 where id = 1",
        "update t set id = id + 100 where id > 3",
        "delete from t where id = 2",
        "insert into t values (2, 7, 'again', null, 'z')",
        "delete from t where id = 3",
    ):
        table.execute(statement)
    said = asked(dsn)
    assert (said.code, said.out) == (0, "")
    table.execute("truncate t; insert into t values (1, 1)")
    assert asked(dsn).code == 0


def test_each_difference_and_since_when(dsn: str, table: Database) -> None:
    table.execute("update t set w = 'seen' where id = 1")
    unseen(
        table,
        "update t set v = 1.0, secret = 'not compared' where id = 1",
        "update t set ssn = 'other' where id = 2",
        "delete from t where id = 3",
        "insert into t values (6, 6, 'x')",
        "update t set secret = 'not compared' where id = 5",
    )
    said = asked(dsn)
    assert said.code == 1
    assert "4 rows of t differ from what the log says" in said.err
    found = {
        line["key"]["id"]: (line["difference"], line["columns"], line["last_seq"] is not None) for line in said.lines
    }
    assert found == {
        1: ("different", ["v"], True),
        2: ("different", ["ssn"], True),
        3: ("extra in the log", [], True),
        6: ("missing in the log", [], False),
    }
    [first] = [line for line in said.lines if line["key"] == {"id": 1}]
    assert table.execute(
        "select operation::text from rowcall.event where seq = %s", (first["last_seq"],)
    ).fetchone() == ("update",)


def test_it_promises_of_a_baseline_only_what_that_does(dsn: str, table: Database) -> None:
    unseen(table, "delete from t where id = 3", "insert into t values (6, 6, 'x')")
    said = asked(dsn)
    assert "rowcall watch t --baseline has the log say what is there now" in said.err
    assert said.err.endswith(
        "and no baseline takes back what is only in the log: such rows went while nothing was captured.\n"
    )
    fine("watch", "t", "--exclude", "secret", "--redact", "ssn", "--baseline", "--dsn", dsn)
    said = asked(dsn)
    assert (len(said.lines), "--baseline" in said.err) == (1, False)


def test_a_deleted_row_that_came_back_unseen(dsn: str, table: Database) -> None:
    table.execute("delete from t where id = 3")
    unseen(table, "insert into t values (3, 3, 'x')")
    [line] = asked(dsn).lines
    assert (line["difference"], line["last_at"] is not None) == ("missing in the log", True)


def test_a_column_that_ddl_filled(dsn: str, table: Database) -> None:
    table.execute("alter table t add column more int default 5, add column none int")
    table.execute("update t set w = 'y' where id = 1")
    said = asked(dsn)
    assert [line["columns"] for line in said.lines] == [["more"]] * 4
    fine("watch", "t", "--exclude", "secret", "--redact", "ssn", "--baseline", "--dsn", dsn)
    assert asked(dsn).code == 0


def test_a_table_without_a_key(dsn: str, connect: Connect) -> None:
    database = connect(autocommit=True)
    database.execute("create table t (v int)")
    database.execute("insert into t values (1), (1), (2)")
    fine("watch", "t", "--baseline", "--dsn", dsn)
    database.execute("update t set v = 3 where v = 2; delete from t where ctid = (select min(ctid) from t where v = 1)")
    assert asked(dsn).code == 0
    unseen(database, "insert into t values (3)", "delete from t where v = 1")
    assert sorted((line["key"]["v"], line["difference"]) for line in asked(dsn).lines) == [
        (1, "extra in the log"),
        (3, "missing in the log"),
    ]


def test_what_the_log_cannot_say(dsn: str, table: Database, connect: Connect) -> None:
    fine("unwatch", "t", "--dsn", dsn)
    assert "t is not watched, so its log is not complete" in refused(2, "audit", "check", "t", "--dsn", dsn)
