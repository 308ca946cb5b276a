"""`--gate-dsn`: what will not do as the gate's login is refused in a sentence, and leaves nothing behind."""

import pytest

from rowcall import embedded, errors, resources
from rowcall.migrate import configure_gate, gate, upgrade
from tests.catalog import picture, value
from tests.command import fine, refused
from tests.conftest import GATE_ROLE, Connect


def migrating(dsn: str, gate_dsn: str) -> str:
    return refused(2, "migrate", "--dsn", dsn, "--gate-dsn", gate_dsn)


def as_login(dsn: str, login: str) -> str:
    return dsn.replace("postgres@", f"{login}@")


def test_a_dsn_that_names_no_login_with_a_password(empty_dsn: str) -> None:
    for gate_dsn, sentence in {
        "postgresql://gate@localhost/x": "needs a login and its password, as in postgresql://",
        "postgresql://localhost/x": "needs a login and its password",
        "host=localhost user=gate": "needs a login and its password",
        "nonsense": "--gate-dsn cannot be read: missing",
        "postgresql://a:b@h:port/x?nope=1": "--gate-dsn cannot be read: invalid",
    }.items():
        assert sentence in migrating(empty_dsn, gate_dsn)
    assert value(empty_dsn, "select to_regnamespace('rowcall')") is None


def test_a_login_that_is_worth_something(fresh: str, connect: Connect) -> None:
    for number, (attributes, reason) in enumerate(
        {
            "superuser": "is a superuser",
            "createrole": "may create roles",
            "bypassrls replication": "bypasses row security and may replicate",
            "in role pg_read_all_data": "is a member of other roles",
        }.items()
    ):
        connect(fresh, autocommit=True).execute(f"create role mighty{number} login password 'x' {attributes}")
        sentence = migrating(fresh, as_login(fresh, f"mighty{number}:x"))
        assert sentence.startswith(
            f"The gate's login mighty{number} {reason}, but every writer can use its connection: name"
        )
    assert value(fresh, "select to_regnamespace('rowcall')") is None


def test_a_login_that_is_let_in_without_its_password(
    other_cluster: embedded.Server, fresh: str, connect: Connect
) -> None:
    before = picture(other_cluster, fresh)
    sentence = migrating(fresh, as_login(fresh, "trusted:x"))
    assert sentence.startswith("The server lets trusted in without asking for a password, and dblink refuses that: put")
    assert "local all trusted scram-sha-256" in sentence
    # Neither the schema, which the same command would have made, nor the login stays behind.
    assert picture(other_cluster, fresh) == before
    connect(fresh, autocommit=True).execute("create role trusted login password 'x'")
    migrating(fresh, as_login(fresh, "trusted:x"))
    assert value(fresh, "select count(*) from pg_roles where rolname = 'trusted'") == 1


def test_a_login_the_server_cannot_use(fresh: str, connect: Connect) -> None:
    connect(fresh, autocommit=True).execute(f"create role {GATE_ROLE} login password 'right'")
    place = {"database": value(fresh, "select current_database()"), "socket": fresh.partition("?")[2]}
    for password, where, reason in (
        ("wrong", "/{database}?{socket}", "password authentication failed"),
        ("right", "/no_such_database?{socket}", "does not exist"),
        ("right", "nowhere.invalid/{database}", "could not translate host name"),
    ):
        gate_dsn = f"postgresql://{GATE_ROLE}:{password}@" + where.format(**place)
        sentence = migrating(fresh, gate_dsn)
        assert sentence.startswith(f"The server cannot connect to itself as {GATE_ROLE} (")
        assert reason in sentence
        assert "correct --gate-dsn" in sentence
    assert value(fresh, "select to_regnamespace('rowcall')") is None


def test_a_login_that_leads_to_another_database(dsn: str, cluster: embedded.Server, gate_password: str) -> None:
    elsewhere = cluster.dsn("postgres", user=GATE_ROLE, password=gate_password)
    assert "--gate-dsn leads to another database than" in migrating(dsn, elsewhere)
    assert value(dsn, "select count(*) from pg_foreign_server") == 0


def test_without_dblink_on_the_server(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a server without the contrib package answers: no such extension anywhere.
    queries = {**resources.queries("gate_login"), "dblink_is_available": "select where false"}
    monkeypatch.setattr(gate, "_QUERIES", queries)
    sentence = migrating(fresh, as_login(fresh, f"{GATE_ROLE}:x"))
    assert sentence == (
        "The gate needs the extension dblink, which this server does not have: install PostgreSQL's contrib package"
        " (postgresql-contrib), then run this again."
    )
    assert value(fresh, "select to_regnamespace('rowcall')") is None
    assert value(fresh, "select count(*) from pg_roles where rolname = %s", GATE_ROLE) == 0


def test_dblink_may_be_installed_elsewhere_already(
    fresh: str, other_cluster: embedded.Server, connect: Connect
) -> None:
    admin = connect(fresh, autocommit=True)
    admin.execute('create schema "Odd tools"; create extension dblink schema "Odd tools"')
    admin.execute('revoke all on schema "Odd tools" from public')
    before = picture(other_cluster, fresh)
    upgrade(fresh, as_login(fresh, f"{GATE_ROLE}:x"))
    assert value(fresh, "select rowcall.try_gate_v1()")
    fine("migrate", "--down", "base", "--yes", "--dsn", fresh)
    assert picture(other_cluster, fresh) == before


def test_opening_the_gate_again_replaces_its_login(fresh: str, connect: Connect) -> None:
    may_submit = "select has_function_privilege(%s, 'rowcall.gate_submit_v1(text, text)', 'execute')"
    connect(fresh, autocommit=True).execute("create role former login password 'x'")
    upgrade(fresh)
    connect(fresh, autocommit=True).execute("select rowcall.let_gate_login_v1('former', true)")
    assert value(fresh, may_submit, "former")
    for _ in range(2):
        configure_gate(fresh, as_login(fresh, f"{GATE_ROLE}:x"))
    assert value(fresh, may_submit, GATE_ROLE)
    assert not value(fresh, may_submit, "former")


def test_a_failing_gate_leaves_an_old_one_as_it_was(dsn: str, gate: str) -> None:
    options = "select array_agg(o order by o) from pg_user_mappings, unnest(umoptions) as o"
    before = value(dsn, options)
    with pytest.raises(errors.UsageError, match="cannot connect to itself"):
        configure_gate(dsn, as_login(dsn, f"{GATE_ROLE}:wrong"))
    assert value(dsn, options) == before
    assert value(dsn, "select rowcall.try_gate_v1()")


def test_the_password_is_shown_to_the_gate_only(dsn: str, gate: str, connect: Connect) -> None:
    connection = connect(autocommit=True)
    connection.execute("create role nosy")
    connection.execute("set role nosy")
    assert connection.execute("select umoptions from pg_user_mappings where srvname = 'rowcall_gate'").fetchall() == [
        (None,)
    ]
    connection.execute("reset role")
    connection.execute("drop role nosy")
