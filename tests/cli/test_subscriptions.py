"""`rowcall subscriptions`: who reads the log, dropping and renaming."""

import re
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from rowcall import Event, Rowcall, errors
from rowcall.cli import subscriptions as command
from rowcall.listener import daemon
from tests.cli.conftest import WriteApp
from tests.command import fine, refused, typed
from tests.conftest import Connect
from tests.listeners import drain, enlist, listening, sync
from tests.waiting import eventually

Database = psycopg.Connection[Any]


def app_with(*names: str) -> Rowcall:
    made = Rowcall()
    made.watch("users")
    for name in names:
        made.after("users", name=name)(handle)
    return made


def handle(event: Event) -> None:
    if event.new and event.new["age"] > 10:
        raise ValueError("too old")


@pytest.fixture
def app(dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> Rowcall:
    """An app with two subscriptions, one of which has something set aside."""
    monkeypatch.setattr(daemon, "DRAIN_PATIENCE", 0.0)
    made = app_with("reader", "writer")
    sync(made, dsn)
    database.execute("insert into users values (1, 'a', 11), (2, 'b', 12), (3, 'c', 3)")
    drain(app_with("reader"), dsn)
    return made


def names(database: Database) -> list[str]:
    return [name for (name,) in database.execute("select name from rowcall.subscription order by 1").fetchall()]


@pytest.mark.usefixtures("app")
def test_the_listing(dsn: str, database: Database, connect: Connect) -> None:
    database.execute("update rowcall.parked set dead = true where key = '{\"id\": 2}'")
    enlist(connect(autocommit=True), "writer")
    reader, writer = fine("subscriptions", "--dsn", dsn).lines
    assert tuple(reader) == command.SUBSCRIPTION_COLUMNS
    assert reader == {
        "name": "reader",
        "declared_by": "tests",
        "listening": False,
        "created": reader["created"],
        "waiting": 0,
        "capped": False,
        "oldest": None,
        "parked": 1,
        "dead": 1,
        "skipped": 0,
    }
    assert datetime.fromisoformat(reader["created"]) < datetime.now(UTC)
    assert (writer["name"], writer["listening"], writer["waiting"], writer["parked"]) == ("writer", True, 3, 0)
    seq = database.execute("select min(seq) from rowcall.parked").fetchone()
    assert seq
    fine("skip", "reader", "--seq", str(seq[0]), "--yes", "--dsn", dsn)
    reader, _ = fine("subscriptions", "--dsn", dsn).lines
    assert (reader["parked"], reader["dead"], reader["skipped"]) == (0, 1, 1)


@pytest.mark.usefixtures("app")
def test_the_table(dsn: str, database: Database) -> None:
    database.execute(
        "update rowcall.subscription set name = 'some.rather.long.module.name.of_a_handler_' || name,"
        " declared_by = 'some.rather.long.module:app', created_at = '2026-01-31'"
    )
    header, *lines = fine("subscriptions", "--format", "table", "--dsn", dsn, COLUMNS="80").out.splitlines()
    assert max(len(line) for line in (header, *lines)) <= 80
    assert header.split() == ["name", "declared_by", "listening", "created", "waiting", "set", "aside", "skipped"]
    assert "of_a_handler_reader" in "".join(line.split()[0] for line in lines)
    assert " ".join(lines).count(" 2026-01-31 ") == 2
    for form in ("json", "csv"):
        assert len(fine("subscriptions", "--format", form, "--dsn", dsn).out.splitlines()) == 2 + (form == "csv")


def test_none(dsn: str) -> None:
    assert fine("subscriptions", "--dsn", dsn).out == ""
    assert fine("subscriptions", "--format", "table", "--dsn", dsn).out == "nothing\n"


@pytest.mark.usefixtures("app")
def test_drop(dsn: str, database: Database) -> None:
    said = fine("subscriptions", "drop", "reader", "--yes", "--dsn", dsn)
    assert said.out == (
        "subscription reader: dropped\n"
        "If tests still declares it, its next sync or listen creates it anew, to read from then on.\n"
    )
    assert names(database) == ["writer"]
    left = database.execute("select (select count(*) from rowcall.parked), count(*) from rowcall.cursor").fetchone()
    assert left == (0, 1)


def test_what_is_declared_still_comes_back_to_read_from_then_on(
    dsn: str, database: Database, write_app: WriteApp
) -> None:
    target = write_app("app.watch('users')\napp.after('users', name='reader')(lambda event: None)")
    fine("sync", target, "--dsn", dsn)
    database.execute("insert into users values (1, 'a', 1)")
    assert "If mine still declares it" in fine("subscriptions", "drop", "reader", "--yes", "--dsn", dsn).out
    assert "subscription reader: created" in fine("sync", target, "--dsn", dsn).out
    assert [line["waiting"] for line in fine("subscriptions", "--dsn", dsn).lines] == [0]


@pytest.mark.usefixtures("app")
def test_rename_keeps_the_place_in_the_log(dsn: str, database: Database) -> None:
    said = fine("subscriptions", "rename", "reader", "new name", "--yes", "--dsn", dsn)
    assert said.out == (
        "subscription reader: now new name\n"
        "Where its handler is called reader still, the next sync or listen creates that anew, to read from then on.\n"
    )
    new, _ = fine("subscriptions", "--dsn", dsn).lines
    assert (new["name"], new["waiting"], new["parked"]) == ("new name", 0, 2)
    sync(app_with("new name", "writer"), dsn)
    assert names(database) == ["new name", "writer"]
    database.execute("insert into users values (4, 'd', 4)")
    drain(app_with("new name"), dsn)
    assert [line["waiting"] for line in fine("subscriptions", "--dsn", dsn).lines] == [0, 4]


@pytest.mark.usefixtures("app")
def test_a_name_that_is_taken(dsn: str, database: Database) -> None:
    said = refused(2, "subscriptions", "rename", "reader", "writer", "--yes", "--dsn", dsn)
    assert said == "There is a subscription writer already: choose another name, or drop that one."
    for name in ("", "a\nb"):
        assert "is no name for a subscription" in refused(
            2, "subscriptions", "rename", "reader", name, "--yes", "--dsn", dsn
        )
    assert names(database) == ["reader", "writer"]


@pytest.mark.parametrize("arguments", [["drop", "nobody"], ["rename", "nobody", "somebody"]])
def test_one_that_is_not_there(dsn: str, arguments: list[str]) -> None:
    said = refused(2, "subscriptions", *arguments, "--yes", "--dsn", dsn)
    assert said == 'There is no subscription nobody: "rowcall subscriptions" lists them.'


def test_one_that_a_listener_has_stays(dsn: str, database: Database, app: Rowcall) -> None:
    before = names(database)
    with capture_logs(), listening(app, dsn):
        [process, _] = [eventually(lambda name=name: listeners(database, name))[0] for name in before]  # type: ignore[misc]
        for arguments in (["drop", "reader"], ["rename", "reader", "other"]):
            assert refused(1, "subscriptions", *arguments, "--yes", "--dsn", dsn) == (
                f'reader is in use by server process {process} ("rowcall reader", a local socket): stop that listener first.'
            )
        # And it goes on.
        database.execute("insert into users values (4, 'd', 4)")
        eventually(lambda: database.execute("select min(delivered) from rowcall.cursor").fetchone() == (2,))
    assert names(database) == before
    fine("subscriptions", "drop", "reader", "--yes", "--dsn", dsn)


def listeners(database: Database, name: str) -> list[int]:
    """The server's process that has a subscription, if one has."""
    query = """select pid from pg_locks join rowcall.subscription on objid = id::oid
        where locktype = 'advisory' and classid = 1383036772 and granted and name = %s
          and database = (select oid from pg_database where datname = current_database())"""
    return [pid for (pid,) in database.execute(query, (name,)).fetchall()]


@pytest.mark.usefixtures("app")
def test_who_has_it_as_far_as_one_may_see(dsn: str, database: Database, connect: Connect) -> None:
    enlist(connect(autocommit=True), "reader")
    database.execute("create role clerk login; grant all on all tables in schema rowcall to clerk")
    try:
        said = refused(1, "subscriptions", "drop", "reader", "--yes", "--dsn", dsn.replace("postgres@", "clerk@"))
        assert re.fullmatch(
            r"reader is in use by server process \d+, of which .* see more: stop that listener first\.", said
        )
    finally:
        database.execute("drop owned by clerk; drop role clerk")


def test_a_standby_ends_when_its_subscription_is_gone(dsn: str, database: Database, connect: Connect) -> None:
    """It would wait for ever otherwise, or read for a handler of another name."""
    app = app_with("reader")
    sync(app, dsn)
    enlist(connect(autocommit=True), "reader")
    waiting = "select from pg_stat_activity where application_name = 'rowcall reader'"
    with pytest.raises(errors.UsageError, match="There is no subscription reader any more"), listening(app, dsn):
        eventually(lambda: database.execute(waiting).fetchall())
        database.execute("update rowcall.subscription set name = 'other'")
        eventually(lambda: not database.execute(waiting).fetchall())


@pytest.mark.usefixtures("app")
def test_they_ask_first(dsn: str, database: Database) -> None:
    questions = {
        ("drop", "reader"): "Dropping reader forgets its place in the log and 2 events that it set aside.",
        ("drop", "writer"): "Dropping writer forgets its place in the log.",
        ("rename", "reader", "other"): "reader will be other.",
    }
    for arguments, question in questions.items():
        said = refused(2, "subscriptions", *arguments, "--dsn", dsn)
        assert said == f"{question} Nobody is here to answer: pass --yes if you mean it."
        assert typed("n\n", "subscriptions", *arguments, "--dsn", dsn).code == 1
    assert names(database) == ["reader", "writer"]
    assert typed("y\n", "subscriptions", "drop", "reader", "--dsn", dsn).code == 0
    assert names(database) == ["writer"]


def test_options_before_the_command(dsn: str) -> None:
    said = refused(2, "subscriptions", "--dsn", dsn, "drop", "reader", "--yes")
    assert said == 'Options belong after the command: "rowcall subscriptions drop … --dsn DSN".'
