"""`rowcall audit log`: events by every filter, in every format."""

import csv
import json
from io import StringIO
from typing import Any

import msgspec
import psycopg

from tests.command import fine, refused, rowcall

Database = psycopg.Connection[Any]
COLUMNS = ["seq", "xid", "at", "table", "operation", "key", "old", "new", "changed", "actor", "context"]


def log(dsn: str, *options: str) -> list[dict[str, Any]]:
    return fine("audit", "log", "--dsn", dsn, *options).lines


def test_each_line_says_everything(dsn: str, history: Database) -> None:
    lines = log(dsn)
    assert all(list(line) == COLUMNS for line in lines)
    assert [(line["operation"], line["table"]) for line in lines] == [
        ("insert", "public.users"),
        ("insert", "public.users"),
        ("update", "public.users"),
        ("insert", "shop.orders"),
        ("update", "public.users"),
        ("delete", "public.users"),
        ("truncate", "shop.orders"),
    ]
    update = lines[2]
    assert (update["key"], sorted(update["changed"])) == ({"id": 1}, ["age", "name"])
    assert update["old"] == {"id": 1, "name": "ada", "age": 36}
    assert update["new"] == {"id": 1, "name": "Ada", "age": 37}
    assert (update["actor"], update["context"]) == ("bob", {"request": "r2"})
    assert (lines[5]["old"], lines[5]["new"]) == ({"id": 2, "name": "bob", "age": 40}, None)
    assert (lines[6]["key"], lines[6]["old"], lines[6]["new"]) == (None, None, None)
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)
    assert lines[0]["xid"] == lines[1]["xid"] != lines[2]["xid"]


def test_filters(dsn: str, history: Database) -> None:
    everything = log(dsn)
    places = {line["seq"]: number for number, line in enumerate(everything)}
    third = everything[2]
    expected: dict[tuple[str, ...], list[int]] = {
        ("--table", "users"): [0, 1, 2, 4, 5],
        ("--table", "public.users"): [0, 1, 2, 4, 5],
        ("--table", '"shop"."orders"'): [3, 6],
        ("--table", "shop.*"): [3, 6],
        ("--table", "*"): [0, 1, 2, 3, 4, 5, 6],
        ("--table", "users", "--key", "1"): [0, 2, 4],
        ("--table", "users", "--key", "id=2"): [1, 5],
        ("--table", "users", "--key", '{"id": 2}'): [1, 5],
        ("--actor", "ann"): [0, 1],
        ("--operation", "update"): [2, 4],
        ("--column", "name"): [2],
        ("--column", "age"): [2, 4],
        ("--transaction", str(third["xid"])): [2],
        ("--context", "request=r1"): [0, 1],
        ("--context", "try=1"): [0, 1],
        ("--context", "try=1", "--context", "request=r2"): [],
        ("--context", "request"): [0, 1, 2],
        ("--context", "try", "--context", "request=r1"): [0, 1],
        ("--context", "nothing"): [],
        ("--role", "postgres"): [0, 1, 2, 3, 4, 5, 6],
        ("--role", "nobody"): [],
        ("--value", "name=Ada"): [2, 4],
        ("--value", "name=ada"): [0, 2],
        ("--value", "age=37", "--value", "name=Ada"): [2, 4],
        ("--value", "total=10.50"): [3],
        ("--since", third["at"]): [2, 3, 4, 5, 6],
        ("--until", third["at"]): [0, 1],
        ("--since", "yesterday", "--until", "tomorrow"): [0, 1, 2, 3, 4, 5, 6],
        ("--since", "tomorrow"): [],
        ("--limit", "2"): [5, 6],
        ("--actor", "nobody"): [],
        ("--table", "users", "--operation", "update", "--column", "age", "--limit", "1"): [4],
    }
    for options, numbers in expected.items():
        assert (options, [places[line["seq"]] for line in log(dsn, *options)]) == (options, numbers)


NO_SENSE: list[tuple[list[str], str]] = [
    (["--table", "nothing"], 'The log knows no table nothing: "rowcall watches" lists what is watched.'),
    (["--table", "nothing.*"], "The log knows no table like nothing.*"),
    (["--table", "a b"], "'a b' is not the name of a table"),
    (["--key", "1"], "--key needs --table with one table, whose key it is."),
    (["--table", "*", "--key", "1"], "--key needs --table with one table"),
    (["--table", "users", "--key", "x"], "'x' is no integer, which id of the table's key is."),
    (["--table", "users", "--key", "{x"], "The key '{x' is not a JSON object"),
    (["--operation", "upsert"], "operation upsert: choose from insert, update, delete, truncate, snapshot."),
    (["--since", "when"], 'invalid input syntax for type timestamp with time zone: "when": correct that option.'),
    (["--context", "=x"], "--context =x: write KEY=VALUE."),
    (["--value", "x"], "--value x: write COLUMN=VALUE."),
    (["--column", "nme"], "The log has no column nme of the tables asked for"),
    (["--table", "users", "--value", "total=1"], "a watch may leave it out, else it has age, id, name."),
    (
        ["--since", "tomorrow", "--until", "yesterday"],
        "Nothing is since tomorrow and until yesterday: give the earlier",
    ),
    (["--since", "when", "--until", "now"], "invalid input syntax for type timestamp with time zone"),
    (["--transaction", "-1"], "transaction -1: it is a number as pg_current_xact_id() gives it."),
    (["--transaction", "x"], '"rowcall audit log --help" shows what it takes.'),
    (["--limit", "0"], '"rowcall audit log --help" shows what it takes.'),
    (["--format", "xml"], '"rowcall audit log --help" shows what it takes.'),
]


def test_a_question_that_makes_no_sense(dsn: str, database: Database) -> None:
    for options, sentence in NO_SENSE:
        assert sentence in refused(2, "audit", "log", "--dsn", dsn, *options)


def test_all_formats_say_the_same(dsn: str, history: Database) -> None:
    lines = log(dsn)
    assert json.loads(fine("audit", "log", "--format", "json", "--dsn", dsn).out) == lines
    assert fine("audit", "log", "-f", "jsonl", "--dsn", dsn).lines == lines
    rows = list(csv.DictReader(StringIO(fine("audit", "log", "--format", "csv", "--dsn", dsn).out)))
    assert list(rows[0]) == COLUMNS
    assert [json.loads(row["new"] or "null") for row in rows] == [line["new"] for line in lines]
    assert [row["at"].replace(" ", "T") for row in rows] == [line["at"].replace("Z", "+00:00") for line in lines]
    assert rows[2]["actor"] == "bob"
    empty = ["--actor", "nobody", "--dsn", dsn]
    assert fine("audit", "log", "--format", "json", *empty).out == "[]\n"
    assert fine("audit", "log", "--format", "csv", *empty).out == ",".join(COLUMNS) + "\n"
    assert fine("audit", "log", "--format", "jsonl", *empty).out == ""
    assert fine("audit", "log", "--format", "table", *empty).out == "nothing\n"


def test_numbers_keep_every_digit(dsn: str, database: Database) -> None:
    database.execute("create table numbers (id bigint primary key, a numeric, b numeric, c numeric, d float8, e jsonb)")
    fine("watch", "numbers", "--dsn", dsn)
    database.execute("""insert into numbers values (9007199254740993, 12345678901234567890.5, 'NaN', 1e400, 0.1,
        '{"big": 12345678901234567890, "small": 1.5}')""")
    database.execute("update numbers set a = 1.10")
    insert, update = log(dsn)
    assert insert["key"] == {"id": "9007199254740993"}
    assert insert["new"] == {
        "id": "9007199254740993",
        "a": "12345678901234567890.5",
        "b": "NaN",
        "c": "1" + "0" * 400,
        "d": 0.1,
        "e": {"big": "12345678901234567890", "small": 1.5},
    }
    assert update["old"]["a"] == "12345678901234567890.5"
    raw = fine("audit", "log", "--operation", "update", "--dsn", dsn).out
    assert '"a":1.10' in raw
    assert len(log(dsn, "--table", "numbers", "--key", "9007199254740993")) == 2


def test_a_table_of_events_is_readable_on_eighty_columns(dsn: str, history: Database) -> None:
    history.execute("create table a_table_with_a_rather_long_name (code text primary key, note text)")
    fine("watch", "a_table_with_a_rather_long_name", "--dsn", dsn)
    history.execute("insert into a_table_with_a_rather_long_name values ('a key', %s)", ("word " * 100,))
    lines = fine("audit", "log", "--format", "table", "--dsn", dsn, COLUMNS="80").out.splitlines()
    assert len(lines) == 9
    assert max(len(line) for line in lines) <= 80
    assert lines[0].split() == ["seq", "at", "event", "change", "actor"]
    assert lines[3].split()[3:6] == ["~", "users", "1"]
    assert "name: 'ada' → 'Ada'; age" in lines[3]
    assert lines[3].split()[-1] == "bob"
    # Wide enough, it shows the changes whole.
    wide = fine("audit", "log", "--format", "table", "--dsn", dsn, COLUMNS="200").out
    assert "~ users 1" in wide
    assert "name: 'ada' → 'Ada'; age: 36 → 37" in wide


def test_a_table_shows_the_newest_and_says_so(dsn: str, database: Database) -> None:
    database.execute("insert into users select n, 'x', n from generate_series(1, 60) as n")
    said = rowcall("audit", "log", "--format", "table", "--dsn", dsn, COLUMNS="80")
    assert len(said.out.splitlines()) == 51
    assert "The newest 50; --limit or --format jsonl shows more." in said.err
    said = rowcall("audit", "log", "--format", "table", "--limit", "55", "--dsn", dsn, COLUMNS="80")
    assert (len(said.out.splitlines()), said.err) == (56, "")
    assert len(log(dsn)) == 60


def test_dropped_and_renamed_tables_keep_their_history(dsn: str, history: Database) -> None:
    history.execute("drop table shop.orders")
    assert len(log(dsn, "--table", "shop.orders")) == 2
    history.execute("alter table users rename to people")
    fine("watch", "people", "--dsn", dsn)
    assert {line["table"] for line in log(dsn, "--table", "people")} == {"public.people"}
    assert len(log(dsn, "--table", "people")) == 5


def test_sessions_may_be_set_to_anything(dsn: str, history: Database) -> None:
    name = history.info.dbname
    for setting in ("datestyle = 'German'", "timezone = 'Asia/Tokyo'", "intervalstyle = 'iso_8601'"):
        history.execute(f"alter database {name} set {setting}")
    lines = log(dsn)
    assert lines[0]["at"].endswith("+09:00")
    assert fine("audit", "log", "--since", lines[2]["at"], "--dsn", dsn).lines == lines[2:]


def test_odd_values_reach_json_whole(dsn: str, database: Database) -> None:
    value = '"quotes", \\ back\\slash, \n newline, \t tab, ünï, \U0001f600, \x1b[31m'
    database.execute("insert into users values (1, %s, 1)", (value,))
    [line] = log(dsn)
    assert line["new"]["name"] == value
    rows = list(csv.DictReader(StringIO(fine("audit", "log", "--format", "csv", "--dsn", dsn).out)))
    assert msgspec.json.decode(rows[0]["new"])["name"] == value
    assert "\x1b" not in fine("audit", "log", "--format", "table", "--dsn", dsn).out
