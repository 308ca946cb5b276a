"""`rowcall audit as-of`: rows and tables as they were, and what is said where the log does not reach back."""

from decimal import Decimal
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from rowcall import audit, errors
from tests.command import Said, fine, refused, rowcall
from tests.conftest import Connect

Database = psycopg.Connection[Any]


def now(database: Database) -> str:
    [(moment,)] = database.execute("select clock_timestamp()::text").fetchall()
    return str(moment)


def as_of(dsn: str, *arguments: str) -> list[dict[str, Any]]:
    lines = rowcall("audit", "as-of", *arguments, "--dsn", dsn).lines
    assert all(list(line) == ["key", "row"] for line in lines)
    return [line["row"] for line in lines]


def test_a_row_and_a_table_by_time(dsn: str, database: Database) -> None:
    start = now(database)
    database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40)")
    then = now(database)
    database.execute("update users set name = 'Ada' where id = 1")
    database.execute("update users set id = 3 where id = 2")
    end = now(database)
    database.execute("truncate users")
    assert as_of(dsn, "users", "1", "--at", start) == []
    assert as_of(dsn, "users", "1", "--at", then) == [{"id": 1, "name": "ada", "age": 36}]
    assert as_of(dsn, "users", "2", "--at", then) == [{"id": 2, "name": "bob", "age": 40}]
    assert as_of(dsn, "users", "2", "--at", end) == []
    assert as_of(dsn, "users", "id=3", "--at", end) == [{"id": 3, "name": "bob", "age": 40}]
    assert sorted(row["name"] for row in as_of(dsn, "users", "--at", end)) == ["Ada", "bob"]
    assert as_of(dsn, "users", "--at", "tomorrow") == []
    [(at,)] = database.execute("select at::text from rowcall.event where operation = 'update' order by seq limit 1")
    assert as_of(dsn, "users", "1", "--at", at)[0]["name"] == "ada"  # before the event of that very moment


def test_by_snapshot_a_report_is_answered_exactly(dsn: str, database: Database, connect: Connect) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    late = connect()
    late.execute("update users set age = 37 where id = 1")
    with database.transaction():
        [(snapshot,)] = database.execute("select pg_current_snapshot()::text").fetchall()
    after_the_event = now(database)
    late.commit()
    assert as_of(dsn, "users", "--snapshot", snapshot) == [{"id": 1, "name": "ada", "age": 36}]
    # By its own clock, the change had been made by then.
    assert as_of(dsn, "users", "--at", after_the_event) == [{"id": 1, "name": "ada", "age": 37}]


def test_values_come_back_as_they_were(database: Database) -> None:
    database.execute(
        "create table things (id uuid primary key, n numeric, j jsonb, f float8, t timestamptz, tags text[])"
    )
    database.execute("select rowcall.watch_v1('things', '{}', 'tests')")
    key = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    database.execute("insert into things values (%s, 1.50, 'null', '-0', '2026-11-22 10:00+01', '{a,NULL}')", (key,))
    [state] = audit.as_of(database, "things", key, at="tomorrow")
    assert state.row["n"] == Decimal("1.50")
    assert str(state.row["n"]) == "1.50"
    assert str(state.row["f"]) == "-0.0"
    assert state.row["t"].isoformat() == "2026-11-22T09:00:00+00:00"
    assert state.row["tags"] == ["a", None]
    assert str(state.key["id"]) == key


def test_rows_alike_of_a_table_without_a_key(dsn: str, database: Database) -> None:
    database.execute("create table bare (a int, b numeric)")
    fine("watch", "bare", "--dsn", dsn)
    database.execute("insert into bare values (1, 1.0), (1, 1.0), (2, 2)")
    database.execute("delete from bare where ctid = (select min(ctid) from bare where a = 1)")
    database.execute("update bare set b = 3 where a = 2")
    assert sorted(map(str, as_of(dsn, "bare", "--at", "tomorrow"))) == ["{'a': 1, 'b': 1.0}", "{'a': 2, 'b': 3}"]
    assert as_of(dsn, "bare", '{"a": 2, "b": 3}', "--at", "tomorrow") == [{"a": 2, "b": 3}]


def test_a_key_whose_number_only_gets_another_scale(dsn: str, database: Database) -> None:
    database.execute("create table exact (n numeric primary key, v text)")
    fine("watch", "exact", "--dsn", dsn)
    database.execute("insert into exact values (1, 'a')")
    start = now(database)
    database.execute("update exact set n = 1.00")
    for key in ((), ("1",)):
        assert rowcall("audit", "as-of", "exact", *key, "--at", "tomorrow", "--dsn", dsn).out == (
            '{"key":{"n":1.00},"row":{"n":1.00,"v":"a"}}\n'
        )
    assert fine("audit", "check", "exact", "--dsn", dsn).out == ""
    assert [line["column"] for line in fine("audit", "blame", "exact", "1", "--dsn", dsn).lines] == ["n", "v"]
    database.execute("update exact set v = 'b'")
    [difference] = audit.diff(database, "exact", start, "infinity")
    assert (difference.kind, difference.changed, str(difference.key["n"])) == ("changed", ("n", "v"), "1.00")
    # The row that has the key now is another one.
    with database.transaction():
        database.execute("delete from exact")
        database.execute("insert into exact values (1.0, 'c')")
        [(xid,)] = database.execute("select pg_current_xact_id()::text::bigint").fetchall()
    audit.undo(database, transaction=xid)
    assert database.execute("select n::text, v from exact").fetchall() == [("1.00", "b")]


def test_rows_that_swap_keys_which_are_checked_late(dsn: str, database: Database) -> None:
    database.execute("create table swapped (id int primary key deferrable, v text)")
    fine("watch", "swapped", "--dsn", dsn)
    database.execute("insert into swapped values (1, 'a'), (2, 'b')")
    database.execute("update swapped set id = 3 - id")
    assert as_of(dsn, "swapped", "1", "--at", "tomorrow") == [{"id": 1, "v": "b"}]
    assert as_of(dsn, "swapped", "2", "--at", "tomorrow") == [{"id": 2, "v": "a"}]


def test_what_the_log_does_not_reach_back_to(dsn: str, database: Database) -> None:
    database.execute("create table old (id int primary key, v text)")
    database.execute("insert into old values (1, 'a'), (2, 'b'), (3, 'c')")
    fine("watch", "old", "--dsn", dsn)
    database.execute("insert into users values (1, 'first of the log', 0)")
    watched = now(database)
    database.execute("update old set v = 'A' where id = 1")
    changed = now(database)
    database.execute("insert into old values (4, 'd')")

    def said(*arguments: str) -> Said:
        return rowcall("audit", "as-of", "old", *arguments, "--dsn", dsn)

    whole = said("--at", changed)
    assert (whole.code, [line["key"]["id"] for line in whole.lines]) == (0, [1])
    assert "Rows that were in public.old before it was watched, and that nobody changed since" in whole.err
    unknown = said("1", "--at", watched)
    assert (unknown.code, unknown.out) == (1, "")
    assert "it was there before its first event, seq" in unknown.err
    never = said("2", "--at", changed)
    assert (never.code, never.out) == (1, "")
    assert 'The log has no event of public.old {"id":2}, which may be older than it.' in never.err
    not_yet = said("4", "--at", changed)
    assert (not_yet.code, not_yet.out, not_yet.err) == (1, "", "")
    assert "The log does not reach back that far: it begins at" in said("--at", "yesterday").err
    # A baseline says how each row was at its place in the log.
    database.execute("""insert into rowcall.event (seq, xid, at, relation, operation, key, new, db_user)
        select nextval('rowcall.event_seq'), pg_current_xact_id(), clock_timestamp(), r.id, 'snapshot',
          jsonb_build_object('id', o.id), row_to_json(o), 'me'
        from old as o cross join rowcall.relation as r where r.table_name = 'old' and o.id = 2""")
    unfinished = said("--at", "tomorrow")
    assert ({line["key"]["id"] for line in unfinished.lines}, "before it was watched" in unfinished.err) == (
        {1, 2, 4},
        True,
    )
    fine("watch", "old", "--baseline", "--dsn", dsn)
    snapshot = str(database.execute("select pg_current_snapshot()").fetchall()[0][0])
    assert said("--snapshot", snapshot).err == ""
    assert "before it was watched" in said("--at", changed).err
    whole = said("--at", "tomorrow")
    assert ({line["key"]["id"] for line in whole.lines}, whole.err) == ({1, 2, 3, 4}, "")
    database.execute("truncate old")
    database.execute("insert into old values (9, 'z')")
    whole = said("--at", "tomorrow")
    assert ([line["key"]["id"] for line in whole.lines], whole.err) == ([9], "")


def test_a_table_that_was_dropped(dsn: str, history: Database) -> None:
    there = now(history)
    history.execute("drop table users")
    said = rowcall("audit", "as-of", "users", "--at", there, "--dsn", dsn)
    assert (len(said.lines), "was dropped" in said.err) == (1, False)
    for key in ((), ("1",)):
        said = rowcall("audit", "as-of", "users", *key, "--at", "tomorrow", "--dsn", dsn)
        assert (said.code, len(said.lines)) == (0, 1)
        assert said.err.startswith("rowcall: public.users was dropped at 20")
        assert said.err.endswith(": what is shown went with it.\n")


def test_what_a_subscription_began_with_is_no_state_of_a_later_moment(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36)")
    database.execute("update users set age = 37")
    database.execute("""insert into rowcall.event (seq, xid, at, relation, operation, key, new, context, db_user)
        select nextval('rowcall.event_seq'), pg_current_xact_id(), clock_timestamp(), id, 'snapshot', '{"id": 1}',
          '{"id": 1, "name": "ada", "age": 36}', '{"backfill": "sub"}', 'me' from rowcall.relation where table_name = 'users'""")
    assert as_of(dsn, "users", "1", "--at", "tomorrow")[0]["age"] == 37
    assert as_of(dsn, "users", "--at", "tomorrow")[0]["age"] == 37


def test_it_looks_well_on_a_terminal(dsn: str, history: Database) -> None:
    fine("audit", "as-of", "users", "--at", "tomorrow", "--format", "table", "--dsn", dsn, COLUMNS="80")
    told = fine("audit", "as-of", "users", "1", "--at", "tomorrow", "--format", "table", "--dsn", dsn, COLUMNS="80").out
    assert told == "id: 1\nname: 'Ada'\nage: 38\n"
    history.execute("insert into users select n, repeat('x', 200), n from generate_series(10, 99) as n")
    told_all = rowcall("audit", "as-of", "users", "--at", "tomorrow", "--format", "table", "--dsn", dsn, COLUMNS="80")
    assert len(told_all.out.splitlines()) == 51
    assert max(map(len, told_all.out.splitlines())) <= 80
    assert "50 of more rows; --format jsonl shows all." in told_all.err


BAD: list[tuple[list[str], str]] = [
    (["users"], "Say which moment: --at TIME or --snapshot XMIN:XMAX:XIP, one of the two."),
    (["users", "--at", "now", "--snapshot", "1:1:"], "Say which moment"),
    (["users", "--at", "when"], 'invalid input syntax for type timestamp with time zone: "when": correct that option.'),
    (["users", "--snapshot", "now"], "'now' is no snapshot: it is xmin:xmax:xip,… as pg_current_snapshot() gives it."),
    (["users", "--snapshot", "9:3:"], 'invalid input syntax for type pg_snapshot: "9:3:": correct that option.'),
    (["nothing", "--at", "now"], 'The log knows no table nothing: "rowcall watches" lists what is watched.'),
    (["shop.*", "--at", "now"], "'shop.*' is a pattern, but this takes one table"),
    (["users", "x", "--at", "now"], "'x' is no integer, which id of the table's key is."),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD)
def test_a_question_that_makes_no_sense(dsn: str, database: Database, arguments: list[str], sentence: str) -> None:
    assert sentence in refused(2, "audit", "as-of", *arguments, "--dsn", dsn)


def test_every_kind_of_connection_may_ask(dsn: str, history: Database, connect: Connect) -> None:
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    plain = connect(row_factory=psycopg.rows.dict_row, cursor_factory=psycopg.ClientCursor)
    plain.execute("set datestyle = 'German'; set timezone = 'Asia/Tokyo'")
    with engine.connect() as connection, Session(engine) as session:
        for subject in (history, plain, connection, session, engine):
            [state] = audit.as_of(subject, "users", {"id": 1}, at="2100-01-01")
            assert state.row == {"id": 1, "name": "Ada", "age": 38}
            assert len(audit.row(subject, "users", 1)) == 3
            assert [event.at.tzinfo is not None for event in audit.log(subject, audit.Filter(actor="bob"))] == [True]
            assert len(audit.blame(subject, "users", "1")) == 3
            assert next(audit.diff(subject, "users", "-infinity", "infinity")).kind == "added"
    engine.dispose()
    with pytest.raises(errors.UsageError, match="is no connection that works here"):
        audit.as_of("postgresql://", "users", at="now")
