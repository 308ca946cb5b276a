"""Validation cannot be got round, and nothing of it can be used to gain rights."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Reject, Rowcall
from tests.conftest import Connect
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0
GATE_FUNCTIONS = {
    "gate_ask_v1(text,text,jsonb)",
    "gate_await_v1(bigint,text)",
    "gate_record_v1(text,text)",
    "gate_refuse_v1(text,text,jsonb)",
    "gate_submit_v1(text,text)",
}


@pytest.fixture
def clerk(database: Database, connect: Connect) -> Iterator[Database]:
    """A writer with rights on its table and nothing else."""
    database.execute("create role clerk login")
    database.execute("grant select, insert, delete, update (id, name, email) on users to clerk")
    dsn = psycopg.conninfo.make_conninfo(
        database.info.dsn, user="clerk", dbname=database.info.dbname, host=database.info.host, password=""
    )
    yield connect(dsn, autocommit=True)
    database.execute("drop owned by clerk; drop role clerk")


def guarded(**options: Any) -> Rowcall:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")

    @app.before("users", timeout=LONG, **options)
    def check(event: Event) -> dict[str, Any] | None:
        name = (event.new or event.old or {})["name"]
        if name == "bad":
            raise Reject("bad")
        return {"age": 30} if event.new and name == "amend" else None

    return app


def test_a_writer_needs_no_rights_on_rowcall(dsn: str, database: Database, clerk: Database) -> None:
    app = guarded()
    app.watch("users")
    sync(app, dsn)
    with listening(app, dsn):
        clerk.execute("insert into users values (1, 'ok', 20), (2, 'amend', 1)")
        with pytest.raises(pg.CheckViolation, match="rejected by check: bad"):
            clerk.execute("update users set name = 'bad'")
        with pytest.raises(pg.CheckViolation, match='violates rule "adult"'):
            clerk.execute("insert into users values (3, 'ok', 1)")
        clerk.execute("delete from users where id = 1")
    assert clerk.execute("select id, age from users").fetchall() == [(2, 30)]
    refused = database.execute("select rule, handler, db_user from rowcall.rejection order by id").fetchall()
    assert refused == [(None, "check", "clerk"), ("adult", None, "clerk")]


def test_an_ordinary_role_can_read_and_call_nothing(dsn: str, database: Database, clerk: Database) -> None:
    sync(guarded(), dsn)
    relations = "select oid::regclass::text from pg_class where relnamespace = 'rowcall'::regnamespace and relkind in ('r', 'p', 'v')"
    for (name,) in database.execute(relations).fetchall():
        for statement in (f"select from {name}", f"table {name}", f"copy {name} to stdout"):
            with pytest.raises(pg.InsufficientPrivilege):
                clerk.execute(statement)
    granted = """select grantee, table_name, privilege_type from information_schema.role_table_grants
        where table_schema = 'rowcall' and grantee in ('PUBLIC', 'clerk')"""
    assert database.execute(granted).fetchall() == []
    routines = """select oid::regprocedure::text from pg_proc
        where pronamespace = 'rowcall'::regnamespace and has_function_privilege('clerk', oid, 'execute')"""
    assert database.execute(routines).fetchall() == [("rowcall.act(text,jsonb)",)]
    relation = database.execute("select id from rowcall.relation").fetchone()
    assert relation
    database.execute("grant create on schema public to clerk")
    clerk.execute("create table mine (id int)")
    for function in (f"gate_{relation[0]}", f"refuse_{relation[0]}", "amend_v1"):
        with pytest.raises(pg.InsufficientPrivilege):
            clerk.execute(
                f"create trigger t before insert on mine for each row execute function rowcall.{function}('1', 'accept')"
            )
    for statement in (
        "call rowcall.gate_ask_v1('{}', '', null)",
        "select rowcall.gate_submit_v1('{}', '')",
        "select rowcall.dblink_connect('rowcall', 'rowcall_gate')",
        "select rowcall.dblink_get_connections()",
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            clerk.execute(statement)


def test_the_gates_login_can_forge_nothing(dsn: str, database: Database, gate: str, connect: Connect) -> None:
    sync(guarded(), dsn)
    database.execute("""
        insert into rowcall.request (session, id, ticket, turn, relation, handlers, body, expires_at)
        values (0, 1, 4, 0, 1, '[]', '{}', now() + '1 minute')""")
    login = connect(gate, autocommit=True)
    name = login.info.user
    routines = """select replace(oid::regprocedure::text, 'rowcall.', '') from pg_proc
        where pronamespace = 'rowcall'::regnamespace and has_function_privilege(%s, oid, 'execute')"""
    assert {row[0] for row in database.execute(routines, (name,)).fetchall()} == GATE_FUNCTIONS | {"act(text,jsonb)"}
    forged = '{"relation": 1, "operation": "insert", "rule": "x", "message": "forged", "timeout_ms": 1, "handlers": []}'
    for statement in (
        "select rowcall.gate_submit_v1(%s, 'x')",
        "select rowcall.gate_record_v1(%s, 'x')",
        "call rowcall.gate_ask_v1(%s, 'x', null)",
        "call rowcall.gate_refuse_v1(%s, 'x', null)",
    ):
        with pytest.raises(pg.InsufficientPrivilege, match="was not made by a trigger"):
            login.execute(statement, (forged,))
    assert (
        login.execute("select rowcall.gate_await_v1(id, 'x') from generate_series(1, 5) as id").fetchall()
        == [({"verdict": "lost"},)] * 5
    )
    for statement in (
        "select * from rowcall.request",
        'update rowcall.request set verdict = \'{"verdict": "accept"}\'',
        "select * from rowcall.rejection",
        "select * from rowcall.secret",
        "select rowcall.signature_v1('x')",
        "select rowcall.ask_v1('gate_ask_v1', '{}', 1)",
    ):
        with pytest.raises(pg.InsufficientPrivilege):
            login.execute(statement)
    assert database.execute("select count(*) from rowcall.rejection").fetchone() == (0,)
    assert database.execute("select count(*), count(verdict) from rowcall.request").fetchone() == (1, 0)


@pytest.fixture
def open_dblink(connect: Connect) -> None:
    """dblink as many databases have it: in a schema of its own and open to everybody."""
    connect(autocommit=True).execute(
        "create schema tools; create extension dblink schema tools; grant usage on schema tools to public"
    )


# Order matters: dblink is there before the gate is opened.
@pytest.mark.usefixtures("open_dblink")
def test_a_writer_who_puts_another_connection_in_place_of_the_gates(
    dsn: str, database: Database, connect: Connect, empty_dsn: str
) -> None:
    elsewhere = connect(empty_dsn, autocommit=True)
    elsewhere.execute("""
        create schema rowcall;
        create procedure rowcall.gate_ask_v1(request text, signature text, inout answer jsonb) language plpgsql as
          $$ begin answer := '{"verdict": "accept", "amendment": {"age": 99}, "signature": "x"}'; end $$""")
    sync(guarded(), dsn)
    writer = connect(autocommit=True)
    writer.execute("select tools.dblink_connect('rowcall', %s)", (empty_dsn,))
    app = guarded()
    with listening(app, dsn):
        with pytest.raises(pg.CheckViolation, match="rejected by check: bad"):
            writer.execute("insert into users values (1, 'bad', 20)")
        # And the gate's own, which the writer can use: an answer to another question does not count.
        writer.execute("insert into users values (2, 'ok', 20)")
        asked = "select tools.dblink_send_query('rowcall', 'select ''{\"verdict\": \"accept\"}''::jsonb as answer')"
        writer.execute(asked)
        with pytest.raises(pg.CheckViolation, match="rejected by check: bad"):
            writer.execute("insert into users values (3, 'bad', 20)")
        with pytest.raises(pg.InsufficientPrivilege, match="was not made by a trigger"):
            writer.execute(
                "select * from tools.dblink('rowcall', 'select rowcall.gate_record_v1(''{}'', ''x'')') as t (a jsonb)"
            )
    assert database.execute("select id, age from users").fetchall() == [(2, 20)]


@pytest.mark.usefixtures("open_dblink")
def test_no_session_of_the_gate_shows_what_another_asked(dsn: str, database: Database, connect: Connect) -> None:
    app = guarded()
    sync(app, dsn)
    writer, other = connect(autocommit=True), connect(autocommit=True)
    with listening(app, dsn):
        writer.execute("insert into users values (1, 'secret', 20)")
        other.execute("insert into users values (2, 'ok', 20)")
        seen = """select * from tools.dblink('rowcall', $$
            select coalesce(string_agg(query, ''), 'hidden'), count(*) from pg_stat_activity
            where application_name = 'rowcall gate writer' and datname = current_database() $$) as t (said text, sessions int)"""
        row = other.execute(seen).fetchone()
    assert row
    assert "secret" not in row[0]
    assert "call" not in row[0]
    assert row[1] == 2


def test_nobody_can_amend_a_row_by_a_setting(dsn: str, database: Database, clerk: Database) -> None:
    """The clerk may not write "age"; an amendment would, with the rights of whoever writes the row."""
    app = guarded(on=["insert", "update"], columns=["email"])
    sync(app, dsn)
    with listening(app, dsn):
        clerk.execute("insert into users values (1, 'ok', 20, 'e')")
        clerk.execute("set rowcall.amendment = '{\"age\": 99}'")
        clerk.execute("update users set name = 'still ok'")
        clerk.execute("update users set email = 'f'")
        clerk.execute("set rowcall.amendment = '{\"age\": 99}'")
        clerk.execute("insert into users values (2, 'ok', 20, 'e')")
        with clerk.transaction():
            clerk.execute("set local rowcall.amendment = '{\"age\": 99}'")
            clerk.execute("update users set name = 'ok', email = email")
    assert clerk.execute("select distinct age from users").fetchall() == [(20,)]


def test_no_search_path_and_no_temporary_object_bends_validation(dsn: str, database: Database, clerk: Database) -> None:
    database.execute("create function is_adult(age int) returns boolean language sql as 'select age >= 18'")
    app = Rowcall()
    app.rule("users", "adult", "is_adult(new.age) and new.name = lower(new.name)")

    @app.before("users", timeout=LONG)
    def check(event: Event) -> None:
        if event.new and event.new["name"] == "bad":
            raise Reject("bad")

    sync(app, dsn)
    dbname = database.info.dbname
    database.execute(f"grant create, temporary on database {dbname} to clerk")
    clerk.execute("""
        create schema evil;
        create function evil.is_adult(int) returns boolean language sql as 'select true';
        create function evil.lower(text) returns text language sql as 'select $1';
        create function evil.yes(text, text) returns boolean language sql as 'select true';
        create operator evil.= (function = evil.yes, leftarg = text, rightarg = text);
        create function evil.jsonb_build_object(text, anyelement) returns jsonb language sql as 'select null::jsonb';
        create function evil.to_jsonb(anyelement) returns jsonb language sql as 'select null::jsonb';
        create temporary table request (id bigint);
        set search_path = evil, pg_temp, public, pg_catalog""")
    with listening(app, dsn):
        for row in ("(1, 'ok', 1)", "(2, 'UPPER', 20)"):
            with pytest.raises(pg.CheckViolation, match='violates rule "adult"'):
                clerk.execute(f"insert into public.users values {row}")
        with pytest.raises(pg.CheckViolation, match="rejected by check: bad"):
            clerk.execute("insert into public.users values (3, 'bad', 20)")
    assert database.execute("select new ->> 'name' from rowcall.rejection order by id").fetchall() == [
        ("ok",),
        ("UPPER",),
        ("bad",),
    ]


def test_no_name_ends_up_as_code(dsn: str, database: Database) -> None:
    odd = "a$gate$ '\"; drop table users; --"
    quoted = '"' + odd.replace('"', '""') + '"'
    database.execute(f"create table {quoted} (id int primary key, {quoted} int)")
    app = Rowcall()
    app.watch(quoted, redact=[odd])
    app.rule(quoted, odd, f"new.{quoted} > 0", message=odd)
    app.before(quoted, timeout=LONG, name=odd, columns=[odd])(
        lambda event: {odd: event.new[odd] + 1} if odd not in event.changed else None
    )
    sync(app, dsn)
    sync(app, dsn)
    with listening(app, dsn):
        with pytest.raises(pg.CheckViolation) as caught:
            database.execute(f"insert into {quoted} values (1, -5)")
    assert caught.value.diag.constraint_name in (odd, odd[:63])
    database.execute("select from users")
