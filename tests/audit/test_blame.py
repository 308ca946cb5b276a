"""`rowcall audit blame`: who last set each column; and `rowcall audit transaction`: what one transaction did."""

from typing import Any

import psycopg

from tests.command import fine, refused

Database = psycopg.Connection[Any]


def blamed(dsn: str, *arguments: str) -> dict[str, tuple[Any, Any, Any]]:
    lines = fine("audit", "blame", *arguments, "--dsn", dsn).lines
    columns = ["column", "value", "seq", "xid", "at", "operation", "actor", "context"]
    assert all(list(line) == columns for line in lines)
    return {line["column"]: (line["value"], line["operation"], line["actor"]) for line in lines}


def test_each_column_has_its_last_setter(dsn: str, history: Database) -> None:
    assert blamed(dsn, "users", "1") == {
        "id": (1, "insert", "ann"),
        "name": ("Ada", "update", "bob"),
        "age": (38, "update", None),
    }
    told = fine("audit", "blame", "users", "1", "--format", "table", "--dsn", dsn, COLUMNS="80").out.splitlines()
    assert told[0].split() == ["column", "value", "set", "by", "seq", "transaction"]
    assert max(map(len, told)) <= 80
    assert told[2].split()[:2] == ["name", "'Ada'"]
    assert "bob" in told[2]


def test_through_changes_of_the_key_and_before_the_log(dsn: str, database: Database) -> None:
    database.execute("create table old (id int primary key, v text, w text)")
    database.execute("insert into old values (1, 'a', 'x')")
    fine("watch", "old", "--dsn", dsn)
    database.execute("update old set v = 'b'")
    database.execute("update old set id = 2")
    assert blamed(dsn, "old", "2") == {
        "id": (2, "update", None),
        "v": ("b", "update", None),
        "w": ("x", None, None),
    }
    assert "before the log" in fine("audit", "blame", "old", "2", "--format", "table", "--dsn", dsn).out
    sentence = refused(1, "audit", "blame", "old", "1", "--dsn", dsn)
    assert "has another key since seq" in sentence
    assert '{"id": 2}: ask for that.' in sentence


def test_a_row_that_is_not_there(dsn: str, history: Database) -> None:
    sentence = refused(1, "audit", "blame", "users", "2", "--dsn", dsn)
    assert sentence.startswith('public.users {"id":2} is gone since 20')
    assert "is gone since its table was truncated (seq" in refused(
        1, "audit", "blame", "shop.orders", "7", "--dsn", dsn
    )
    assert 'The log has no event of public.users {"id":9}' in refused(1, "audit", "blame", "users", "9", "--dsn", dsn)
    assert "The log knows no table nothing" in refused(2, "audit", "blame", "nothing", "9", "--dsn", dsn)


def test_what_a_transaction_did(dsn: str, database: Database) -> None:
    with database.transaction():
        database.execute("set local application_name = 'nightly'; set local role rowcall_capture; reset role")
        database.execute("select rowcall.act('ann', '{\"request\": \"r1\"}')")
        database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40)")
        database.execute("insert into shop.orders values (7, 10.50)")
        database.execute("update users set age = 41 where id = 2")
        [(xid,)] = database.execute("select pg_current_xact_id()::text").fetchall()
    [line] = fine("audit", "transaction", xid, "--dsn", dsn).lines
    assert (line["xid"], line["events"], line["actors"], line["contexts"]) == (
        int(xid),
        4,
        ["ann"],
        [{"request": "r1"}],
    )
    assert (line["db_users"], line["db_roles"], line["applications"]) == (["postgres"], [], ["nightly"])
    assert line["tables"] == [
        {"table": "public.users", "operation": "insert", "events": 2},
        {"table": "shop.orders", "operation": "insert", "events": 1},
        {"table": "public.users", "operation": "update", "events": 1},
    ]
    told = fine("audit", "transaction", xid, "--format", "table", "--dsn", dsn, COLUMNS="80").out
    said = " ".join(told.split())
    assert "did insert 2 × public.users, insert 1 × shop.orders, update 1 × public.users" in said
    assert "login postgres program nightly" in said
    assert "~ users 2" in told
    assert max(map(len, told.splitlines())) <= 80


def test_a_transaction_the_log_does_not_know(dsn: str, database: Database) -> None:
    assert "The log has nothing of transaction 5" in refused(1, "audit", "transaction", "5", "--dsn", dsn)
    assert "shows what it takes" in refused(2, "audit", "transaction", "x", "--dsn", dsn)
    assert "it is a number" in refused(2, "audit", "transaction", str(2**64), "--dsn", dsn)
