"""Rowcall's own schema: made, made again, printed, removed."""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from rowcall import embedded, errors, resources
from rowcall.migrate import downgrade, upgrade
from rowcall.postgres.connection import check_server_version
from rowcall.postgres.schema import code_revision, known_revisions
from tests.catalog import picture, roles, value
from tests.command import PROGRAM, fine, refused
from tests.conftest import Connect
from tests.waiting import eventually


def test_revisions_are_known_without_loading_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(resources.directory("migrations")))
    script = ScriptDirectory.from_config(config)
    assert known_revisions() == tuple(reversed([step.revision for step in script.walk_revisions()]))
    assert script.get_current_head() == code_revision()


def test_migrating_twice_changes_nothing(cluster: embedded.Server, empty_dsn: str) -> None:
    said = fine("migrate", "--dsn", empty_dsn)
    assert said.out == f"Rowcall's schema is at {code_revision()}.\n"
    first = picture(cluster, empty_dsn)
    fine("migrate", "--dsn", empty_dsn)
    assert picture(cluster, empty_dsn) == first
    assert value(empty_dsn, "select count(*) from rowcall.installation") == 1


def test_two_migrations_at_once_are_one(empty_dsn: str, connect: Connect) -> None:
    # Both wait for the lock first, so that they surely meet.
    holder = connect(empty_dsn)
    holder.execute("select pg_advisory_xact_lock(1383036771, 100)")
    command = [*PROGRAM, "migrate", "--dsn", empty_dsn]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    waiting = (
        "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = "
        "(select oid from pg_database where datname = current_database())"
    )
    eventually(lambda: value(empty_dsn, waiting) == 2)
    holder.rollback()
    for process in both:
        out, err = process.communicate(timeout=15)
        assert process.returncode == 0, out + err
    assert value(empty_dsn, "select count(*) from rowcall.installation") == 1


def test_the_printed_sql_makes_the_same_schema(
    cluster: embedded.Server, dsn: str, empty_dsn: str, tmp_path: Path
) -> None:
    script = tmp_path / "migrate.sql"
    script.write_text(fine("migrate", "--sql").out)
    psql = [
        str(cluster.bin_directory / "psql"),
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--file={script}",
        empty_dsn,
    ]
    done = subprocess.run(psql, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture(cluster, empty_dsn) == picture(cluster, dsn)
    versions = "select version_num from rowcall.alembic_version"
    assert value(empty_dsn, versions) == value(dsn, versions) == code_revision()
    fine("watches", "--dsn", empty_dsn)


def test_printing_sql_needs_no_database() -> None:
    fine("migrate", "--sql", "--to", code_revision(), "--dsn", "postgresql://nowhere.invalid/x")


def test_to_a_revision(empty_dsn: str) -> None:
    fine("migrate", "--to", code_revision(), "--dsn", empty_dsn)
    assert value(empty_dsn, "select version_num from rowcall.alembic_version") == code_revision()


def test_a_revision_nobody_knows_is_refused(empty_dsn: str) -> None:
    for option in ("--to", "--down"):
        sentence = refused(2, "migrate", option, "rowcall_9999", "--yes", "--dsn", empty_dsn)
        assert sentence == f"There is no revision 'rowcall_9999': this code's newest is {code_revision()}."
    assert value(empty_dsn, "select to_regnamespace('rowcall')") is None


def test_a_newer_schema_is_refused_by_name_of_both(dsn: str, connect: Connect) -> None:
    connection = connect(autocommit=True)
    connection.execute("update rowcall.alembic_version set version_num = 'rowcall_0999'")
    commands = [["migrate"], ["migrate", "--down", "base", "--yes"], ["watches"], ["audit", "log"]]
    for command in commands:
        sentence = refused(2, *command, "--dsn", dsn)
        assert "rowcall_0999" in sentence
        assert code_revision() in sentence
        assert "upgrade the rowcall package" in sentence


def test_without_the_schema_commands_say_so(empty_dsn: str) -> None:
    assert 'run "rowcall migrate" first' in refused(2, "watches", "--dsn", empty_dsn)


def test_down_asks_first(dsn: str) -> None:
    assert "the log included. Nobody is here to answer: pass --yes" in refused(
        2, "migrate", "--down", "base", "--dsn", dsn
    )
    assert value(dsn, "select count(*) from rowcall.installation") == 1


def test_down_to_base_removes_every_object(other_cluster: embedded.Server, fresh: str) -> None:
    with psycopg.connect(fresh) as admin:
        admin.execute("create table users (id int primary key, age int); create schema shop")
        admin.execute('create table shop."Odd Table" (id int)')
    before = picture(other_cluster, fresh)
    gate_dsn = fresh.replace("postgres@", f"{embedded.GATE_ROLES[0]}:secret@")
    upgrade(fresh, gate_dsn)
    fine("watch", "users", 'shop."Odd Table"', "--notify", "--dsn", fresh)
    rules = (
        '[{"name": "adult", "expression": "new.age > 17", "message": "m", "operations": ["insert"], "rows": ["new"]}]'
    )
    handlers = '[{"name": "check", "operations": ["update"], "columns": ["age"], "timeout_ms": 50, "on_unavailable": "accept"}]'
    with psycopg.connect(fresh) as admin:
        admin.execute("select rowcall.guard_v1('users', %s, %s, 'app')", (rules, handlers))
        admin.execute("insert into users values (1, 20)")
    assert len(roles(fresh)) == 3
    said = fine("migrate", "--down", "base", "--yes", "--dsn", fresh)
    assert said.out == "Rowcall's schema is at base now.\n"
    assert picture(other_cluster, fresh) == before
    with psycopg.connect(fresh) as admin:
        admin.execute("update users set age = 3")
    downgrade(fresh, "base")
    assert picture(other_cluster, fresh) == before


def test_a_login_somebody_made_for_the_gate_stays(other_cluster: embedded.Server, fresh: str) -> None:
    with psycopg.connect(fresh) as admin:
        admin.execute(f"create role {embedded.GATE_ROLES[0]} login password 'secret'")
    before = picture(other_cluster, fresh)
    upgrade(fresh, fresh.replace("postgres@", f"{embedded.GATE_ROLES[0]}:secret@"))
    downgrade(fresh, "base")
    assert picture(other_cluster, fresh) == before


def test_roles_that_another_database_uses_stay(other_cluster: embedded.Server, fresh: str) -> None:
    with psycopg.connect(other_cluster.dsn(), autocommit=True) as admin:
        admin.execute("create database neighbour")
        try:
            neighbour = other_cluster.dsn("neighbour")
            upgrade(neighbour)
            upgrade(fresh)
            said = fine("migrate", "--down", "base", "--yes", "--dsn", fresh)
            assert "role rowcall_capture stays: another database of this cluster uses it" in said.out
            with psycopg.connect(neighbour, autocommit=True) as other:
                other.execute("create table t (id int)")
            fine("watch", "t", "--dsn", neighbour)
            with psycopg.connect(neighbour, autocommit=True) as other:
                other.execute("insert into t values (1)")
                assert other.execute("select count(*) from rowcall.event").fetchone() == (1,)
            downgrade(neighbour, "base")
            assert roles(fresh) == []
        finally:
            admin.execute("drop database neighbour with (force)")


def test_what_depends_on_the_log_keeps_it(dsn: str, connect: Connect) -> None:
    connect(autocommit=True).execute("create view mine as select * from rowcall.event")
    sentence = refused(2, "migrate", "--down", "base", "--yes", "--dsn", dsn)
    assert "Drop that first" in sentence
    assert value(dsn, "select count(*) from rowcall.installation") == 1


def test_a_schema_of_that_name_with_such_tables_is_left_alone(empty_dsn: str, connect: Connect) -> None:
    connect(empty_dsn, autocommit=True).execute("create schema rowcall create table event (id int)")
    assert 'relation "event" already exists. Move it out of the way' in refused(2, "migrate", "--dsn", empty_dsn)
    assert value(empty_dsn, "select count(*) from pg_class where relnamespace = 'rowcall'::regnamespace") == 1


@pytest.mark.parametrize(("number", "name"), [(130014, "13.14"), (120000, "12.0"), (90624, "9.624")])
def test_older_servers_are_refused_with_their_version(number: int, name: str) -> None:
    sentence = re.escape(f"PostgreSQL {name} is too old: Rowcall needs 14 or newer; upgrade the server.")
    with pytest.raises(errors.UsageError, match=sentence):
        check_server_version(number)
    check_server_version(140000)
