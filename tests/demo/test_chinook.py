"""The music shop: the demo on real input, and its parts on little tables of their own."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowcall import errors
from rowcall.audit import Filter, history
from rowcall.demo.chinook import loading, replay
from rowcall.demo.chinook.app import TABLES, app, keep_revenue
from rowcall.demo.chinook.day import HOURS, Day
from rowcall.event import Event
from rowcall.postgres import declarations
from rowcall.watch import Watch
from tests.conftest import Connect
from tests.demo.conftest import RunDemo

pytestmark = pytest.mark.timeout(90)

SCHEMA = (files("rowcall.demo.chinook") / "tables.sql").read_bytes()

BY_COUNTRY = """
select coalesce(billing_country, 'nowhere'), sum(unit_price * quantity)
from invoice join invoice_line using (invoice_id) group by 1 having sum(unit_price * quantity) <> 0
"""


def test_the_shop_survives_its_day(run_demo: RunDemo, chinook: Path) -> None:
    done = run_demo("--chinook", str(chinook))
    assert (done.returncode, done.stderr) == (0, "")
    proof = done.stdout.partition("Nothing was lost")[2].splitlines()[1:]
    expected = [
        r"✓ 15,607 rows loaded = 15,607 insert events",
        r"✓ ([\d,]+) events logged = \1 events handled",
        r"✓ ([\d,.]+) revenue kept by the handler = \1 summed by SQL",
        r"✓ (\d+) countries = \1 where they agree",
        r"✓ 11 tables of [\d,]+ rows = 11 made anew from the log",
    ]
    for line, pattern in zip(proof, expected, strict=False):
        assert re.fullmatch(pattern, line)
    assert len(proof) == len(expected) + 1
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_a_folder_without_the_files_is_refused(run_demo: RunDemo, place: Path) -> None:
    done = run_demo("--chinook", str(place))
    assert done.returncode == errors.UsageError.exit_code
    assert "it has no artist.csv, genre.csv" in done.stderr
    assert done.stdout == ""


def test_a_day_is_the_same_for_the_same_seed(dsn: str, connect: Connect, chinook: Path) -> None:
    assert digest(dsn, connect, chinook) == digest(dsn, connect, chinook)


def digest(dsn: str, connect: Connect, data: Path) -> list[Any]:
    """What all tables come to after a morning."""
    tills = [connect(dsn, autocommit=True) for _ in range(3)]
    tills[0].execute(SCHEMA)
    list(loading.load(tills[0], data))
    day = Day(tills)
    told = [day.hour(hour) for hour in HOURS[:4]]
    sums = [
        tills[0].execute(f"select md5(string_agg(t::text, '' order by t::text)) from {table} as t".encode()).fetchone()
        for table in TABLES
    ]
    tills[0].execute("drop schema public cascade; create schema public")
    return told + sums


@pytest.fixture
def shop(dsn: str, connect: Connect) -> psycopg.Connection[Any]:
    """The shop's tables, empty and watched."""
    connection = connect(autocommit=True)
    connection.execute(SCHEMA)
    with connect() as synchronising:
        declarations.synchronise(synchronising, app, "shop")
    connection.execute("insert into customer (customer_id, first_name, last_name, email) values (1, 'A', 'B', 'c')")
    connection.execute("insert into media_type values (1, 'tape')")
    connection.execute("insert into track values (1, 'Song', null, 1, null, null, 1, null, 1)")
    return connection


INVOICES = st.integers(1, 3)
LINES = st.integers(1, 4)
COUNTRIES = st.sampled_from(["'Peru'", "'Chad'", "null"])
PRICES = st.sampled_from(["0.99", "1.10", "2"])
STATEMENTS = st.one_of(
    st.builds(
        "insert into invoice (invoice_id, customer_id, invoice_date, billing_country, total)"
        " values ({}, 1, now(), {}, 0) on conflict do nothing".format,
        INVOICES,
        COUNTRIES,
    ),
    st.builds(
        "insert into invoice_line select {0}, {1}, 1, {2}, 2 from invoice where invoice_id = {1}"
        " on conflict do nothing".format,
        LINES,
        INVOICES,
        PRICES,
    ),
    st.builds("update invoice set billing_country = {1} where invoice_id = {0}".format, INVOICES, COUNTRIES),
    st.builds("update invoice_line set unit_price = {1} where invoice_line_id = {0}".format, LINES, PRICES),
    st.builds(
        "update invoice_line set invoice_id = (select min(invoice_id) from invoice) where invoice_line_id = {}".format,
        LINES,
    ),
    st.builds("delete from invoice where invoice_id = {}".format, INVOICES),
    st.builds("delete from invoice_line where invoice_line_id = {}".format, LINES),
    st.sampled_from(["truncate invoice cascade", "truncate invoice_line"]),
)


# Each example starts from what the one before left, so the figures have to stay right for long.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements=st.lists(STATEMENTS, min_size=1, max_size=12), size=st.integers(1, 5))
def test_the_revenue_is_right_whatever_happens(shop: psycopg.Connection[Any], statements: list[str], size: int) -> None:
    start = last_seq(shop)
    for statement in statements:
        shop.execute(statement.encode())
    events = [event for event in log(shop, "public.invoice*") if (event.seq or 0) > start]
    for first in range(0, len(events), size):
        with shop.transaction():
            keep_revenue(events[first : first + size], shop)
    kept = shop.execute("select country, amount from revenue where amount <> 0").fetchall()
    assert sorted(kept) == sorted(shop.execute(BY_COUNTRY).fetchall())


def test_the_revenue_needs_no_order_between_rows(shop: psycopg.Connection[Any]) -> None:
    shop.execute("insert into invoice values (1, 1, now(), null, null, null, 'Peru', null, 0)")
    shop.execute("insert into invoice_line values (1, 1, 1, 0.99, 3)")
    shop.execute("update invoice set billing_country = 'Chad'")
    events = log(shop, "public.invoice*")
    with shop.transaction():
        keep_revenue([event for event in events if event.table == "public.invoice_line"], shop)
        keep_revenue([event for event in events if event.table == "public.invoice"], shop)
    assert shop.execute("select country, amount::text from revenue where amount <> 0").fetchall() == [("Chad", "2.97")]


def log(connection: psycopg.Connection[Any], table: str | None = None) -> list[Event]:
    return list(history.log(connection, Filter(table=table)))


def last_seq(connection: psycopg.Connection[Any]) -> int:
    return max((event.seq or 0 for event in log(connection)), default=0)


@pytest.fixture
def things(dsn: str, connect: Connect) -> psycopg.Connection[Any]:
    """Two tables that make replaying hard, with a little history; their empty copies in schema `again`."""
    connection = connect(autocommit=True)
    connection.execute(
        'create table things (a int, "B b" text, n numeric, at timestamptz, raw bytea, tags text[],'
        ' primary key (a, "B b"))'
    )
    connection.execute("create table gone (id int primary key)")
    for table in ("things", "gone"):
        declarations.watch(connection, Watch.of(table), "test")
    connection.execute(
        "insert into things select i, 'ä' || i, i / 3.0, now(), '\\x00ff', '{x,null}' from generate_series(1, 5) i"
    )
    connection.execute("insert into gone select generate_series(1, 3)")
    connection.execute("update things set n = 'NaN', tags = null where a = 1")
    connection.execute("update things set a = a + 10, n = 1.50 where a = 2")
    connection.execute("delete from things where a = 3")
    connection.execute("truncate gone")
    connection.execute("insert into gone values (7)")
    replay.empty_copies(connection, ["things", "gone"], "again")
    return connection


def test_replaying_the_log_makes_the_tables_anew(things: psycopg.Connection[Any]) -> None:
    events = log(things)
    assert replay.replay(things, events, "again") == len(events)
    assert things.execute("select count(*) from again.things").fetchone() == (4,)
    assert [replay.differences(things, table, "again") for table in ("things", "gone")] == [0, 0]


def test_a_difference_in_either_direction_is_found(things: psycopg.Connection[Any]) -> None:
    replay.replay(things, log(things), "again")
    things.execute("update again.things set n = 1.5 where a = 12")  # equal, but not written alike
    things.execute("delete from again.gone")
    assert [replay.differences(things, table, "again") for table in ("things", "gone")] == [2, 1]
