"""Every value comes back as it was, however odd its type, whatever the session's settings, and at no cost where nothing is odd."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.capture.conftest import Place, takes_long
from tests.capture.kinds import KINDS, Kind, available
from tests.capture.replay import assert_replayed

# Column type, text of a value, what JSON makes of it, what "exact" must hold, and what Python gets.
LOSSES: Sequence[tuple[str, str, Any, str, Any]] = (
    ("jsonb", "null", None, "null", None),
    ("kinds.document", "null", None, "null", None),
    ("double precision", "-0", 0, "-0", -0.0),
    ("real", "-0", 0, "-0", -0.0),
    ("kinds.score", "-0", 0, "-0", Decimal("-0.0")),
    ("double precision[]", "{-0,NULL,NaN,0,-0}", [0, None, "NaN", 0, 0], "{-0,NULL,NaN,0,-0}", [-0.0, None, math.nan, 0.0, -0.0]),
    ("real[]", "[0:0][1:2]={{0,-0}}", [[0, 0]], "[0:0][1:2]={{0,-0}}", [[0.0, -0.0]]),
    ("integer[]", "[0:1]={1,2}", [1, 2], "[0:1]={1,2}", [1, 2]),
    ("text[]", '[0:1]={-0,"a\\"b"}', ["-0", 'a"b'], '[0:1]={-0,"a\\"b"}', ["-0", 'a"b']),
    ("text[]", "[0:1]={-0,[x]}", ["-0", "[x]"], "[0:1]={-0,[x]}", ["-0", "[x]"]),
    ("integer[]", "[1:1][0:1]={{1,2}}", [[1, 2]], "[1:1][0:1]={{1,2}}", [[1, 2]]),
    ("jsonb[]", '{"null",NULL}', [None, None], '{"null",NULL}', [None, None]),
    ("jsonb[]", '{[1],"[1, 2]"}', [[1], [1, 2]], '{[1],"[1, 2]"}', [[1], [1, 2]]),
    ("kinds.documents", '{"null"}', [None], '{"null"}', [None]),
    ("json[]", '[2:2]={"{}"}', ["{}"], '[2:2]={"{}"}', [{}]),
    ("json[]", '[2:2]={"\\"a\\\\\\u0000\\""}', ['"a\\u0000"'], '[2:2]={"\\"a\\\\u0000\\""}', ["a\0"]),
    ("kinds.mood[]", "[0:0]={sad}", ["sad"], "[0:0]={sad}", ["sad"]),
    ("kinds.numbers", "[0:0]={1}", [1], "[0:0]={1}", [1]),
)  # fmt: skip

# Values that look odd but lose nothing.
WHOLE: Sequence[tuple[str, str]] = (
    ("jsonb", '{"a": null}'),
    ("jsonb", '"null"'),
    ("jsonb", "0"),
    ("json", "null"),
    ("json", '{"a":  1, "a": "\\u0000"}'),
    ("double precision", "0"),
    ("double precision", "NaN"),
    ("double precision", "-Infinity"),
    ("double precision", "5e-324"),
    ("double precision[]", "{0,1,NULL}"),
    ("numeric", "-0.00"),
    ("numeric", "1e-16000"),
    ("numeric", "NaN"),
    ("integer[]", "{}"),
    ("integer[]", "{{1,2},{3,NULL}}"),
    ("jsonb[]", '{1,"\\"x\\"",NULL,"{\\"a\\": null}"}'),
    ("text[]", '{NULL,"NULL","-0"}'),
    ("xid8", "18446744073709551615"),
)


_numbers = count(1)


def _examples(number: int) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def batched(kinds: Sequence[Kind], size: int) -> Iterator[Sequence[Kind]]:
    return (kinds[start : start + size] for start in range(0, len(kinds), size))


def same(one: Any, other: Any) -> bool:
    """Equal, and -0.0 is not 0.0, and NaN is NaN."""
    return repr(one) == repr(other)


@pytest.fixture
def kinds(place: Place, kinds_dsn: str) -> Place:
    """A place in the database that has the types of `tests.capture.kinds`."""
    return place


@pytest.mark.parametrize("loss", LOSSES)
def test_what_json_loses_is_kept_beside_it(kinds: Place, loss: tuple[str, str, Any, str, Any]) -> None:
    kind, text, plain, exact, value = loss
    kinds.table(f"id integer primary key, v {kind}")
    kinds.run(
        f"insert into t values (1, $${text}$$), (2, null)",
        "update t set v = null where id = 1",
        f"update t set v = $${text}$$ where id = 1",
        f"update t set v = $${text}$$ where id = 2",
        "delete from t where id = 1",
    )
    note = {"": {"exact": {"v": exact}}}
    assert kinds.stored() == [
        ("insert", {"id": 1}, None, None, {"id": 1, "v": plain} | note),
        ("insert", {"id": 2}, None, None, {"id": 2, "v": None}),
        ("update", {"id": 1}, None, {"v": plain} | note, {"id": 1, "v": None}),
        ("update", {"id": 1}, None, {"v": None}, {"id": 1, "v": plain} | note),
        ("update", {"id": 2}, None, {"v": None}, {"id": 2, "v": plain} | note),
        ("delete", {"id": 1}, None, {"id": 1, "v": plain} | note, None),
    ]
    kinds.assert_replayed()

    first, _, second, third, *_, last = kinds.events()
    assert first.new is not None
    assert set(first.new) == {"id", "v"}
    assert same(first.new["v"], value)
    assert second.changed == ("v",)
    assert second.old is not None
    assert same(second.old, {"id": 1, "v": value} if list(second.old) == ["id", "v"] else {"v": value, "id": 1})
    assert third.changed == ("v",)
    assert third.old == {"id": 1, "v": None}
    assert last.old is not None
    assert same(last.old["v"], value)


@pytest.mark.parametrize(("kind", "text"), WHOLE)
def test_what_json_holds_costs_nothing(kinds: Place, kind: str, text: str) -> None:
    kinds.table(f"id integer primary key, v {kind}")
    kinds.run(
        f"insert into t values (1, $${text}$$)",
        "update t set v = null",
        f"update t set v = $${text}$$",
        "delete from t",
    )
    assert all("" not in (image or {}) for event in kinds.stored() for image in event[1:])
    kinds.assert_replayed()


def test_a_value_that_an_update_left_alone_is_whole_in_the_old_row_too(place: Place) -> None:
    place.table("id integer primary key, f float8, g float8, j jsonb")
    place.run("insert into t values (1, '-0', '-0', 'null')", "update t set g = 1")
    ((_, _, _, old, new),) = place.stored()[1:]
    assert old == {"g": 0, "": {"exact": {"g": "-0"}}}
    assert new == {"id": 1, "f": 0, "g": 1, "j": None, "": {"exact": {"f": "-0", "j": "null"}}}
    (update,) = place.events()[1:]
    assert update.old is not None
    assert same(sorted(update.old.items()), [("f", -0.0), ("g", -0.0), ("id", 1), ("j", None)])
    place.assert_replayed()


def test_only_values_that_can_lose_something_are_looked_at(kinds: Place) -> None:
    kinds.table(
        "id bigint primary key, a text, b numeric, c timestamptz, d uuid, e json, f kinds.mood, g boolean, h bytea"
    )
    source = kinds.value("select rowcall.image_expression_v1('t'::regclass, '{}', 'new')")
    assert "exact" not in source


@pytest.mark.parametrize(
    "change",
    [
        ("numeric", "1.0", "1.00"),
        ("numeric", "0", "0.0"),
        ("double precision", "0", "-0"),
        ("kinds.citext", "a", "A"),
        ("json", "{}", "{ }"),
        ("jsonb", "null", None),
        ("jsonb", "1.0", "1.00"),
        ("interval", "1 day", "24:00:00"),
        ("integer[]", "{1}", "[0:0]={1}"),
        ("numeric[]", "{1.0}", "{1.00}"),
        ("numrange", "[1.0,2]", "[1.00,2]"),
        ("kinds.pair", '(1,"a",,,,,)', '(1,"a",,,,"(-0,)",)'),
        ("character(3)", "a", None),
        ("time with time zone", "10:00+00", "11:00+01"),
        ("inet", "10.0.0.1/8", "10.0.0.1/9"),
    ],
)
def test_a_change_that_equality_hides_is_a_change(kinds: Place, change: tuple[str, str, str | None]) -> None:
    kind, before, after = change
    kinds.table(f"id integer primary key, v {kind}")
    kinds.connection.execute("insert into t values (1, %s)", [before])
    kinds.connection.execute("update t set v = %s", [after])
    kinds.connection.execute("update t set v = %s", [after])
    (event,) = kinds.events()[1:]
    assert event.changed == ("v",)
    kinds.assert_replayed()


def test_an_update_that_changes_nothing_is_no_event(kinds: Place) -> None:
    kinds.table("id integer primary key, f float8, j jsonb, k json, a text[], p kinds.pair")
    kinds.run(
        "insert into t values (1, '-0', 'null', '{ }', '[0:0]={x}', '(1,,,,,,)')",
        "update t set f = f, j = j",
        "update t set a = a || '{}'",
    )
    assert [operation for operation, *_ in kinds.stored()] == ["insert"]


@_examples(3)
@given(data=st.data())
def test_an_update_stores_old_values_of_changed_columns_only_in_every_type(kinds_dsn: str, data: st.DataObject) -> None:
    """So the fast path is what runs: the generic one stores old rows whole."""
    with psycopg.connect(kinds_dsn, autocommit=True) as connection:
        columns = {f"c{number}": kind for number, kind in enumerate(available(connection))}
        definition = ", ".join(f"{name} {kind.type}" for name, kind in columns.items())
        table = _make(connection, f"id integer primary key, {definition}")
        _run(connection, f"insert into {table} values (1)")
        changed = [
            name
            for name, kind in columns.items()
            if _attempt(connection, f"update {table} set {name} = %s", data.draw(kind.literals))
        ]
        _run(connection, f"delete from {table}")
        stored = _stored(connection, table, "operation::text, array(select jsonb_object_keys(old::jsonb - ''))")
        assert stored[1:-1] == [("update", [name]) for name in changed]
        assert sorted(stored[-1][1]) == sorted(["id", *columns])
        assert len(changed) > len(columns) * 0.8


def _run(connection: psycopg.Connection[Any], statement: str, *parameters: Any) -> psycopg.Cursor[Any]:
    return connection.execute(statement.encode(), parameters or None)


def _make(connection: psycopg.Connection[Any], definition: str) -> str:
    """A watched table of its own."""
    table = f"table_{next(_numbers)}"
    _run(connection, f"create table {table} ({definition})")
    _run(connection, "select rowcall.watch_v1(%s::regclass, '{}', 'tests')", table)
    return table


def _stored(connection: psycopg.Connection[Any], table: str, what: str) -> list[Any]:
    relation = "(select id from rowcall.relation where oid = %s::regclass)"
    return _run(
        connection, f"select {what} from rowcall.event where relation = {relation} order by seq", table
    ).fetchall()


def _attempt(connection: psycopg.Connection[Any], statement: str, *texts: str) -> bool:
    """Write a value that its type may refuse, or the key hold already."""
    try:
        _run(connection, statement, *texts)
    except (psycopg.DataError, psycopg.IntegrityError):
        return False
    return True


@_examples(2)
@given(data=st.data())
def test_every_type_can_be_in_the_key(kinds_dsn: str, data: st.DataObject) -> None:
    ordered = [kind for kind in KINDS if kind.ordered]
    with psycopg.connect(kinds_dsn, autocommit=True) as connection:
        for kinds in batched(ordered, 5):
            names = [f"k{number}" for number in range(len(kinds))]
            columns = ", ".join(f"{name} {kind.type}" for name, kind in zip(names, kinds, strict=True))
            table = _make(connection, f"{columns}, n integer, primary key ({', '.join(names)})")
            insert = f"insert into {table} values ({', '.join(['%s'] * len(kinds))})"
            rows = sum(_attempt(connection, insert, *(data.draw(kind.literals) for kind in kinds)) for _ in range(5))
            _run(connection, f"update {table} set n = 1")
            _run(connection, f"delete from {table}")
            events = _stored(connection, table, "key::text, next_key")
            assert len(events) == rows * 3, columns
            assert len(set(events)) == rows, columns
            assert_replayed(connection, table)


PINNED: Sequence[tuple[str, Sequence[str]]] = (
    ("timezone", ("Asia/Kolkata", "-12:34")),
    ("datestyle", ("German, DMY", "SQL, YMD")),
    ("intervalstyle", ("iso_8601", "sql_standard")),
    ("bytea_output", ("escape",)),
    ("extra_float_digits", ("-15", "3")),
    ("array_nulls", ("off",)),
    ("quote_all_identifiers", ("on",)),
    ("xmlbinary", ("hex",)),
    ("search_path", ('""', "kinds, pg_temp")),
    ("standard_conforming_strings", ("off",)),
    ("transform_null_equals", ("on",)),
    ("lc_monetary", ("POSIX",)),
    ("client_encoding", ("LATIN1", "SQL_ASCII")),
)


@pytest.mark.parametrize(("setting", "value"), [(name, value) for name, values in PINNED for value in values])
def test_images_do_not_depend_on_the_sessions_settings(kinds: Place, setting: str, value: str) -> None:
    kinds.table(
        "id integer primary key, a timestamptz, b date, c interval, d bytea, e float8, f money, g tstzrange, h kinds.mood[], i regclass, j timetz,"
        " k kinds.pair, l point, m float8[], n daterange, o tstzmultirange, p interval[], q kinds.floatrange, r kinds.citext[]"
    )
    row = (
        "'2026-03-29 02:30:00+00', '0044-03-15 BC', '-1 mon +1 day -00:00:01', '\\x00ff5c', 0.30000000000000004, 12.5::numeric,"
        " '[2026-01-01 00:00:00+00,infinity)', array['null', null]::kinds.mood[], 'pg_catalog.pg_class', '10:00:00+02',"
        " row(1, 'NULL', '2026-01-01 00:00:00+00', 'null', array[1, null], row(0.30000000000000004, ''), 'null')::kinds.pair,"
        " point(0.30000000000000004, -0.0), array[0.1::float8 + 0.2], '[2026-01-01,2026-02-01)', '{[2026-01-01 00:00:00+00,infinity)}',"
        " array['-1 mon'::interval], kinds.floatrange(0.30000000000000004, 1), array['NULL', null]::kinds.citext[]"
    )
    kinds.run(f"insert into t values (1, {row})", "create temp table source as table t", "update source set id = 2")
    kinds.connection.execute("select set_config(%s, %s, false)", [setting, value])
    table = f'"{kinds.schema}".t'
    kinds.run(
        f"insert into {table} table pg_temp.source",
        f"update {table} set id = 3 where id = 2",
        f"update {table} set id = 4, c = c, a = null, h = null, k = null, e = null where id = 3",
        f"delete from {table} where id = 1",
        "reset all",
    )
    with psycopg.connect(kinds.dsn, autocommit=True) as reader:
        images = reader.execute(
            "select coalesce(new, old)::jsonb - 'id', operation::text, old from rowcall.event where relation ="
            " (select id from rowcall.relation where oid = %s::regclass) order by seq",
            [table],
        ).fetchall()
    first, second, third, fourth, last = images
    assert first[0] == second[0] == third[0] == last[0]
    assert fourth[2] == {"id": 3} | {name: first[0][name] for name in "ahke"}
    kinds.assert_replayed()


def test_a_row_of_a_thousand_columns(place: Place) -> None:
    names = [f"c{number}" for number in range(1000)]
    place.table("id integer primary key, " + ", ".join(f"{name} smallint" for name in names))
    place.run("insert into t values (1)", "update t set c999 = 7, c0 = 1", "delete from t")
    assert [(event.operation, event.changed) for event in place.events()] == [
        ("insert", ()),
        ("update", ("c0", "c999")),
        ("delete", ()),
    ]
    assert place.assert_replayed() == 3


def test_a_row_of_four_hundred_columns_of_types_that_are_not_plain(kinds: Place) -> None:
    types = ("kinds.mood", "float8", "json", "text", "jsonb", "kinds.citext[]", "integer[]")
    columns = [(f"c{number}", types[number % len(types)]) for number in range(400)]
    kinds.table(
        "id integer primary key, " + ", ".join(f"{name} {kind}" for name, kind in columns),
        exclude=["c3"],
        redact=["c10"],
    )
    kinds.run(
        "insert into t (id, c0, c1, c4, c6) values (1, 'sad', '-0', 'null', '[0:0]={1}')",
        "update t set c1 = 1, c395 = 'x'",
    )
    (update,) = kinds.stored()[1:]
    assert update[3] == {"c1": 0, "c395": None, "": {"exact": {"c1": "-0"}}}
    assert len(update[4]) == 401


@pytest.mark.parametrize("stored", ["external", "extended"])
def test_values_of_a_megabyte(place: Place, stored: str) -> None:
    place.run(
        "create table t (id integer primary key, body text, raw bytea, data jsonb, parts text[], n integer)",
        *(f"alter table t alter {name} set storage {stored}" for name in ("body", "raw", "data", "parts")),
    )
    place.watch("t")
    place.run(
        "insert into t select 1, string_agg(md5(i::text), ''), decode(string_agg(md5(i::text), ''), 'hex'),"
        " jsonb_agg(md5(i::text)), array_agg(md5(i::text)), 0 from generate_series(1, 32768) as i",
        "update t set n = 1",
        "update t set body = body || 'x'",
        "delete from t",
    )
    assert [event.changed for event in place.events()] == [(), ("n",), ("body",), ()]
    assert (
        place.value("select length(new ->> 'body') from rowcall.event where new is not null order by seq desc limit 1")
        == 2**20 + 1
    )
    place.assert_replayed()


def test_generated_columns_are_logged_as_computed_and_virtual_ones_not_at_all(place: Place, version: int) -> None:
    virtual = ", v integer generated always as (a * 3) virtual" if version >= 18 else ""
    place.table("id integer primary key, a integer, s integer generated always as (a * 2) stored" + virtual)
    place.run("insert into t values (1, 1)", "update t set a = 2", "delete from t")
    assert place.log() == [
        ("insert", None, {"id": 1, "a": 1, "s": 2}),
        ("update", {"id": 1, "a": 1, "s": 2}, {"id": 1, "a": 2, "s": 4}),
        ("delete", {"id": 1, "a": 2, "s": 4}, None),
    ]
    assert [event.changed for event in place.events()] == [(), ("a", "s"), ()]


def test_identity_and_default_values_are_logged_as_given(place: Place) -> None:
    place.table(
        "id integer generated always as identity primary key, n integer generated by default as identity (start 5), d text default 'x'"
    )
    place.run("insert into t default values", "insert into t (n) values (1)")
    assert place.log() == [("insert", None, {"id": 1, "n": 5, "d": "x"}), ("insert", None, {"id": 2, "n": 1, "d": "x"})]


def test_rows_of_half_a_megabyte_and_more(place: Place) -> None:
    place.table("id integer primary key, a text, b text")
    large, larger = "\u0001\\" * 300_000, "é" * 600_000
    place.run("insert into t values (1, 'a', 'b')")
    for value in (large, larger, "small"):
        place.connection.execute("update t set a = %s", (value,))
    place.connection.execute("update t set a = %s, b = 'c'", (larger,))
    place.run("delete from t")
    assert [(event.operation, event.key, event.old and event.old.get("a"), event.new and event.new["a"])
            for event in place.events()] == [
        ("insert", {"id": 1}, None, "a"),
        ("update", {"id": 1}, "a", large),
        ("update", {"id": 1}, large, larger),
        ("update", {"id": 1}, larger, "small"),
        ("update", {"id": 1}, "small", larger),
        ("delete", {"id": 1}, larger, None),
    ]  # fmt: skip


@takes_long
@pytest.mark.timeout(300)
def test_a_row_that_is_too_big_for_json_is_still_an_event(place: Place) -> None:
    place.table("id integer primary key, a text, b text")
    place.run(
        "alter table t alter a set storage external",
        "insert into t values (1, '', 'small')",
        # With each quote escaped it is more than a gigabyte, the most that PostgreSQL holds in one value.
        "update t set a = repeat('\"', 600000000)",
    )
    ((_, key, _, old, new),) = place.stored()[1:]
    digest = place.value("select 'sha256:' || encode(sha256(convert_to(a, 'UTF8')), 'hex') from t")
    assert key == {"id": 1}
    assert old == {"a": ""}
    assert new == {"id": 1, "a": None, "b": "small", "": {"omitted": {"a": digest}}}
