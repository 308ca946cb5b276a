"""Rules: validation that PostgreSQL does by itself."""

from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Rowcall, acting, errors
from tests.conftest import Connect
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0


def rejections(database: Database) -> list[Any]:
    query = "select operation::text, key, old, new, rule, message, actor from rowcall.rejection order by id"
    return database.execute(query).fetchall()


def test_a_violation_reads_like_a_check_constraints_and_is_on_record(
    dsn: str, database: Database, writer: Database
) -> None:
    app = Rowcall()
    app.watch("users", exclude="email")
    app.rule("users", "adult", "new.age >= 18", message="must be an adult")
    sync(app, dsn)
    with pytest.raises(pg.CheckViolation) as caught, acting(writer, actor="ann"):
        writer.execute("insert into users values (1, 'x', 17, 'secret')")
    diagnosis = caught.value.diag
    assert diagnosis.message_primary == 'insert of public.users violates rule "adult": must be an adult'
    assert (diagnosis.sqlstate, diagnosis.constraint_name) == ("23514", "adult")
    assert (diagnosis.schema_name, diagnosis.table_name) == ("public", "users")
    writer.execute("insert into users values (1, 'x', 18, 'e'), (2, 'y', null, 'e')")
    with pytest.raises(pg.CheckViolation), writer.transaction():
        writer.execute("update users set age = 3 where id = 1")
    assert rejections(database) == [
        ("insert", {"id": 1}, None, {"id": 1, "name": "x", "age": 17}, "adult", "must be an adult", "ann"),
        (
            "update",
            {"id": 1},
            {"id": 1, "name": "x", "age": 18},
            {"id": 1, "name": "x", "age": 3},
            "adult",
            "must be an adult",
            None,
        ),
    ]


def test_without_a_gate_rules_hold_all_the_same_unrecorded(dsn: str, connect: Connect) -> None:
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key, age int)")
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")
    sync(app, dsn)
    with pytest.raises(pg.CheckViolation, match=r'violates rule "adult": new.age >= 18 is false'):
        connection.execute("insert into users values (1, 17)")
    assert rejections(connection) == []


def test_a_rule_judges_the_row_as_it_will_be_written(dsn: str, database: Database, writer: Database) -> None:
    database.execute("""
        create function shout() returns trigger language plpgsql as $$ begin new.name := upper(new.name); return new; end $$;
        create trigger a before insert on users for each row execute function shout()""")
    app = Rowcall()
    app.rule("users", "short", "length(new.email) < 5")
    app.rule("users", "loud", "new.name = upper(new.name)")
    app.before("users", timeout=LONG, on="insert", name="amend")(
        lambda event: {"email": "long enough"} if event.new["name"] == "LONG" else {"email": "ok"}
    )
    sync(app, dsn)
    with listening(app, dsn):
        writer.execute("insert into users values (1, 'x', 1, 'far too long')")
        with pytest.raises(pg.CheckViolation, match='violates rule "short"'):
            writer.execute("insert into users values (2, 'long', 1, 'ok')")
    assert database.execute("select name, email from users").fetchall() == [("X", "ok")]
    assert rejections(database)[0][3]["email"] == "long enough"


def test_a_rule_about_both_rows_is_one_about_updates(dsn: str, database: Database, writer: Database) -> None:
    app = Rowcall()
    app.rule("users", "grows", "new.age >= old.age", message="nobody gets younger")
    app.rule("users", "kept", "old.name <> 'keep'", on="delete")
    sync(app, dsn)
    writer.execute("insert into users values (1, 'keep', 5)")
    writer.execute("update users set age = 6")
    with pytest.raises(pg.CheckViolation, match="nobody gets younger"):
        writer.execute("update users set age = 5")
    with pytest.raises(pg.CheckViolation, match=r'delete of public\.users violates rule "kept"'):
        writer.execute("delete from users")
    writer.execute("update users set name = 'x'")
    writer.execute("delete from users")


def test_a_rule_that_cannot_be_leaves_nothing_installed(dsn: str, database: Database) -> None:
    reasons = {
        "new.nope > 1": "column new.nope does not exist",
        "new.age >": "syntax error at",
        "new.age": "must be type boolean",
        "new.age > 1) or (new.age < 0": "syntax error at",
        "new.age > 1 is false) execute function evil(); --": "syntax error at",
        "new.age in (select nope)": 'column "nope" does not exist',
        "true; drop table users; select new.age > 1": "cannot open multi-query plan as cursor",
        "max(new.age) > 1": "aggregate functions are not allowed",
        "new.age > 1, new.age > 2": "must be type boolean",
        "no_function(new.age)": "function no_function",
    }
    for expression, reason in reasons.items():
        app = Rowcall()
        app.watch("users")
        app.rule("users", "fine", "new.age > 0")
        app.rule("users", "not fine", expression)
        with pytest.raises(errors.UsageError, match=r'^The rule "not fine" of .*users cannot be used: ') as caught:
            sync(app, dsn)
        assert reason in str(caught.value)
        assert 'Write one SQL condition over old and new, such as "new.age >= 18"' in str(caught.value)
    triggers = "select count(*) from pg_trigger where tgrelid = 'users'::regclass"
    assert database.execute(triggers).fetchone() == (0,)
    assert database.execute("select count(*) from rowcall.watch").fetchone() == (0,)


def test_conditions_and_names_may_be_odd(dsn: str, database: Database, writer: Database) -> None:
    app = Rowcall()
    app.rule("users", 'Größe "x" ' + "n" * 60, "new.age > 0 -- at least one", message="50% 'off'")
    app.rule("users", "percent", "new.name not like '%bad%' and new.name <> 'new.'")
    app.rule("users", "nulls", "new.email is not null")
    sync(app, dsn)
    sync(app, dsn)
    with pytest.raises(pg.CheckViolation, match="50% 'off'"):
        writer.execute("insert into users values (1, 'x', 0, 'e')")
    with pytest.raises(pg.CheckViolation, match='violates rule "percent"'):
        writer.execute("insert into users values (1, 'a bad name', 1, 'e')")
    with pytest.raises(pg.CheckViolation, match='violates rule "nulls"'):
        writer.execute("insert into users values (1, 'x', 1)")
    writer.execute("insert into users values (1, 'x', 1, 'e')")


def test_a_trigger_somebody_took_away_is_drift(dsn: str, database: Database) -> None:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")
    assert sync(app, dsn) == ["validation public.users created"]
    assert sync(app, dsn) == ["validation public.users unchanged"]
    for harm in (
        'drop trigger "zz_rowcall_3_rule_1_adult" on users',
        'alter table users disable trigger "zz_rowcall_3_rule_1_adult"',
        'comment on trigger "zz_rowcall_3_rule_1_adult" on users is null',
    ):
        database.execute(harm)
        assert sync(app, dsn) == ["validation public.users changed"]
        assert sync(app, dsn) == ["validation public.users unchanged"]
    assert sync(Rowcall(), dsn) == ["validation public.users removed"]
    assert database.execute("select count(*) from pg_trigger where tgrelid = 'users'::regclass").fetchone() == (0,)
    assert database.execute("select count(*) from pg_proc where proname ~ '^(gate|refuse)_[0-9]'").fetchone() == (0,)


def test_what_is_declared_otherwise_is_said_and_done(dsn: str, database: Database) -> None:
    def declared(*rules: tuple[str, str, dict[str, Any]], **handlers: dict[str, Any]) -> Rowcall:
        app = Rowcall()
        for name, expression, options in rules:
            app.rule("users", name, expression, **options)
        for name, options in handlers.items():
            app.before("users", name=name, **options)(lambda event: None)
        return app

    adult: tuple[str, str, dict[str, Any]] = ("adult", "new.age >= 18", {})
    known: tuple[str, str, dict[str, Any]] = ("known", "new.name in (select 'x')", {})
    functions = "select count(*) from pg_proc where proname ~ '^rule_[0-9]'"
    for app, outcome in (
        (declared(adult, known, check={}), "created"),
        (declared(adult, known, check={}), "unchanged"),
        (declared(("adult", "new.age >= 21", {}), known, check={}), "changed (rule adult: changed)"),
        (
            declared(adult, ("known", "new.name in (select 'y')", {}), check={"when": "new.age > 1"}),
            "changed (before-handler check: changed, rule adult: changed, rule known: changed)",
        ),
        (
            declared(adult, ("known", "new.name in (select 'y')", {"on_violation": "warn"}), second={}),
            "changed (before-handler check: removed, before-handler second: created, rule known: changed)",
        ),
        (declared(("adult", "new.age >= 18", {"message": "m"})), None),
        (declared(("adult", "new.age >= 18", {"message": "m", "on": "insert"})), "changed (rule adult: changed)"),
    ):
        said = sync(app, dsn)
        assert outcome is None or said == [f"validation public.users {outcome}"]
        assert sync(app, dsn) == ["validation public.users unchanged"]
    assert database.execute(functions).fetchone() == (0,)
    database.execute("insert into users values (1, 'z', 18); update users set age = 3")
    assert sync(declared(adult, known), dsn) != ["validation public.users unchanged"]
    assert database.execute(functions).fetchone() == (1,)
    with pytest.raises(pg.CheckViolation, match="known"):
        database.execute("insert into users values (2, 'z', 18)")
    name = database.execute("select proname from pg_proc where proname ~ '^rule_[0-9]'").fetchone()
    assert name
    database.execute(f"comment on function rowcall.{name[0]} is null")
    assert sync(declared(adult, known), dsn) == ["validation public.users changed"]
    assert sync(Rowcall(), dsn) == ["validation public.users removed"]
    assert database.execute(functions).fetchone() == (0,)
