"""`rowcall replay`: what it changes, what it refuses, and what a dry run says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.cli.conftest import WriteApp
from tests.command import fine, refused, typed
from tests.conftest import Connect
from tests.listeners import enlist

Database = psycopg.Connection[Any]

APP = """
app.watch("users")

@app.after("users", name="reader")
def follow(event, conn):
    if event.new and event.new["age"] == 13:
        raise LookupError("unlucky")
    conn.execute("insert into copies values (%s)", (event.seq,))
    conn.execute("update totals set total = total + 1")

@app.after("users", name="many", batch=2)
async def follow_all(events, conn):
    for event in events:
        await conn.execute("insert into copies values (%s)", (event.seq,))
        if event.new["age"] == 13:
            raise LookupError("unlucky")
"""


@pytest.fixture
def target(dsn: str, database: Database, write_app: WriteApp) -> str:
    """An app whose subscriptions have read three events."""
    database.execute("create table copies (seq bigint); create table totals (total int)")
    database.execute("insert into totals values (0)")
    target = write_app(APP)
    fine("sync", target, "--dsn", dsn)
    for number in (1, 2, 3):
        database.execute("insert into users values (%s, 'x', %s)", (number, number + 10))
    database.execute("update rowcall.cursor set lower = pg_current_snapshot()")
    return target


def seqs(database: Database) -> list[int]:
    return [seq for (seq,) in database.execute("select seq from rowcall.event order by 1").fetchall()]


def stages(database: Database, name: str = "reader") -> list[Any]:
    query = """select c.stage::text, c.stage_seq, c.stage_until from rowcall.cursor as c
        join rowcall.subscription as s on s.id = c.subscription where s.name = %s"""
    return database.execute(query, (name,)).fetchall()


@pytest.mark.usefixtures("target")
def test_from_a_seq(dsn: str, database: Database) -> None:
    one, two, three = seqs(database)
    said = fine("replay", "reader", "--from", str(two), "--yes", "--dsn", dsn).out
    assert said == f"reader goes through events {two} to {three} again, then goes on: rowcall listen does the rest.\n"
    assert stages(database) == [("replay", two - 1, three)]
    assert stages(database, "many") == [(None, 0, 0)]
    del one


@pytest.mark.usefixtures("target")
def test_every_lane_goes_back(dsn: str, database: Database) -> None:
    database.execute("update rowcall.cursor set lanes = '{0,1}'")
    database.execute(
        "insert into rowcall.cursor (subscription, lanes, lower) select subscription, '{2,3}', lower from rowcall.cursor"
    )
    one, _, three = seqs(database)
    fine("replay", "reader", "--from", "0", "--yes", "--dsn", dsn)
    assert stages(database) == [("replay", one - 1, three)] * 2


@pytest.mark.usefixtures("target")
def test_from_a_time(dsn: str, database: Database) -> None:
    _, two, three = seqs(database)
    row = database.execute("select at from rowcall.event where seq = %s", (two,)).fetchone()
    assert row
    fine("replay", "reader", "--from", row[0].isoformat(), "--yes", "--dsn", dsn)
    assert stages(database) == [("replay", two - 1, three)]
    fine("replay", "many", "--from", f"{datetime.now(UTC):%Y}-01-01", "--yes", "--dsn", dsn)


@pytest.mark.usefixtures("target")
def test_places_that_are_none(dsn: str, database: Database) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for start, words in {
        "yesterday": "'yesterday' is no place in the log: give a seq, a date, or a time",
        "2026-01-01T10:00": "has no time zone: write 2026-01-01T10:00Z if it is UTC",
        "9" * 30: "is no seq",
        "1000000": "The log has no event from 1000000 on",
        later: "The log has no event from",
        "": "Say from where on",
    }.items():
        assert words in refused(2, "replay", "reader", "--from", start, "--yes", "--dsn", dsn)
    assert "There is no subscription nobody" in refused(2, "replay", "nobody", "--from", "1", "--yes", "--dsn", dsn)
    assert stages(database) == [(None, 0, 0)]


@pytest.mark.usefixtures("target")
def test_it_asks_first(dsn: str, database: Database) -> None:
    one, _, three = seqs(database)
    question = f"reader will handle again what it had of events {one} to {three}."
    assert question in refused(2, "replay", "reader", "--from", "1", "--dsn", dsn)
    assert typed("n\n", "replay", "reader", "--from", "1", "--dsn", dsn).code == 1
    assert stages(database) == [(None, 0, 0)]
    assert typed("y\n", "replay", "reader", "--from", "1", "--dsn", dsn).code == 0
    assert stages(database) == [("replay", one - 1, three)]


@pytest.mark.usefixtures("target")
def test_not_while_a_listener_has_it(dsn: str, database: Database, connect: Connect) -> None:
    enlist(connect(autocommit=True), "reader")
    assert "stop that listener first" in refused(1, "replay", "reader", "--from", "1", "--yes", "--dsn", dsn)
    assert stages(database) == [(None, 0, 0)]


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("stage", ["backfill", "replay", "restored", None])
def test_not_in_the_middle_of_a_stage(dsn: str, database: Database, stage: str | None) -> None:
    if stage is None:
        database.execute("update rowcall.subscription set ready = false")
    database.execute("update rowcall.cursor set stage = %s", (stage,))
    said = refused(1, "replay", "reader", "--from", "1", "--yes", "--dsn", dsn)
    assert said.startswith("reader cannot be replayed now, because ")
    assert stages(database) == [(stage, 0, 0)]


@pytest.mark.usefixtures("target")
def test_what_was_set_aside_comes_in_its_place(dsn: str, database: Database) -> None:
    one, two, three = seqs(database)
    park = (
        "insert into rowcall.parked (subscription, seq, relation, key) select id, %s, 1, '{}' from rowcall.subscription"
    )
    for seq in (one, two, three):
        database.execute(park, (seq,))
    fine("replay", "reader", "--from", str(two), "--yes", "--dsn", dsn)
    query = "select name, seq from rowcall.parked join rowcall.subscription on id = subscription order by 1, 2"
    assert database.execute(query).fetchall() == [("many", one), ("many", two), ("many", three), ("reader", one)]


def test_a_dry_run_writes_nothing(dsn: str, database: Database, target: str) -> None:
    said = fine("replay", "reader", target, "--from", "1", "--dry-run", "--dsn", dsn).out.splitlines()
    assert said[0] == "reader was called with 3 events, of which 1 failed. What it wrote is rolled back:"
    assert [line.split() for line in said[1:4]] == [
        ["table", "inserted", "updated", "deleted"],
        ["public.copies", "2", "0", "0"],
        ["public.totals", "0", "2", "0"],
    ]
    assert said[4:] == [f"failed: seq {seqs(database)[2]}, insert users: LookupError: unlucky"]
    for table in ("copies", "totals"):
        rows = database.execute(f"select * from {table}").fetchall()
        assert rows == ([(0,)] if table == "totals" else [])
    assert stages(database) == [(None, 0, 0)]


@pytest.mark.usefixtures("target")
def test_a_dry_run_tells_rejections_from_failures(dsn: str, database: Database, write_app: WriteApp) -> None:
    app = write_app("""
from rowcall import Reject

app.watch("users")

@app.after("users", name="reader")
def judge(event, conn):
    conn.execute("insert into copies values (%s)", (event.seq,))
    if event.new["age"] == 13:
        raise Reject("unlucky", column="age")
    if event.new["age"] == 14:
        raise LookupError("fourteen")
""")
    fine("sync", app, "--dsn", dsn)
    database.execute("insert into users values (9, 'x', 14)")
    database.execute("update rowcall.cursor set lower = pg_current_snapshot()")
    said = fine("replay", "reader", app, "--from", "1", "--dry-run", "--dsn", dsn).out.splitlines()
    assert said[0] == "reader was called with 4 events, of which 1 failed and 1 rejected. What it wrote is rolled back:"
    assert said[2].split() == ["public.copies", "2", "0", "0"]
    *_, third, fourth = seqs(database)
    assert said[3:] == [
        f"failed: seq {fourth}, insert users: LookupError: fourteen",
        f"rejected: seq {third}, insert users: unlucky",
    ]


def test_a_dry_run_of_a_handler_of_many_events(dsn: str, database: Database, target: str) -> None:
    database.execute("insert into users values (4, 'x', 4)")
    database.execute("update rowcall.cursor set lower = pg_current_snapshot()")
    database.execute("insert into users values (5, 'x', 5)")
    said = fine("replay", "many", target, "--from", "1", "--dry-run", "--dsn", dsn).out.splitlines()
    assert said[0] == "many was called with 4 events, of which 1 failed. What it wrote is rolled back:"
    assert said[2].split() == ["public.copies", "3", "0", "0"]


def test_a_dry_run_takes_what_was_delivered(dsn: str, database: Database, target: str) -> None:
    one, two, _ = seqs(database)
    database.execute(
        "update rowcall.cursor set lower = '1:1:', upper = pg_current_snapshot(), last_seq = %s where subscription ="
        " (select id from rowcall.subscription where name = 'reader')",
        (one,),
    )
    assert "called with 1 event." in fine("replay", "reader", target, "--from", "1", "--dry-run", "--dsn", dsn).out
    nothing = fine("replay", "reader", target, "--from", str(two), "--dry-run", "--dsn", dsn).out
    assert nothing == "reader was called with 0 events. What it wrote is rolled back:\nnothing\n"


@pytest.mark.parametrize("taken", ["event, conn", "events, conn"])
def test_a_dry_run_leaves_out_what_the_handler_does_not_want(
    dsn: str, database: Database, target: str, write_app: WriteApp, taken: str
) -> None:
    """As a listener does: its condition is asked call by call, and where that fails the event does."""
    del target
    picky = write_app(f"""
app.watch("users")

@app.after("users", name="reader", when=lambda event: 1 / (event.new["age"] - 13) <= -1)
def follow({taken}):
    conn.execute("update totals set total = total + 1")
""")
    said = fine("replay", "reader", picky, "--from", "1", "--dry-run", "--dsn", dsn).out.splitlines()
    assert said[0] == "reader was called with 2 events, of which 1 failed. What it wrote is rolled back:"
    assert said[2].split() == ["public.totals", "0", "1", "0"]
    assert said[-1] == f"failed: seq {seqs(database)[2]}, insert users: ZeroDivisionError: division by zero"


def test_a_dry_run_leaves_out_the_rows_of_a_backfill(dsn: str, database: Database, write_app: WriteApp) -> None:
    """No replay delivers them again."""
    database.execute("insert into users values (1, 'x', 1)")
    target = write_app("""
app.watch("users")

@app.after("users", name="filled", start="backfill")
def follow(event): ...
""")
    fine("sync", target, "--dsn", dsn)
    database.execute("insert into users values (2, 'x', 2)")
    fine("listen", target, "--drain", "--dsn", dsn)
    said = fine("replay", "filled", target, "--from", "1", "--dry-run", "--dsn", dsn).out
    assert said.startswith("filled was called with 1 event.")


def test_what_goes_with_a_dry_run(dsn: str, target: str) -> None:
    assert "--dry-run runs the handler" in refused(2, "replay", "reader", "--from", "1", "--dry-run", "--dsn", dsn)
    assert "MODULE:APP is for --dry-run" in refused(2, "replay", "reader", target, "--from", "1", "--dsn", dsn)
    said = refused(2, "replay", "other", target, "--from", "1", "--dry-run", "--dsn", dsn)
    assert said == f"{target} has no after-handler other: name the app that declares it."


def test_help_shows_an_example() -> None:
    assert "Example: rowcall replay shop.events.project" in fine("replay", "--help").out
