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


@pytest.fixture(scope="module")
def kinds(kinds_dsn: str) -> Callable[[], Sequence[Kind]]:
    """A function, because Hypothesis prints what a test was given."""
    with psycopg.connect(kinds_dsn, autocommit=True) as connection:
        found = available(connection)
    return lambda: found


@pytest.mark.timeout(0 if _EXAMPLES else 120)
@settings(
    max_examples=_EXAMPLES or 100,
    deadline=None,
    derandomize=not _EXAMPLES,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_the_log_says_what_the_table_is(kinds_dsn: str, kinds: Callable[[], Sequence[Kind]], data: st.DataObject) -> None:
    schema = f"property_{next(_schemas)}"
    name = sql.Identifier(schema, 'The "table"')
    program = data.draw(programs(kinds(), name))
    with psycopg.connect(kinds_dsn, autocommit=True) as connection:
        _play(connection, schema, name, program)


def _play(connection: psycopg.Connection[object], schema: str, name: sql.Identifier, program: Program) -> None:
    table = name.as_string(None)
    connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    try:
        note(program.table.definition(name).as_string(None))
        connection.execute(program.table.definition(name))
        for statement in program.table.completion(name, schema):
            connection.execute(statement)
        connection.execute("select rowcall.watch_v1(%s::regclass, '{}', 'tests')", [table])
        run(connection, program.blocks)
        connection.execute("reset all")
        assert_replayed(connection, table)
    finally:
        connection.execute("reset all")
        connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
