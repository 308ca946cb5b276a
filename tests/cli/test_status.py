"""`rowcall status`: what lags and what failed, a line a subscription."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from rowcall import Event, Rowcall, resources
from rowcall.listener import daemon
from rowcall.postgres import status
from tests.command import Said, fine, refused, rowcall
from tests.conftest import Connect
from tests.listeners import drain, enlist, sync

Database = psycopg.Connection[Any]

#: One event a transaction, the oldest first; nobody has analysed the table, as after a bulk load.
LOG = """
insert into rowcall.event (seq, xid, at, relation, operation, db_user)
select n, n::text::xid8, now() - make_interval(secs => %(events)s - n), 1, 'insert', 'me'
from generate_series(1, %(events)s) as n
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain leaves over what failed instead of waiting for its next attempt."""
    monkeypatch.setattr(daemon, "DRAIN_PATIENCE", 0.0)


@pytest.fixture
def app(dsn: str, database: Database) -> Rowcall:
    """An app with two subscriptions, one of which fails at everything; synchronised."""
    del database
    made = Rowcall()
    made.watch("users")

    @made.after("users", name="works")
    def works(event: Event) -> None: ...

    @made.after("users", name="fails")
    def fails(event: Event) -> None:
        raise ValueError("never")

    sync(made, dsn)
    return made


def lines(dsn: str) -> dict[str, dict[str, Any]]:
    """What status says of each subscription, where nothing is wrong."""
    return {line["subscription"]: line for line in fine("status", "--dsn", dsn).lines}


def waiting(dsn: str) -> int:
    return int(lines(dsn)["works"]["waiting"])


def as_table(dsn: str) -> Said:
    return rowcall("status", "--format", "table", "--dsn", dsn, COLUMNS="80")


def test_what_waits_and_what_failed(dsn: str, database: Database, app: Rowcall) -> None:
    nothing = {
        "subscription": "works",
        "declared_by": "tests",
        "listening": False,
        "waiting": 0,
        "capped": False,
        "oldest": None,
        "parked": 0,
        "dead": 0,
    }
    assert lines(dsn) == {"works": nothing, "fails": nothing | {"subscription": "fails"}}
    database.execute("insert into users values (1, 'a', 1)")
    database.execute("insert into users values (2, 'b', 2), (3, 'c', 3)")
    behind = lines(dsn)["works"]
    assert behind == nothing | {"waiting": 3, "oldest": behind["oldest"]}
    row = database.execute("select min(at) from rowcall.event").fetchone()
    assert row == (datetime.fromisoformat(behind["oldest"]),)
    drain(app, dsn)
    assert lines(dsn) == {"works": nothing, "fails": nothing | {"subscription": "fails", "parked": 3}}
    database.execute("update rowcall.parked set dead = true where key = '{\"id\": 2}'")
    said = rowcall("status", "--dsn", dsn)
    assert said.code == 1
    assert [(line["parked"], line["dead"]) for line in said.lines] == [(2, 1), (0, 0)]
    assert said.err == "1 problem: rowcall doctor says what to do.\n"


def test_who_listens(dsn: str, app: Rowcall, connect: Connect) -> None:
    del app
    listener = connect(autocommit=True)
    enlist(listener, "works")
    assert {name: line["listening"] for name, line in lines(dsn).items()} == {"works": True, "fails": False}
    listener.close()
    assert not lines(dsn)["works"]["listening"]


@pytest.mark.usefixtures("app")
def test_in_the_middle_of_a_window(dsn: str, database: Database) -> None:
    database.execute("insert into users values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    database.execute(
        "update rowcall.cursor set upper = pg_current_snapshot(), last_seq = (select min(seq) from rowcall.event)"
    )
    assert waiting(dsn) == 2
    database.execute("insert into users values (4, 'd', 4)")
    database.execute("update rowcall.cursor set last_seq = (select max(seq) from rowcall.event)")
    assert waiting(dsn) == 1


def test_of_transactions_that_ran_when_the_cursor_was_taken(dsn: str, database: Database, connect: Connect) -> None:
    fine("watch", "users", "--dsn", dsn)
    late = connect()
    late.execute("insert into users values (1, 'a', 1)")
    database.execute("insert into users values (2, 'b', 2)")
    made = Rowcall()
    made.after("users", name="works")(lambda event: None)
    sync(made, dsn)
    assert waiting(dsn) == 0
    late.commit()
    assert waiting(dsn) == 1


@pytest.fixture
def backlog(database: Database, app: Rowcall) -> Database:
    """A log of many events after every cursor."""
    del app
    database.execute(LOG, {"events": 20_000})
    database.execute("update rowcall.cursor set lower = '100:100:'")
    return database


def test_a_huge_backlog_is_counted_up_to_a_limit(dsn: str, backlog: Database) -> None:
    del backlog
    said = rowcall("status", "--dsn", dsn)
    assert [(line["waiting"], line["capped"]) for line in said.lines] == [(status.LIMIT, True)] * 2
    assert "  10,000+  6 h  " in as_table(dsn).out
    # Two subscriptions that nobody reads and that are hours behind.
    assert (said.code, said.err) == (1, "2 problems: rowcall doctor says what to do.\n")


def test_counting_costs_what_is_counted(backlog: Database) -> None:
    printer = psycopg.ClientCursor(backlog)
    query = printer.mogrify(resources.queries("status")["backlog"], {"limit": 50})
    backlog.execute("set enable_seqscan = off; set enable_bitmapscan = off; set jit = off")
    row = backlog.execute(f"explain (analyze, timing off, format json) {query}").fetchone()
    assert row
    scans = list(scans_of(json.loads(json.dumps(row[0][0]["Plan"]))))
    assert scans
    assert {scan["Node Type"] for scan in scans} == {"Index Scan"}
    read = sum(
        (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"]
        for scan in scans
        if scan["Actual Loops"]
    )
    assert read < 250


def scans_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Where a plan reads the log."""
    if str(plan.get("Relation Name", "")).startswith("event_"):
        yield plan
    for child in plan.get("Plans", []):
        yield from scans_of(child)


def test_the_table(dsn: str, database: Database, app: Rowcall) -> None:
    database.execute("insert into users values (1, 'a', 1)")
    drain(app, dsn)
    database.execute("analyze rowcall.event")
    said = as_table(dsn)
    assert (said.code, said.err) == (0, "")
    headline, sealed, header, fails, works = said.out.splitlines()
    assert headline.startswith("1 watched table, about 1 event, ")
    assert re.search(r" \d[\d.]* [kM]B, partitions until 20", headline)
    assert re.fullmatch(r"1 seal, the newest of \d+ s ago, nothing waits for one", sealed)
    assert header.split() == ["subscription", "declared_by", "listening", "waiting", "parked", "dead"]
    assert fails.split() == ["fails", "tests", "no", "0", "1", "0"]
    assert works.split() == ["works", "tests", "no", "0", "0", "0"]
    database.execute("alter table users disable trigger user")
    database.execute("alter table users enable trigger user")
    database.execute("insert into users values (2, 'b', 2)")
    database.execute("alter table users disable trigger user")
    said = as_table(dsn)
    assert said.code == 1
    assert ", 1 events wait since " in said.out.splitlines()[1]
    assert said.out.splitlines()[-1] == "1 problem: rowcall doctor says what to do."


def test_long_names_fit_a_terminal(dsn: str, database: Database, app: Rowcall) -> None:
    del app
    database.execute(
        "update rowcall.subscription set name = 'some.rather.long.module.name.of_a_handler_' || name,"
        " declared_by = 'some.rather.long.module:app'"
    )
    database.execute("insert into users values (1, 'a', 1)")
    out = as_table(dsn).out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "of_a_handler_works" in "".join(line.split()[0] for line in out.splitlines()[1:])


def test_nothing_to_tell(dsn: str) -> None:
    assert fine("status", "--dsn", dsn).out == ""
    out = as_table(dsn).out
    assert out.startswith("0 watched tables, about 0 events, ")
    assert out.splitlines()[-1] == "No subscriptions: rowcall sync makes those of an app."
    assert fine("status", "--format", "json", "--dsn", dsn).out == "[]\n"


def test_a_database_out_of_reach() -> None:
    for command in ("status", "doctor"):
        assert "cannot be reached" in refused(3, command, "--dsn", "postgresql://postgres@/x?host=/nowhere")


def test_without_rowcall(empty_dsn: str) -> None:
    assert "Rowcall is not installed in this database" in refused(2, "status", "--dsn", empty_dsn)
    said = rowcall("doctor", "--dsn", empty_dsn)
    assert said.code == 1
    assert [(line["check"], line["subject"]) for line in said.lines] == [("schema_current", None)]
