"""A database made ready for a user's tests, and the fixtures."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg

from rowcall import Event, Reject, Rowcall, embedded, errors
from rowcall.testing import Delivery, install
from tests.conftest import Connect
from tests.testing.conftest import app_with

CONFTEST = """
import os
from pathlib import Path
import pytest
from pytest_postgresql import factories
from rowcall import Rowcall
from rowcall.testing import loader

pytest_plugins = ["rowcall.testing.fixtures"]
app = Rowcall()
app.watch("users")
seen = []
app.after("users", name="reader")(lambda event: seen.append(event.key))
server = factories.postgresql_noproc(dbname="of_a_user", load=[Path(__file__).with_name("tables.sql"), loader(app)])
postgresql = factories.postgresql("server")
{fixture}
"""
FIXTURE = """
@pytest.fixture
def rowcall_app():
    return app
"""
TEST = """
def test_it(postgresql, rowcall_delivery):
    postgresql.execute("insert into users values (1)")
    assert [event.key for event in rowcall_delivery.deliver()["reader"]] == [{"id": 1}]
"""


def guarded() -> Rowcall:
    app = app_with(lambda event: None)
    app.rule("users", "adult", "new.age >= 18")

    @app.before("users")
    def never(event: Event) -> None:
        raise Reject("never")

    return app


def test_it_migrates_and_declares_all_but_before_handlers(connect: Connect, empty_dsn: str) -> None:
    conn = connect(empty_dsn, autocommit=True)
    conn.execute("create table users (id int primary key, age int)")
    app = guarded()
    install(app, conn)
    install(app, empty_dsn.replace("postgresql:", "postgresql+psycopg:"))
    assert len(app.before_handlers) == 1
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 36)")
    assert len(delivery.deliver().calls) == 1
    with pytest.raises(pg.CheckViolation, match="adult"):
        conn.execute("insert into users values (2, 3)")


def test_a_connection_in_a_transaction_would_wait_for_itself(connect: Connect, empty_dsn: str) -> None:
    conn = connect(empty_dsn)
    conn.execute("create table users (id int primary key, age int)")
    with pytest.raises(errors.UsageError, match="commit it first"):
        install(guarded(), conn)


def run_pytest(
    directory: Path, server: embedded.Server, fixture: str = FIXTURE, test: str = TEST
) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(CONFTEST.format(fixture=fixture))
    (directory / "tables.sql").write_text("create table users (id int primary key)")
    (directory / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    host = f"--postgresql-host={server.socket_directory}"
    return subprocess.run([*command, host], cwd=directory, capture_output=True, text=True, check=False)


def test_the_fixtures_on_pytest_postgresql(cluster: embedded.Server, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, cluster)
    assert "1 passed" in done.stdout, done.stdout


def test_without_an_app_the_fixtures_say_what_is_missing(cluster: embedded.Server, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, cluster, fixture="")
    assert "Define a fixture rowcall_app that returns your Rowcall app." in done.stdout


def test_a_transaction_that_failed_says_so(connect: Connect, empty_dsn: str) -> None:
    conn = connect(empty_dsn, autocommit=False)
    conn.execute("create table users (id int primary key, age int)")
    conn.commit()
    app = app_with(lambda event: None)
    install(app, conn)
    delivery = Delivery.over(app, conn)
    with pytest.raises(pg.DivisionByZero):
        conn.execute("select 1 / 0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        delivery.deliver()


@pytest.mark.parametrize("module", ["pytest", "sqlalchemy", "alembic"])
def test_it_is_imported_without(module: str) -> None:
    program = f"import sys, rowcall.testing; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
