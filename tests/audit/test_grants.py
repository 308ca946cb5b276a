"""Readers and auditors of the log can do what they are there for, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.audit.sealed import seal
from tests.command import fine, refused, rowcall
from tests.conftest import Connect

Database = psycopg.Connection[Any]


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    name = f"somebody_{database.info.dbname}"
    database.execute(f"create role {name} login")
    yield name
    database.execute(f"drop owned by {name}; drop role {name}")


@pytest.fixture
def theirs(dsn: str, role: str) -> str:
    return dsn.replace("postgres@", f"{role}@")


def denied(connection: Database, statement: str) -> bool:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def readable(connection: Database) -> set[str]:
    names = connection.execute("""select relname from pg_class where relnamespace = 'rowcall'::regnamespace
        and relkind in ('r', 'p', 'v', 'm', 'S')""").fetchall()
    return {name for (name,) in names if not denied(connection, f"select from rowcall.{name} limit 1")}


READABLE = {"event", "relation", "layout", "layout_mark", "installation", "pruned", "baseline", "alembic_version"}


def test_a_reader(dsn: str, history: Database, role: str, theirs: str, connect: Connect) -> None:
    assert fine("grant", "reader", role, "--dsn", dsn).out == f"{role} is now a reader of the log.\n"
    assert len(fine("audit", "log", "--dsn", theirs).lines) == 7
    assert len(fine("audit", "row", "users", "1", "--format", "jsonl", "--dsn", theirs).lines) == 3
    connection = connect(theirs, autocommit=True)
    assert readable(connection) == READABLE
    assert writable(connection) == set()
    assert callable_functions(connection) == {"act", "old_image_v1"}
    assert rowcall("audit", "rejections", "--dsn", theirs).code == 2
    fine("grant", "reader", role, "--revoke", "--dsn", dsn)
    assert readable(connection) == set()


def test_nobody_grants_to_everybody_by_mistake(dsn: str, history: Database) -> None:
    for role in ("public", "nobody at all"):
        assert refused(2, "grant", "reader", role, "--dsn", dsn) == f"There is no role {role}: create it first."


def test_an_auditor(dsn: str, history: Database, role: str, theirs: str, connect: Connect) -> None:
    fine("grant", "auditor", role, "--dsn", dsn)
    fine("audit", "log", "--dsn", theirs)
    fine("audit", "rejections", "--dsn", theirs)
    connection = connect(theirs, autocommit=True)
    sealed = {"seal", "leaf", "salt", "erasure", "erased"}
    assert readable(connection) - sealed == READABLE | {"watch", "rejection", "rejection_tally", "cluster"}
    assert writable(connection) == set()
    fine("grant", "auditor", role, "--revoke", "--dsn", dsn)
    assert readable(connection) == set()


_QUESTIONS = [
    ("log",),
    ("row", "users", "1"),
    ("as-of", "users", "--at", "now"),
    ("as-of", "users", "1", "--at", "now"),
    ("as-of", "bag", "--at", "now"),
    ("diff", "users", "--from", "yesterday", "--to", "now"),
    ("blame", "users", "1"),
]
_CHECKS = [
    ("rejections",),
    ("seals",),
    ("verify",),
    ("check", "users"),
    ("check", "bag"),
]


@pytest.mark.parametrize("kind", ["reader", "auditor"])
def test_each_command(dsn: str, history: Database, role: str, theirs: str, tmp_path: Path, kind: str) -> None:
    history.execute("create table bag (v text); insert into bag values ('before')")
    fine("watch", "bag", "--baseline", "--dsn", dsn)
    history.execute("insert into bag values ('x')")
    history.execute(f"grant select on users, bag to {role}")
    seal(history)
    fine("grant", kind, role, "--dsn", dsn)
    [(seq, xid)] = history.execute("select seq, xid::text from rowcall.event order by seq limit 1").fetchall()
    for question in (*_QUESTIONS, ("transaction", xid)):
        fine("audit", *question, "--dsn", theirs)
    for question in (*_CHECKS, ("prove", str(seq)), ("verify", "--archive", str(tmp_path))):
        if kind == "auditor":
            fine("audit", *question, "--dsn", theirs)
        else:
            assert "lacks a right" in refused(2, "audit", *question, "--dsn", theirs)


def writable(connection: Database) -> set[str]:
    query = """select relname from pg_class where relnamespace = 'rowcall'::regnamespace and relkind in ('r', 'p')
        and (has_table_privilege(oid, 'insert, update, delete, truncate, trigger') or has_any_column_privilege(oid, 'insert, update'))"""
    return {name for (name,) in connection.execute(query)}


def callable_functions(connection: Database) -> set[str]:
    query = """select proname from pg_proc where pronamespace = 'rowcall'::regnamespace and has_function_privilege(oid, 'execute')
        and not exists (select from pg_depend where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')"""
    return {name for (name,) in connection.execute(query)}


def test_doctor_names_who_has_more(dsn: str, history: Database, role: str) -> None:
    def more() -> list[Any]:
        return [line for line in rowcall("doctor", "--dsn", dsn).lines if line["check"] == "more_rights"]

    fine("grant", "auditor", role, "--dsn", dsn)
    assert more() == []
    history.execute(f"grant select on rowcall.secret to {role}; grant select on rowcall.event_first to {role}")
    [finding] = more()
    assert (finding["subject"], finding["severity"]) == (role, "note")
    assert "select on rowcall.secret" in finding["finding"]
    history.execute(f"revoke select on rowcall.secret, rowcall.event_first from {role}")
    assert more() == []


def test_what_cannot_be_granted(dsn: str, history: Database, role: str, theirs: str) -> None:
    assert (
        refused(2, "grant", "reader", "nobody_at_all", "--dsn", dsn)
        == "There is no role nobody_at_all: create it first."
    )
    assert "writer" in refused(2, "grant", "writer", role, "--dsn", dsn)
    fine("grant", "reader", role, "--dsn", dsn)
    assert "use the one that ran rowcall migrate" in refused(2, "grant", "auditor", "postgres", "--dsn", theirs)
