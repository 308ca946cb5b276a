"""One private PostgreSQL a session, and a session for each worker; a database of its own, with Rowcall in it, for each test."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from pytest_postgresql import factories
from pytest_postgresql.executors.noop import NoopExecutor

from rowcall import embedded, errors

Database = psycopg.Connection[Any]
Connect = Callable[..., Database]

GATE_ROLE = embedded.GATE_ROLES[0]

_SHARED_MEMORY = "/dev/shm"
_ROOM = 4 * 2**30
_MOST_WORKERS = 8
_NUMBERS = count(1)

# A run that decides about a change finds the same each time; runs at home look for something new.
settings.register_profile("ci", derandomize=True)


def pytest_configure() -> None:
    if os.environ.get("CI"):
        settings.load_profile("ci")
    # What the developer's shell says about databases must not reach the tests.
    for name in [name for name in os.environ if name.startswith("PG") or name == "ROWCALL_DSN"]:
        del os.environ[name]
    # Programs that tests start keep what they compile; images of containers like to forbid it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many `-n auto` means: one more than there are processors, because tests wait a good deal."""
    return min((os.cpu_count() or 1) + 1, _MOST_WORKERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among workers the longest tests come first, so that none is left with one when the others have finished."""
    if hasattr(config, "workerinput"):
        items.sort(key=_patience, reverse=True)


def _patience(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker and marker.args else 0.0


def pytest_report_header() -> str:
    try:
        directory = bin_directory()
        return f"PostgreSQL {embedded.version(directory)} from {directory}"
    except errors.UsageError as error:
        return f"PostgreSQL: {error}"


def bin_directory() -> Path:
    chosen = os.environ.get("ROWCALL_TEST_PG_BIN")
    return Path(chosen) if chosen else embedded.binaries()


def memory() -> str | None:
    """A directory in memory with room for a cluster: there a database takes a tenth of the time to make that it takes on a disk."""
    try:
        found = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return None
    # The server's programs may be copied there too.
    roomy = found.f_bavail * found.f_frsize > _ROOM and not found.f_flag & os.ST_NOEXEC
    return _SHARED_MEMORY if roomy and os.access(_SHARED_MEMORY, os.W_OK) else None


def new_server() -> embedded.Server:
    """A server for tests, to be started."""
    with pytest.MonkeyPatch.context() as patched:
        if place := memory():
            patched.setattr(tempfile, "tempdir", place)
        return embedded.Server(bin_directory=bin_directory())


@pytest.fixture(scope="session")
def cluster() -> Iterator[embedded.Server]:
    """The server of this session; a test may restart it, and leaves it running."""
    with new_server() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What pytest-postgresql asks of the fixture that another one depends on."""

    host: str
    port: int = embedded.PORT
    user: str = "postgres"
    password: str | None = None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str = "template0"


@pytest.fixture(scope="session")
def endpoint(cluster: embedded.Server) -> Endpoint:
    return Endpoint(host=str(cluster.socket_directory))


def migrate(*, host: str, dbname: str, **_: object) -> None:
    from rowcall.migrate import upgrade

    upgrade(embedded.dsn(Path(host), dbname), None)


#: The template of databases with Rowcall's schema in them.
migrated = factories.postgresql_noproc(depends_on="endpoint", dbname="migrated", load=[migrate])


@contextmanager
def copied(cluster: embedded.Server, template: str) -> Iterator[str]:
    """A database like that, dropped at the end."""
    name = f"test_{next(_NUMBERS)}"
    # By copying files, which takes half as long as by way of the log, the only one that pytest-postgresql's own fixture knows, and
    # brings the caches of the catalog along.
    administer(cluster, "create database {} template {} strategy file_copy", name, template)
    yield cluster.dsn(name)
    administer(cluster, "drop database {} with (force)", name)


def administer(cluster: embedded.Server, statement: LiteralString, *names: str) -> None:
    """Execute a statement about databases. Not in a session that is kept: tests restart the server."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as administrator:
        administrator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture
def dsn(cluster: embedded.Server, migrated: NoopExecutor) -> Iterator[str]:
    """A database of this test's own, Rowcall's schema in it."""
    with copied(cluster, migrated.template_dbname) as target:
        yield target


@pytest.fixture
def empty_dsn(cluster: embedded.Server) -> Iterator[str]:
    """A database of this test's own without Rowcall."""
    with copied(cluster, "template0") as target:
        yield target


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """The connections of `connect`, closed at the test's end."""
    with ExitStack() as connections:
        yield connections


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Connect:
    """`connect(autocommit=True, …)`: more connections to the test's database, closed at its end.

    The database is `dsn` unless another one is given: `connect(empty_dsn)`.
    """

    def connection(dsn: str | None = None, **options: Any) -> Database:
        target = dsn or request.getfixturevalue("dsn")
        made: Database = psycopg.connect(target, **options)
        # Asked for after the database, so that they are closed before that is dropped, which need not wait for them then.
        request.getfixturevalue("opened").callback(made.close)
        return made

    return connection


@pytest.fixture(scope="session")
def gate_password() -> str:
    return secrets.token_urlsafe(16)


@pytest.fixture
def gate(cluster: embedded.Server, dsn: str, gate_password: str) -> str:
    """The gate of the test's database, opened; the value is the DSN of its login."""
    from rowcall.migrate import configure_gate

    dbname = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    gate_dsn = cluster.dsn(str(dbname), user=GATE_ROLE, password=gate_password)
    configure_gate(dsn, gate_dsn=gate_dsn)
    return gate_dsn
