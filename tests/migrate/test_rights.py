"""Who may migrate: a superuser, or a login with CREATEROLE that owns the database."""

import pytest

from rowcall import embedded
from rowcall.migrate import downgrade
from tests.catalog import picture, value
from tests.command import fine, refused
from tests.conftest import GATE_ROLE, Connect


@pytest.fixture
def owner(fresh: str, connect: Connect) -> str:
    """The database's DSN for its owner, who may create roles and is no superuser."""
    name = value(fresh, "select current_database()")
    connect(fresh, autocommit=True).execute(
        f"create role owner login createrole; alter database {name} owner to owner; alter schema public owner to owner"
    )
    return fresh.replace("postgres@", "owner@")


def test_the_owner_with_createrole_can_do_everything(
    other_cluster: embedded.Server, fresh: str, owner: str, connect: Connect
) -> None:
    before = picture(other_cluster, fresh)
    fine("migrate", "--dsn", owner)
    fine("migrate", "--dsn", owner)
    connection = connect(owner, autocommit=True)
    connection.execute("create table users (id int primary key, age int)")
    fine("watch", "users", "--dsn", owner)
    connection.execute("insert into users values (1, 2)")
    assert len(fine("audit", "log", "--dsn", owner).lines) == 1
    fine("unwatch", "users", "--dsn", owner)
    connection.execute("drop table users")
    fine("migrate", "--down", "base", "--yes", "--dsn", owner)
    assert picture(other_cluster, fresh) == before


def test_the_owner_cannot_open_the_gate_and_is_told_who_can(
    other_cluster: embedded.Server, fresh: str, owner: str, connect: Connect
) -> None:
    before = picture(other_cluster, fresh)
    gate_dsn = fresh.replace("postgres@", f"{GATE_ROLE}:x@")
    sentence = refused(2, "migrate", "--dsn", owner, "--gate-dsn", gate_dsn)
    assert sentence.startswith("This login may not set up the gate's connection (")
    assert sentence.endswith("run rowcall migrate --gate-dsn as a superuser once.")
    assert picture(other_cluster, fresh) == before
    # A superuser did it once, and the owner can use it from then on.
    fine("migrate", "--dsn", owner)
    fine("migrate", "--dsn", fresh, "--gate-dsn", gate_dsn)
    connection = connect(owner, autocommit=True)
    connection.execute("create table users (id int primary key)")
    handlers = '[{"name": "c", "operations": ["insert"], "columns": [], "timeout_ms": 20, "on_unavailable": "accept"}]'
    connection.execute("select rowcall.guard_v1('users', '[]', %s, 'app')", (handlers,))
    connection.execute("insert into users values (1)")
    downgrade(fresh, "base")


def test_without_createrole_nothing_happens(fresh: str, owner: str, connect: Connect) -> None:
    connect(fresh, autocommit=True).execute("alter role owner nocreaterole")
    sentence = refused(2, "migrate", "--dsn", owner)
    assert sentence.startswith("The login lacks a right that migrating needs: permission denied to create role")
    assert sentence.endswith("Migrate as a superuser, or as a login with CREATEROLE that owns the database.")
    assert value(fresh, "select to_regnamespace('rowcall')") is None


def test_without_owning_the_database_nothing_happens(fresh: str, connect: Connect) -> None:
    connect(fresh, autocommit=True).execute("create role stranger login createrole")
    stranger = fresh.replace("postgres@", "stranger@")
    assert "permission denied for database" in refused(2, "migrate", "--dsn", stranger)
    fine("migrate", "--dsn", fresh)
    for command in (["migrate"], ["watches"], ["audit", "log"], ["migrate", "--down", "base", "--yes"]):
        assert "lacks a right" in refused(2, *command, "--dsn", stranger)
    downgrade(fresh, "base")
