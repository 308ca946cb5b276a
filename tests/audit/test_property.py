"""What the log says about the past is what was copied then; what is undone is as it was, and again the other way round."""

import os
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from rowcall import audit, errors
from tests.command import fine
from tests.conftest import Connect

Database = psycopg.Connection[Any]
Contents = Counter[str]

pytestmark = pytest.mark.timeout(120 if "ROWCALL_AUDIT_EXAMPLES" not in os.environ else 3600)

#: ROWCALL_AUDIT_EXAMPLES=1000 tries so many histories of each kind instead of the few that a test run has time for.
EXAMPLES = int(os.environ.get("ROWCALL_AUDIT_EXAMPLES", "15"))

# Each example starts from what the one before left.
bounded = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TABLES = ("keyed", "bare", "loose", "parent", "child", "split", "pair", "emptied")

SCHEMA = """
create table keyed (id int primary key, v text, n numeric);
create table bare (a int, j json, f float8);
-- Two rows may share a key until the end of a transaction.
create table loose (id int primary key deferrable initially deferred, v text);
create table parent (id int primary key, name text unique);
create table child (id int generated always as identity primary key, parent int references parent on delete cascade on update cascade,
  tags text[], doubled int generated always as (parent * 2) stored);
create table split (id int primary key, v text) partition by range (id);
create table split_1 partition of split for values from (0) to (3);
create table split_2 partition of split for values from (3) to (100);
create table pair (n numeric, "Key's b" text, v text unique, primary key (n, "Key's b"));
-- Its watch records the rows that a truncate takes.
create table emptied (id int primary key, v text);
"""

IDS = st.integers(1, 4)
VALUES = st.sampled_from(["null", "''", "'a'", "'B'", "'ä\"\\'"])
SCALES = st.sampled_from(["1", "1.0", "1.00", "2", "'NaN'"])
TEXTS = st.sampled_from(["''", "'a'", "'a=b,c'", "'{\"x'"])
NUMBERS = st.sampled_from(["null", "1", "1.0", "1.00", "-0.5", "'NaN'"])
# Not JSON null, which a copy that is read by psycopg does not tell from SQL's.
DOCUMENTS = st.sampled_from(["null", "'0'", '\' {"a" : 1, "a": 2}\'', "'[1.0]'"])
FLOATS = st.sampled_from(["null", "0", "'-0'", "'0.1'"])


def of(template: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return st.builds(template.format, *parts)


CHANGES = st.one_of(
    of("insert into keyed values ({}, {}, {}) on conflict do nothing", IDS, VALUES, NUMBERS),
    of("insert into keyed values ({}, {}, {}) on conflict (id) do update set v = excluded.v", IDS, VALUES, NUMBERS),
    of("update keyed set v = {1} where id = {0}", IDS, VALUES),
    of("update keyed set n = {1} where id >= {0}", IDS, NUMBERS),
    of("update keyed set id = {1} where id = {0}", IDS, IDS),
    of("delete from keyed where id = {}", IDS),
    of("insert into bare values ({}, {}, {})", IDS, DOCUMENTS, FLOATS),
    of("update bare set j = {1} where a = {0}", IDS, DOCUMENTS),
    of("update bare set a = {1}, f = {2} where a = {0}", IDS, IDS, FLOATS),
    of("delete from bare where ctid = (select max(ctid) from bare where a = {})", IDS),
    of("insert into loose values ({}, {})", IDS, VALUES),
    of("update loose set v = {1} where id = {0}", IDS, VALUES),
    of("update loose set id = {1} - id where id in ({0}, {1} - {0})", IDS, st.integers(2, 6)),
    of("delete from loose where id = {}", IDS),
    of("insert into parent values ({}, {}) on conflict do nothing", IDS, VALUES),
    of("update parent set name = {1} where id = {0}", IDS, VALUES),
    of("update parent set id = {1} where id = {0}", IDS, IDS),
    of("delete from parent where id = {}", IDS),
    of("insert into child (parent, tags) select id, array[{1}] from parent where id = {0}", IDS, VALUES),
    of(
        "update child set parent = (select max(id) from parent), tags = array[{1}, 'x'] where parent = {0}", IDS, VALUES
    ),
    of("delete from child where parent = {}", IDS),
    of("insert into split values ({}, {}) on conflict do nothing", IDS, VALUES),
    of("update split set id = {1}, v = {2} where id = {0}", IDS, IDS, VALUES),
    of("delete from split where id = {}", IDS),
    of("insert into pair values ({}, {}, {}) on conflict do nothing", SCALES, TEXTS, VALUES),
    of('update pair set n = {1}, "Key\'s b" = {2} where n = {0}', SCALES, SCALES, TEXTS),
    of("update pair set v = {1} where n = {0}", SCALES, VALUES),
    of("delete from pair where n = {}", SCALES),
    of("insert into emptied values ({}, {}) on conflict do nothing", IDS, VALUES),
    of("update emptied set id = {1}, v = {2} where id = {0}", IDS, IDS, VALUES),
    # The rows of a partition are recorded whatever the watch says.
    st.sampled_from(["truncate emptied", "truncate split_1"]),
    of("do $do$ begin update keyed set v = {1} where id >= {0}; raise unique_violation; end $do$", IDS, VALUES),
    of(
        "do $do$ begin update keyed set v = {1} where id >= {0};"
        " begin delete from keyed where id = {0}; raise unique_violation; exception when others then null; end;"
        " begin update keyed set n = 7 where id = {0}; exception when others then null; end; end $do$",
        IDS,
        VALUES,
    ),
)
TRUNCATES = st.sampled_from(["truncate keyed", "truncate split", "truncate bare", "truncate parent cascade"])


@pytest.fixture
def database(dsn: str, connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute(SCHEMA)
    fine("watch", *TABLES, "--dsn", dsn)
    connection.execute("select rowcall.watch_v1('emptied', '{\"truncate\": \"rows\"}', 'cli')")
    return connection


def attempt(connection: Database, statement: str) -> None:
    """Execute a statement by itself, or in a savepoint, unless it violates a constraint or has to wait."""
    with suppress(psycopg.IntegrityError, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        with connection.transaction():
            connection.execute(statement.encode())


def contents(connection: Database, table: str) -> Contents:
    cursor = connection.cursor(row_factory=dict_row)
    return Counter(map(told, cursor.execute(f"select * from {table}".encode()).fetchall()))


def told(row: dict[str, Any]) -> str:
    """A row such that 1.0 is not 1.00."""
    return repr(sorted(row.items()))


def everything(connection: Database) -> dict[str, Contents]:
    """All tables to the last bit."""
    return {
        table: Counter(row[0] for row in connection.execute(f"select t::text from {table} as t".encode()).fetchall())
        for table in TABLES
    }


def answered(connection: Database, table: str, **moment: Any) -> Contents:
    return Counter(told(state.row) for state in audit.as_of(connection, table, **moment))


@bounded
@given(transactions=st.lists(st.lists(CHANGES | TRUNCATES, min_size=1, max_size=5), min_size=1, max_size=6))
def test_by_time_where_transactions_follow_each_other(database: Database, transactions: list[list[str]]) -> None:
    copies = [copied(database)]
    for changes in transactions:
        attempt_all(database, changes)
        copies.append(copied(database))
    for at, copy in copies:
        for table in TABLES:
            assert answered(database, table, at=at) == copy[table], table
    check_rows(database, *copies[-2])
    for (since, before), (until, after) in pairwise(copies):
        for table in TABLES:
            check_difference(database, table, before[table], after[table], since=since, until=until)


def attempt_all(connection: Database, changes: list[str]) -> None:
    with suppress(psycopg.IntegrityError), connection.transaction():
        for change in changes:
            attempt(connection, change)


def copied(connection: Database) -> tuple[Any, dict[str, Contents]]:
    [(at,)] = connection.execute("select clock_timestamp()").fetchall()
    return at, {table: contents(connection, table) for table in TABLES}


def check_rows(connection: Database, at: Any, copy: dict[str, Contents]) -> None:
    for table in ("keyed", "loose", "split"):
        found: Contents = Counter()
        for key in range(-1, 8):
            found.update(told(state.row) for state in audit.as_of(connection, table, key, at=at))
        expected = Counter(
            {row: n for row, n in copy[table].items() if any(f"('id', {k})" in row for k in range(-1, 8))}
        )
        assert found == expected, table


def check_difference(connection: Database, table: str, before: Contents, after: Contents, **moments: Any) -> None:
    found = list(audit.diff(connection, table, **moments))
    assert Counter(told(difference.old) for difference in found if difference.old is not None) == before - after, table
    assert Counter(told(difference.new) for difference in found if difference.new is not None) == after - before, table


CONCURRENT = st.tuples(st.integers(0, 1), CHANGES | st.sampled_from(["begin", "commit", "rollback", "truncate keyed"]))


@pytest.fixture
def writers(connect: Connect, database: Database) -> list[Database]:
    made = [connect(autocommit=True) for _ in range(2)]
    for connection in made:
        connection.execute("set lock_timeout = '5ms'")
    return made


@bounded
@given(moves=st.lists(st.tuples(CONCURRENT, st.booleans()), min_size=1, max_size=25))
def test_by_snapshot_where_transactions_overlap(
    database: Database, writers: list[Database], moves: list[tuple[tuple[int, str], bool]]
) -> None:
    copies: list[tuple[str, dict[str, Contents]]] = []
    for (writer, change), look in moves:
        do(writers[writer], change)
        if look:
            copies.append(seen(database))
    for connection in writers:
        do(connection, "commit")
    copies.append(seen(database))
    for snapshot, copy in copies:
        for table in TABLES:
            assert answered(database, table, snapshot=snapshot) == copy[table], table
    for (since, before), (until, after) in pairwise(copies):
        for table in TABLES:
            moments = {"from_snapshot": since, "to_snapshot": until}
            check_difference(database, table, before[table], after[table], **moments)


def do(connection: Database, change: str) -> None:
    in_transaction = connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
    if change in ("begin", "commit", "rollback"):
        if in_transaction != (change == "begin"):
            with suppress(psycopg.IntegrityError):
                connection.execute(change.encode())
        return
    attempt(connection, change)


def seen(connection: Database) -> tuple[str, dict[str, Contents]]:
    """What a report that ran now would be shown, and by which snapshot."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        [(snapshot,)] = connection.execute("select pg_current_snapshot()::text").fetchall()
        return snapshot, {table: contents(connection, table) for table in TABLES}


@bounded
@given(start=st.lists(CHANGES, max_size=10), changes=st.lists(CHANGES, min_size=1, max_size=8), as_script=st.booleans())
def test_an_undone_transaction_is_as_if_it_never_was(
    database: Database, start: list[str], changes: list[str], as_script: bool
) -> None:
    attempt_all(database, start)
    before = everything(database)
    xid = transaction_of(database, changes)
    after = everything(database)
    with suppress(errors.NotInLog):
        undoing = undone(database, xid)
        if undoing is None:
            return
        assert everything(database) == before
        if undoing.transaction is not None and as_script:
            # By its statements it comes to the same as by itself.
            script = ";".join(audit.undo(database, transaction=undoing.transaction, rehearse=True).statements)
            assert everything(database) == before
            database.execute(script.encode())
            assert everything(database) == after
            return
        if undoing.transaction is None:
            assert before == after
            return
        again = undone(database, undoing.transaction)
        if again is None or again.transaction is None:
            assert again is None
            return
        assert everything(database) == after
        if undone(database, again.transaction):
            assert everything(database) == before


def undone(connection: Database, xid: int) -> audit.Undoing | None:
    """Undo a transaction. None if it was refused, which only rows that the log cannot tell from each other excuse: nothing changed."""
    before = everything(connection)
    try:
        return audit.undo(connection, transaction=xid, actor="eve")
    except errors.UndoConflict:
        assert everything(connection) == before
        [(alike,)] = connection.execute(
            """select count(*) from rowcall.event as e join rowcall.relation as r on r.id = e.relation
            where e.xid = %s::text::xid8 and r.table_name in ('bare', 'loose')""",
            (str(xid),),
        ).fetchall()
        assert alike
        return None


def transaction_of(connection: Database, changes: list[str]) -> int:
    with suppress(psycopg.IntegrityError), connection.transaction():
        [(xid,)] = connection.execute("select pg_current_xact_id()::text::bigint").fetchall()
        for change in changes:
            attempt(connection, change)
        return int(xid)
    return 3


@bounded
@given(data=st.data(), changes=st.lists(st.lists(CHANGES, min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_cannot_be_undone_changes_nothing(
    database: Database, data: st.DataObject, changes: list[list[str]]
) -> None:
    xids = [transaction_of(database, some) for some in changes]
    before = everything(database)
    xid = data.draw(st.sampled_from(xids))
    try:
        audit.undo(database, transaction=xid)
    except (errors.UndoConflict, errors.NotInLog):
        assert everything(database) == before


@bounded
# One change each: of a transaction that changed a row and changed it back, nothing is left that could be undone, and the change
# stays in the way of undoing earlier ones.
@given(changes=st.lists(st.lists(CHANGES, min_size=1, max_size=1), min_size=1, max_size=6))
def test_one_transaction_after_the_other_the_last_one_first(database: Database, changes: list[list[str]]) -> None:
    before = everything(database)
    xids = [transaction_of(database, some) for some in changes]
    for xid in reversed(xids):
        with suppress(errors.NotInLog):
            if not undone(database, xid):
                return
    assert everything(database) == before
