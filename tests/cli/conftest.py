"""Modules with apps, where the command line finds them."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect

Database = psycopg.Connection[Any]
#: Writes a module and says how the command line names its app.
WriteApp = Callable[[str], str]

_NUMBERS = itertools.count(1)


@pytest.fixture
def write_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteApp]:
    """``write_app("app.watch('users')")``: a module with an app that declares this, and its ``MODULE:APP``.

    All of one test have the same name in the database, as if one app was edited.
    """
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)

    def write(declarations: str) -> str:
        module = f"app_{next(_NUMBERS)}"
        text = f'from rowcall import Rowcall\n\napp = Rowcall("mine")\n{declarations}\n'
        (tmp_path / f"{module}.py").write_text(text)
        return f"{module}:app"

    yield write
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("app_")]:
        del sys.modules[name]


@pytest.fixture
def database(connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key, name text, age int)")
    connection.execute("create schema shop create table orders (id int primary key, total int)")
    return connection


def triggers(database: Database) -> list[str]:
    """What of ours is on people's tables."""
    query = """select tgrelid::regclass || ' ' || tgname from pg_trigger
        where tgname ~ 'rowcall' and not tgisinternal and tgparentid = 0 order by 1"""
    return [row[0] for row in database.execute(query).fetchall()]


def watched(database: Database) -> list[tuple[str, str]]:
    """Watched tables and who declared them."""
    query = "select schema_name || '.' || table_name, declared_by from rowcall.watch join rowcall.relation on id = relation order by 1"
    return database.execute(query).fetchall()


def a_capture_trigger(database: Database, table: str) -> str:
    """The name of one of the triggers that capture a table's changes, quoted."""
    return _a_trigger(database, table, "^00_rowcall")


def a_rule_trigger(database: Database, table: str) -> str:
    """The name of one of the triggers that refuse what breaks a rule, quoted."""
    return _a_trigger(database, table, "^zz_rowcall_3_rule")


def _a_trigger(database: Database, table: str, pattern: str) -> str:
    row = database.execute(
        "select quote_ident(tgname) from pg_trigger where tgrelid = %s::regclass and tgname ~ %s order by 1",
        (table, pattern),
    ).fetchone()
    assert row
    return str(row[0])
