"""The checker: whether the log says what the writers did, and the handlers were told what the log says, once and in order."""

import json
from collections.abc import Iterator
from typing import Any

from psycopg import sql

from tests.conftest import Database

#: What each subscription of the app is to see, as a condition over the log.
SUBSCRIPTIONS = {
    "each": "true",
    "batch": "true",
    "session": "source = 'item'",
    "selection": "source = 'item' and (operation = 'insert' or operation = 'update' and price_changed)",
}

_LOG = """
create temp table log as
select e.seq, e.xid, r.table_name as source, e.operation::text, e.key, e.next_key,
  (coalesce(e.new, e.old) ->> 'stamp')::bigint as stamp, (e.old ->> 'stamp')::bigint as old_stamp,
  coalesce(e.old::jsonb ? 'price', false) as price_changed, e.new::jsonb as new
from rowcall.event as e join rowcall.relation as r on r.id = e.relation
"""

_EXPECTED = """
create temp table expected as
select s.subscription, log.* from log cross join lateral (values {}) as s (subscription, is_selected) where s.is_selected
"""

#: An event is one of its key's and of its next key's, and a truncate of every key's of its table.
_HISTORY = """
create temp table history as
with own as (
  select subscription, source, seq, key from expected where key is not null
  union
  select subscription, source, seq, next_key from expected where next_key is not null
)
select * from own
union all
select e.subscription, e.source, e.seq, k.key
from expected as e join (select distinct subscription, source, key from own) as k using (subscription, source)
where e.key is null
"""

_INDEXES = """
create index on expected (subscription, seq);
analyze log; analyze expected; analyze history
"""

_WRITTEN = "xid, source, operation, key, next_key, stamp"

#: What must not be found, by what it means.
_WRONG = {
    "in the log twice": "select seq from log group by seq having count(*) > 1",
    "committed and not in the log": f"select {_WRITTEN} from journal except all select {_WRITTEN} from log",
    "in the log and not committed": f"select {_WRITTEN} from log except all select {_WRITTEN} from journal",
    "never applied": """
        select subscription, seq, operation, key from expected as e
        where not exists (select from copies as c where (c.subscription, c.seq) = (e.subscription, e.seq))
    """,
    "applied more than once": """
        select subscription, seq, array_agg((place, pid)) from copies group by 1, 2 having count(*) > 1
    """,
    "applied though not for this subscription": """
        select subscription, seq, place from copies as c
        where not exists (select from expected as e where (c.subscription, c.seq) = (e.subscription, e.seq))
    """,
    "applied with another row": """
        select subscription, seq, e.stamp as logged, c.stamp as told from copies as c join expected as e using (subscription, seq)
        where c.stamp is distinct from e.stamp
    """,
    # Either by the order in which the effects were written, or since the earlier one was not committed by then.
    "applied out of order": """
        with applied as (
          select h.subscription, h.source, h.key, seq, place, xid, saw, pid,
            lag(seq) over row_history as earlier, lag(place) over row_history as earlier_place,
            lag(xid) over row_history as earlier_xid, lag(pid) over row_history as earlier_pid
          from history as h join copies as c using (subscription, seq)
          window row_history as (partition by h.subscription, h.source, h.key order by seq)
        )
        select subscription, source, key, earlier, seq, earlier_place, place, earlier_pid, pid, earlier_xid, xid from applied
        where earlier_place > place or (earlier_xid <> xid and not pg_visible_in_snapshot(earlier_xid, saw))
    """,
    "parked or dead": "select * from rowcall.parked",
}

_REPLAYED = "select seq, source, operation, key::text, next_key::text, stamp, old_stamp, new from log order by seq"


def problems(database: Database) -> list[str]:
    """Everything that is wrong by now; delivery has to have ended."""
    with database.transaction(force_rollback=True):
        _prepare(database)
        found = [problem for what, query in _WRONG.items() if (problem := _problem(database, what, query))]
        return found + [f"the log is no history: {step}" for step in _replay(database)]


def _prepare(database: Database) -> None:
    database.execute(_LOG)
    values = ", ".join(f"('{name}', {condition})" for name, condition in SUBSCRIPTIONS.items())
    database.execute(_EXPECTED.format(values))
    database.execute(_HISTORY)
    database.execute(_INDEXES)


def _problem(database: Database, what: str, query: str) -> str | None:
    cursor = database.execute(query)
    if not cursor.rowcount:
        return None
    names = [column.name for column in cursor.description or ()]
    some = "; ".join(str(dict(zip(names, row, strict=True))) for row in cursor.fetchmany(3))
    return f"{what}: {cursor.rowcount}, such as {some}"


def _replay(database: Database) -> Iterator[str]:
    """The steps at which the log contradicts itself, and then where it contradicts the tables."""
    made: dict[str, dict[str, Any]] = {"item": {}, "stock": {}}
    for event in database.execute(_REPLAYED):
        if contradiction := _apply(made[event[1]], *event[2:]):
            yield f"{contradiction} at {event}"
            return
    for table, rows in made.items():
        query = sql.SQL("select to_jsonb(t) from {} as t").format(sql.Identifier(table))
        live = _bag(row for (row,) in database.execute(query))
        if live != _bag(rows.values()):
            yield f"{table} has {len(live)} rows and {len(rows)} by the log, which are not the same"


def _apply(
    rows: dict[str, Any], operation: str, key: str, next_key: str | None, stamp: int, old_stamp: int, new: Any
) -> str | None:
    """Replay one event; what is impossible about it."""
    if operation == "truncate":
        rows.clear()
        return None
    if operation != "insert":
        before = rows.pop(key, None)
        if before is None or before["stamp"] != old_stamp:
            return f"it does not follow on {before}"
    if operation != "delete":
        if (next_key or key) in rows:
            return "there is such a row already"
        if new["stamp"] != stamp:
            return "its stamp is another"
        rows[next_key or key] = new
    return None


def _bag(rows: Iterator[Any] | Any) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


_PENDING = f"""
with log as ({_LOG.partition("create temp table log as")[2]})
select {", ".join(f"count(*) filter (where {condition})" for condition in SUBSCRIPTIONS.values())} from log
"""


def expected_counts(database: Database) -> dict[str, int]:
    """How many events each subscription is to see of what is in the log by now."""
    row = database.execute(_PENDING).fetchone()
    assert row is not None
    return dict(zip(SUBSCRIPTIONS, row, strict=True))


def copied_counts(database: Database) -> dict[str, int]:
    """How many events each subscription has applied by now."""
    found = dict(database.execute("select subscription, count(*) from copies group by 1").fetchall())
    return {name: found.get(name, 0) for name in SUBSCRIPTIONS}


def is_delivered(database: Database) -> bool:
    """What to wait for before the check: as many copies as are expected, or more.

    :raises AssertionError: says how many are missing.
    """
    expected, copied = expected_counts(database), copied_counts(database)
    behind = {name: expected[name] - copied[name] for name in expected if copied[name] < expected[name]}
    assert not behind, f"never applied: {behind}"
    return True
