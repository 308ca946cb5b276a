"""The log's partitions for the months to come are made by what runs anyway."""

from typing import Any

import pytest

from rowcall import Rowcall
from tests.command import fine
from tests.conftest import Connect, Database
from tests.listeners import listening, sync
from tests.waiting import eventually

_PARTITIONS = "select count(*) from pg_inherits where inhparent = 'rowcall.event'::regclass"


@pytest.fixture
def short(connect: Connect) -> Database:
    """A log as it is after years: its last partition begins next month."""
    connection = connect(autocommit=True)
    connection.execute("set timezone = 'UTC'")
    connection.execute("""
        do $$
        declare v_partition regclass;
        begin
          for v_partition in select inhrelid from pg_inherits where inhparent = 'rowcall.event'::regclass
            and inhrelid <> 'rowcall.event_first'::regclass
          loop
            execute format('drop table %s', v_partition);
          end loop;
          perform rowcall.create_partition_v1((date_trunc('month', now()) + interval '1 month')::text, 'maxvalue');
        end $$""")
    return connection


def count(database: Database) -> Any:
    row = database.execute(_PARTITIONS).fetchone()
    assert row
    return row[0]


def test_by_migrating(dsn: str, short: Database) -> None:
    fine("migrate", "--dsn", dsn)
    assert count(short) == 5
    fine("migrate", "--dsn", dsn)
    assert count(short) == 5


def test_by_a_listener_which_waits_for_no_writer(dsn: str, short: Database, connect: Connect) -> None:
    short.execute("create table t (id int primary key)")
    app = Rowcall()
    app.watch("t")
    seen: list[Any] = []
    app.after("t")(lambda event: seen.append(event.key["id"]))
    sync(app, dsn)
    writer = connect()
    writer.execute("insert into t values (1)")
    with listening(app, dsn):
        short.execute("insert into t values (2)")
        eventually(lambda: seen == [2])
    assert count(short) == 2
    writer.commit()
    with listening(app, dsn):
        eventually(lambda: count(short) == 5)
        eventually(lambda: seen == [2, 1])
