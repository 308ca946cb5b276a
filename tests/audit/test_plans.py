"""The questions of an audit are answered by the log's indexes, and read the partitions of their time only."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from rowcall import resources
from tests.command import fine
from tests.conftest import Connect

Database = psycopg.Connection[Any]
Plan = dict[str, Any]

_QUERIES = resources.queries("audit")
_ROWS = 2000
_NOTHING: dict[str, Any] = dict.fromkeys(
    (
        *("relations", "key", "key_part", "actor", "role", "operation", "column", "values", "since", "until"),
        *("transaction", "context", "context_keys", "limit"),
    )
) | {"key_whole": False}


@pytest.fixture
def log(connect: Connect) -> Database:
    """As many events as make an index worth while, in the partitions of three months."""
    database = connect(autocommit=True)
    database.execute(
        """insert into rowcall.event (seq, xid, at, relation, operation, key, new, actor, db_user)
        select nextval('rowcall.event_seq'), pg_current_xact_id(), now() + interval '1 month' * (n %% 3), 1, 'update',
          jsonb_build_object('id', n), json_build_object('id', n, 'notes', repeat('x', 300)), 'actor ' || n %% 50, 'x'
        from generate_series(1, %s) as n""",
        (_ROWS * 3,),
    )
    database.execute("analyze rowcall.event")
    return database


def plan(database: Database, query: str, parameters: dict[str, Any]) -> Plan:
    row = database.execute(f"explain (format json) {query}", parameters).fetchone()
    assert row
    found: Plan = row[0][0]["Plan"]
    return found


def nodes(found: Plan) -> Iterator[Plan]:
    yield found
    for inner in found.get("Plans", []):
        yield from nodes(inner)


def read(found: Plan) -> set[str]:
    return {node["Relation Name"] for node in nodes(found) if "Relation Name" in node}


def scanned(database: Database, found: Plan) -> set[str]:
    """The partitions with events that are read from end to end."""
    whole = {node["Relation Name"] for node in nodes(found) if node["Node Type"] == "Seq Scan"}
    return {name for name in whole if database.execute(f"select 1 from rowcall.{name} limit 1").fetchone()}


def test_one_row(log: Database) -> None:
    found = plan(log, _QUERIES["row"], {"relation": 1, "key": json.dumps({"id": 7}), "before": 2**63 - 1})
    assert scanned(log, found) == set()
    indexes = {node.get("Index Name", "") for node in nodes(found)}
    assert any(name.endswith("_key_idx") for name in indexes)
    assert any(name.endswith("_next_key_idx") for name in indexes)


def test_the_newest_events_of_an_actor(log: Database) -> None:
    found = plan(log, _QUERIES["log"], _NOTHING | {"actor": "actor 7", "limit": 100})
    assert scanned(log, found) == set()
    assert any("actor" in node.get("Index Name", "") for node in nodes(found))


def test_an_actor_too_long_for_an_index(dsn: str, log: Database) -> None:
    name = "x" * 5000
    log.execute("create table t (id int primary key)")
    fine("watch", "t", "--dsn", dsn)
    with log.transaction():
        log.execute("select rowcall.act(%s)", (name,))
        log.execute("insert into t values (1)")
    rows = log.execute(_QUERIES["log"], _NOTHING | {"actor": name}).fetchall()
    assert len(rows) == 1


def test_only_the_partitions_of_the_time_that_is_asked_for(log: Database) -> None:
    [(since, until)] = log.execute(
        "select date_trunc('month', now() + interval '1 month'), date_trunc('month', now() + interval '2 months')"
    )
    found = plan(log, _QUERIES["log"], _NOTHING | {"since": since, "until": until})
    assert len(read(found)) <= 2
    assert "event_first" not in read(found)


def test_where_a_table_was_emptied(log: Database) -> None:
    query = (
        "select coalesce(max(seq), 0) from rowcall.event where relation = 1 and operation = 'truncate' and old is null"
    )
    found = plan(log, query, {})
    assert scanned(log, found) == set()


def test_the_listener_merges_what_is_new(log: Database) -> None:
    [(merged,)] = log.execute("select rowcall.merge_index_v1()")
    assert merged > 0
    assert log.execute("select rowcall.merge_index_v1()").fetchone() == (0,)
