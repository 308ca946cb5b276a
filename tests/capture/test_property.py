"""Whatever happens to a table, its log says exactly that: random tables, random sessions, replayed to the last bit.

ROWCALL_PROPERTY_EXAMPLES=5000 runs so many programs instead of the few that a test run has time for.
"""

import os
from collections.abc import Callable, Sequence
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.capture.kinds import Kind, available
from tests.capture.programs import Program, programs, run
from tests.capture.replay import assert_replayed

_EXAMPLES = int(os.environ.get("ROWCALL_PROPERTY_EXAMPLES", "0"))
_schemas = count(1)

Kinds = Callable[[], Sequence[Kind]]


@pytest.fixture(scope="module")
def kinds(kinds_dsn: str) -> Kinds:
    """A function, because Hypothesis prints what a test was given."""
    with psycopg.connect(kinds_dsn, autocommit=True) as connection:
        found = available(connection)
    return lambda: found


def _bounded(examples: int) -> settings:
    return settings(
        max_examples=_EXAMPLES or examples,
        deadline=None,
        derandomize=not _EXAMPLES,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(0 if _EXAMPLES else 120)
@_bounded(80)
@given(data=st.data())
def test_the_log_says_what_the_table_is(kinds_dsn: str, kinds: Kinds, data: st.DataObject) -> None:
    _play(kinds_dsn, kinds(), "plain", data)


@pytest.mark.timeout(0 if _EXAMPLES else 120)
@_bounded(30)
@given(data=st.data())
def test_the_log_says_what_the_partitioned_table_is(kinds_dsn: str, kinds: Kinds, data: st.DataObject) -> None:
    _play(kinds_dsn, kinds(), "partitioned", data)


def _play(dsn: str, kinds: Sequence[Kind], stored: str, data: st.DataObject) -> None:
    schema = f"property_{next(_schemas)}"
    name = sql.Identifier(schema, 'The "table"')
    program = data.draw(programs(kinds, name, stored))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        try:
            _check(connection, schema, name, program)
        finally:
            connection.execute("reset all")
            connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))


def _check(connection: psycopg.Connection[object], schema: str, name: sql.Identifier, program: Program) -> None:
    definition = program.table.definition(name)
    note(definition.as_string(None))
    for statement in (definition, *program.table.completion(name, schema)):
        connection.execute(statement)
    table = name.as_string(None)
    connection.execute("select rowcall.watch_v1(%s::regclass, '{}', 'tests')", [table])
    run(connection, program.blocks)
    connection.execute("reset all")
    assert_replayed(connection, table)
