"""`rowcall audit rejections`: what validation refused."""

import csv
import json
from io import StringIO
from typing import Any

import psycopg
import pytest

from rowcall import Rowcall, acting
from tests.command import fine, rowcall
from tests.command import refused as refused_command
from tests.listeners import sync

Database = psycopg.Connection[Any]
COLUMNS = [
    *("at", "table", "operation", "key", "rule", "handler", "message", "actor", "outcome", "column", "old", "new"),
    *("context", "db_user", "db_role", "xid", "seq", "suppressed"),
]


@pytest.fixture
def refused(dsn: str, gate: str, database: Database) -> Database:
    """One write refused by a rule, two by nobody's answer, one of them by ann."""
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18", message="must be an adult, and this sentence is long enough to wrap")
    app.before("shop.orders", timeout=0.01, name="check_order")(lambda event: None)
    sync(app, dsn)
    for actor, statement in (
        ("ann", "insert into users values (1, 'x', 17)"),
        (None, "insert into shop.orders values (9007199254740993, 1)"),
        ("bob", "insert into shop.orders values (8, 1)"),
    ):
        with (
            pytest.raises(psycopg.errors.CheckViolation),
            acting(database, actor=actor, **({"why": "test"} if actor == "ann" else {})),
        ):
            database.execute(statement)
    return database


def test_every_format_and_filter(dsn: str, refused: Database) -> None:
    lines = fine("audit", "rejections", "--dsn", dsn).lines
    assert all(list(line) == COLUMNS for line in lines)
    assert [
        (line["table"], line["operation"], line["key"], line["rule"], line["handler"], line["actor"]) for line in lines
    ] == [
        ("public.users", "insert", {"id": 1}, "adult", None, "ann"),
        ("shop.orders", "insert", {"id": "9007199254740993"}, None, "check_order", None),
        ("shop.orders", "insert", {"id": 8}, None, "check_order", "bob"),
    ]
    assert lines[1]["message"] == "no listener answered within 10 ms"
    assert json.loads(fine("audit", "rejections", "--format", "json", "--dsn", dsn).out) == lines
    rows = list(csv.DictReader(StringIO(fine("audit", "rejections", "--format", "csv", "--dsn", dsn).out)))
    assert [row["actor"] for row in rows] == ["ann", "", "bob"]
    expected: dict[tuple[str, ...], list[int]] = {
        ("--table", "users"): [0],
        ("--table", "shop.*"): [1, 2],
        ("--actor", "bob"): [2],
        ("--table", "shop.orders", "--key", "8"): [2],
        ("--operation", "insert", "--rule", "adult"): [0],
        ("--operation", "delete"): [],
        ("--handler", "check_order"): [1, 2],
        ("--column", "age"): [0],
        ("--role", "postgres", "--refused"): [0, 1, 2],
        ("--role", "somebody"): [],
        ("--warned",): [],
        ("--committed",): [],
        ("--context", "why=test"): [0],
        ("--transaction", "1"): [],
        ("--since", lines[1]["at"]): [1, 2],
        ("--until", lines[1]["at"]): [0],
        ("--limit", "1"): [2],
    }
    for options, numbers in expected.items():
        found = fine("audit", "rejections", "--dsn", dsn, *options).lines
        assert (options, found) == (options, [lines[number] for number in numbers])


def test_a_table_on_eighty_columns(dsn: str, refused: Database) -> None:
    lines = fine("audit", "rejections", "--format", "table", "--dsn", dsn, COLUMNS="80").out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[0].split() == ["at", "refused", "by", "message"]
    text = " ".join(" ".join(lines).split())
    assert "insert users 1" in text
    assert "check_order" in text


def test_what_is_too_long_for_its_column_is_folded_and_never_cut(dsn: str, gate: str, database: Database) -> None:
    handler, message = "shop.validation.orders.check_that_the_total_is_plausible", "no listener answered within 10 ms"
    app = Rowcall()
    app.before("shop.orders", timeout=0.01, name=handler)(lambda event: None)
    sync(app, dsn)
    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute("insert into shop.orders values (9007199254740993, 1)")
    header, *lines = fine("audit", "rejections", "--format", "table", "--dsn", dsn, COLUMNS="80").out.splitlines()
    assert max(len(line) for line in (header, *lines)) <= 80
    starts = [header.index(name) for name in ("at", "refused", "by", "message")]
    at, refused, by, said = (
        [line[start:end].strip() for line in lines] for start, end in zip(starts, [*starts[1:], None], strict=True)
    )
    assert len(" ".join(at).split()) == 2
    assert "".join(refused).replace(" ", "") == "insertshop.orders9007199254740993"
    assert "".join(by) == handler
    assert " ".join(" ".join(said).split()) == message


def test_a_transaction_that_is_none(dsn: str) -> None:
    for xid in ("-1", str(2**64)):
        said = rowcall("audit", "rejections", "--transaction", xid, "--dsn", dsn)
        assert (said.code, "it is a number as pg_current_xact_id() gives it" in said.err) == (2, True)


def test_options_that_contradict_each_other(dsn: str) -> None:
    sentence = refused_command(2, "audit", "rejections", "--warned", "--committed", "--dsn", dsn)
    assert sentence == "--warned and --committed exclude each other: give one of them."
    assert "--key needs --table" in refused_command(2, "audit", "rejections", "--key", "1", "--dsn", dsn)
    assert "choose from insert" in refused_command(2, "audit", "rejections", "--operation", "x", "--dsn", dsn)
