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


def months(database: Database) -> list[str]:
    """The first moments of the second month that has events, of the third, and of the one after that."""
    query = "select date_trunc('month', now() + interval '1 month' * n)::text from generate_series(1, 3) as n"
    return [moment for (moment,) in database.execute(query)]


_STATES = resources.queries("states")
_UNDO = resources.queries("undo")
_KEY = json.dumps({"id": 7})

#: Of one row or one transaction: by an index, in every partition.
BY_INDEX: dict[str, tuple[str, dict[str, Any], str]] = {
    "the row as it was": (
        _STATES["last_events"],
        {"relation": 1, "key": _KEY, "emptied": 0, "deferrable": False, "at": "infinity", "snapshot": None, "floor": 0},
        "key",
    ),
    "the row as it was by a snapshot": (
        _STATES["last_events"],
        {"relation": 1, "key": _KEY, "emptied": 0, "deferrable": True, "at": None, "snapshot": "1:9999:", "floor": 0},
        "key",
    ),
    "what the last events left": (_STATES["states_after"], {"seqs": [5, 6], "at": "infinity"}, "seq"),
    "the first event of a row": (_STATES["first_event"], {"relation": 1, "key": _KEY}, "key"),
    "whether a row has an event by then": (
        _STATES["saw"],
        {"relation": 1, "key": _KEY, "at": "infinity", "snapshot": None, "floor": 0},
        "key",
    ),
    "where the log begins": (_STATES["beginning"], {"at": "infinity"}, "seq"),
    "where a table was emptied": (
        _STATES["emptied"],
        {"relation": 1, "at": "infinity", "snapshot": None, "floor": 0},
        "relation",
    ),
    "a transaction": (_QUERIES["transaction"], {"transaction": "9"}, "xid"),
    "the tables of a transaction": (_QUERIES["transaction_tables"], {"transaction": "9"}, "xid"),
    "the events of a transaction": (_QUERIES["log"], _NOTHING | {"transaction": "9"}, "xid"),
    "the events of a key": (_QUERIES["log"], _NOTHING | {"relations": [1], "key_part": _KEY, "key_whole": True}, "key"),
    "the transaction to undo": (_UNDO["events"], {"transaction": "9", "seqs": []}, "xid"),
    "the events to undo": (_UNDO["events"], {"transaction": None, "seqs": [5]}, "seq"),
}


@pytest.mark.parametrize("question", BY_INDEX)
def test_one_thing_is_found_by_an_index(log: Database, question: str) -> None:
    query, parameters, index = BY_INDEX[question]
    found = plan(log, query, parameters)
    assert scanned(log, found) == set()
    assert any(f"_{index}_" in node.get("Index Name", "") for node in nodes(found))


def test_what_came_later_to_a_few_rows(log: Database) -> None:
    found = plan(log, _UNDO["later"], {"relation": 1, "first": 5, "keys": [_KEY]})
    assert scanned(log, found) == set()
    assert any("_key_" in node.get("Index Name", "") for node in nodes(found))


_WHEN = {"relation": 1, "key": None, "emptied": 0, "deferrable": False, "snapshot": None, "before": None, "floor": 0}


@pytest.mark.parametrize("question", ["last_events", "bag_states", "states_after", "emptied"])
def test_a_table_as_it_was_without_the_partitions_of_later(log: Database, question: str) -> None:
    second = months(log)[0]
    found = plan(log, _STATES[question], _WHEN | {"at": second, "key": None, "seqs": [5]})
    assert partitions(log, found) == {"first"}


@pytest.mark.parametrize("question", ["window", "bag_window", "truncated_between"])
def test_what_changed_between_two_times_without_those_before_and_after(log: Database, question: str) -> None:
    second, third, _ = months(log)
    found = plan(log, _STATES[question], _WHEN | {"since": second, "at": third})
    assert partitions(log, found) == {"second"}


def partitions(database: Database, found: Plan) -> set[str]:
    """Which months' partitions a plan reads, of those that have events."""
    parts = database.execute(
        "select distinct on (at) tableoid::regclass::text, at from rowcall.event order by at"
    ).fetchall()
    known = dict(zip((name.removeprefix("rowcall.") for name, _ in parts), ("first", "second", "third"), strict=True))
    return {known[name] for name in read(found) if name in known}


def test_rejections_of_one_time(log: Database) -> None:
    log.execute(
        """insert into rowcall.rejection (at, relation, operation, rule, message)
        select now() - interval '1 minute' * n, 1, 'insert', 'r' || n %% 7, 'no' from generate_series(1, %s) as n""",
        (_ROWS * 3,),
    )
    log.execute("analyze rowcall.rejection")
    everything = dict.fromkeys(
        (
            *("relations", "key", "actor", "operation", "column", "outcome", "rule", "handler", "role"),
            *("since", "until", "transaction", "context", "limit"),
        )
    )
    found = plan(log, _QUERIES["rejections"], everything | {"since": "today", "until": "tomorrow"})
    indexes = {node.get("Index Name") for node in nodes(found)}
    assert "rejection_at_index" in indexes
    assert "rejection" not in {node["Relation Name"] for node in nodes(found) if node["Node Type"] == "Seq Scan"}


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
