"""`rowcall watch`, `unwatch` and `watches`: triggers without writing Python."""

import csv
import json
from io import StringIO
from typing import Any

import psycopg

from tests.cli.conftest import WriteApp, a_capture_trigger, triggers, watched
from tests.command import fine, refused
from tests.conftest import Connect

Database = psycopg.Connection[Any]

DEFAULTS = {
    "erasable": [],
    "columns": [],
    "when": None,
    "operations": ["insert", "update", "delete", "truncate"],
    "truncate": "event",
}


def test_tables_are_watched_listed_and_left(dsn: str, database: Database) -> None:
    said = fine("watch", "users", "--exclude", "age", "--redact", "name", "--notify", "--dsn", dsn)
    assert said.out == "watch public.users: created\n"
    assert fine("watch", "shop.orders", "--dsn", dsn).out == "watch shop.orders: created\n"
    assert fine("watch", "shop.orders", "--dsn", dsn).out == "watch shop.orders: unchanged\n"
    assert fine("watch", "shop.orders", "--exclude", "total", "--dsn", dsn).out == "watch shop.orders: changed\n"
    assert fine("watches", "--dsn", dsn).lines == [
        {
            "table": "public.users",
            "declared_by": "cli",
            "exclude": ["age"],
            "redact": ["name"],
            "notify": True,
            **DEFAULTS,
            "current": True,
        },
        {
            "table": "shop.orders",
            "declared_by": "cli",
            "exclude": ["total"],
            "redact": [],
            "notify": False,
            **DEFAULTS,
            "current": True,
        },
    ]
    database.execute("insert into users values (1, 'secret', 36); insert into shop.orders values (1, 2)")
    images = database.execute("select new from rowcall.event order by seq").fetchall()
    assert [sorted(image) for (image,) in images] == [["id", "name"], ["id"]]
    assert images[0][0]["name"].startswith("hmac-sha256:")
    assert (
        fine("unwatch", "users", "shop.orders", "--dsn", dsn).out
        == "watch public.users: removed\nwatch shop.orders: removed\n"
    )
    assert triggers(database) == []
    assert fine("watches", "--dsn", dsn).out == ""
    database.execute("update users set age = 1")
    assert database.execute("select count(*) from rowcall.event").fetchone() == (2,)


NAMES = {
    "users": "public.users",
    "USERS": "public.users",
    "shop.orders": "shop.orders",
    '"Upper"': "public.Upper",
    '"with space"': "public.with space",
    '"Odd. Schema"."T""x"': 'Odd. Schema.T"x',
    '"select"': "public.select",
    "größe": "public.größe",
    '"Ärger 🐘"': "public.Ärger 🐘",
    '"%s"': "public.%s",
    "a" * 63: f"public.{'a' * 63}",
}


def test_names_of_every_kind(dsn: str, database: Database) -> None:
    database.execute("""
        create table "Upper" (id int); create table "with space" (id int); create table "select" (id int);
        create schema "Odd. Schema"; create table "Odd. Schema"."T""x" (id int); create table größe (id int);
        create table "Ärger 🐘" ("Spalte ""1"" " int primary key)""")
    database.execute('create table "%%s" (id int)', ())
    database.execute(f"create table {'a' * 63} (id int)")
    assert fine("watch", *NAMES, "--dsn", dsn).out.splitlines() == [
        f"watch {shown}: {'unchanged' if name == 'USERS' else 'created'}" for name, shown in NAMES.items()
    ]
    database.execute('insert into "Ärger 🐘" values (7); insert into "Odd. Schema"."T""x" values (1)')
    assert [line["table"] for line in fine("audit", "log", "--dsn", dsn).lines] == [
        "public.Ärger 🐘",
        'Odd. Schema.T"x',
    ]
    assert len(fine("audit", "row", '"Ärger 🐘"', "7", "--dsn", dsn).lines) == 1
    names = {name: shown for name, shown in NAMES.items() if name != "USERS"}
    assert fine("unwatch", *names, "--dsn", dsn).out.splitlines() == [
        f"watch {shown}: removed" for shown in names.values()
    ]
    assert triggers(database) == []


CANNOT: list[tuple[list[str], str]] = [
    (["nothing"], "There is no table nothing in database"),
    (["users", "nothing"], "There is no table nothing in database"),
    (["shop.users"], "There is no table shop.users in database"),
    (['"Users"'], 'There is no table "Users" in database'),
    (["shop.*"], "'shop.*' is a pattern, but this takes one table: name each table by itself."),
    (["a b"], "'a b' is not the name of a table: write table, schema.table, or quote odd names"),
    (["users", "--exclude", "nope"], "has no column nope. Correct the name in exclude or redact."),
    (
        ["users", "--redact", "id"],
        "is part of the key, which every event carries. Leave it out of exclude and redact.",
    ),
    (["users", "--redact", "age", "--exclude", "age"], "age cannot be excluded and redacted at once: choose one."),
    (["a_view"], "a_view is not a table."),
    (["pg_class"], "is"),
    (["rowcall.event"], "belongs to Rowcall itself."),
]


def test_what_cannot_be_watched(dsn: str, database: Database) -> None:
    database.execute("create view a_view as select 1 as id")
    for arguments, sentence in CANNOT:
        assert sentence in refused(2, "watch", *arguments, "--dsn", dsn)
    assert triggers(database) == []
    assert watched(database) == []


def test_what_is_not_watched_cannot_be_left(dsn: str, database: Database) -> None:
    fine("watch", "users", "--dsn", dsn)
    sentence = 'shop.orders is not watched: "rowcall watches" lists what is.'
    assert refused(2, "unwatch", "users", "shop.orders", "--dsn", dsn) == sentence
    assert watched(database) == [("public.users", "cli")]


def test_a_name_means_what_the_search_path_says(dsn: str, database: Database) -> None:
    database.execute("create table orders (id int)")
    on_path = f"{dsn}&options=-csearch_path%3Dshop,public"
    assert (
        fine("watch", "orders", "users", "--dsn", on_path).out
        == "watch shop.orders: created\nwatch public.users: created\n"
    )
    assert fine("watch", "orders", "--dsn", dsn).out == "watch public.orders: created\n"


def test_drift_shows(dsn: str, database: Database) -> None:
    fine("watch", "users", "--dsn", dsn)
    database.execute(f"alter table users disable trigger {a_capture_trigger(database, 'users')}")
    assert [line["current"] for line in fine("watches", "--dsn", dsn).lines] == [False]


MANY_OPTIONS = """
app.watch(
    "users", exclude="age", notify=True, columns=["name"], when="new.name is distinct from old.name or new.name like 'A%'",
    operations=["update", "insert"], truncate="forbid",
)
app.watch("shop.orders", redact="total", truncate="rows")
"""


def test_every_option_shows_in_every_format(dsn: str, database: Database, write_app: WriteApp) -> None:
    fine("sync", write_app(MANY_OPTIONS), "--dsn", dsn)
    lines = fine("watches", "--dsn", dsn).lines
    users, orders = lines
    assert users == {
        "table": "public.users",
        "declared_by": "mine",
        "exclude": ["age"],
        "redact": [],
        "erasable": [],
        "notify": True,
        "columns": ["name"],
        "when": "new.name is distinct from old.name or new.name like 'A%'",
        "operations": ["insert", "update"],
        "truncate": "forbid",
        "current": True,
    }
    assert (orders["redact"], orders["truncate"], orders["when"]) == (["total"], "rows", None)
    assert list(users) == list(orders)
    assert json.loads(fine("watches", "--format", "json", "--dsn", dsn).out) == lines
    rows = list(csv.DictReader(StringIO(fine("watches", "--format", "csv", "--dsn", dsn).out)))
    assert [list(row) for row in rows] == [list(users)] * 2
    assert (rows[0]["operations"], rows[1]["when"]) == ('["insert","update"]', "")


def test_a_table_on_eighty_columns_shows_the_options_that_were_given(
    dsn: str, database: Database, write_app: WriteApp
) -> None:
    fine("watch", "users", "--dsn", dsn)
    shown = fine("watches", "--format", "table", "--dsn", dsn, COLUMNS="80").out
    assert [line.split() for line in shown.splitlines()] == [
        ["table", "declared_by", "current", "options"],
        ["public.users", "cli", "true"],
    ]
    fine("unwatch", "users", "--dsn", dsn)
    database.execute(f'create table "{"long" * 15}" (id int primary key)')
    fine("watch", "long" * 15, "--dsn", dsn)
    fine("sync", write_app(MANY_OPTIONS), "--dsn", dsn)
    lines = fine("watches", "--format", "table", "--dsn", dsn, COLUMNS="80").out.splitlines()
    assert max(len(line) for line in lines) <= 80
    start = lines[0].index("options")
    assert " ".join(" ".join(line[start:] for line in lines).split()) == (
        "options exclude age; columns name; when new.name is distinct from old.name or new.name like 'A%';"
        " operations insert, update; truncate forbid; notify redact total; truncate rows"
    )


def test_a_table_that_was_dropped_is_watched_no_more(dsn: str, database: Database) -> None:
    fine("watch", "users", "shop.orders", "--dsn", dsn)
    database.execute("drop table users")
    assert [line["table"] for line in fine("watches", "--dsn", dsn).lines] == ["shop.orders"]


def test_only_who_may_can_watch(dsn: str, database: Database, connect: Connect) -> None:
    database.execute("create role stranger login")
    try:
        said = refused(2, "watch", "users", "--dsn", dsn.replace("postgres@", "stranger@"))
        assert said.startswith("This login lacks a right: permission denied for")
    finally:
        database.execute("drop role stranger")
