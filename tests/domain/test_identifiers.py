"""Names of tables as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcall import errors, identifiers
from tests.examples import bounded

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
# What PostgreSQL takes without quotes, and keeps as it is.
plain_names = st.text(st.sampled_from("abcxyz_019éÿ$"), min_size=1).map(lambda name: f"_{name}")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("users", (None, "users")),
        ("Users", (None, "users")),
        ("shop.orders", ("shop", "orders")),
        ("Shop.Orders", ("shop", "orders")),
        ('"Odd schema"."Odd table"', ("Odd schema", "Odd table")),
        ('shop."select"', ("shop", "select")),
        ('"with ""quotes"""', (None, 'with "quotes"')),
        ('"a.b"', (None, "a.b")),
        ('"a.b".c', ("a.b", "c")),
        # PostgreSQL folds ASCII only where a character may take several bytes.
        ("ÄRGER", (None, "Ärger")),
        ('"Größe"', (None, "Größe")),
    ],
)
def test_names_are_read_as_postgresql_reads_them(written: str, meant: tuple[str | None, str]) -> None:
    assert identifiers.split(written) == meant


@pytest.mark.parametrize("written", ["", ".", "a.", ".a", "a.b.c", "a b", '"', '""', '"a', 'a"b', "a..b", " a", 'a."b'])
def test_what_is_no_name_is_refused_with_the_cure(written: str) -> None:
    with pytest.raises(errors.UsageError, match=r"is not the name of a table: write table, schema\.table"):
        identifiers.split(written)


@bounded
@given(names, names)
def test_quoted_names_come_back_whatever_is_in_them(schema: str, table: str) -> None:
    assert identifiers.split(identifiers.qualified(schema, table)) == (schema, table)
    assert identifiers.split(identifiers.qualified(None, table)) == (None, table)


@bounded
@given(plain_names, plain_names)
def test_plain_names_come_back_without_quotes(schema: str, table: str) -> None:
    assert identifiers.split(f"{schema}.{table}") == (schema, table)


@bounded
@given(st.text())
def test_nothing_written_is_a_fault_of_ours(written: str) -> None:
    try:
        schema, table = identifiers.split(written)
    except errors.UsageError:
        return
    assert table
    assert schema != ""


def test_what_is_no_table_at_all_is_refused() -> None:
    with pytest.raises(errors.UsageError, match="pass its name, a SQLAlchemy model or a Table"):
        identifiers.table_name(42)
