"""The embedded server: it survives what tests do to it, and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import scalar_row

from rowcall import embedded, errors
from tests.conftest import bin_directory
from tests.waiting import eventually

# Says what the test needs to know, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from rowcall import embedded

server = embedded.Server(bin_directory=Path(sys.argv[1])).start()
print(server.log.parent, server.dsn(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Server]:
    with embedded.Server(bin_directory=bin_directory(), password_roles=["asked"]) as started:
        yield started


def ask(server: embedded.Server, query: str) -> object:
    with psycopg.connect(server.dsn(), row_factory=scalar_row, autocommit=True) as conn:
        return conn.execute(query).fetchone()


def do(server: embedded.Server, statement: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute(statement)


def test_speaks_utf8_and_utc_on_a_socket_only(server: embedded.Server) -> None:
    assert ask(server, "show server_encoding") == "UTF8"
    assert ask(server, "show timezone") == "UTC"
    assert ask(server, "show listen_addresses") == ""
    assert ask(server, "select inet_server_addr()") is None


def test_is_the_version_that_its_programs_say(server: embedded.Server) -> None:
    said = embedded.version(server.bin_directory)
    assert str(ask(server, "show server_version")).split(maxsplit=1)[0] == said


def test_has_dblink(server: embedded.Server) -> None:
    do(server, "create extension dblink")
    asked = f"select n from dblink('{server.dsn()}', 'select 1') as t (n int)"
    assert ask(server, asked) == 1


def test_only_the_password_roles_need_a_password(server: embedded.Server) -> None:
    do(server, "create role asked login password 'right'")
    do(server, "create role trusted login")
    with (
        psycopg.connect(server.dsn(user="trusted")),
        psycopg.connect(server.dsn(user="asked", password="right")),
    ):
        pass
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.dsn(user="asked"))


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_what_was_committed_survives(server: embedded.Server, how: str) -> None:
    do(server, f"create table kept_{how} as select 42 as answer")
    before = server.pid
    if how == "kill":
        server.kill()
    else:
        server.stop("fast" if how == "fast" else "immediate")
    assert server.pid is None
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn())
    server.start()
    assert server.pid not in (None, before)
    assert ask(server, f"select answer from kept_{how}") == 42


def test_restart_cuts_connections_and_keeps_the_address(server: embedded.Server) -> None:
    address = server.dsn()
    with psycopg.connect(address, autocommit=True) as conn:
        server.restart("immediate")
        with pytest.raises(psycopg.OperationalError):
            conn.execute("select 1")
    assert server.dsn() == address
    assert ask(server, "select 1") == 1


def test_starts_again_after_dying_by_itself(server: embedded.Server) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGQUIT)
    eventually(lambda: server.pid is None)
    server.start()
    assert ask(server, "select 1") == 1


def test_altered_settings_outlive_a_restart(server: embedded.Server) -> None:
    do(server, "alter system set max_prepared_transactions = 7")
    server.restart()
    assert ask(server, "show max_prepared_transactions") == "7"


def test_close_removes_everything() -> None:
    with embedded.Server(bin_directory=bin_directory()) as server:
        pid, scratch = server.pid, server.log.parent
        assert pid
        assert scratch.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not scratch.exists()
    server.close()


def test_a_given_data_directory_is_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    with embedded.Server(bin_directory=bin_directory()) as scratch:
        # pytest's own directories are closed to the account that root lends the server.
        data = scratch.log.parent / "given"
        with embedded.Server(data, bin_directory=bin_directory(), fsync=True) as first:
            do(first, "create table kept as select 42 as answer")
            assert ask(first, "show fsync") == "on"
        with embedded.Server(data, bin_directory=bin_directory()) as second:
            assert ask(second, "select answer from kept") == 42


def test_dies_with_an_owner_that_was_killed() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, bin_directory()], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout
        scratch, dsn = owner.stdout.readline().split()
        with psycopg.connect(dsn) as conn:
            owner.kill()
            with pytest.raises(psycopg.OperationalError, match="closed the connection"):
                next(conn.notifies(timeout=10))
    eventually(lambda: not Path(scratch).exists())


def test_says_why_it_did_not_start() -> None:
    unheard_of = {"no_such_setting": "1"}
    server = embedded.Server(bin_directory=bin_directory(), settings=unheard_of)
    with pytest.raises(errors.RowcallError, match="no_such_setting"):
        server.start()
    assert server.pid is None
    server.close()


def test_wrong_programs_are_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.UsageError, match=r"rowcall\[embedded\]"):
        embedded.Server(bin_directory=tmp_path)
    monkeypatch.setenv("ROWCALL_PG_BIN", str(tmp_path))
    with pytest.raises(errors.UsageError, match=str(tmp_path)):
        embedded.binaries()


def test_no_wheel_is_a_usage_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROWCALL_PG_BIN", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(errors.UsageError, match=r"pip install 'rowcall\[embedded\]'"):
        embedded.binaries()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server another account")
def test_root_copies_programs_that_the_server_could_not_reach(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    package = embedded.binaries().parents[1]
    shutil.copytree(package, private / package.name)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, private / libraries.name)
    programs = private / package.name / "pginstall" / "bin"
    with embedded.Server(bin_directory=programs) as server:
        assert server.bin_directory != programs
        do(server, "create extension dblink")
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_dsn_is_read_by_libpq_whatever_the_names() -> None:
    made = embedded.dsn(Path("/a b/c"), "d&b ü", user="u@x", password="p/w:%")
    read = psycopg.conninfo.conninfo_to_dict(made)
    assert read == {
        "host": "/a b/c",
        "port": "5432",
        "dbname": "d&b ü",
        "user": "u@x",
        "password": "p/w:%",
    }
