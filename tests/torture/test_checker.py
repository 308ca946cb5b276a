"""The torture test can fail: where delivery is broken on purpose, its checker says so."""

from pathlib import Path

import pytest

from tests.command import fine
from tests.conftest import Connect, Database
from tests.listeners import program
from tests.torture import check, tables
from tests.waiting import eventually

_TARGET = "tests.torture.sabotage:app"
#: Far beyond what a ring takes, far below the backstop that the sabotage sets.
_SOON = 3.0


@pytest.fixture
def database(dsn: str, connect: Connect) -> Database:
    """A database with the tables and the app in place."""
    connection = connect(autocommit=True)
    tables.create(connection)
    fine("sync", "tests.torture.app:app", "--dsn", dsn)
    return connection


def deliver(database: Database) -> None:
    """Apply what is in the log as handlers would, in one transaction."""
    database.execute("""
        insert into copies (subscription, seq, stamp, pid)
        select s.name, e.seq, (e.new ->> 'stamp')::bigint, 0
        from rowcall.event as e cross join unnest(array['each', 'batch', 'session', 'selection']) as s (name)
        order by e.seq
    """)


def insert_out_of_order(database: Database, other: Database) -> None:
    """One transaction with a smaller number commits after one with a larger number was applied."""
    with other.transaction():
        tables.insert_item(other, 1)
        tables.insert_item(database, 2)
        eventually(lambda: check.copied_counts(database)["each"] == 1)
        eventually(lambda: set(check.copied_counts(database).values()) == {1})
    tables.insert_item(database, 3)
    eventually(lambda: min(check.copied_counts(database).values()) >= 2)


def test_green_with_a_window_of_two_snapshots(
    dsn: str, database: Database, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWCALL_SABOTAGE", "nothing")
    with program(tmp_path, _TARGET, dsn):
        insert_out_of_order(database, connect())
        eventually(lambda: check.is_delivered(database))
    assert check.problems(database) == []


def test_red_when_the_window_forgets_running_transactions(
    dsn: str, database: Database, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWCALL_SABOTAGE", "forget running transactions")
    with program(tmp_path, _TARGET, dsn):
        insert_out_of_order(database, connect())
    [problem] = check.problems(database)
    assert problem.startswith("never applied: 4, such as")
    assert "'key': {'id': 1}" in problem


_READING = """
    select count(*) from (select from rowcall.cursor group by subscription having bool_and(owner is not null)) as s
"""


def insert_and_be_followed(database: Database) -> None:
    """Give the listener something to do, after which its sabotage writes.

    Once all subscriptions read: one that came later would read it by itself, and nobody would lie down again after that.
    """
    eventually(lambda: database.execute(_READING).fetchone() == (len(check.SUBSCRIPTIONS),))
    tables.insert_item(database, 1)
    eventually(lambda: check.expected_counts(database)["each"] == 2)


def test_green_with_a_reading_after_the_lock(
    dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWCALL_SABOTAGE", "write before the lock")
    monkeypatch.setenv("ROWCALL_SABOTAGE_DSN", dsn)
    with program(tmp_path, _TARGET, dsn):
        insert_and_be_followed(database)
        eventually(lambda: check.is_delivered(database), _SOON)
    assert check.problems(database) == []


def test_red_when_it_sleeps_without_reading(
    dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWCALL_SABOTAGE", "sleep without reading")
    monkeypatch.setenv("ROWCALL_SABOTAGE_DSN", dsn)
    with program(tmp_path, _TARGET, dsn):
        insert_and_be_followed(database)
        with pytest.raises(
            AssertionError, match="never applied: {'each': 1, 'batch': 1, 'session': 1, 'selection': 1}"
        ):
            eventually(lambda: check.is_delivered(database), _SOON)
    [problem] = check.problems(database)
    assert problem.startswith("never applied: 4, such as")


def three_changes_of_a_row(database: Database) -> None:
    tables.insert_item(database, 1)
    for price, name in enumerate(("move", "move back"), start=2):
        database.execute(tables.ITEM[name], {"low": 1, "high": 1, "price": price})


def test_green_when_all_is_applied_as_it_was_logged(database: Database) -> None:
    three_changes_of_a_row(database)
    deliver(database)
    with database.transaction():
        tables.truncate(database)
    for name in ("each", "batch", "session"):
        database.execute(
            "insert into copies (subscription, seq, pid) select %s, max(seq), 0 from rowcall.event", (name,)
        )
    assert check.problems(database) == []


_EACH = "from copies where subscription = 'each' order by seq limit 1"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (f"delete from copies where place = (select place {_EACH})", "never applied: 1"),
        (f"insert into copies (subscription, seq, stamp, pid) select 'each', seq, stamp, 0 {_EACH}", "applied more than once: 1"),
        (f"insert into copies (subscription, seq, pid) select 'each', 999, 0 {_EACH}", "applied though not for this subscription: 1"),
        ("update copies set stamp = 999 where subscription = 'each' and stamp = 1", "applied with another row: 1"),
        # Its key is another one by then; the same row all the same.
        ("update copies set place = place + 100 where subscription = 'each' and stamp = 1", "applied out of order: 1"),
        ("update copies set xid = pg_current_xact_id() where subscription = 'each' and stamp = 2", "applied out of order: 3"),
        ("delete from journal where stamp = 3", "in the log and not committed: 1"),
        ("insert into journal (source, operation) values ('item', 'truncate')", "committed and not in the log: 1"),
        ("alter table item disable trigger all; truncate item", "the log is no history: item has 0 rows and 1"),
    ],
)  # fmt: skip
def test_red_when_one_thing_is_wrong(database: Database, damage: str, problem: str) -> None:
    three_changes_of_a_row(database)
    deliver(database)
    database.execute(damage)
    assert check.problems(database)[0].startswith(problem)


def test_red_when_something_stays_parked(database: Database) -> None:
    three_changes_of_a_row(database)
    deliver(database)
    database.execute(
        "insert into rowcall.parked (subscription, seq, relation) select s.id, e.seq, e.relation"
        " from rowcall.subscription as s, rowcall.event as e where s.name = 'batch' limit 1"
    )
    [problem] = check.problems(database)
    assert problem.startswith("parked or dead: 1")
