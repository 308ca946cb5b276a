"""What a handler receives: values as Python holds them, old and new whole."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from math import isnan
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcall.event import Event, Layout, Operation, decoder
from tests.examples import bounded


def event(
    operation: Operation, old: bytes | None = None, new: bytes | None = None, types: dict[str, str] | None = None
) -> Event:
    layout = Layout("public.t", {name: decoder(kind) for name, kind in (types or {}).items()}, ("id",))
    return Event(1, 2, datetime.now(UTC), operation, None, {}, "x-1", layout, b'{"id": 1}', old, new, 3)


@pytest.mark.parametrize(
    ("kind", "stored", "value"),
    [
        ("integer", b"7", 7),
        ("bigint", b"9223372036854775807", 2**63 - 1),
        ("numeric", b"1.10", Decimal("1.10")),
        ("numeric(10,2)", b"7", Decimal(7)),
        ("numeric", b"123456789012345678901234567890.5", Decimal("123456789012345678901234567890.5")),
        ("numeric", b'"Infinity"', Decimal("Infinity")),
        ("double precision", b'"-Infinity"', float("-inf")),
        ("real", b"0.1", 0.1),
        ("boolean", b"true", True),
        ("text", b'"{\\"a\\": 1}"', '{"a": 1}'),
        ("timestamp with time zone", b'"2026-11-22T10:00:00.5+00:00"', datetime(2026, 11, 22, 10, 0, 0, 500000, UTC)),
        ("timestamp(3) with time zone", b'"2026-11-22T10:00:00+00:00"', datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("timestamp without time zone", b'"2026-11-22T10:00:00"', datetime(2026, 11, 22, 10)),  # noqa: DTZ001
        ("timestamp with time zone", b'"infinity"', "infinity"),
        ("timestamp with time zone", b'"0044-03-15T12:00:00+00:00 BC"', "0044-03-15T12:00:00+00:00 BC"),
        ("date", b'"10000-01-01"', "10000-01-01"),
        ("date", b'"2026-11-22"', date(2026, 11, 22)),
        ("time without time zone", b'"10:00:00"', time(10)),
        ("time with time zone", b'"10:00:00+02"', time(10, tzinfo=timezone(timedelta(hours=2)))),
        ("uuid", b'"6f9619ff-8b86-d011-b42d-00cf4fc964ff"', UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")),
        ("bytea", b'"\\\\x00ff"', b"\x00\xff"),
        ("json", b'"{\\"a\\":  [1, null]}"', {"a": [1, None]}),
        ("json", b'"null"', None),
        ("jsonb", b'{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        ("jsonb", b'"text"', "text"),
        ("integer[]", b"[1, null, 3]", [1, None, 3]),
        ("numeric[]", b"[1, 2.50]", [Decimal(1), Decimal("2.50")]),
        ("numeric(10,2)[]", b"[[1.00], [2.50]]", [[Decimal("1.00")], [Decimal("2.50")]]),
        ("date[]", b'["2026-11-22", "infinity"]', [date(2026, 11, 22), "infinity"]),
        ("json[]", b'["{\\"a\\": 1}", null]', [{"a": 1}, None]),
        ("jsonb[]", b'[{"a": 1}, [2], null]', [{"a": 1}, [2], None]),
        ("double precision[]", b'[1.5, "Infinity"]', [1.5, float("inf")]),
        ("my_type", b'"(1,2)"', "(1,2)"),
    ],
)
def test_a_value_comes_as_its_type_asks(kind: str, stored: bytes, value: Any) -> None:
    decoded = decoder(kind)(stored)
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    "kind",
    ["numeric", "real", "date", "uuid", "bytea", "json", "jsonb", "text", "integer[]", "timestamp with time zone"],
)
def test_null_is_none_in_every_type(kind: str) -> None:
    assert decoder(kind)(b"null") is None


@pytest.mark.parametrize("kind", ["numeric", "real", "double precision"])
def test_not_a_number_is_one(kind: str) -> None:
    assert isnan(decoder(kind)(b'"NaN"'))


@pytest.mark.parametrize("kind", ["jsonb", "json", "my_domain", "real[]", "numeric[]"])
def test_a_number_beyond_every_float_can_still_be_delivered(kind: str) -> None:
    huge = b"1" + b"0" * 400 + b".5"
    stored = {"json": msgspec.json.encode(huge.decode()), "real[]": b"[1]", "numeric[]": b"[" + huge + b"]"}.get(
        kind, huge
    )
    value = decoder(kind)(stored)
    assert (value[0] if kind == "numeric[]" else value) == (Decimal(huge.decode()) if kind != "real[]" else [1.0])


def quoted(text: str) -> bytes:
    return msgspec.json.encode(text)


@bounded
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_round_trip(value: Decimal) -> None:
    assert f"{decoder('numeric')(f'{value:f}'.encode()):f}" == f"{value:f}"


@bounded
@given(st.datetimes(timezones=st.just(UTC)))
def test_timestamps_round_trip(value: datetime) -> None:
    assert decoder("timestamp with time zone")(quoted(value.isoformat())) == value


@bounded
@given(st.dates())
def test_dates_round_trip(value: date) -> None:
    assert decoder("date")(quoted(value.isoformat())) == value


@bounded
@given(st.binary())
def test_bytes_round_trip(value: bytes) -> None:
    assert decoder("bytea")(quoted("\\x" + value.hex())) == value


@bounded
@given(st.uuids())
def test_uuids_round_trip(value: UUID) -> None:
    assert decoder("uuid")(quoted(str(value))) == value


@bounded
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])), st.lists
    )
)
def test_json_round_trips_both_ways_of_storing_it(value: Any) -> None:
    stored = msgspec.json.encode(value)
    assert decoder("jsonb")(stored) == value
    assert decoder("json")(quoted(stored.decode())) == value


some_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda values: st.lists(values) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values),
)


@bounded
@given(st.sampled_from(["numeric", "real", "date", "uuid", "bytea", "json", "jsonb", "text", "numeric[]"]), some_json)
def test_no_value_of_another_type_can_stop_an_event(kind: str, value: Any) -> None:
    # As after ALTER TYPE, before the table is watched anew.
    decoder(kind)(msgspec.json.encode(value))


def test_old_is_whole_although_only_what_differs_is_stored() -> None:
    update = event("update", old=b'{"a": 1}', new=b'{"id": 1, "a": 2, "b": "x"}')
    assert update.old == {"id": 1, "a": 1, "b": "x"}
    assert update.new == {"id": 1, "a": 2, "b": "x"}
    assert update.changed == ("a",)


@pytest.mark.parametrize(("operation", "old", "new"), [("insert", None, b'{"id": 1}'), ("delete", b'{"id": 1}', None)])
def test_only_updates_have_changed_columns(operation: Operation, old: bytes | None, new: bytes | None) -> None:
    made = event(operation, old, new)
    assert made.changed == ()
    assert (made.old is None, made.new is None) == (old is None, new is None)


def test_a_truncate_has_neither_key_nor_rows() -> None:
    layout = Layout("public.t", {}, ("id",))
    truncate = Event(1, 2, datetime.now(UTC), "truncate", None, {}, "x-1", layout, None, None, None, 3)
    assert (truncate.key, truncate.old, truncate.new, truncate.changed) == ({}, None, None, ())


def test_a_column_that_was_dropped_in_between_counts_as_changed() -> None:
    assert event("update", old=b'{"gone": 1}', new=b'{"id": 1}').changed == ("gone",)


@pytest.mark.parametrize(("old", "new"), [(b"1.0", b"1.00"), (b"-0.0", b"0.0")])
def test_values_that_are_equal_but_written_differently_are_changed(old: bytes, new: bytes) -> None:
    wrap: Callable[[bytes], bytes] = lambda value: b'{"a": ' + value + b"}"  # noqa: E731
    assert event("update", wrap(old), wrap(new), {"a": "numeric"}).changed == ("a",)
