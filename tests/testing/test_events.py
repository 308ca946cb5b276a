"""Events made by hand give back what they were made of."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rowcall import errors
from rowcall.event import Operation
from rowcall.testing import make_event
from tests.examples import bounded

VALUES = [
    *(None, True, False, 0, 1, 2**70, -(2**40), 1.0, 0.1, -0.0, math.inf, Decimal("1.10"), Decimal("1E+3")),
    *("", "x", "1", "null", "\\x00", "2026-11-22", b"", b"\x00\xff", UUID(int=7)),
    *(date(2026, 11, 22), time(10), datetime(2026, 11, 22, 10), datetime(2026, 11, 22, 10, tzinfo=UTC)),  # noqa: DTZ001
    *(datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=2))), [], [1, None, Decimal("2.50")], {}),
    *({"a": [1.5, {"b": None}]}, [date(2026, 11, 22)], (1, 2)),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was_given(value: Any) -> None:
    for event in (
        make_event("t", "insert", new={"id": 1, "value": value}),
        replace(make_event("t", "update", old={"id": 1, "value": "before"}, new={"value": value})),
    ):
        assert event.new is not None
        back = event.new["value"]
        assert (type(back), back, repr(back)) == (type(value), value, repr(value))
    deleted = make_event("t", "delete", key={"value": value}, old={"value": value})
    assert repr((deleted.key, deleted.old)) == repr(({"value": value}, {"value": value}))


def test_not_a_number_too() -> None:
    event = make_event("t", "insert", new={"a": math.nan, "b": Decimal("NaN")})
    assert event.new is not None
    assert repr(event.new) == "{'a': nan, 'b': Decimal('NaN')}"


storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False)
    | storable
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | st.lists(st.integers() | storable)
    | st.dictionaries(storable, st.integers())
)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@bounded
@given(st.dictionaries(names, values))
def test_any_row(row: dict[str, Any]) -> None:
    assert repr(make_event("t", "insert", new=row).new) == repr(row)
    assert repr(make_event("t", "delete", old=row).old) == repr(row)
    assert repr(make_event("t", "update", old=row, new=row).old) == repr(row)


def test_everything_else_of_an_event() -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    event = make_event(
        "shop.orders",
        "update",
        key={"shop": "a", "number": 1},
        old={"shop": "a", "number": 1, "total": Decimal("1.0")},
        new={"number": 2, "total": Decimal("1.00")},
        actor="ann",
        context={"request_id": "r-1"},
        at=at,
        seq=7,
        xid=9,
    )
    assert (event.table, event.operation, event.key) == ("shop.orders", "update", {"shop": "a", "number": 1})
    assert event.new == {"shop": "a", "number": 2, "total": Decimal("1.00")}
    assert set(event.changed) == {"number", "total"}
    assert (event.actor, event.context, event.at, event.seq, event.xid) == ("ann", {"request_id": "r-1"}, at, 7, 9)
    assert event.id == make_event("t", "truncate", seq=7).id
    assert event.raw_next_key == b'{"shop":"a","number":2}'


def test_what_is_left_out() -> None:
    one, other = (make_event("users", "insert", new={"id": 3, "name": "Ada"}) for _ in range(2))
    assert one.seq is not None
    assert other.seq == one.seq + 1
    assert one.id != other.id
    assert (one.table, one.key, one.actor, one.context) == ("public.users", {"id": 3}, None, {})
    assert one.at.tzinfo is UTC
    assert make_event("users", "delete", old={"name": "Ada"}).key == {}
    update = make_event("users", "update", old={"email": "a"}, new={"id": 3, "email": "b"})
    assert (update.key, update.old, update.changed) == ({"id": 3}, {"id": 3, "email": "a"}, ("email",))
    truncate = make_event("users", "truncate")
    assert (truncate.key, truncate.old, truncate.new, truncate.changed) == ({}, None, None, ())


def test_what_a_handler_does_to_a_row_stays_with_it() -> None:
    row = {"tags": ["a"]}
    event = make_event("t", "insert", new=row)
    assert event.new is not None
    event.new["tags"].append("b")
    assert row == {"tags": ["a"]}
    assert replace(event).new == row


def test_a_model_is_a_table() -> None:
    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "Orders"
        __table_args__ = {"schema": "shop"}  # noqa: RUF012 - as SQLAlchemy has it
        id: Mapped[int] = mapped_column(primary_key=True)

    assert make_event(Order, "insert", new={"id": 1}).table == "shop.Orders"


@pytest.mark.parametrize(
    ("operation", "rows", "said"),
    [
        ("insert", {}, r"insert of public\.t lacks its new row: pass new=\{…\}"),
        ("insert", {"old": {}, "new": {}}, r"insert of public\.t has no old row: leave out old="),
        ("update", {"new": {}}, "lacks its old row"),
        ("delete", {"new": {}, "old": {}}, "has no new row"),
        ("truncate", {"old": {}}, "has no old row"),
        ("upsert", {}, "operation 'upsert' is not possible: choose from insert, update"),
        ("insert", {"new": {"a": object()}}, "is not a value that a column can have"),
        ("insert", {"new": {"a": "\0"}}, "is not a value that a column can have"),
    ],
)
def test_what_cannot_be(operation: Operation, rows: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.UsageError, match=said):
        make_event("t", operation, **rows)
