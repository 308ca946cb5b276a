"""`rowcall audit diff`: rows added, removed and changed between two moments."""

from typing import Any

import psycopg
import pytest

from tests.audit.test_as_of import now
from tests.command import fine, refused

Database = psycopg.Connection[Any]


def test_added_removed_and_changed(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40), (3, 'cyd', 1), (4, 'dan', 2)")
    start = now(database)
    database.execute("update users set age = 37 where id = 1")
    database.execute("update users set age = 38, name = 'Ada' where id = 1")
    database.execute("delete from users where id = 2")
    database.execute("insert into users values (5, 'eve', 5), (6, 'fay', 6)")
    database.execute("update users set id = 33 where id = 3")
    database.execute("update users set age = 3 where id = 4; update users set age = 2 where id = 4")
    database.execute("delete from users where id = 6")
    end = now(database)
    database.execute("delete from users")
    lines = fine("audit", "diff", "users", "--from", start, "--to", end, "--dsn", dsn).lines
    assert all(list(line) == ["kind", "table", "key", "old", "new", "changed"] for line in lines)
    assert [(line["kind"], line["key"]["id"], line["changed"]) for line in lines] == [
        ("changed", 1, ["name", "age"]),
        ("removed", 2, []),
        ("removed", 3, []),
        ("added", 5, []),
        ("added", 33, []),
    ]
    assert lines[0]["old"] == {"id": 1, "name": "ada", "age": 36}
    assert lines[0]["new"] == {"id": 1, "name": "Ada", "age": 38}
    assert fine("audit", "diff", "users", "--from", end, "--to", end, "--dsn", dsn).out == ""
    told = fine("audit", "diff", "users", "--from", start, "--to", end, "--format", "table", "--dsn", dsn, COLUMNS="80")
    assert "~ changed public.users id=1\n    name: 'ada' → 'Ada'\n    age: 36 → 38\n" in told.out
    assert "- removed public.users id=2\n" in told.out
    assert {line["kind"] for line in fine("audit", "diff", "users", "--from", end, "--dsn", dsn).lines} == {"removed"}


def test_across_a_truncate(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'ada', 36), (2, 'bob', 40)")
    start = now(database)
    database.execute("truncate users")
    database.execute("insert into users values (2, 'bob', 41), (3, 'cyd', 1)")
    lines = fine("audit", "diff", "users", "--from", start, "--dsn", dsn).lines
    assert sorted((line["kind"], line["key"]["id"], tuple(line["changed"])) for line in lines) == [
        ("added", 3, ()),
        ("changed", 2, ("age",)),
        ("removed", 1, ()),
    ]


def test_what_was_there_before_the_log_is_seen_changing(dsn: str, database: Database) -> None:
    database.execute("create table old (id int primary key, v text)")
    database.execute("insert into old values (1, 'a'), (2, 'b')")
    fine("watch", "old", "--dsn", dsn)
    start = now(database)
    database.execute("update old set v = 'A' where id = 1; delete from old where id = 2")
    lines = fine("audit", "diff", "old", "--from", start, "--dsn", dsn).lines
    assert [(line["kind"], line["old"]["v"]) for line in lines] == [("changed", "a"), ("removed", "b")]


def test_between_snapshots(dsn: str, database: Database) -> None:
    def snapshot() -> str:
        [(found,)] = database.execute("select pg_current_snapshot()::text").fetchall()
        return str(found)

    database.execute("insert into users values (1, 'ada', 36)")
    start = snapshot()
    database.execute("update users set age = 37")
    end = snapshot()
    database.execute("delete from users")
    [line] = fine("audit", "diff", "users", "--from-snapshot", start, "--to-snapshot", end, "--dsn", dsn).lines
    assert (line["old"]["age"], line["new"]["age"]) == (36, 37)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Say between what: --from TIME and --to TIME, or --from-snapshot and --to-snapshot."),
        (["--to", "now"], "Say between what"),
        (["--from", "now", "--from-snapshot", "1:1:"], "Say between what"),
        (["--from", "now", "--to-snapshot", "1:1:"], "Say between what"),
        (["--from", "when"], "invalid input syntax for type timestamp"),
        (["--from-snapshot", "x", "--to-snapshot", "1:1:"], "'x' is no snapshot"),
        (["--from", "tomorrow", "--to", "yesterday"], "The first moment is after the second one"),
        (["--from-snapshot", "9:9:", "--to-snapshot", "1:2:"], "compare them the other way round."),
    ],
)
def test_a_question_that_makes_no_sense(dsn: str, database: Database, arguments: list[str], sentence: str) -> None:
    assert sentence in refused(2, "audit", "diff", "users", *arguments, "--dsn", dsn)
