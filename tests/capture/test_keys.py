"""The key of every event is the row's: single, composite or none, kept, changed or swapped."""

from typing import Any

import pytest

from tests.capture.conftest import Place


def keys(place: Place) -> list[tuple[str, Any, Any]]:
    """Operation, key and next key of every event, and a check that they make the table."""
    place.assert_replayed()
    return [(operation, key, following) for operation, key, following, _, _ in place.stored()]


def test_a_single_key(place: Place) -> None:
    place.table("v text, id bigint primary key")
    place.run("insert into t values ('a', 9007199254740993)", "update t set v = 'b'", "delete from t")
    key = {"id": 9007199254740993}
    assert keys(place) == [("insert", key, None), ("update", key, None), ("delete", key, None)]
    assert [event.key for event in place.events()] == [key] * 3


def test_a_composite_key_keeps_its_columns_whatever_their_order(place: Place) -> None:
    place.table("c date, b text, a integer, v integer, primary key (a, b, c)")
    place.run(
        "insert into t values ('2026-01-02', 'x', 1)", "update t set v = 1", "update t set b = 'y'", "delete from t"
    )
    key = {"a": 1, "b": "x", "c": "2026-01-02"}
    changed = key | {"b": "y"}
    assert keys(place) == [
        ("insert", key, None),
        ("update", key, None),
        ("update", key, changed),
        ("delete", changed, None),
    ]


def test_without_a_key_the_whole_old_row_is_it(place: Place) -> None:
    place.table("a integer, b text")
    place.run(
        "insert into t values (1, 'x'), (1, 'x'), (null, null)", "update t set b = 'y' where a = 1", "delete from t"
    )
    assert keys(place) == [
        ("insert", {"a": 1, "b": "x"}, None),
        ("insert", {"a": 1, "b": "x"}, None),
        ("insert", {"a": None, "b": None}, None),
        ("update", {"a": 1, "b": "x"}, None),
        ("update", {"a": 1, "b": "x"}, None),
        ("delete", {"a": None, "b": None}, None),
        ("delete", {"a": 1, "b": "y"}, None),
        ("delete", {"a": 1, "b": "y"}, None),
    ]


def test_without_a_primary_key_the_index_of_the_replica_identity_is_it(place: Place) -> None:
    place.run(
        "create table t (a integer not null, b text not null, c integer)",
        "create unique index identity on t (b, a)",
        "alter table t replica identity using index identity",
    )
    place.watch("t")
    place.run("insert into t values (1, 'x', 1)", "update t set c = 2", "update t set a = 2")
    assert keys(place) == [
        ("insert", {"a": 1, "b": "x"}, None),
        ("update", {"a": 1, "b": "x"}, None),
        ("update", {"a": 1, "b": "x"}, {"a": 2, "b": "x"}),
    ]


def test_a_unique_index_by_itself_is_no_key(place: Place) -> None:
    place.table("a integer unique, b integer")
    place.run("insert into t values (1, 1)")
    assert keys(place) == [("insert", {"a": 1, "b": 1}, None)]


def test_the_primary_key_goes_before_the_replica_identity(place: Place) -> None:
    place.run(
        "create table t (a integer primary key, b integer not null)",
        "create unique index identity on t (b)",
        "alter table t replica identity using index identity",
    )
    place.watch("t")
    place.run("insert into t values (1, 2)")
    assert keys(place) == [("insert", {"a": 1}, None)]


def test_columns_a_key_index_only_includes_are_not_part_of_it(place: Place) -> None:
    place.table("a integer, b integer, primary key (a) include (b)")
    place.run("insert into t values (1, 2)", "update t set b = 3")
    assert keys(place) == [("insert", {"a": 1}, None), ("update", {"a": 1}, None)]


def test_swapped_keys(place: Place) -> None:
    place.table("id integer primary key deferrable, v text")
    place.run("insert into t values (1, 'a'), (2, 'b')", "update t set id = 3 - id")
    assert [(key, following, new["v"]) for _, key, following, _, new in place.stored()[2:]] == [
        ({"id": 1}, {"id": 2}, "a"),
        ({"id": 2}, {"id": 1}, "b"),
    ]
    place.assert_replayed()


def test_keys_that_move_up_together(place: Place) -> None:
    place.table("id integer primary key deferrable, v integer")
    place.run("insert into t select i, i from generate_series(1, 100) as i", "update t set id = id + 1")
    assert all(following["id"] == key["id"] + 1 == new["v"] + 1 for _, key, following, _, new in place.stored()[100:])
    place.assert_replayed()


def test_a_key_deleted_and_taken_again(place: Place) -> None:
    place.table("id integer primary key, v text")
    place.together(
        "insert into t values (1, 'a')",
        "delete from t",
        "insert into t values (1, 'b')",
        "update t set id = 2",
        "insert into t values (1, 'c')",
    )
    assert keys(place) == [
        ("insert", {"id": 1}, None),
        ("delete", {"id": 1}, None),
        ("insert", {"id": 1}, None),
        ("update", {"id": 1}, {"id": 2}),
        ("insert", {"id": 1}, None),
    ]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("numeric", "1.0", "1.00"),
        ("double precision", "0", "-0"),
        ("kinds.citext", "a", "A"),
        ("integer[]", "{1}", "[0:0]={1}"),
    ],
)
def test_a_key_written_otherwise_is_a_changed_key(
    place: Place, kinds_dsn: str, kind: str, before: str, after: str
) -> None:
    place.table(f"k {kind} primary key, n integer")
    place.run(
        f"insert into t values ('{before}', 1)", f"update t set k = '{after}'", "update t set n = 2", "delete from t"
    )
    (_, first, _), (_, second, following), (_, third, _), (_, last, _) = keys(place)
    assert first == second
    assert following is not None
    assert following == third == last


def test_arrays_that_differ_only_in_where_they_begin_are_two_keys(place: Place) -> None:
    place.table("k integer[] primary key, n integer")
    place.run(
        "insert into t values ('{1}', 1), ('[0:0]={1}', 1)", "update t set n = 2", "delete from t where k = '{1}'"
    )
    one, other = {"k": [1]}, {"k": [1], "": {"exact": {"k": "[0:0]={1}"}}}
    assert [key for _, key, _ in keys(place)] == [one, other, one, other, one]
    assert [event.key for event in place.events()] == [{"k": [1]}] * 5


def test_a_key_that_comes_and_goes(place: Place) -> None:
    place.table("a integer not null, b integer")
    place.run("insert into t values (1, 1)", "alter table t add primary key (a)")
    place.watch("t")
    place.run("update t set b = 2", "alter table t drop constraint t_pkey")
    place.watch("t")
    place.run("update t set b = 3")
    assert [key for _, key, *_ in place.stored()] == [{"a": 1, "b": 1}, {"a": 1}, {"a": 1, "b": 2}]
