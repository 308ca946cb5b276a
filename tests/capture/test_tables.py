"""Every kind of table, whatever it is called."""

from collections.abc import Sequence

import psycopg
import pytest
from psycopg import sql

from tests.capture.conftest import Place

# Names that quoting, generated code or limits could trip over.
NAMES: Sequence[str] = (
    "select", "Order Lines", 'quo"te', "o'clock", "back\\slash", "per%cent%s", "dollar$$capture$body$", "naïve ☃ 🐘", "x" * 63, "ä" * 31, "tab\tnew\nline", "{}", "a.b",
    "new", "old", "rowcall_row", "new_rows", "old_rows", "v_new", "tg_op", "  ",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"notify": True}, {"truncate": "rows"}], ids=["plain", "notify", "rows"])
def test_any_name_for_schema_table_and_columns(place: Place, name: str, options: dict[str, object]) -> None:
    schema, quoted = sql.Identifier(place.schema + name[:50]), sql.Identifier(name)
    table = sql.Identifier(place.schema + name[:50], name)
    connection = place.connection
    connection.execute(sql.SQL("drop schema if exists {0} cascade; create schema {0}").format(schema))
    try:
        connection.execute(sql.SQL("create table {} ({} integer primary key, other text)").format(table, quoted))
        place.watch(table.as_string(None), **options)
        for statement in (
            "insert into {t} values (1, 'a')",
            "update {t} set other = 'b'",
            "update {t} set {c} = {c} + 1",
            "delete from {t}",
            "insert into {t} values (5, 'c')",
            "truncate {t}",
        ):
            connection.execute(sql.SQL(statement).format(t=table, c=quoted))
        relation = place.value("select id from rowcall.relation where oid = %s::regclass", table.as_string(None))
        found = place.rows(
            "select operation::text, key, next_key, new from rowcall.event where relation = %s order by seq", relation
        )
        last = (
            ("delete", {name: 5}, None, None) if options.get("truncate") == "rows" else ("truncate", None, None, None)
        )
        assert found == [
            ("insert", {name: 1}, None, {name: 1, "other": "a"}),
            ("update", {name: 1}, None, {name: 1, "other": "b"}),
            ("update", {name: 1}, {name: 2}, {name: 2, "other": "b"}),
            ("delete", {name: 2}, None, None),
            ("insert", {name: 5}, None, {name: 5, "other": "c"}),
            last,
        ]
    finally:
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(schema))


@pytest.mark.parametrize("name", NAMES)
def test_any_name_for_a_column_that_is_excluded_redacted_or_asked_for(place: Place, name: str) -> None:
    quoted = sql.Identifier(name)
    place.connection.execute(
        sql.SQL("create table t (id integer primary key, {} text, plain text, secret text)").format(quoted)
    )
    for options in ({"exclude": [name]}, {"redact": [name]}, {"columns": [name]}):
        place.watch("t", **options)
        place.connection.execute(sql.SQL("insert into t values (1, 'hidden', 'seen')"))
        place.connection.execute(sql.SQL("update t set {} = 'other', plain = 'x'").format(quoted))
        place.run("delete from t")
    operations = [operation for operation, *_ in place.stored()]
    assert operations == ["insert", "update", "delete"] * 3
    excluded, redacted = [new for *_, new in place.stored() if new][:1], [new for *_, new in place.stored() if new][2:3]
    assert name not in excluded[0]
    assert redacted[0][name].startswith("hmac-sha256:")


def test_unlogged_tables(place: Place) -> None:
    place.run("create unlogged table t (id integer primary key)")
    place.watch("t")
    place.run("insert into t values (1)", "alter table t set logged", "update t set id = 2")
    assert place.assert_replayed() == 2


def test_views_foreign_tables_and_our_own_tables_cannot_be_watched(place: Place) -> None:
    place.run("create view v as select 1 as id", "create materialized view m as select 1 as id", "create sequence s")
    for name in ("v", "m", "s", "rowcall.relation", "rowcall.event"):
        with pytest.raises(psycopg.Error) as caught:
            place.watch(name)
        assert caught.value.diag.message_hint


def test_a_temporary_table_is_watched_or_refused_with_a_reason(place: Place) -> None:
    place.run("create temp table temporary (id integer primary key)")
    try:
        place.watch("temporary")
    except psycopg.Error as error:
        assert error.diag.message_hint  # noqa: PT017
    else:
        place.run("insert into temporary values (1)")


def test_a_table_without_columns_or_without_captured_ones(place: Place) -> None:
    place.run("create table empty ()", "create table t (a integer)")
    for name, options in (("empty", {}), ("t", {"exclude": ["a"]})):
        with pytest.raises(psycopg.Error, match="without a single column"):
            place.watch(name, **options)


@pytest.mark.parametrize(
    "made",
    [
        "create table child (extra integer, primary key (id)) inherits (t)",
        "create table child (id integer primary key, v text, extra integer); alter table child inherit t",
    ],
)
def test_an_inherited_table_has_only_its_own_rows(place: Place, made: str) -> None:
    """Row triggers are not inherited: a child is a table of its own, to be watched by itself."""
    place.table("id integer primary key, v text")
    place.run(made)
    place.watch("child")
    place.run(
        "insert into t values (1, 'a')",
        "insert into child values (2, 'b', 7)",
        "update t set v = v || '!'",
        "delete from t",
    )
    assert [(event.operation, event.key, (event.new or event.old or {}).get("v")) for event in place.events()] == [
        ("insert", {"id": 1}, "a"),
        ("update", {"id": 1}, "a!"),
        ("delete", {"id": 1}, "a!"),
    ]
    assert place.log("child") == [
        ("insert", None, {"id": 2, "v": "b", "extra": 7}),
        ("update", {"id": 2, "v": "b", "extra": 7}, {"id": 2, "v": "b!", "extra": 7}),
        ("delete", {"id": 2, "v": "b!", "extra": 7}, None),
    ]


def test_truncate_of_an_inherited_table_logs_the_rows_of_each_once(place: Place) -> None:
    place.table("id integer primary key", truncate="rows")
    place.run("create table child (primary key (id)) inherits (t)")
    place.watch("child", truncate="rows")
    place.run("insert into t values (1)", "insert into child values (2)", "truncate only t", "insert into t values (3)")
    place.run("truncate t")
    assert [(operation, key) for operation, key, *_ in place.stored()] == [
        ("insert", {"id": 1}),
        ("delete", {"id": 1}),
        ("insert", {"id": 3}),
        ("delete", {"id": 3}),
    ]
    assert [(operation, key) for operation, key, *_ in place.stored("child")] == [
        ("insert", {"id": 2}),
        ("delete", {"id": 2}),
    ]


def test_typed_tables_and_row_level_security(place: Place) -> None:
    place.run("create type shape as (id integer, v text)", "create table t of shape (primary key (id))")
    place.run("alter table t enable row level security", "alter table t force row level security")
    place.watch("t")
    place.run("insert into t values (1, 'a')", "update t set v = 'b'", "delete from t")
    assert [operation for operation, *_ in place.stored()] == ["insert", "update", "delete"]


def test_rows_that_row_level_security_hides_are_not_passed_off_as_all(place: Place) -> None:
    """Where we may not read every row, a TRUNCATE is one event that says so."""
    place.table("id integer primary key", truncate="rows")
    place.run("alter table t enable row level security", "insert into t values (1)", "truncate t")
    assert [(operation, key) for operation, key, *_ in place.stored()] == [("insert", {"id": 1}), ("truncate", None)]


PARTITIONS = """
create table t (id integer, part integer, v text, primary key (id, part)) partition by list (part);
create table one partition of t for values in (1);
create table two partition of t for values in (2) partition by range (id);
create table two_low partition of two for values from (minvalue) to (100);
create table two_high partition of two for values from (100) to (maxvalue)
"""


@pytest.fixture
def parted(place: Place) -> Place:
    """A watched table with partitions on two levels."""
    place.run(*PARTITIONS.split(";"))
    place.watch("t")
    return place


def row(key: int, part: int, value: str) -> dict[str, object]:
    return {"id": key, "part": part, "v": value}


def test_writes_to_any_level_are_the_roots(parted: Place) -> None:
    parted.run(
        "insert into t values (1, 1, 'a'), (2, 2, 'b'), (200, 2, 'c')",
        "insert into two values (3, 2, 'd')",
        "insert into two_low values (4, 2, 'e')",
        "update two_low set v = 'f' where id = 4",
        "update two set v = 'g' where id = 200",
        "delete from one",
        "delete from t where id = 4",
    )
    assert {event.table for event in parted.events()} == {f"{parted.schema}.t"}
    assert [(event.operation, event.key["id"]) for event in parted.events()] == [
        ("insert", 1), ("insert", 2), ("insert", 200), ("insert", 3), ("insert", 4), ("update", 4), ("update", 200), ("delete", 1), ("delete", 4),
    ]  # fmt: skip
    parted.assert_replayed()


@pytest.mark.parametrize("through", ["t", "two", "merge", "upsert"])
def test_a_row_that_moves_to_another_partition_is_one_update(parted: Place, through: str) -> None:
    parted.run("insert into t values (1, 2, 'a'), (2, 2, 'b')")
    target = ("id = 150", {"id": 150, "part": 2}) if through != "t" else ("part = 1", {"id": 1, "part": 1})
    change, key = target
    parted.run(
        {
            "t": f"update t set {change} where id = 1",
            "two": f"update two set {change} where id = 1",
            "merge": f"merge into t using (values (1)) as s (id) on t.id = s.id when matched then update set {change}",
            "upsert": f"update t set {change} from (values (1)) as s (id) where t.id = s.id",
        }[through]
    )
    (event,) = parted.events()[2:]
    assert event.operation == "update"
    assert event.key == {"id": 1, "part": 2}
    assert event.old == row(1, 2, "a")
    assert event.new == row(1, 2, "a") | key
    assert parted.stored()[2][2] == key
    parted.assert_replayed()


def test_rows_that_move_and_rows_that_stay_in_one_statement(parted: Place) -> None:
    parted.run(
        "insert into t select i, 1 + i % 2, 'v' || i from generate_series(1, 50) as i",
        "update t set part = 3 - part, v = v || '!' where id % 3 = 0",
        "update t set v = 'stay' where id % 5 = 0",
        "update t set id = id + 100",
    )
    assert [event.operation for event in parted.events()] == ["insert"] * 50 + ["update"] * (16 + 10 + 50)
    parted.assert_replayed()


def test_a_value_that_json_loses_moves_too(place: Place) -> None:
    place.run(
        "create table t (id integer, part integer, j jsonb, f float8, n numeric, primary key (id, part)) partition by list (part)"
    )
    place.run("create table one partition of t for values in (1)", "create table two partition of t for values in (2)")
    place.watch("t")
    place.run(
        "insert into t values (1, 1, null, 0, 1.0), (2, 1, 'null', '-0', 1)",
        "update t set part = 2, j = 'null', f = '-0', n = 1.00 where id = 1",
        "update t set part = 2, j = null, f = 0 where id = 2",
    )
    first, second = place.events()[2:]
    assert set(first.changed) == {"part", "j", "f", "n"}
    assert set(second.changed) == {"part", "j", "f"}
    place.assert_replayed()


def test_partitions_that_come_later(parted: Place) -> None:
    parted.run(
        "create table three partition of t for values in (3)",
        "insert into three values (1, 3, 'a')",
        "create table four (v text, gone integer, part integer not null, id integer not null)",
        "alter table four drop column gone",
        "insert into four values ('before', 4, 7)",
        "alter table t attach partition four for values in (4)",
        "insert into four (id, part, v) values (8, 4, 'b')",
        "update t set v = 'c' where id = 8",
        "update t set part = 3 where id = 8",
        "delete from four",
    )
    assert [(event.operation, event.key["id"], (event.new or event.old or {})["v"]) for event in parted.events()] == [
        ("insert", 1, "a"), ("insert", 8, "b"), ("update", 8, "c"), ("update", 8, "c"), ("delete", 7, "before"),
    ]  # fmt: skip


def test_a_detached_partition_is_a_table_of_its_own(parted: Place) -> None:
    parted.run(
        "insert into t values (1, 1, 'a')",
        "alter table t detach partition one",
        "update one set v = 'b'",
        "insert into one values (2, 1, 'c')",
        "truncate one",
    )
    assert [event.operation for event in parted.events()] == ["insert"]
    parted.watch("one")
    parted.run("insert into one values (3, 1, 'd')")
    assert [event.new for event in parted.events("one")] == [row(3, 1, "d")]


def test_truncate_of_a_partition_says_which_rows_went(parted: Place) -> None:
    parted.run("insert into t values (1, 1, 'a'), (2, 2, 'b'), (200, 2, 'c')", "truncate two")
    assert sorted(event.key["id"] for event in parted.events()[3:]) == [2, 200]
    assert {event.operation for event in parted.events()[3:]} == {"delete"}
    parted.assert_replayed()
    parted.run("truncate t")
    parted.assert_replayed()


def test_a_leaf_can_be_watched_only_through_its_root_or_by_itself(place: Place) -> None:
    place.run(*PARTITIONS.split(";"))
    place.watch("one")
    place.run(
        "insert into t values (1, 1, 'a'), (2, 2, 'b')",
        "update t set part = 2 where id = 1",
        "update t set part = 1 where id = 2",
    )
    assert [(event.operation, event.key["id"]) for event in place.events("one")] == [
        ("insert", 1),
        ("delete", 1),
        ("insert", 2),
    ]
    place.assert_replayed("one")
