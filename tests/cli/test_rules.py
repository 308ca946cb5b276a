"""`rowcall rules`: what is declared, and which rows break it already."""

from typing import Any

import psycopg
import pytest

from tests.command import fine, refused, rowcall, typed
from tests.conftest import Connect

Database = psycopg.Connection[Any]

APP = """
app.watch("users", redact="name")
app.rule("users", "adult", "new.age >= 18", message="must be an adult")
app.rule("users", "grows", "new.age >= old.age", on_violation="warn")
app.rule("users", "there", "new.region in (select code from regions)")
app.rule("parts", "positive", "new.amount > 0", on="insert")
"""


@pytest.fixture
def database(connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("""
        create table regions (code text primary key);
        insert into regions values ('NO');
        create table users (id int primary key, name text, age int, region text);
        insert into users select g, 'x', case when g % 1000 = 0 then 3 else 30 end, case when g <> 7 then 'NO' end
          from generate_series(1, 60000) as g;
        insert into users values (70000, 'x', 30, 'SE');
        create table parts (id int, amount int, primary key (id)) partition by range (id);
        create table parts_1 partition of parts for values from (0) to (10);
        create table parts_2 (amount int, id int not null);
        alter table parts attach partition parts_2 for values from (10) to (20);
        insert into parts values (1, 1), (2, 0), (11, -1), (12, 5);
        analyze users""")
    return connection


def test_the_listing(dsn: str, database: Database, write_app: Any) -> None:
    fine("sync", write_app(APP), "--dsn", dsn)
    lines = fine("rules", "--dsn", dsn).lines
    assert [(line["table"], line["name"], line["operations"], line["on_violation"]) for line in lines] == [
        ("public.parts", "positive", ["insert"], "refuse"),
        ("public.users", "adult", ["insert", "update"], "refuse"),
        ("public.users", "grows", ["update"], "warn"),
        ("public.users", "there", ["insert", "update"], "refuse"),
    ]
    assert lines[1] == {
        "table": "public.users",
        "name": "adult",
        "expression": "new.age >= 18",
        "message": "must be an adult",
        "operations": ["insert", "update"],
        "on_violation": "refuse",
        "declared_by": "mine",
        "current": True,
    }
    database.execute("drop trigger zz_rowcall_4_again_1_adult on users")
    assert [line["current"] for line in fine("rules", "--dsn", dsn).lines] == [True, False, False, False]
    table = fine("rules", "--format", "table", "--dsn", dsn, COLUMNS="120").out
    assert max(len(line) for line in table.splitlines()) <= 120
    assert "update: warn" in table
    assert "Options belong after the command" in refused(2, "rules", "--dsn", dsn, "check")


def test_rows_that_break_rules_are_found_before_and_after_they_are_declared(
    dsn: str, database: Database, write_app: Any
) -> None:
    target = write_app(APP)
    for arguments in ((target,), ()):
        if not arguments:
            fine("sync", target, "--dsn", dsn)
        said = rowcall("rules", "check", *arguments, "--keys", "3", "--dsn", dsn)
        assert said.code == 1
        found = {line["rule"]: line for line in said.lines}
        assert found["adult"] == {
            "table": "public.users",
            "rule": "adult",
            "scanned": 60001,
            "violations": 60,
            "keys": [{"id": 1000}, {"id": 2000}, {"id": 3000}],
            "note": None,
        }
        assert (found["grows"]["violations"], found["grows"]["note"]) == (
            None,
            "speaks of old: only a change can break it",
        )
        assert (found["there"]["violations"], found["there"]["keys"]) == (1, [{"id": 70000}])
        assert (found["positive"]["scanned"], found["positive"]["keys"]) == (4, [{"id": 2}, {"id": 11}])
    database.execute("update parts set amount = 1 where amount < 1")
    assert fine("rules", "check", "--table", "parts", "--dsn", dsn).lines[0]["violations"] == 0


def test_at_a_terminal(dsn: str, database: Database, write_app: Any) -> None:
    fine("sync", write_app(APP), "--dsn", dsn)
    said = typed("", "rules", "check", "--keys", "2", "--dsn", dsn)
    assert said.code == 1
    words = " ".join(said.out.split())
    assert "public.users adult 60,001 60 1000; 2000 and 58 more" in words
    assert "only a change can" in words


def test_what_cannot_be_checked(dsn: str, database: Database, write_app: Any) -> None:
    assert "No rules are declared for any table" in refused(2, "rules", "check", "--dsn", dsn)
    assert "There is no table nope" in refused(2, "rules", "check", "--table", "nope", "--dsn", dsn)
    target = write_app('app.rule("users", "r", "new.nope > 1")')
    assert "The rule r of public.users cannot be checked: column new.nope" in refused(
        2, "rules", "check", target, "--dsn", dsn
    )
    assert "The app has no rules for regions" in refused(
        2, "rules", "check", target, "--table", "regions", "--dsn", dsn
    )
    target = write_app('app.rule("users", "r", "1 / (new.age - 3) > 1")')
    assert "cannot be checked: division by zero" in refused(2, "rules", "check", target, "--dsn", dsn)
    database.execute("create function evil() returns boolean language sql as 'delete from users returning true'")
    for expression in ("evil() and new.age > 1", "true); delete from users; select (new.age > 1"):
        target = write_app(f'app.rule("users", "r", "{expression}")')
        assert "The rule r of public.users cannot be checked" in refused(2, "rules", "check", target, "--dsn", dsn)
    assert database.execute("select count(*) from users").fetchone() == (60001,)


def test_synchronising_tells_of_triggers_that_come_after_it(dsn: str, database: Database, write_app: Any) -> None:
    late = f'"{chr(0x10FFFF) * 2}"'
    database.execute(f"""
        create function spoil() returns trigger language plpgsql as $$ begin return new; end $$;
        create trigger {late} before insert on parts_1 for each row execute function spoil();
        create trigger zzz before insert on users for each row execute function spoil()""")
    said = fine("sync", write_app(APP), "--dsn", dsn).err
    assert said == (
        f"rowcall: The trigger {late} of parts_1 fires after validation, so what it changes in a row is not validated."
        " Rename it so that it sorts before zz_rowcall_:"
        f" psql -c 'alter trigger {late} on parts_1 rename to \"a_{chr(0x10FFFF) * 2}\"'.\n"
    )
