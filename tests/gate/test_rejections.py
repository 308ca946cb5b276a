"""What validation did not like is on record, however much of it there is, and nobody can write there by himself."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Reject, Rowcall
from tests.command import fine
from tests.conftest import Connect
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0
#: So many of a kind are recorded in full within a minute.
LIMIT = 100


@pytest.fixture
def clerk(database: Database, connect: Connect) -> Iterator[Database]:
    """A writer with rights on its table and nothing else."""
    database.execute("create role clerk login")
    database.execute("grant select, insert, delete, update on users to clerk")
    dsn = psycopg.conninfo.make_conninfo(
        database.info.dsn, user="clerk", dbname=database.info.dbname, host=database.info.host, password=""
    )
    yield connect(dsn, autocommit=True)
    database.execute("drop owned by clerk; drop role clerk")


def counted(database: Database) -> tuple[int, int]:
    """How many are recorded in full, and how many are counted only."""
    query = """select (select count(*) from rowcall.rejection),
        (select coalesce(sum(suppressed), 0)::bigint from rowcall.rejection_tally)"""
    row = database.execute(query).fetchone()
    assert row
    return row[0], row[1]


def break_rule(connection: Database, times: int) -> None:
    for _ in range(times):
        with pytest.raises(pg.CheckViolation):
            connection.execute("insert into users values (1, 'x', 3)")


def test_a_loop_of_bad_writes_is_counted_and_does_not_fill_the_disk(
    dsn: str, database: Database, clerk: Database
) -> None:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")
    sync(app, dsn)
    break_rule(database, LIMIT + 25)
    assert counted(database) == (LIMIT, 25)
    break_rule(clerk, 3)
    assert counted(database) == (LIMIT + 3, 25)
    rows = database.execute("select count(*) from rowcall.rejection_tally").fetchone()
    assert rows
    assert rows[0] <= 2  # one, or two where a minute began meanwhile
    lines = fine("audit", "rejections", "--rule", "adult", "--role", "postgres", "--dsn", dsn).lines
    assert sum(line["suppressed"] or 0 for line in lines) == 25
    assert sum(line["suppressed"] is None for line in lines) == LIMIT
    assert lines[-1]["message"] == "that many more within a minute"
    assert (lines[-1]["rule"], lines[-1]["key"], lines[-1]["db_user"]) == ("adult", None, "postgres")
    shown = " ".join(fine("audit", "rejections", "--format", "table", "--dsn", dsn, COLUMNS="120").out.split())
    assert sum(map(int, re.findall(r"(\d+) × users", shown))) == 25
    # A minute later there is room again.
    database.execute("update rowcall.rejection set at = at - interval '61 seconds'")
    break_rule(database, 1)
    assert counted(database) == (LIMIT + 4, 25)


def test_a_loop_in_one_transaction(dsn: str, database: Database, writer: Database) -> None:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")
    sync(app, dsn)
    writer.execute("""
        do $$ begin
          for i in 1..300 loop
            begin insert into users values (1, 'x', 3); exception when check_violation then null; end;
          end loop;
          insert into users values (1, 'x', 30);
        end $$""")
    assert counted(database) == (LIMIT, 200)


def test_many_at_once_neither_wait_for_long_nor_lose_count(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")
    sync(app, dsn)
    connections = [connect(autocommit=True) for _ in range(6)]
    threads = [threading.Thread(target=break_rule, args=(connection, 100)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorded, left_out = counted(database)
    assert recorded + left_out == 600
    assert LIMIT <= recorded <= LIMIT + len(connections)


def test_handlers_are_counted_alike(dsn: str, database: Database, writer: Database) -> None:
    app = Rowcall()

    @app.before("users", timeout=LONG)
    def never(event: Event) -> None:
        raise Reject("never")

    sync(app, dsn)
    with listening(app, dsn):
        for _ in range(LIMIT + 5):
            with pytest.raises(pg.CheckViolation):
                writer.execute("insert into users (id) values (1)")
    assert counted(database) == (LIMIT, 5)
    tally = database.execute("select handler, rule, outcome, db_user from rowcall.rejection_tally").fetchall()
    assert set(tally) == {("never", None, "refused", "postgres")}


def test_warnings_are_counted_alike_and_roll_back(dsn: str, database: Database, clerk: Database) -> None:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18", on_violation="warn", message="should be an adult")
    sync(app, dsn)
    bulk = "insert into users select g, 'x', 3 from generate_series(1, 500) as g"
    with clerk.transaction(force_rollback=True):
        clerk.execute(bulk)
    assert counted(database) == (0, 0)
    clerk.execute(bulk)
    assert counted(database) == (LIMIT, 400)
    assert clerk.execute("select count(*) from users").fetchone() == (500,)
    lines = fine("audit", "rejections", "--warned", "--dsn", dsn).lines
    assert {(line["outcome"], line["rule"], line["db_user"]) for line in lines} == {("warned", "adult", "clerk")}
    assert sum(line["suppressed"] or 0 for line in lines) == 400
    assert fine("audit", "rejections", "--refused", "--dsn", dsn).lines == []


def test_two_who_warn_wait_for_each_other_never(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18", on_violation="warn")
    sync(app, dsn)
    one, other = connect(), connect()
    for connection, first in ((one, 1), (other, 1001)):
        connection.execute("set lock_timeout = '1s'")
        connection.execute(f"insert into users select g, 'x', 3 from generate_series({first}, {first} + 200) as g")
    one.execute("insert into users values (5000, 'x', 3)")
    other.execute("insert into users values (5001, 'x', 3)")
    one.commit()
    other.commit()
    recorded, left_out = counted(database)
    assert recorded + left_out == 404


def test_excluded_redacted_and_long_values(dsn: str, database: Database, writer: Database) -> None:
    app = Rowcall()
    app.watch("users", exclude="email", redact="name")
    app.rule("users", "adult", "new.age >= 18 and new.email <> 'x'", message="m" * 3000)
    app.rule("users", "short", "length(new.name) < 10", on_violation="warn")
    sync(app, dsn)
    with pytest.raises(pg.CheckViolation):
        writer.execute("insert into users values (1, 'secret name', 1, 'secret mail')")
    writer.execute("insert into users values (1, 'secret name', 20, 'secret mail')")
    said = str(database.execute("select to_jsonb(r) from rowcall.rejection as r").fetchall())
    assert "secret" not in said
    assert said.count("hmac-sha256:") == 2
    assert database.execute("select max(length(message)) from rowcall.rejection").fetchone() == (2000,)
    app = Rowcall()
    app.watch("users", exclude="email")
    app.rule("users", "adult", "new.age >= 18")
    sync(app, dsn)
    with pytest.raises(pg.CheckViolation):
        writer.execute("insert into users select 2, string_agg(md5(g::text), ''), 1 from generate_series(1, 3000) as g")
    last = database.execute("select key, new, rule from rowcall.rejection order by id desc limit 1").fetchone()
    assert last == ({"id": 2}, None, "adult")


def test_nobody_forges_records(dsn: str, database: Database, clerk: Database) -> None:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")
    app.rule("users", "odd", "new.age > 0", on_violation="warn")
    app.rule("users", "known", "new.name in (select 'x')")
    sync(app, dsn)
    found = database.execute("select id from rowcall.relation").fetchone()
    assert found
    database.execute("grant create on schema public to clerk")
    clerk.execute("create table mine (id int, age int, name text)")
    for statement in (
        "insert into rowcall.rejection (relation, operation, rule, message) values (1, 'insert', 'adult', 'forged')",
        "update rowcall.rejection set message = 'forged'",
        "delete from rowcall.rejection",
        "truncate rowcall.rejection",
        "select from rowcall.rejection",
        "insert into rowcall.rejection_tally (minute, relation, outcome, db_user) values (now(), 1, 'warned', 'x')",
        "update rowcall.rejection_tally set suppressed = 0",
        "select rowcall.record_rejection_v1('{}')",
        "select rowcall.gate_record_v1('{}', 'x')",
        "select rowcall.is_rejection_recorded_v1(1, 'adult', 'clerk')",
        f"create trigger t before insert on mine for each row execute function rowcall.refuse_{found[0]}('adult', 'x')",
        f"create trigger t after insert on mine for each row execute function rowcall.warn_{found[0]}('odd', 'x')",
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            clerk.execute(statement)
    # The rule with a query is a function that everybody may ask, with no more rights than he has.
    callable_by = """select proname ~ '^rule_[0-9]+_[0-9a-f]{12}$', prosecdef from pg_proc
        where pronamespace = 'rowcall'::regnamespace and has_function_privilege('clerk', oid, 'execute')
          and proname <> 'act'"""
    assert database.execute(callable_by).fetchall() == [(True, False)]
    assert counted(database) == (0, 0)
