"""Sealing and verifying cost what they seal and verify, however long the log is."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rowcall.audit import reading, sealing
from tests.audit.sealed import Database, check, seal
from tests.conftest import Connect

EVENTS = 50_000

# One event a transaction, the oldest first; nobody has analysed the table, as after a bulk load.
LOG = """
insert into rowcall.event (seq, xid, at, relation, operation, key, new, db_user)
select n, n::text::xid8, now(), 1, 'insert', jsonb_build_object('id', n), jsonb_build_object('id', n, 'a', 1), 'me'
from generate_series(1, %s) as n
"""
PARAMETERS = {
    "xmax": str(EVENTS - 50),
    "xip": [str(EVENTS - 500), str(EVENTS - 400)],
    "upper": f"{EVENTS}:{EVENTS}:",
    "after": EVENTS - 40,
    "floor": 0,
    "first": EVENTS - 40,
    "last": EVENTS,
    "erasable": [],
    "limit": 100,
}


@pytest.fixture
def log(connect: Connect) -> Database:
    connection: Database = connect(autocommit=True)
    connection.execute("create table users (id int primary key)")
    connection.execute("select rowcall.watch_v1('users', '{}', 'tests')")
    connection.execute(LOG, (EVENTS,))
    return connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def events_read(connection: Database, query: str) -> float:
    """How many events a query looks at; each by an index."""
    text = psycopg.ClientCursor(connection).mogrify(f"explain (analyze, timing off, format json) {query}", PARAMETERS)
    with connection.transaction():
        connection.execute(reading.QUERIES["planning"])
        [(found,)] = connection.execute(text).fetchall()
    plan = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    scans = [node for node in nodes(plan) if str(node.get("Relation Name", "")).startswith("event_")]
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
    return float(sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans))


@pytest.mark.parametrize("query", ["new_window", "next_slice", "range"])
def test_a_slice_is_found_by_its_index(log: Database, query: str) -> None:
    assert events_read(log, reading.rendered(query)) < 200


@pytest.mark.parametrize("query", ["pending", "unsealed"])
def test_what_waits_is_found_by_its_index(log: Database, query: str) -> None:
    current = log.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    assert current
    # As if all of the log were of transactions that are over.
    log.execute("alter table rowcall.event disable trigger append_only")
    log.execute("update rowcall.event set xid = '3'")
    log.execute("alter table rowcall.event enable trigger append_only")
    assert seal(log) == EVENTS
    assert events_read(log, reading.QUERIES[query]) < 10
    log.execute("insert into users select generate_series(1, 20)")
    assert events_read(log, reading.QUERIES[query]) < 50
    assert sealing.Sealer(log).is_pending()
    assert check(log, first=4) == []
