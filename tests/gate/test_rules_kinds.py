"""What rules can say, for every way to write a row."""

from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg import errors as pg
from sqlalchemy import exists, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rowcall import Rowcall, errors
from rowcall.sqlalchemy import rows
from tests.conftest import Connect
from tests.listeners import sync

Database = psycopg.Connection[Any]


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    low: Mapped[int]
    high: Mapped[int]
    country: Mapped[str] = mapped_column("Country")


class Country(Base):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(primary_key=True)
    open: Mapped[bool]


old, new = rows(Account)

PLAIN = """
    create table accounts (id int primary key, state text default 'draft', low int, high int, "Country" text)"""
PARTITIONED = """
    create table accounts (id int primary key, state text default 'draft', low int, high int, "Country" text)
        partition by range (id);
    create table accounts_1 partition of accounts for values from (0) to (100);
    create table accounts_2 ("Country" text, high int, low int, id int not null, state text);
    alter table accounts attach partition accounts_2 for values from (100) to (200)"""


@pytest.fixture
def database(connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("create table countries (code text primary key, open boolean not null)")
    connection.execute("insert into countries values ('NO', true), ('FI', false)")
    return connection


TEXT: dict[str, Any] = {
    "ordered": "new.low <= new.high",
    "forward": "old.state <> 'closed' or new.state = 'closed'",
    "kept": "old.state <> 'open'",
    "there": 'new."Country" is null or exists (select from countries as c where c.code = new."Country" and c.open)',
}
EXPRESSIONS: dict[str, Any] = {
    "ordered": new.low <= new.high,
    "forward": (old.state != "closed") | (new.state == "closed"),
    "kept": old.state != "open",
    "there": new.country.is_(None) | exists().where(Country.code == new.country, Country.open),
}


def guarded(conditions: dict[str, Any], **options: Any) -> Rowcall:
    app = Rowcall()
    app.watch("accounts")
    for name, condition in conditions.items():
        app.rule("accounts", name, condition, on="delete" if name == "kept" else None, **options)
    return app


@pytest.mark.parametrize("table", [PLAIN, PARTITIONED], ids=["plain", "partitioned"])
@pytest.mark.parametrize("conditions", [TEXT, EXPRESSIONS], ids=["text", "SQLAlchemy"])
def test_each_kind_on_each_operation(dsn: str, database: Database, table: str, conditions: dict[str, Any]) -> None:
    database.execute(table)
    app = guarded(conditions)
    sync(app, dsn)
    assert sync(app, dsn) == ["watch public.accounts unchanged", "validation public.accounts unchanged"]
    database.execute(
        "insert into accounts values (1, 'draft', 1, 2, 'NO'), (2, 'closed', 1, 1, null), (3, 'open', null, 1, null)"
    )
    broken = {
        "insert into accounts (id, low, high) values (4, 2, 1)": "ordered",
        "update accounts set low = 3 where id = 1": "ordered",
        "update accounts set state = 'draft' where id = 2": "forward",
        "delete from accounts where id = 3": "kept",
        """insert into accounts (id, "Country") values (4, 'FI')""": "there",
        """update accounts set "Country" = 'SE' where id = 1""": "there",
        "insert into accounts (id, low, high) values (1, 2, 1) on conflict (id) do update set low = 1": "ordered",
        "insert into accounts (id) values (1) on conflict (id) do update set low = 7": "ordered",
        """merge into accounts as a using (values (1), (9)) as v (id) on a.id = v.id
            when matched then update set low = 7 when not matched then insert (id) values (v.id)""": "ordered",
        """merge into accounts as a using (values (1), (9)) as v (id) on a.id = v.id
            when matched then update set low = 0 when not matched then insert (id, low, high) values (v.id, 2, 1)""": "ordered",
        "with gone as (delete from accounts where id = 3 returning *) select from gone": "kept",
        # To another partition, where there are some.
        "update accounts set id = 150, state = 'draft' where id = 2": "forward",
        "update accounts set id = 150, low = 9 where id = 1": "ordered",
    }
    for statement, rule in broken.items():
        with pytest.raises(pg.CheckViolation) as caught:
            database.execute(statement)
        assert (statement, caught.value.diag.constraint_name) == (statement, rule)
    with (
        pytest.raises(pg.CheckViolation, match='violates rule "ordered"'),
        database.cursor().copy("copy accounts (id, low, high) from stdin") as copy,
    ):
        copy.write("10\t1\t2\n11\t2\t1\n")
    before = "select id, state, low, high from accounts order by id"
    assert database.execute(before).fetchall() == [(1, "draft", 1, 2), (2, "closed", 1, 1), (3, "open", None, 1)]
    database.execute("update accounts set id = 160 where id = 2")
    with database.cursor().copy("copy accounts (id, low, high) from stdin") as copy:
        copy.write("10\t1\t2\n")
    database.execute("insert into accounts (id) values (10) on conflict do nothing")
    database.execute("delete from accounts where id = 160")


def test_a_violation_names_the_column_if_it_is_one(dsn: str, database: Database) -> None:
    database.execute(PLAIN)
    app = guarded(TEXT)
    app.rule("accounts", "stays", "new.low >= old.low", message="it may not fall")
    app.rule("accounts", "here", "new.high in (select 7)", message="seven")
    sync(app, dsn)
    database.execute("insert into accounts values (1, 'draft', 1, 7)")
    expected = {
        "update accounts set low = 0": ("stays", "low"),
        "update accounts set low = 8": ("ordered", None),
        "update accounts set high = 8": ("here", "high"),
    }
    for statement, (rule, column) in expected.items():
        with pytest.raises(pg.CheckViolation) as caught:
            database.execute(statement)
        diagnosis = caught.value.diag
        assert (diagnosis.constraint_name, diagnosis.column_name) == (rule, column)
        assert (diagnosis.sqlstate, diagnosis.schema_name, diagnosis.table_name) == ("23514", "public", "accounts")


def test_sqlalchemy_users_see_an_integrity_error(dsn: str, database: Database) -> None:
    database.execute(PLAIN)
    sync(guarded(EXPRESSIONS), dsn)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with sqlalchemy.orm.Session(engine) as session, pytest.raises(IntegrityError) as caught:
        session.add(Account(id=1, state="draft", low=2, high=1, country="NO"))
        session.flush()
    assert isinstance(caught.value.orig, pg.CheckViolation)
    assert caught.value.orig.diag.constraint_name == "ordered"
    engine.dispose()


def test_expressions_are_written_as_postgresql_reads_them(dsn: str, database: Database) -> None:
    database.execute(PLAIN)
    app = Rowcall()
    app.rule(Account, "odd", new.state.like("50%\\\\ o:ff'%") | (new.low % 2 == 0))
    app.rule(Account.__table__, "few", new.state.in_(["a", "50%\\ o:ff' now"]) | (func.length(new.state) == 1))
    sync(app, dsn)
    database.execute("insert into accounts (id, state, low) values (1, %s, 1), (2, 'b', 2)", ("50%\\ o:ff' now",))
    with pytest.raises(pg.CheckViolation, match="odd"):
        database.execute("insert into accounts (id, state, low) values (3, 'b', 1)")
    with pytest.raises(pg.CheckViolation, match="few"):
        database.execute("insert into accounts (id, state, low) values (3, 'no', 2)")


def test_expressions_that_cannot_be(database: Database, dsn: str) -> None:
    database.execute(PLAIN)
    app = Rowcall()
    with pytest.raises(errors.UsageError, match="mentions neither old nor new"):
        app.rule(Account, "model", Account.low > 1)
    with pytest.raises(errors.UsageError, match=r"rule 'literal' of .* cannot be written as SQL"):
        app.rule(Account, "literal", new.low == object())
    with pytest.raises(errors.UsageError, match=r"bool is no condition: .*rows\(Model\)"):
        app.rule(Account, "bool", True)
    with pytest.raises(AttributeError, match="new has no column lower: it has id, state, low, high, country"):
        _ = new.lower
    with pytest.raises(errors.UsageError, match="has no columns: pass a SQLAlchemy model"):
        rows(3)
    with pytest.raises(errors.UsageError, match="on_violation='stop' must be refuse or warn"):
        app.rule(Account, "stop", new.low > 1, on_violation="stop")  # type: ignore[arg-type]
    app.rule(Account, "type", new.low + 1)
    with pytest.raises(errors.UsageError, match=r"^The rule type of accounts cannot be used: .*must be type boolean"):
        sync(app, dsn)


def test_a_query_is_the_writers_and_its_names_are_those_of_the_declaration(
    dsn: str, database: Database, connect: Connect
) -> None:
    database.execute(PLAIN)
    database.execute("create role clerk login; grant insert, select, update on accounts to clerk")
    try:
        sync(guarded(TEXT), dsn)
        host = database.info.host
        clerk = connect(psycopg.conninfo.make_conninfo(dsn, user="clerk", host=host), autocommit=True)
        with pytest.raises(pg.InsufficientPrivilege, match="countries"):
            clerk.execute("""insert into accounts (id, "Country") values (1, 'NO')""")
        database.execute("grant select on countries to clerk")
        database.execute(f"grant temporary on database {database.info.dbname} to clerk")
        clerk.execute("create temporary table countries as select 'SE'::text as code, true as open")
        clerk.execute("""insert into accounts (id, "Country") values (1, 'NO')""")
        with pytest.raises(pg.CheckViolation, match="there"):
            clerk.execute("""insert into accounts (id, "Country") values (2, 'SE')""")
    finally:
        database.execute("drop owned by clerk; drop role clerk")


def test_rules_about_generated_columns(dsn: str, database: Database) -> None:
    database.execute("""
        create table lines (id int generated always as identity primary key, price int, pieces int default 2,
          total int generated always as (price * pieces) stored)""")
    app = Rowcall()
    app.rule("lines", "cheap", "new.total < 100", message="too much")
    app.rule("lines", "whole", "new.total in (select g from generate_series(0, 1000, 2) as g)")
    app.rule("lines", "first", "new.id < 3 and new.pieces is not null")
    sync(app, dsn)
    assert sync(app, dsn) == ["validation public.lines unchanged"]
    database.execute("insert into lines (price) values (10)")
    with pytest.raises(pg.CheckViolation) as caught:
        database.execute("update lines set price = 50")
    assert (caught.value.diag.constraint_name, caught.value.diag.column_name) == ("cheap", "total")
    with pytest.raises(pg.CheckViolation, match="whole"):
        database.execute("insert into lines (price, pieces) values (3, 3)")
    with pytest.raises(pg.CheckViolation, match="first"):
        database.execute("insert into lines (price) values (10)")


def test_what_a_later_trigger_makes_of_the_row_is_checked_as_well(dsn: str, database: Database) -> None:
    database.execute(PLAIN)
    sync(guarded(TEXT), dsn)
    database.execute("""
        create function spoil() returns trigger language plpgsql as $$ begin new.low := 100; return new; end $$;
        create trigger zzz before insert or update on accounts for each row execute function spoil()""")
    for statement in (
        "insert into accounts (id, low, high) values (1, 1, 2)",
        "insert into accounts (id, high) values (1, 1) on conflict do nothing",
        "merge into accounts as a using (values (1)) as v (id) on a.id = v.id when not matched then insert (id, high) values (1, 2)",
    ):
        with pytest.raises(pg.CheckViolation, match='violates rule "ordered"'):
            database.execute(statement)
    database.execute("alter table accounts disable trigger zzz")
    database.execute("insert into accounts values (1, 'draft', 1, 2)")
    database.execute("alter table accounts enable trigger zzz")
    with pytest.raises(pg.CheckViolation, match="ordered"):
        database.execute("update accounts set state = 'open'")


def test_rules_that_only_look_do_not_slow_capture_down(dsn: str, database: Database) -> None:
    database.execute(PLAIN)
    sync(guarded(TEXT | {"warned": "new.low > 0"}), dsn)
    assert database.execute("select rowcall.capture_mode_v1('accounts'::regclass, '{}')").fetchone() == ("statement",)


def test_only_a_row_that_is_written_is_warned_of_and_with_it(dsn: str, database: Database) -> None:
    database.execute(PLAIN)
    app = guarded(TEXT, on_violation="warn")
    sync(app, dsn)
    recorded = "select outcome, operation::text, key, rule, column_name, db_user from rowcall.rejection order by id"
    database.execute("insert into accounts (id, low, high) values (1, 2, 1)")
    database.execute("insert into accounts (id, low, high) values (1, 2, 1) on conflict do nothing")
    with database.transaction(force_rollback=True):
        database.execute("insert into accounts (id, low, high) values (2, 2, 1)")
        assert len(database.execute(recorded).fetchall()) == 2
    database.execute("update accounts set state = 'open'")
    database.execute("delete from accounts")
    assert database.execute(recorded).fetchall() == [
        ("warned", "insert", {"id": 1}, "ordered", None, "postgres"),
        ("warned", "update", {"id": 1}, "ordered", None, "postgres"),
        ("warned", "delete", {"id": 1}, "kept", "state", "postgres"),
    ]
    xids = "select j.xid = e.xid from rowcall.rejection as j join rowcall.event as e using (xid, operation)"
    assert database.execute(xids).fetchall() == [(True,)] * 3


def test_warnings_of_partitioned_tables(dsn: str, database: Database) -> None:
    database.execute(PARTITIONED)
    sync(guarded(TEXT, on_violation="warn"), dsn)
    database.execute("insert into accounts values (1, 'closed', 2, 1)")
    database.execute("update accounts set id = 150, state = 'draft', low = 0")
    recorded = "select operation::text, rule from rowcall.rejection order by id"
    assert database.execute(recorded).fetchall() == [("insert", "ordered"), ("update", "forward")]


def test_a_moved_row_is_warned_of_once(dsn: str, database: Database) -> None:
    database.execute(PARTITIONED)
    database.execute("insert into accounts values (1, 'draft', 1, 2), (2, 'draft', 1, 2)")
    app = Rowcall()
    for name, expression in {"new": "new.low < 0", "old": "old.low < 0", "both": "old.low < new.low"}.items():
        app.rule("accounts", name, expression, on_violation="warn")
    sync(app, dsn)
    recorded = "select rule, operation::text from rowcall.rejection order by id"
    database.execute("update accounts set id = 150 where id = 1")
    moved = database.execute(recorded).fetchall()
    assert sorted(moved) == [("both", "update"), ("new", "insert"), ("old", "delete")]
    database.execute("delete from rowcall.rejection")
    database.execute("update accounts set id = 3 where id = 2")
    assert sorted(database.execute(recorded).fetchall()) == [("both", "update"), ("new", "update"), ("old", "update")]
    database.execute("delete from rowcall.rejection")
    database.execute("insert into accounts values (3, 'draft', 1, 2) on conflict (id) do nothing")
    assert database.execute(recorded).fetchall() == []


def test_a_rule_with_a_query_keeps_nobody_from_changing_the_table(dsn: str, database: Database) -> None:
    database.execute("""create table odd (id int, "Größe (m)" numeric, "a""b" text, valid boolean, primary key (id))""")
    app = Rowcall()
    app.rule("odd", "sizes", """new."Größe (m)" in (select 1.5) and (old."a""b" is null or NEW . VALID)""")
    sync(app, dsn)
    database.execute("insert into odd values (1, 7, 'x', true)")
    with pytest.raises(pg.CheckViolation, match="sizes"):
        database.execute("update odd set id = 2")
    database.execute('update odd set "Größe (m)" = 1.50')
    database.execute("alter table odd add more text; alter table odd alter id type bigint")
    assert sync(app, dsn) == ["validation public.odd unchanged"]
    database.execute("drop table odd")
    database.execute('create table odd (id int primary key, "Größe (m)" numeric, "a""b" text, valid boolean)')
    sync(app, dsn)
    database.execute("insert into odd values (1, 7, 'x', true)")
    with pytest.raises(pg.CheckViolation, match="sizes"):
        database.execute("update odd set id = 2")


def test_rules_about_columns_that_are_not_stored(dsn: str, database: Database) -> None:
    if database.info.server_version < 180000:
        pytest.skip("virtual generated columns came with PostgreSQL 18")
    database.execute(
        "create table lines (id int primary key, price int, twice int generated always as (price * 2) virtual)"
    )
    app = Rowcall()
    app.rule("lines", "cheap", "new.twice < 100")
    app.rule("lines", "even", "new.twice in (select g * 4 from generate_series(1, 100) as g)", on_violation="warn")
    sync(app, dsn)
    database.execute("insert into lines values (1, 10), (2, 11)")
    with pytest.raises(pg.CheckViolation, match="cheap"):
        database.execute("update lines set price = 50 where id = 1")
    assert database.execute("select key from rowcall.rejection").fetchall() == [({"id": 2},)]
