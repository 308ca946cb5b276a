"""`rowcall audit row`: one row's history, by keys of every kind, through changes of its key."""

from typing import Any

import msgspec
import psycopg

from rowcall.audit import Filter
from rowcall.audit import history as questions
from rowcall.postgres import connection as connections
from tests.command import fine, refused

Database = psycopg.Connection[Any]


def row(dsn: str, table: str, key: str) -> list[tuple[str, Any]]:
    """Operation and a tell-tale value of each event."""
    lines = fine("audit", "row", table, key, "--dsn", dsn).lines
    return [(line["operation"], (line["new"] or line["old"])["v"]) for line in lines]


def test_the_history_of_a_row_in_every_format(dsn: str, history: Database) -> None:
    lines = fine("audit", "row", "users", "1", "--dsn", dsn).lines
    assert [(line["operation"], sorted(line["changed"])) for line in lines] == [
        ("insert", []),
        ("update", ["age", "name"]),
        ("update", ["age"]),
    ]
    told = fine("audit", "row", "users", "1", "--format", "table", "--dsn", dsn, COLUMNS="80").out
    assert "insert public.users id=1  by ann" in told
    assert "    name: 'ada' → 'Ada'\n    age: 36 → 37\n" in told
    assert max(len(line) for line in told.splitlines()) <= 80
    assert fine("audit", "row", "users", "99", "--format", "table", "--dsn", dsn).out == "nothing\n"
    assert fine("audit", "row", "users", "99", "--dsn", dsn).out == ""


KEYS = {
    "numeric": ("1.50", ["1.50", "1.5", "150e-2", "k=1.5"], ["1.51"]),
    "numeric(30,0)": (
        "123456789012345678901234567890",
        ["123456789012345678901234567890"],
        ["123456789012345678901234567891"],
    ),
    "double precision": ("0.1", ["0.1", "1e-1"], ["0.2"]),
    "text": ("a=b, c", ["a=b, c", "k=a=b, c", '{"k": "a=b, c"}'], ["a=b", "A=B, C"]),
    "varchar(3)": ("abc", ["abc"], ["abcd"]),
    "char(5)": ("ab", ["ab", "ab   "], ["abc"]),
    "uuid": (
        "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
        ["6f9619ff-8b86-d011-b42d-00cf4fc964ff", "6F9619FF8B86D011B42D00CF4FC964FF"],
        ["00000000-0000-0000-0000-000000000000"],
    ),
    "date": ("2026-11-22", ["2026-11-22", "Nov 22 2026"], ["2026-11-23"]),
    "timestamptz": ("2026-11-22 10:00+00", ["2026-11-22 10:00+00", "2026-11-22 12:00+02"], ["2026-11-22 12:00+00"]),
    "boolean": ("true", ["true", "t", "yes"], ["false"]),
    "bytea": (r"\x00ff", [r"\x00ff", r"\x00FF"], [r"\x00"]),
    "interval": ("1 day 02:00", ["26:00:00 ago"], []),
    "mood": ("sad", ["sad"], ["happy"]),
    "int4range": ("[1,5)", ["[1,5)", "[1,4]"], ["[1,5]"]),
}


def test_keys_of_every_type_as_people_write_them(dsn: str, database: Database) -> None:
    database.execute("create type mood as enum ('sad', 'happy')")
    tables = {kind: f"keyed_{number}" for number, kind in enumerate(KEYS)}
    for kind, table in tables.items():
        database.execute(f"create table {table} (k {kind} primary key, v int)")
    fine("watch", *tables.values(), "--dsn", dsn)
    for kind, table in tables.items():
        database.execute(f"insert into {table} values (%s::text::{kind}, 1)", (KEYS[kind][0],))
    name = database.info.dbname
    database.execute(f"alter database {name} set timezone = 'Asia/Tokyo'")
    database.execute(f"alter database {name} set datestyle = 'German'")
    with connections.connect(dsn) as connection:
        for kind, (_, same, other) in KEYS.items():
            for key in same if kind != "interval" else []:
                assert (kind, key, len(questions.row(connection, tables[kind], key))) == (kind, key, 1)
            for key in other:
                assert (kind, key, questions.row(connection, tables[kind], key)) == (kind, key, [])


def test_composite_keys_and_none(dsn: str, database: Database) -> None:
    database.execute("create table pairs (a int, b text, v int, primary key (b, a)); create table bare (a int, v int)")
    fine("watch", "pairs", "bare", "--dsn", dsn)
    database.execute("insert into pairs values (1, 'x', 5), (1, 'y', 6); insert into bare values (1, 7)")
    for key in ("a=1,b=x", "b=x,a=1", '{"a": 1, "b": "x"}', '{"b":"x","a":1.0}'):
        assert (key, row(dsn, "pairs", key)) == (key, [("insert", 5)])
    assert "The table's key is b, a: write b=…,a=…, or JSON." in refused(2, "audit", "row", "pairs", "1", "--dsn", dsn)
    assert "The table's key is b, a" in refused(2, "audit", "row", "pairs", "a=1", "--dsn", dsn)
    assert "'x' is no integer, which a of the table's key is" in refused(
        2, "audit", "row", "pairs", "a=x,b=x", "--dsn", dsn
    )
    assert "no key: give the whole row as JSON" in refused(2, "audit", "row", "bare", "1", "--dsn", dsn)
    assert row(dsn, "bare", '{"a": 1, "v": 7}') == [("insert", 7)]


def test_keys_in_json_however_it_writes_them(dsn: str, database: Database) -> None:
    database.execute(
        "create domain positive as int check (value > 0); create table longs (id bigint, code text, v int, primary key (id, code));"
        "create table exact (k numeric primary key, v int); create table moments (k timestamptz primary key, v int);"
        "create table documents (k jsonb primary key, v int); create table few (k positive primary key, v int);"
        "create table lists (k text[] primary key, v int)"
    )
    fine("watch", "longs", "exact", "moments", "documents", "few", "lists", "--dsn", dsn)
    database.execute("""
        insert into longs values (9007199254740993, 'x', 1); insert into exact values (1.50, 2);
        insert into moments values ('2026-11-22 10:00+00', 3); insert into documents values ('{"a": 1}', 4);
        insert into few values (5, 5); insert into lists values ('{a,b}', 6)""")
    # As the log's own listings print it, where a float would change it.
    [line] = fine("audit", "log", "--table", "longs", "--dsn", dsn).lines
    assert line["key"] == {"id": "9007199254740993", "code": "x"}
    printed = msgspec.json.encode(line["key"]).decode()
    assert row(dsn, "longs", printed) == [("insert", 1)]
    part = '{"id": "9007199254740993"}'
    assert fine("audit", "log", "--table", "longs", "--key", part, "--dsn", dsn).lines == [line]
    for table, key, value in (
        ("longs", "code=x, id=9007199254740993", 1),
        ("exact", '{"k": "1.5"}', 2),
        ("moments", '{"k": "2026-11-22 12:00+02"}', 3),
        ("documents", '{"k": {"a": 1.0}}', 4),
        ("few", '{"k": 5}', 5),
        ("lists", '{"k": ["a", "b"]}', 6),
        ("lists", "k={a,b}", 6),
    ):
        assert (key, row(dsn, table, key)) == (key, [("insert", value)])
    [event] = questions.log(database, Filter(table="longs", key={"id": 9007199254740993}))
    assert event.seq == line["seq"]
    assert len(questions.row(database, "documents", {"k": {"a": 1}})) == 1
    for table, key, sentence in (
        ("longs", part, "The table's key is id, code: write id=…,code=…, or JSON."),
        ("longs", "id=1,id=2,code=x", "The table's key is id, code"),
        ("documents", '{"a": 1}', "The table's key is k: write k=…, or JSON."),
        ("lists", "{a,b}", "write the column's name before it, COLUMN={a,b}."),
        ("few", "k=-5", "'-5' is no public.positive, which k of the table's key is."),
    ):
        assert sentence in refused(2, "audit", "row", table, key, "--dsn", dsn)


def test_a_key_that_was_another_one(dsn: str, database: Database) -> None:
    database.execute("create table tenants (id int primary key, tenant int not null default 1, v int)")
    fine("watch", "tenants", "--dsn", dsn)
    database.execute("insert into tenants values (1, 1, 0)")
    database.execute("alter table tenants drop constraint tenants_pkey, add primary key (tenant, id)")
    database.execute("update tenants set v = 1")
    assert row(dsn, "tenants", '{"id": "1"}') == [("insert", 0)]
    assert row(dsn, "tenants", "tenant=1,id=1") == [("update", 1)]
    said = fine("audit", "as-of", "tenants", "--at", "tomorrow", "--dsn", dsn)
    assert "The key of public.tenants has other columns, or names for them, since seq" in said.err
    database.execute("truncate tenants")
    assert fine("audit", "as-of", "tenants", "--at", "tomorrow", "--dsn", dsn).err == ""


def test_through_changes_of_the_key(dsn: str, database: Database) -> None:
    database.execute("create table k (id int primary key, v int)")
    fine("watch", "k", "--dsn", dsn)
    database.execute("insert into k values (1, 0), (9, 90)")
    for statement in (
        "set v = 1 where id = 1",
        "set id = 2 where id = 1",
        "set v = 2 where id = 2",
        "set id = 3 where id = 2",
    ):
        database.execute(f"update k {statement}")
    database.execute("insert into k values (2, 20)")
    database.execute("update k set v = 3 where id = 3")
    assert row(dsn, "k", "3") == [
        ("insert", 0),
        ("update", 1),
        ("update", 1),
        ("update", 2),
        ("update", 2),
        ("update", 3),
    ]
    # Who asks by the key it had learns what became of it then, and what has the key now.
    assert row(dsn, "k", "2") == [
        ("insert", 0),
        ("update", 1),
        ("update", 1),
        ("update", 2),
        ("update", 2),
        ("insert", 20),
    ]
    assert row(dsn, "k", "1") == [("insert", 0), ("update", 1), ("update", 1)]


def test_a_table_the_log_does_not_know(dsn: str, database: Database) -> None:
    for table in ("nothing", "shop.users", '"Users"'):
        sentence = refused(2, "audit", "row", table, "1", "--dsn", dsn)
        assert sentence == f'The log knows no table {table}: "rowcall watches" lists what is watched.'
