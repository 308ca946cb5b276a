"""A customer of the music shop asks to be forgotten: the values go, and the log is proven all the same."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import audit
from rowcall.audit.sealing import seal_pending
from rowcall.audit.verify import verify
from rowcall.demo.chinook import loading
from rowcall.demo.chinook.app import TABLES
from rowcall.demo.chinook.day import HOURS, Day
from tests.command import fine
from tests.conftest import Connect
from tests.demo.conftest import chinook
from tests.demo.test_chinook import SCHEMA

__all__ = ["chinook"]

Database = psycopg.Connection[Any]
_PERSONAL = ("first_name", "last_name", "address", "phone", "email")
_CUSTOMER = 6


@pytest.fixture
def shop(dsn: str, connect: Connect, chinook: Path) -> Database:
    """The shop after two hours of a day, with all its changes sealed."""
    connection = connect(autocommit=True)
    connection.execute(SCHEMA)
    fine("watch", *(table for table in TABLES if table != "customer"), "--dsn", dsn)
    fine("watch", "customer", *(word for name in _PERSONAL for word in ("--erasable", name)), "--dsn", dsn)
    list(loading.load(connection, chinook))
    day = Day([connection, connect(autocommit=True), connect(autocommit=True)])
    for hour in HOURS[:2]:
        day.hour(hour)
    connection.execute(
        "update customer set email = 'other@example.org', company = 'None' where customer_id = %s", (_CUSTOMER,)
    )
    seal_pending(connection)
    return connection


@pytest.mark.timeout(120)
def test_what_is_erased_is_gone_and_everything_else_is_proven(dsn: str, shop: Database) -> None:
    before = list(audit.row(shop, "customer", str(_CUSTOMER)))
    [values] = shop.execute(
        "select email, phone, last_name from customer where customer_id = %s", (_CUSTOMER,)
    ).fetchall()
    others = [state for state in audit.as_of(shop, "customer", at="tomorrow") if state.key["customer_id"] != _CUSTOMER]
    assert verify(shop).findings == []
    fine("audit", "erase", "customer", str(_CUSTOMER), "--yes", "--dsn", dsn)
    seal_pending(shop)
    found = verify(shop)
    assert found.findings == []
    assert found.events == shop.execute("select count(*) from rowcall.event").fetchone()[0]  # type: ignore[index]
    for value in values:
        [(left,)] = shop.execute(
            "select count(*) from rowcall.event as e join rowcall.relation as r on r.id = e.relation"
            " where r.table_name = 'customer' and strpos(concat(e.old, e.new), %s) > 0 and (e.key ->> 'customer_id')::int = %s",
            (value, _CUSTOMER),
        ).fetchall()
        assert left == 0
    after = list(audit.row(shop, "customer", str(_CUSTOMER)))
    assert [event.seq for event in after] == [event.seq for event in before]
    assert after[-1].new is not None
    assert (after[-1].new["company"], after[-1].new["email"]) == ("None", None)
    assert others == [
        state for state in audit.as_of(shop, "customer", at="tomorrow") if state.key["customer_id"] != _CUSTOMER
    ]
    # The shop's own table is nobody's business but the shop's.
    assert shop.execute("select phone from customer where customer_id = %s", (_CUSTOMER,)).fetchone() == (values[1],)
