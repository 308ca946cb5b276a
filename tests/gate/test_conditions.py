"""`when=` of before-handlers: rows that do not fulfil it never leave PostgreSQL."""

from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Reject, Rowcall, errors
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0


def test_only_rows_that_fulfil_the_condition_are_asked_about(dsn: str, database: Database, writer: Database) -> None:
    app = Rowcall()

    @app.before("users", when="new.age > 100", timeout=0.01)
    def old_age(event: Event) -> None: ...

    @app.before("users", on="update", columns="email", when="old.name = 'x' and new.email is not null", timeout=0.01)
    def mail(event: Event) -> None: ...

    @app.before("users", when="old.age < 10", on="delete", timeout=0.01)
    def young(event: Event) -> None: ...

    sync(app, dsn)
    assert sync(app, dsn) == ["validation public.users unchanged"]
    # Nobody listens: what is asked about is refused.
    writer.execute("insert into users values (1, 'x', 5), (2, 'y', 50), (3, 'z', null)")
    writer.execute("update users set age = 6 where id = 1; update users set email = 'e' where id = 2")
    writer.execute("update users set email = null; delete from users where id = 2")
    for statement, handler in {
        "insert into users values (4, 'x', 101)": "old_age",
        "update users set age = 101": "old_age",
        "update users set email = 'e' where id = 1": "mail",
        "delete from users where id = 1": "young",
    }.items():
        with pytest.raises(pg.CheckViolation, match=f"rejected by {handler}: no listener answered"):
            writer.execute(statement)


def test_a_condition_sees_what_the_handlers_before_amended(dsn: str, database: Database, writer: Database) -> None:
    app, asked = Rowcall(), list[str]()

    @app.before("users", timeout=LONG)
    def lower(event: Event) -> dict[str, Any]:
        asked.append("lower")
        assert event.new
        return {"name": event.new["name"].lower()}

    @app.before("users", timeout=LONG, when="new.name = 'ada'")
    def only_ada(event: Event) -> dict[str, Any]:
        asked.append("only_ada")
        return {"name": "lovelace", "age": 36}

    @app.before("users", timeout=LONG, when="new.name = 'ada'")
    def not_any_more(event: Event) -> None:
        asked.append("not_any_more")

    @app.before("users", timeout=LONG)
    def last(event: Event) -> None:
        assert event.new
        asked.append(f"last {event.new['name']} {event.new['age']}")
        if event.new["name"] == "bob":
            raise Reject("no bob")

    sync(app, dsn)
    with listening(app, dsn):
        writer.execute("insert into users values (1, 'ADA', 1)")
        assert asked == ["lower", "only_ada", "last lovelace 36"]
        asked.clear()
        with pytest.raises(pg.CheckViolation, match="rejected by last: no bob"):
            writer.execute("insert into users values (2, 'BOB', 1)")
        assert asked == ["lower", "last bob 1"]
    assert database.execute("select name, age from users").fetchall() == [("lovelace", 36)]


def test_nobody_can_amend_a_row_by_a_setting_where_a_condition_holds(
    dsn: str, database: Database, writer: Database
) -> None:
    app = Rowcall()
    app.before("users", timeout=LONG, when="new.age > 10", name="check")(lambda event: None)
    sync(app, dsn)
    with listening(app, dsn):
        for row in ("(1, 'a', 5)", "(2, 'b', 50)"):
            writer.execute('set rowcall.amendment = \'{"name": "forged"}\'')
            writer.execute(f"insert into users values {row}")
    assert database.execute("select name from users order by id").fetchall() == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ("new.nope > 1", "column new.nope does not exist"),
        ("new.age", "must be type boolean"),
        ("new.age > 1) or (true", "syntax error at"),
        ("new.age in (select 1)", "cannot use subquery in trigger WHEN condition"),
    ],
)
def test_conditions_that_cannot_be(dsn: str, database: Database, when: str, sentence: str) -> None:
    app = Rowcall()
    app.before("users", name="check", when=when)(lambda event: None)
    with pytest.raises(errors.UsageError, match=r'^The before-handler "?check"? of users cannot be used: ') as caught:
        sync(app, dsn)
    assert sentence in str(caught.value)
    assert "; put what needs a query into a function." in str(caught.value)


def test_conditions_and_operations_have_to_fit() -> None:
    app = Rowcall()
    with pytest.raises(errors.UsageError, match="on='insert' is not possible here: choose from update, delete"):
        app.before("users", on="insert", when="old.age > 1")
    with pytest.raises(errors.UsageError, match="int is no condition"):
        app.before("users", when=3)
    app.before("users", when="new.age > old.age", name="both")(lambda event: None)
    app.before("users", when="current_user <> 'x'", name="any")(lambda event: None)
    assert [handler.selector.operations for handler in app.before_handlers] == [
        ("update",),
        ("insert", "update", "delete"),
    ]


def test_generated_columns_identity_and_defaults(dsn: str, database: Database, writer: Database) -> None:
    database.execute("""
        create table lines (id int generated always as identity primary key, price int default 7, note text default 'n',
          twice int generated always as (price * 2) stored)""")
    app, seen = Rowcall(), list[Any]()

    @app.before("lines", timeout=LONG, on="insert")
    def see(event: Event) -> Any:
        assert event.new
        seen.append(dict(event.new))
        return {"twice": 1} if event.new["note"] == "bad" else {"price": 8} if event.new["note"] == "dear" else None

    sync(app, dsn)
    with listening(app, dsn):
        writer.execute("insert into lines default values")
        writer.execute("insert into lines (note) values ('dear')")
        with pytest.raises(pg.GeneratedAlways) as caught:
            writer.execute("insert into lines (note) values ('bad')")
    assert caught.value.diag.message_primary == (
        "what see amended in public.lines cannot be written: twice is generated from other columns"
    )
    assert seen[0] == {"id": 1, "price": 7, "note": "n", "twice": None}
    assert database.execute("select id, price, twice from lines order by id").fetchall() == [(1, 7, 14), (2, 8, 16)]
