"""`rowcall audit undo`: what it restores, what it refuses, and what forcing it means."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import acting, audit, errors
from rowcall.demo.chinook import loading
from rowcall.demo.chinook.app import TABLES, app
from rowcall.demo.chinook.day import HOURS, Day
from rowcall.postgres import declarations
from tests.command import fine, refused, rowcall, typed
from tests.conftest import Connect
from tests.demo.conftest import chinook
from tests.demo.test_chinook import SCHEMA

__all__ = ["chinook"]

Database = psycopg.Connection[Any]


def newest(database: Database) -> tuple[int, int]:
    """Place and transaction of the newest event."""
    [row] = database.execute("select seq, xid::text::bigint from rowcall.event order by seq desc limit 1").fetchall()
    return int(row[0]), int(row[1])


def changed(database: Database, statement: str) -> tuple[int, int]:
    database.execute(statement.encode())
    return newest(database)


def users(database: Database) -> list[Any]:
    return database.execute("select * from users order by id").fetchall()


def conflict(dsn: str, *arguments: str) -> dict[str, Any]:
    """The one conflict with which an undoing is refused."""
    said = rowcall("audit", "undo", *arguments, "--yes", "--dsn", dsn)
    assert said.code == 1
    assert said.err.count("\n") == 1
    [line] = said.lines
    assert list(line) == ["seq", "table", "key", "reason", "message", "by", "forceable"]
    return dict(line)


def test_it_is_a_change_like_any_other_and_says_what_it_undoes(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40)")
    _, xid = changed(database, "update users set age = age + 1")
    said = fine("audit", "undo", "--transaction", str(xid), "--actor", "eve", "--yes", "--dsn", dsn)
    _, undoing = newest(database)
    assert said.out == f"2 events of public.users undone by transaction {undoing}.\n"
    assert users(database) == [(1, "ada", 36), (2, "bob", 40)]
    events = list(audit.log(database, audit.Filter(transaction=undoing)))
    assert [(event.actor, event.context) for event in events] == [("eve", {"undoes": {"transaction": xid}})] * 2
    found = list(audit.log(database, audit.Filter(context={"undoes": {"transaction": xid}})))
    assert [event.seq for event in found] == [event.seq for event in events]
    # Once only; but what undid it can be undone.
    refusal = rowcall("audit", "undo", "--transaction", str(xid), "--yes", "--dsn", dsn)
    assert (refusal.code, [line["reason"] for line in refusal.lines]) == (1, ["changed", "changed"])
    fine("audit", "undo", "--transaction", str(undoing), "--yes", "--dsn", dsn)
    assert users(database) == [(1, "ada", 37), (2, "bob", 41)]


def test_one_event(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    seq, _ = changed(database, "update users set age = 37, name = 'Ada'")
    database.execute("update users set id = 5")
    assert conflict(dsn, "--event", str(seq))["reason"] == "gone"
    seq, _ = changed(database, "delete from users")
    with acting(database, actor="ann"):
        undoing = audit.undo(database, events=[seq])
    assert users(database) == [(5, "Ada", 37)]
    assert [event.seq for event in undoing.events] == [seq]
    [event] = audit.log(database, audit.Filter(transaction=undoing.transaction))
    assert (event.operation, event.actor, event.context) == ("insert", "ann", {"undoes": {"events": [seq]}})


def test_later_changes_are_not_undone_with_it(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40)")
    age, _ = changed(database, "update users set age = 37 where id = 1")
    name, _ = changed(database, "update users set name = 'Ada' where id = 1")
    audit.undo(database, events=[age])  # another column: no conflict
    assert users(database)[0] == (1, "Ada", 36)
    with database.transaction():
        database.execute("select rowcall.act('bob')")
        later, _ = changed(database, "update users set name = 'ADA' where id = 1")
    found = conflict(dsn, "--event", str(name))
    assert (found["reason"], found["by"], found["forceable"], found["key"]) == ("changed", later, True, {"id": 1})
    assert found["message"].startswith("name changed again by bob at 20")
    # Also where the value is by now what it was: somebody meant it.
    database.execute("update users set name = 'Ada' where id = 1")
    assert conflict(dsn, "--event", str(name))["reason"] == "changed"
    fine("audit", "undo", "--event", str(name), "--force", str(name), "--yes", "--dsn", dsn)
    assert users(database)[0] == (1, "ada", 36)


def test_two_events_without_the_one_between(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    first, _ = changed(database, "update users set name = 'bob'")
    changed(database, "update users set age = 37")
    second, _ = changed(database, "update users set name = 'cyd', id = 2")
    changed(database, "update users set age = 38")
    third, _ = changed(database, "update users set id = 3")
    assert len(audit.undo(database, events=[first, second, third]).statements) > 0
    assert users(database) == [(1, "ada", 38)]
    # What is between has to be of other columns.
    first, _ = changed(database, "update users set name = 'bob'")
    between, _ = changed(database, "update users set name = 'cyd', age = 39")
    second, _ = changed(database, "update users set name = 'dan'")
    said = conflict(dsn, "--event", str(first), "--event", str(second))
    assert (said["seq"], said["reason"], said["by"]) == (first, "changed", between)
    assert users(database) == [(1, "dan", 39)]


def test_a_row_that_is_gone_or_another(dsn: str, database: Database) -> None:
    insert, _ = changed(database, "insert into users values (1, 'ada', 36)")
    update, _ = changed(database, "update users set age = 37")
    delete, _ = changed(database, "delete from users")
    found = conflict(dsn, "--event", str(update))
    assert (found["reason"], found["by"]) == ("gone", delete)
    said = fine("audit", "undo", "--event", str(update), "--force", str(update), "--yes", "--dsn", dsn)
    assert said.out == "There is nothing to change: the rows are as they were.\n"
    again, _ = changed(database, "insert into users values (1, 'eve', 37)")
    found = conflict(dsn, "--event", str(update))
    assert (found["reason"], found["by"]) == ("replaced", again)
    assert conflict(dsn, "--event", str(insert))["reason"] == "replaced"
    found = conflict(dsn, "--event", str(delete))
    assert (found["reason"], found["by"]) == ("taken", again)
    assert users(database) == [(1, "eve", 37)]
    fine("audit", "undo", "--event", str(delete), "--force", str(delete), "--yes", "--dsn", dsn)
    assert users(database) == [(1, "ada", 37)]


def test_a_change_the_log_did_not_see(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    seq, _ = changed(database, "update users set age = 37")
    database.execute(
        "set session_replication_role = replica; update users set age = 99; reset session_replication_role"
    )
    found = conflict(dsn, "--event", str(seq))
    assert (found["reason"], found["by"]) == ("changed", None)
    assert found["message"] == "age changed since, and the log does not say by whom"


def test_what_the_log_does_not_have(dsn: str, database: Database) -> None:
    database.execute("create table secrets (id int primary key, pin text, ssn text, note text, must text not null)")
    fine("watch", "secrets", "--exclude", "pin", "--redact", "ssn", "--dsn", dsn)
    database.execute("insert into secrets values (1, '1234', '078-05', 'x', 'y')")
    seq, _ = changed(database, "update secrets set ssn = '079', note = 'z'")
    found = conflict(dsn, "--event", str(seq))
    assert (found["reason"], found["forceable"]) == ("unknown", True)
    audit.undo(database, events=[seq], force=[seq])
    assert database.execute("select ssn, note from secrets").fetchone() == ("079", "x")
    seq, _ = changed(database, "delete from secrets")
    found = conflict(dsn, "--event", str(seq))
    assert found["message"].startswith("pin, ssn cannot be restored")
    audit.undo(database, events=[seq], force=[seq])
    assert database.execute("select * from secrets").fetchall() == [(1, None, None, "x", "y")]
    fine("watch", "secrets", "--exclude", "must", "--dsn", dsn)
    seq, _ = changed(database, "delete from secrets")
    found = conflict(dsn, "--event", str(seq), "--force", str(seq))
    assert (found["reason"], found["forceable"]) == ("unknown", False)
    assert found["message"].endswith("must has no default")


def test_truncate(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    seq, xid = changed(database, "truncate users")
    assert conflict(dsn, "--transaction", str(xid))["reason"] == "truncate"
    database.execute("select rowcall.watch_v1('users', '{\"truncate\": \"rows\"}', 'cli')")
    database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40)")
    _, xid = changed(database, "truncate users")
    audit.undo(database, transaction=xid)
    assert users(database) == [(1, "ada", 36), (2, "bob", 40)]
    assert seq


def test_generated_and_identity_columns(database: Database) -> None:
    database.execute(
        "create table lines (id int generated always as identity primary key, n numeric, m numeric generated always as (n * 2) stored)"
    )
    database.execute("select rowcall.watch_v1('lines', '{}', 'tests')")
    database.execute("insert into lines (n) values (1.50), (2)")
    _, xid = changed(database, "delete from lines")
    audit.undo(database, transaction=xid)
    assert database.execute("select id, n::text, m::text from lines order by 1").fetchall() == [
        (1, "1.50", "3.00"),
        (2, "2", "4"),
    ]


def test_the_printed_statements_do_it(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'a''b\\', 36), (2, null, 40), (3, '%s', 1)")
    before = users(database)
    with database.transaction():
        database.execute("update users set name = 'x', id = id + 10 where id < 3; delete from users where id = 3")
        database.execute("insert into users values (4, 'new', 0)")
    _, xid = newest(database)
    script = fine("audit", "undo", "--transaction", str(xid), "--actor", "o'hara", "--sql", "--dsn", dsn).out
    assert users(database) != before
    assert script.startswith("begin;\nselect rowcall.act('o''hara', '{\"undoes\":{\"transaction\":")
    database.execute(script.encode())
    assert users(database) == before
    assert [event.actor for event in audit.log(database, audit.Filter(limit=1))] == ["o'hara"]


def test_the_database_has_the_last_word(dsn: str, database: Database) -> None:
    database.execute(
        "create table parents (id int primary key); create table children (id int primary key, p int references parents)"
    )
    fine("watch", "parents", "children", "--dsn", dsn)
    seq, _ = changed(database, "insert into parents values (1)")
    database.execute("insert into children values (1, 1)")
    found = conflict(dsn, "--event", str(seq))
    assert (found["reason"], found["forceable"]) == ("constraint", False)
    assert "violates foreign key constraint" in found["message"]
    database.execute("create table taken (id int primary key, name text unique)")
    fine("watch", "taken", "--dsn", dsn)
    database.execute("insert into taken values (1, 'a')")
    seq, _ = changed(database, "update taken set name = 'b'")
    database.execute("insert into taken values (2, 'a')")
    assert "duplicate key value" in conflict(dsn, "--event", str(seq))["message"]
    database.execute(
        "create function no() returns trigger language plpgsql as $$ begin return null; end $$;"
        "create trigger no before update on users for each row execute function no()"
    )
    database.execute("insert into users values (1, 'ada', 36)")
    database.execute("alter table users disable trigger no")
    seq, _ = changed(database, "update users set age = 1")
    database.execute("alter table users enable trigger no")
    sentence = refused(1, "audit", "undo", "--event", str(seq), "--yes", "--dsn", dsn)
    assert "Of 1 rows only 0 could be changed" in sentence


def test_what_refuses_it_is_told_as_a_conflict(dsn: str, database: Database) -> None:
    database.execute("create table always (id int generated always as identity primary key, v int)")
    fine("watch", "always", "--dsn", dsn)
    database.execute("insert into always (v) values (1)")
    seq, _ = changed(database, "update always set id = default")
    assert conflict(dsn, "--event", str(seq))["message"] == 'column "id" can only be updated to DEFAULT'
    seq, _ = changed(database, "insert into users values (1, 'ada', 36)")
    for code in ("P0001", "U0042"):
        database.execute(
            "create or replace function no() returns trigger language plpgsql as"
            f" $$ begin raise exception 'the year is closed.' using errcode = '{code}'; end $$;"
            "create or replace trigger no before delete on users for each row execute function no()"
        )
        for arguments in (["--event", str(seq)], ["--event", str(seq), "--sql"]):
            found = conflict(dsn, *arguments)
            assert (found["reason"], found["message"]) == ("constraint", "the year is closed")


@pytest.mark.parametrize("by_script", [False, True])
def test_rows_that_take_each_others_places(dsn: str, database: Database, by_script: bool) -> None:
    database.execute("create table places (id int primary key, v text unique)")
    fine("watch", "places", "--dsn", dsn)
    database.execute("insert into places values (1, 'a'), (2, 'b')")
    before = database.execute("select * from places order by id").fetchall()
    swap = ["set v = 't' where id = 1", "set v = 'a' where id = 2", "set v = 'b' where id = 1"]
    for statements in (
        [f"update places {change}" for change in swap],
        # The key of a row that was deleted has another one, which has to leave it as well.
        [
            "update places set id = 9 where id = 1",
            "update places set id = 1 where id = 2",
            "delete from places where id = 9",
        ],
        [
            "update places set id = 9 where id = 1",
            "insert into places values (1, 'c')",
            "delete from places where id = 9",
        ],
    ):
        with database.transaction():
            for statement in statements:
                database.execute(statement.encode())
        _, xid = newest(database)
        undo = ["audit", "undo", "--transaction", str(xid), "--dsn", dsn]
        if by_script:
            database.execute(fine(*undo, "--sql").out.encode())
        else:
            fine(*undo, "--yes")
        assert database.execute("select * from places order by id").fetchall() == before


def test_a_column_that_is_there_no_more(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    update, _ = changed(database, "update users set age = 37, name = 'Ada'")
    database.execute("alter table users drop column age")
    assert "age cannot be restored" in conflict(dsn, "--event", str(update))["message"]
    audit.undo(database, events=[update], force=[update])
    assert database.execute("select * from users").fetchall() == [(1, "ada")]
    database.execute("alter table users add column extra int default 7")
    delete, _ = changed(database, "delete from users")
    database.execute("alter table users add column more int default 8")
    audit.undo(database, events=[delete])
    assert database.execute("select * from users").fetchall() == [(1, "ada", 7, 8)]


def test_it_asks_on_a_terminal(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    seq, _ = changed(database, "update users set age = 37")
    assert typed("n\n", "audit", "undo", "--event", str(seq), "--dsn", dsn).code == 1
    assert users(database)[0][2] == 37
    said = typed("y\n", "audit", "undo", "--event", str(seq), "--dsn", dsn)
    assert "This takes back 1 event of public.users." in said.out
    assert users(database)[0][2] == 36


BAD: list[tuple[int, list[str], str]] = [
    (2, [], "Say what to undo: --transaction XID or --event SEQ, one of the two."),
    (2, ["--transaction", "9", "--event", "9"], "Say what to undo"),
    (1, ["--transaction", "9"], 'The log does not have transaction 9: "rowcall audit log" shows what it has.'),
    (1, ["--event", str(2**63)], "The log does not have event 9223372036854775808"),
    (1, ["--event", "999"], "The log does not have event 999"),
    (2, ["--event", "x"], "shows what it takes"),
]


@pytest.mark.parametrize(("code", "arguments", "sentence"), BAD)
def test_what_makes_no_sense(dsn: str, database: Database, code: int, arguments: list[str], sentence: str) -> None:
    assert sentence in refused(code, "audit", "undo", *arguments, "--yes", "--dsn", dsn)


def test_without_an_answer_nothing_is_done(dsn: str, database: Database) -> None:
    seq, _ = changed(database, "insert into users values (1, 'ada', 36)")
    said = rowcall("audit", "undo", "--event", str(seq), "--dsn", dsn)
    assert said.code == 2
    assert "pass --yes if you mean it" in said.err
    fine("unwatch", "users", "--dsn", dsn)
    sentence = refused(2, "audit", "undo", "--event", str(seq), "--yes", "--dsn", dsn)
    assert "public.users is gone or not watched any more" in sentence
    with pytest.raises(errors.UsageError, match="Say what to undo"):
        audit.undo(database)


@pytest.mark.timeout(120)
def test_a_day_of_the_music_shop_is_undone_transaction_by_transaction(
    dsn: str, connect: Connect, chinook: Path
) -> None:
    tills = [connect(dsn, autocommit=True) for _ in range(3)]
    shop = tills[0]
    shop.execute(SCHEMA)
    with connect() as synchronising:
        declarations.synchronise(synchronising, app, "shop")
    list(loading.load(shop, chinook))
    opening = contents(shop)
    start, _ = newest(shop)
    day = Day(tills)
    for hour in HOURS[:4]:
        day.hour(hour)
    closing = contents(shop)
    assert closing != opening
    # In the order in which they can be undone: the one that wrote last first.
    xids = [
        row[0]
        for row in shop.execute(
            "select xid::text::bigint from rowcall.event where seq > %s group by xid order by max(seq) desc", (start,)
        )
    ]
    assert len(xids) > 30
    last, _ = newest(shop)
    undone = [audit.undo(shop, transaction=xid, actor="auditor").transaction for xid in xids]
    assert contents(shop) == opening
    # As the log has it, too; and the day can be had again.
    [(at,)] = shop.execute("select at from rowcall.event where seq = %s", (last + 1,)).fetchall()
    for table in TABLES:
        rows = shop.execute(f"select count(*) from {table}".encode()).fetchone()
        assert rows == (sum(1 for _ in audit.as_of(shop, table, at="tomorrow")),)
        assert sum(1 for _ in audit.as_of(shop, table, at=at)) == len(closing[table])
    for xid in reversed(undone):
        if xid is not None:
            audit.undo(shop, transaction=xid)
    assert contents(shop) == closing


def contents(connection: Database) -> dict[str, set[str]]:
    return {
        table: {row[0] for row in connection.execute(f"select t::text from {table} as t".encode())} for table in TABLES
    }
