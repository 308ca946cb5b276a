"""A second server, whose roles are these tests' own: roles belong to the cluster."""

from collections.abc import Iterator
from itertools import count

import psycopg
import pytest

from rowcall import embedded
from tests.conftest import new_server

_NUMBERS = count(1)


@pytest.fixture(scope="package")
def other_cluster() -> Iterator[embedded.Server]:
    """A server without any Rowcall, whose tests leave it so."""
    with new_server() as server:
        yield server


@pytest.fixture
def fresh(other_cluster: embedded.Server) -> Iterator[str]:
    """A database of the other cluster, for superusers; dropped with every role that is not built in."""
    name = f"fresh_{next(_NUMBERS)}"
    with psycopg.connect(other_cluster.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
        yield other_cluster.dsn(name)
        admin.execute(f"drop database {name} with (force)")
        for (role,) in admin.execute(
            "select rolname from pg_roles where rolname !~ '^pg_' and rolname <> 'postgres'"
        ).fetchall():
            admin.execute(f'drop role "{role}"')
