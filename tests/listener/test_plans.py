"""Reading costs what is read, however long the log is."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rowcall import resources
from tests.conftest import Connect, Database

QUERIES = resources.queries("log")
EVENTS = 50_000

# One event a transaction, the oldest first; nobody has analysed the table, as after a bulk load.
LOG = """
insert into rowcall.event (seq, xid, at, relation, operation, key, new, db_user)
select n, n::text::xid8, now(), 1 + n %% 7, 'insert', jsonb_build_object('id', n), jsonb_build_object('id', n, 'a', 1), 'me'
from generate_series(1, %s) as n
"""
PARAMETERS: dict[str, tuple[str, Any]] = {
    "xmax": ("text", str(EVENTS - 50)),
    "xip": ("text[]", [str(EVENTS - 500), str(EVENTS - 400)]),
    "lower": ("pg_snapshot", f"{EVENTS - 500}:{EVENTS - 50}:{EVENTS - 500},{EVENTS - 400}"),
    "upper": ("pg_snapshot", f"{EVENTS}:{EVENTS}:"),
    "last_seq": ("bigint", EVENTS - 40),
    "schema": ("text", "%"),
    "table": ("text", "users"),
    "operations": ("text[]", ["insert", "update"]),
    "columns": ("text[]", None),
    "limit": ("int", 500),
    "subscription": ("int", 1),
    "number": ("bigint", 7),
    "lanes": ("int[]", None),
    "floor": ("bigint", 0),
    "stage": ("rowcall.stage", "replay"),
    "stage_seq": ("bigint", EVENTS - 40),
    "stage_until": ("bigint", EVENTS),
}


@pytest.fixture(params=[None, [1, 2, 3]], ids=["all lanes", "some lanes"])
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMETERS, "lanes", ("int[]", request.param))


@pytest.fixture
def log(connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key)")
    connection.execute("select rowcall.watch_v1('users', '{}', 'tests')")
    connection.execute(LOG, (EVENTS,))
    # As LogReader has it.
    connection.execute("set enable_seqscan = off; set plan_cache_mode = force_generic_plan")
    return connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def plan_of(connection: Database, name: str) -> dict[str, Any]:
    """How a query is carried out once psycopg has prepared it."""
    query = QUERIES[name]
    used = [parameter for parameter in PARAMETERS if f"%({parameter})s" in query]
    prepared = query % {parameter: f"${place}" for place, parameter in enumerate(used, start=1)}
    types = ", ".join(PARAMETERS[parameter][0] for parameter in used)
    connection.execute(f"prepare {name} ({types}) as {prepared}")
    printer = psycopg.ClientCursor(connection)
    values = [PARAMETERS[parameter][1] for parameter in used]
    marks = ", ".join(["%s"] * len(used))
    text = printer.mogrify(f"explain (analyze, timing off, format json) execute {name} ({marks})", values)
    row = connection.execute(text).fetchone()
    assert row
    found = row[0] if isinstance(row[0], list) else json.loads(row[0])
    plan: dict[str, Any] = found[0]["Plan"]
    return plan


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in nodes(plan) if str(node.get("Relation Name", "")).startswith("event_")]


@pytest.mark.parametrize(("query", "index"), [("new_window", "xid"), ("next_slice", "seq"), ("stage_slice", "seq")])
@pytest.mark.usefixtures("lanes")
def test_a_slice_is_found_by_its_index(log: Database, query: str, index: str) -> None:
    plan = plan_of(log, query)
    assert {node["Node Type"] for node in scans(plan)} <= {"Index Scan", "Bitmap Heap Scan"}
    used = {node["Index Name"] for node in nodes(plan) if "Index Name" in node and "event_" in node["Index Name"]}
    assert used
    assert all(f"_{index}_" in name for name in used)
    # What it touches is the window, not the log.
    read = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans(plan))
    assert read < 200


def test_a_plan_that_was_made_for_a_short_log_does_not_read_all_of_it(connect: Connect) -> None:
    """It is kept while the log grows. Of few transactions with many events each, the planner thinks that they are all the same."""
    connection = connect(autocommit=True)
    connection.execute("create table users (id int primary key)")
    connection.execute("select rowcall.watch_v1('users', '{}', 'tests')")
    connection.execute(LOG.replace("n::text::xid8", "(n / 100 + 1)::text::xid8"), (500,))
    connection.execute("analyze; set enable_seqscan = off; set plan_cache_mode = force_generic_plan")
    read = [
        node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans(plan_of(connection, "new_window"))
    ]
    assert sum(read) == 0


def test_parked_heads_are_found_without_reading_the_log(log: Database) -> None:
    events = log.execute("select count(*) from rowcall.event").fetchone()
    assert events == (EVENTS,)
    row = log.execute(
        "explain " + resources.queries("delivery")["next_retry"] % {"subscription": "1", "lanes": "'{1,2}'"}
    ).fetchall()
    assert not [line for (line,) in row if "event_" in line]
