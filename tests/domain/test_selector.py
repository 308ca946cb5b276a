"""Which tables, operations and columns a handler asks for."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcall import errors
from rowcall.event import OPERATIONS
from rowcall.selector import Selector, Topic
from tests.examples import bounded

odd_names = st.text(st.sampled_from("aB_%*\\. é"), min_size=1, max_size=6)


def like(pattern: str, name: str) -> bool:
    """LIKE as PostgreSQL has it: % any string, _ any character, backslash escapes."""
    regex, characters = "", iter(pattern)
    for character in characters:
        if character == "\\":
            regex += re.escape(next(characters))
        else:
            regex += {"%": ".*", "_": "."}.get(character, re.escape(character))
    return re.fullmatch(regex, name, re.DOTALL) is not None


def matches(topic: Topic, schema: str, table: str) -> bool:
    return like(topic.schema, schema) and like(topic.table, table)


def topic(subject: str) -> Topic:
    return Selector.of(subject, None, ()).topic()


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("shop.*", [("shop", "orders"), ("shop", "Odd Table")], [("shop2", "orders"), ("public", "shop")]),
        ("*.orders", [("shop", "orders"), ("public", "orders")], [("shop", "order"), ("shop", "orders2")]),
        ("order*", [("shop", "orders"), ("public", "order")], [("orders", "items")]),
        ("*", [("shop", "orders"), ("Odd. schema", "t")], []),
        ("a_c.*", [("a_c", "t")], [("abc", "t")]),
        ("a%.*", [("a%", "t")], [("abc", "t")]),
        ("Shop.O*", [("shop", "orders")], [("Shop", "Orders")]),
        ('"Odd. Shop".*', [("Odd. Shop", "orders")], [("odd. shop", "orders")]),
        ('*."Odd*Name"', [("shop", "Odd*Name")], [("shop", "OddName"), ("shop", "Odd Name")]),
    ],
)
def test_a_pattern_means_these_tables(
    pattern: str, inside: list[tuple[str, str]], outside: list[tuple[str, str]]
) -> None:
    assert Selector.of(pattern, None, ()).is_pattern
    assert [matches(topic(pattern), *name) for name in inside] == [True] * len(inside)
    assert [matches(topic(pattern), *name) for name in outside] == [False] * len(outside)


def test_an_asterisk_in_quotes_is_just_a_name() -> None:
    assert not Selector.of('"a*b"', None, ()).is_pattern


@pytest.mark.parametrize("pattern", ["a.b.*", "shop.", "*.", "sh op.*", '"shop.*'])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(errors.UsageError, match="is not the name of a table"):
        Selector.of(pattern, None, ())


@bounded
@given(odd_names, odd_names, odd_names, odd_names)
def test_an_exact_topic_means_one_table_only(schema: str, table: str, other_schema: str, other_table: str) -> None:
    exact = Topic.exactly(schema, table)
    assert matches(exact, schema, table)
    assert matches(exact, other_schema, other_table) == ((schema, table) == (other_schema, other_table))


def test_operations_are_those_named_in_the_order_of_the_log() -> None:
    assert Selector.of("t", None, ()).operations == OPERATIONS
    assert Selector.of("t", "update", ()).operations == ("update",)
    assert Selector.of("t", ["delete", "insert"], ()).operations == ("insert", "delete")


@pytest.mark.parametrize("on", ["upsert", [], "INSERT", ["insert", "truncat"]])
def test_other_operations_are_refused_with_the_choice(on: str | list[str]) -> None:
    with pytest.raises(errors.UsageError, match="choose from insert, update, delete"):
        Selector.of("t", on, ())
