"""`rowcall doctor`: each thing that can be wrong is found, and its cure cures it."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rowcall import Event, Rowcall, embedded
from rowcall.audit.sealing import seal_pending
from rowcall.listener import daemon
from rowcall.postgres import schema
from rowcall.postgres.checks import finding
from tests.cli.conftest import WriteApp, a_capture_trigger
from tests.command import fine, refused, rowcall
from tests.conftest import GATE_ROLE, Connect, bin_directory
from tests.listeners import drain, enlist, sync
from tests.waiting import eventually

Database = psycopg.Connection[Any]
Finding = dict[str, Any]

#: What is always said.
NOTES = {"unseen_rewrites", "unseen_disabled", "unseen_replica", "unseen_catalog", "unseen_replication"}


@pytest.fixture
def role(connect: Connect, dsn: str) -> Iterator[str]:
    """Somebody without rights; dropped at the end, since roles belong to the cluster."""
    connection = connect(dsn, autocommit=True)
    connection.execute("create role somebody login")
    yield "somebody"
    connection.execute("reset session authorization; drop owned by somebody; drop role somebody")


def examine(dsn: str) -> list[Finding]:
    """Everything doctor finds, but what it always says."""
    said = rowcall("doctor", "--dsn", dsn)
    assert said.err == ""
    found: list[Finding] = said.lines
    assert said.code == int(any(line["severity"] == "problem" for line in found))
    assert {line["check"] for line in found} >= NOTES or [line["check"] for line in found] == ["schema_current"]
    return [line for line in found if line["check"] not in NOTES]


def found(dsn: str, check: str) -> Finding:
    """The one finding of a check."""
    [line] = [line for line in examine(dsn) if line["check"] == check]
    assert list(line) == ["severity", "check", "subject", "finding", "cure"]
    assert line["finding"].endswith(".")
    assert line["cure"].endswith(".")
    return line


def commands(cure: str) -> list[list[str]]:
    """The commands in a cure, as a shell reads them."""
    psqls = re.findall(r"""psql(?: -c (?:"[^"]*"|'[^']*'(?:"'"'[^']*')*))+""", cure)
    return [shlex.split(command) for command in psqls]


def follow(dsn: str, database: Database, cure: str) -> None:
    """Do what a cure says: its first command, of psql or of Rowcall."""
    if psqls := commands(cure):
        for statement in psqls[0][2::2]:
            database.execute(statement)
    else:
        [command] = re.findall(r"rowcall watch [^,]*(?=\.$|, )", cure)
        fine(*shlex.split(command)[1:], "--dsn", dsn)


def cured(dsn: str, database: Database, check: str) -> Finding:
    """A finding of a check, of which nothing is left once its cure was followed."""
    line = found(dsn, check)
    follow(dsn, database, line["cure"])
    assert [line for line in examine(dsn) if line["check"] == check] == []
    return line


def test_lanes_that_nobody_has(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader")(lambda event: None)
    sync(app, dsn)
    worker = enlist(connect(autocommit=True), "reader", lanes=4)
    database.execute("select rowcall.claim_v1(%s, 4)", (worker,))
    line = found(dsn, "lanes_delivered")
    assert (line["severity"], line["subject"]) == ("problem", "reader")
    assert "nobody has 12 of its 16 lanes" in line["finding"]
    database.execute("select rowcall.claim_v1(%s, 16)", (worker,))
    assert [line for line in examine(dsn) if line["check"] == "lanes_delivered"] == []


def test_listeners_that_cannot_end_each_others_sessions(
    dsn: str, database: Database, connect: Connect, role: str
) -> None:
    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader")(lambda event: None)
    sync(app, dsn)
    add = """insert into rowcall.worker (subscription, lanes, process, locked, sessions)
        select id, 16, 'x', false, array[%s::integer] from rowcall.subscription"""
    theirs = connect(dsn.replace("postgres@", f"{role}@"))
    database.execute(add, (theirs.info.backend_pid,))
    assert [line for line in examine(dsn) if line["check"] == "sessions_endable"] == []
    database.execute(add, (database.info.backend_pid,))
    line = found(dsn, "sessions_endable")
    assert line["finding"].startswith(
        "somebody and postgres both deliver reader, but somebody cannot end sessions of postgres:"
    )
    assert line["cure"] == "Have all listeners of a subscription log in as one role."
    database.execute("create role other login")
    others = connect(dsn.replace("postgres@", "other@"))
    database.execute(
        "update rowcall.worker set sessions = array[%s::integer] where sessions[1] = %s",
        (others.info.backend_pid, database.info.backend_pid),
    )
    mutual = [line for line in examine(dsn) if line["check"] == "sessions_endable"]
    assert len(mutual) == 2
    for line in mutual:
        follow(dsn, database, line["cure"])
    assert [line for line in examine(dsn) if line["check"] == "sessions_endable"] == []
    others.close()
    database.execute("drop owned by other; drop role other")


def test_a_healthy_installation(dsn: str, database: Database, gate: str, write_app: WriteApp) -> None:
    target = write_app(
        "app.watch('users')\napp.rule('users', 'adult', 'new.age >= 18')\n"
        "app.before('users')(lambda event: None)\napp.after('users', name='seen')(lambda event: None)"
    )
    fine("sync", target, "--dsn", dsn)
    fine("watch", "shop.orders", "--dsn", dsn)
    assert examine(dsn) == []
    said = fine("doctor", "--format", "table", "--dsn", dsn, COLUMNS="80")
    assert said.out.splitlines()[-1] == "All is well: 5 notes."


def test_capture_that_is_not_current(dsn: str, database: Database) -> None:
    fine("watch", "users", "--exclude", "age", "--redact", "name", "--notify", "--dsn", dsn)
    watches = fine("watches", "--dsn", dsn).lines
    database.execute(f"drop trigger {a_capture_trigger(database, 'users')} on users")
    line = cured(dsn, database, "capture_current")
    assert (line["severity"], line["subject"]) == ("problem", "public.users")
    assert line["cure"] == "Run rowcall watch public.users --exclude age --redact name --notify."
    assert fine("watches", "--dsn", dsn).lines == watches


def test_capture_of_an_app_that_is_not_current(dsn: str, database: Database, write_app: WriteApp) -> None:
    fine("sync", write_app("app.watch('users')"), "--dsn", dsn)
    database.execute(f"drop trigger {a_capture_trigger(database, 'users')} on users")
    assert found(dsn, "capture_current")["cure"] == "Run rowcall sync MODULE:APP of mine."
    database.execute("update rowcall.watch set declared_by = 'shop.events:app'")
    assert found(dsn, "capture_current")["cure"] == "Run rowcall sync shop.events:app."


def test_capture_that_is_disabled(dsn: str, database: Database) -> None:
    database.execute('create table "Odd. Name" (id int)')
    fine("watch", '"Odd. Name"', "--dsn", dsn)
    database.execute('alter table "Odd. Name" disable trigger user')
    line = cured(dsn, database, "capture_enabled")
    assert (line["severity"], line["subject"]) == ("problem", "public.Odd. Name")


def test_validation_that_is_not_current(dsn: str, database: Database, write_app: WriteApp) -> None:
    target = write_app("app.rule('users', 'adult', 'new.age >= 18')")
    fine("sync", target, "--dsn", dsn)
    assert examine(dsn) == []
    database.execute("alter table users disable trigger user")
    line = found(dsn, "guard_current")
    assert (line["severity"], line["subject"]) == ("problem", "public.users")
    assert line["cure"] == "Run rowcall sync MODULE:APP of mine."
    fine("sync", target, "--dsn", dsn)
    assert examine(dsn) == []


@pytest.mark.parametrize("noted", [True, False])
def test_a_watched_table_that_was_dropped(dsn: str, database: Database, noted: bool) -> None:
    fine("watch", "users", "--dsn", dsn)
    if not noted:
        database.execute("alter event trigger rowcall_follow_drop disable")
    database.execute("drop table users")
    database.execute("alter event trigger rowcall_follow_drop enable")
    line = cured(dsn, database, "tables_there")
    assert (line["severity"], line["subject"]) == ("risk", "public.users")
    assert examine(dsn) == []


def test_a_watched_table_that_was_made_again(dsn: str, database: Database, write_app: WriteApp) -> None:
    fine("watch", "users", "--redact", "name", "--dsn", dsn)
    fine("sync", write_app("app.rule('users', 'adult', 'new.age >= 18')"), "--dsn", dsn)
    database.execute("drop table users; create table users (id int primary key, name text, age int)")
    line = found(dsn, "tables_there")
    assert (line["severity"], line["subject"]) == ("problem", "public.users")
    assert "declared for it by cli, mine" in line["finding"]
    assert line["cure"].startswith(
        "Run rowcall watch public.users --redact name and rowcall sync MODULE:APP of mine to "
    )
    [forget] = commands(line["cure"])
    database.execute(forget[2])
    assert examine(dsn) == []


@pytest.mark.parametrize("name", ["rowcall_follow_ddl", "rowcall_follow_drop"])
@pytest.mark.parametrize("how", ["alter event trigger {} disable", "drop event trigger {}"])
def test_ddl_that_is_not_followed(dsn: str, database: Database, name: str, how: str) -> None:
    query = "select evtevent, evtenabled::text, evttags from pg_event_trigger where evtname = %s"
    before = database.execute(query, (name,)).fetchall()
    database.execute(how.format(name))
    line = cured(dsn, database, "ddl_followed")
    assert (line["severity"], line["subject"]) == ("risk", name)
    assert database.execute(query, (name,)).fetchall() == before


FUTURE = """
insert into rowcall.event (seq, xid, at, relation, operation, db_user)
select nextval('rowcall.event_seq'), pg_current_xact_id(), {}, 1, 'insert', 'me'
"""
PARTITIONS = """
select pg_get_expr(relpartbound, oid) from pg_class join pg_inherits on inhrelid = oid
where inhparent = 'rowcall.event'::regclass order by relname
"""
SHORTEN = """
do $$
declare v_partition regclass; v_month timestamptz := date_trunc('month', now(), 'UTC') + interval '1 month';
begin
  for v_partition in select inhrelid from pg_inherits where inhparent = 'rowcall.event'::regclass
    and inhrelid <> 'rowcall.event_first'::regclass
  loop
    execute format('drop table %s', v_partition);
  end loop;
  perform rowcall.create_partition_v1(v_month::text, 'maxvalue');
end $$
"""


def test_partitions_that_run_out(dsn: str, database: Database) -> None:
    whole = database.execute(PARTITIONS).fetchall()
    database.execute("set timezone = 'UTC'")
    database.execute(SHORTEN)
    assert len(database.execute(PARTITIONS).fetchall()) == 2
    assert cured(dsn, database, "partitions_ahead")["severity"] == "risk"
    assert database.execute(PARTITIONS).fetchall() == whole
    assert database.execute("select rowcall.extend_partitions_v1()").fetchone() == (0,)


def test_events_in_the_last_partition(dsn: str, database: Database) -> None:
    database.execute("set timezone = 'UTC'")
    database.execute(SHORTEN)
    database.execute(FUTURE.format("now() + interval '70 days'"))
    database.execute(FUTURE.format("now()"))
    line = cured(dsn, database, "partitions_ahead")
    assert line["severity"] == "problem"
    assert database.execute("select count(*) from rowcall.event").fetchone() == (2,)
    assert examine(dsn) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute("delete from rowcall.event")


def test_a_log_with_an_end(dsn: str, database: Database) -> None:
    row = database.execute(
        "select relname from pg_class join pg_inherits on inhrelid = oid where pg_get_expr(relpartbound, oid) ~ 'MAXV'"
    ).fetchone()
    assert row
    database.execute(f"drop table rowcall.{row[0]}")
    assert cured(dsn, database, "partitions_ahead")["severity"] == "problem"
    assert examine(dsn) == []


@pytest.mark.parametrize(
    ("how", "times"),
    [
        ("alter table rowcall.event disable trigger append_only", 1),
        ("drop trigger append_only on rowcall.event", 1),
        ("alter table rowcall.event_first disable trigger append_only", 1),
        ("alter table rowcall.event_first enable replica trigger append_only", 1),
        ("alter table only rowcall.event disable trigger append_only_truncate", 1),
        ("drop trigger append_only_truncate on rowcall.event_first", 1),
        ("drop trigger append_only on rowcall.seal", 1),
        ("alter table rowcall.erasure disable trigger append_only", 1),
        ("alter table rowcall.event_first disable trigger all", 2),
    ],
)
def test_a_log_that_can_be_altered(dsn: str, database: Database, how: str, times: int) -> None:
    database.execute(how)
    lines = examine(dsn)
    assert [(line["severity"], line["check"]) for line in lines] == [("problem", "append_only")] * times
    for line in lines:
        follow(dsn, database, line["cure"])
    assert examine(dsn) == []


@pytest.mark.parametrize(
    "grant",
    [
        "grant insert on rowcall.event to somebody",
        "grant all on all tables in schema rowcall to somebody",
        "grant update (actor) on rowcall.event to somebody",
        "grant truncate, delete on rowcall.event_first to somebody",
        "grant insert on rowcall.event to public",
    ],
)
def test_rights_on_the_log(dsn: str, database: Database, role: str, grant: str) -> None:
    database.execute(grant)
    line = cured(dsn, database, "log_grants")
    assert (line["severity"], line["subject"]) == ("problem", "public" if "public" in grant else role)
    assert [line["check"] for line in examine(dsn)] == (["more_rights"] if "all tables" in grant else [])


@pytest.mark.parametrize("power", ["rowcall_capture", "rowcall_gate", "pg_write_all_data", "log_owner"])
def test_members_of_what_may_write_to_the_log(dsn: str, database: Database, role: str, power: str) -> None:
    if power == "log_owner":
        database.execute("create role log_owner; alter table rowcall.event owner to log_owner")
    try:
        database.execute(f"grant {power} to {role}")
        line = cured(dsn, database, "role_members")
        assert (line["severity"], line["subject"]) == ("risk", role)
        assert f"{role} is a member of {power} and " in line["finding"]
    finally:
        if power == "log_owner":
            database.execute(
                "alter table rowcall.event owner to current_user; drop owned by log_owner; drop role log_owner"
            )


def test_owners_of_watched_tables(dsn: str, database: Database, role: str) -> None:
    fine("watch", "users", "shop.orders", "--dsn", dsn)
    database.execute(f"alter table users owner to {role}")
    line = found(dsn, "table_owners")
    assert (line["severity"], line["subject"]) == ("note", role)
    assert "somebody owns public.users and can disable" in line["finding"]
    database.execute(f"alter table shop.orders owner to {role}")
    assert "owns 2 watched tables" in found(dsn, "table_owners")["finding"]
    database.execute("alter table users owner to current_user; alter table shop.orders owner to current_user")


DEFAULTS = {
    "session_replication_role = replica": ("problem", "replication_role"),
    "synchronous_commit = off": ("note", "durable_commits"),
    "event_triggers = off": ("risk", "event_triggers"),
}


@pytest.mark.parametrize("setting", DEFAULTS)
@pytest.mark.parametrize("place", ["database {db}", "role somebody", "role somebody in database {db}"])
def test_defaults_that_harm(dsn: str, database: Database, role: str, place: str, setting: str) -> None:
    if setting.startswith("event_triggers") and database.info.server_version < 170000:
        pytest.skip("event_triggers came with PostgreSQL 17")
    where = place.format(db=database.info.dbname)
    database.execute(f"alter {where} set {setting}")
    severity, check = DEFAULTS[setting]
    line = cured(dsn, database, check)
    assert (line["severity"], line["subject"]) == (severity, where)
    database.execute(f"alter {where} set {setting.partition(' =')[0]} = default")


def test_defaults_of_the_server(dsn: str, database: Database) -> None:
    database.execute("alter system set synchronous_commit = off")
    database.execute("select pg_reload_conf()")
    try:
        line = cured_after_reload(dsn, database)
    finally:
        database.execute("alter system reset synchronous_commit")
        database.execute("select pg_reload_conf()")
    assert (line["severity"], line["subject"]) == ("note", "the server")


def cured_after_reload(dsn: str, database: Database) -> Finding:
    """A reload reaches sessions a moment after it was asked for."""

    def said() -> list[Finding]:
        return [line for line in examine(dsn) if line["check"] == "durable_commits"]

    [line] = eventually(said)
    follow(dsn, database, line["cure"])
    eventually(lambda: not said())
    return line


def test_defaults_that_do_no_harm(dsn: str, database: Database, role: str) -> None:
    database.execute(f"alter database {database.info.dbname} set session_replication_role = 'local'")
    database.execute(f"alter role {role} set synchronous_commit = 'remote_write'")
    assert examine(dsn) == []


def test_few_sessions_left(dsn: str, database: Database) -> None:
    database.execute(f"alter database {database.info.dbname} connection limit 5")
    line = cured(dsn, database, "connections")
    assert (line["severity"], line["subject"]) == ("risk", f"database {database.info.dbname}")
    assert re.search(r"Only [1-3] more sessions can connect to database .*; a listener .* needs 5\.", line["finding"])


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[embedded.Server]:
    """A server where transactions can be prepared, and whose roles are these tests' own."""
    with embedded.Server(bin_directory=bin_directory(), settings={"max_prepared_transactions": "4"}) as server:
        yield server


def test_listeners_that_nobody_can_wake(elsewhere: embedded.Server) -> None:
    fine("migrate", "--dsn", elsewhere.dsn())
    [line] = examine(elsewhere.dsn())
    assert (line["severity"], line["check"], line["subject"]) == ("note", "doorbell", "max_prepared_transactions")
    with psycopg.connect(elsewhere.dsn(), autocommit=True) as connection:
        follow(elsewhere.dsn(), connection, line["cure"])
    elsewhere.restart()
    assert examine(elsewhere.dsn()) == []
    fine("migrate", "--down", "base", "--yes", "--dsn", elsewhere.dsn())


def test_an_installation_without_a_superuser(elsewhere: embedded.Server, connect: Connect) -> None:
    admin = connect(elsewhere.dsn(), autocommit=True)
    admin.execute("create role chief login createrole")
    admin.execute("create database theirs owner chief")
    dsn = elsewhere.dsn("theirs", user="chief")
    fine("migrate", "--dsn", dsn)
    connect(dsn, autocommit=True).execute("create table users (id int primary key)")
    fine("watch", "users", "--dsn", dsn)
    lines = [line for line in examine(dsn) if line["check"] != "doorbell"]
    assert [(line["severity"], line["check"], line["subject"]) for line in lines] == [
        ("risk", "ddl_followed", "rowcall_follow_ddl"),
        ("risk", "ddl_followed", "rowcall_follow_drop"),
        ("note", "table_owners", "chief"),
    ]


def fail(app: Rowcall) -> None:
    app.watch("users")

    @app.after("users", name="it's seen")
    def seen(event: Event) -> None:
        raise ValueError("never")


def test_parked_events_and_dead_letters(dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "DRAIN_PATIENCE", 0.0)
    app = Rowcall()
    fail(app)
    sync(app, dsn)
    database.execute("insert into users values (1, 'a', 1), (2, 'b', 2)")
    drain(app, dsn)
    line = found(dsn, "parked_events")
    assert (line["severity"], line["subject"]) == ("risk", "it's seen")
    assert "has 2 parked events" in line["finding"]
    [shown] = re.findall(r"""rowcall (parked "it's seen") shows""", line["cure"])
    assert [one["error"] for one in fine(*shlex.split(shown), "--dsn", dsn).lines] == ["ValueError: never"] * 2
    database.execute("update rowcall.parked set dead = true")
    line = found(dsn, "dead_letters")
    assert (line["severity"], line["subject"]) == ("problem", "it's seen")
    errors, again, give_up = re.findall(r"""rowcall (\w+ "it's seen" --\w+)""", line["cure"])
    assert len(fine(*shlex.split(errors), "--dsn", dsn).lines) == 2
    assert shlex.split(give_up) == ["skip", "it's seen", "--seq"]
    fine(*shlex.split(again), "--yes", "--dsn", dsn)
    assert [line["check"] for line in examine(dsn)] == ["parked_events"]


def test_a_log_that_nobody_seals(dsn: str, database: Database) -> None:
    database.execute(FUTURE.format("now() - interval '9 minutes'"))
    assert examine(dsn) == []
    database.execute(FUTURE.format("now() - interval '11 minutes'"))
    line = found(dsn, "log_sealed")
    assert line["severity"] == "risk"
    assert "2 events could be altered unnoticed, and there is no seal yet" in line["finding"]
    seal_pending(database)
    assert examine(dsn) == []
    database.execute(FUTURE.format("now() - interval '11 minutes'"))
    assert "1 event could be altered unnoticed, and the last seal is of" in found(dsn, "log_sealed")["finding"]


def test_a_subscription_nobody_reads(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()
    app.watch("users")
    app.after("users", name="it's seen")(lambda event: None)
    sync(app, dsn)
    database.execute(FUTURE.format("now() - interval '50 minutes'"))
    seal_pending(database)
    assert examine(dsn) == []
    database.execute(FUTURE.format("now() - interval '70 minutes'"))
    seal_pending(database)
    line = found(dsn, "subscriptions_read")
    assert (line["severity"], line["subject"]) == ("problem", "it's seen")
    assert "Nobody reads it's seen, with 2 events" in line["finding"]
    assert "rowcall listen MODULE:APP of tests" in line["cure"]
    [forget] = re.findall(r"""rowcall (subscriptions drop "it's seen")\.""", line["cure"])
    with connect(autocommit=True) as listener:
        enlist(listener, "it's seen")
        assert examine(dsn) == []
    drain(app, dsn)
    assert examine(dsn) == []
    fine(*shlex.split(forget), "--yes", "--dsn", dsn)
    assert database.execute("select count(*) from rowcall.subscription").fetchone() == (0,)


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize(
    ("how", "missing"),
    [
        ("drop server rowcall_gate cascade", "no foreign server rowcall_gate, no user mapping."),
        ("drop user mapping for rowcall_gate server rowcall_gate", "no user mapping."),
        ("drop extension dblink cascade", "no extension dblink, no foreign server rowcall_gate, no user mapping."),
        ("revoke execute on function rowcall.gate_submit_v1 from rowcall_gate_login", "no login."),
    ],
)
def test_a_gate_that_is_shut(
    dsn: str, database: Database, gate: str, write_app: WriteApp, how: str, missing: str
) -> None:
    fine("sync", write_app("app.before('users')(lambda event: None)"), "--dsn", dsn)
    assert examine(dsn) == []
    database.execute(how)
    line = found(dsn, "gate_open")
    assert line["severity"] == "problem"
    assert line["finding"] == f"The before-handlers of public.users cannot be asked: the gate has {missing}"
    fine("migrate", "--gate-dsn", gate, "--dsn", dsn)
    assert examine(dsn) == []


def test_a_gate_that_shows_what_it_is_asked(dsn: str, database: Database, gate: str) -> None:
    assert examine(dsn) == []
    database.execute(f"alter role {GATE_ROLE} in database {database.info.dbname} reset track_activities")
    line = found(dsn, "gate_hidden")
    assert (line["severity"], line["subject"]) == ("risk", GATE_ROLE)
    statement: Any = shlex.split(line["cure"].partition("psql -c ")[2].partition(";")[0])[0]
    database.execute(statement)
    assert examine(dsn) == []


@pytest.mark.parametrize(
    ("change", "said", "cure"),
    [
        ("update rowcall.alembic_version set version_num = 'rowcall_9999'", "is at rowcall_9999, newer", "Upgrade"),
        ("drop table rowcall.alembic_version", "not installed", "Run rowcall migrate."),
    ],
)
def test_another_schema(dsn: str, database: Database, change: str, said: str, cure: str) -> None:
    database.execute(change)
    [line] = examine(dsn)
    assert (line["severity"], line["check"]) == ("problem", "schema_current")
    assert said in line["finding"]
    assert line["cure"].startswith(cure)


def test_a_schema_that_is_older(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = (*schema.known_revisions(), "rowcall_9999")
    monkeypatch.setattr(schema, "known_revisions", lambda: known)
    [line] = examine(dsn)
    assert (line["severity"], line["cure"]) == ("problem", "Run rowcall migrate.")


def test_the_table_fits_a_terminal(dsn: str, database: Database) -> None:
    fine("watch", "users", "--exclude", "age", "--dsn", dsn)
    database.execute("alter table users disable trigger user")
    said = rowcall("doctor", "--format", "table", "--dsn", dsn, COLUMNS="80")
    assert said.code == 1
    assert max(len(line) for line in said.out.splitlines()) <= 80
    assert said.out.startswith(
        "problem capture_enabled public.users\n    Triggers that capture public.users are disabled"
    )
    assert said.out.splitlines()[-1] == "1 problem, 0 risks, 5 notes."


@pytest.mark.parametrize("form", ["json", "csv"])
def test_other_formats(dsn: str, form: str) -> None:
    assert len(fine("doctor", "--format", form, "--dsn", dsn).out.splitlines()) == len(NOTES) + (form == "csv")


def test_who_may_not_look(dsn: str, role: str) -> None:
    said = refused(2, "doctor", "--dsn", dsn.replace("postgres@", f"{role}@"))
    assert said.startswith("This login lacks a right: permission denied for")


def test_a_command_survives_the_shell() -> None:
    statement = """delete from "T" where name = 'it''s $x'"""
    assert [finding.word(text) for text in ("a.b", "it's", '"$x"')] == ["a.b", '"it\'s"', "'\"$x\"'"]
    assert shlex.split(finding.psql(statement)) == ["psql", "-c", statement]
    assert finding.psql("select 'a'") == """psql -c "select 'a'\""""
