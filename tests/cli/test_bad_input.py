"""What people get wrong: one sentence that names the cure, the exit code of the contract, no traceback."""

import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import embedded
from rowcall.postgres import connection
from tests.cli.conftest import WriteApp
from tests.command import PROGRAM, fine, refused, rowcall, typed
from tests.waiting import eventually

Database = psycopg.Connection[Any]
HERE = "postgresql://postgres@/x?host=/nowhere"
COMMANDS = (
    ["watches"],
    ["watch", "t"],
    ["unwatch", "t"],
    ["audit", "log"],
    ["audit", "row", "t", "1"],
    ["audit", "rejections"],
    ["migrate"],
    ["parked"],
    ["retry", "x", "--all", "--yes"],
    ["skip", "x", "--seq", "1", "--yes"],
    ["subscriptions"],
    ["subscriptions", "drop", "x", "--yes"],
    ["subscriptions", "rename", "x", "y", "--yes"],
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_out_of_reach(command: list[str]) -> None:
    sentence = refused(3, *command, "--dsn", HERE)
    assert sentence.startswith("The database cannot be reached: connection to server on socket")
    assert sentence.endswith("Check --dsn, ROWCALL_DSN or libpq's PG… variables.")


@pytest.mark.parametrize("command", ["sync", "listen"])
def test_a_database_out_of_reach_of_an_app(write_app: WriteApp, command: str) -> None:
    assert "cannot be reached" in refused(3, command, write_app(""), "--dsn", HERE)


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("nonsense", "The DSN cannot be read: missing"),
        ("postgresql://[::1/x", "The DSN cannot be read: end of string"),
        ("host=x nope=1", "The DSN cannot be read: invalid connection option"),
    ],
)
def test_a_dsn_that_is_none(dsn: str, reason: str) -> None:
    assert refused(2, "watches", "--dsn", dsn).startswith(reason)


def test_a_database_or_login_that_does_not_exist(cluster: embedded.Server) -> None:
    assert 'database "no_such" does not exist' in refused(3, "watches", "--dsn", cluster.dsn("no_such"))
    assert 'role "nobody" does not exist' in refused(3, "watches", "--dsn", cluster.dsn(user="nobody"))


def test_where_the_database_is(dsn: str) -> None:
    fine("watches", ROWCALL_DSN=dsn)
    fine("watches", ROWCALL_DSN=dsn.replace("postgresql://", "postgresql+psycopg://"))
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    fine("watches", PGHOST=str(parts["host"]), PGUSER="postgres", PGDATABASE=str(parts["dbname"]))
    assert "cannot be reached" in refused(3, "watches", "--dsn", HERE, ROWCALL_DSN=dsn)


@pytest.mark.parametrize("command", ["sync", "listen"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "Module {module} cannot be imported (ModuleNotFoundError: No module named"),
        ("import nothing_there", "cannot be imported (ModuleNotFoundError: No module named 'nothing_there')"),
        ("1/0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("def", "cannot be imported (SyntaxError: "),
        ("import sys; sys.exit(3)", "cannot be imported (SystemExit: 3)"),
        ("app = 42", "{module}:app is not a Rowcall app (that is a int): it needs app = Rowcall() there."),
        ("", "{module}:app is not a Rowcall app (there is no such name)"),
        (
            "from rowcall import Rowcall\napp = Rowcall()\n@app.after('users')\ndef f(event, request): ...",
            "handler {module}.f asks for 'request', which nobody can supply: name its parameters event, events, conn, session",
        ),
        (
            "from rowcall import Rowcall\napp = Rowcall()\napp.rule('users', 'r', 'age > 1')",
            "mentions neither old nor new",
        ),
    ],
)
@pytest.mark.usefixtures("write_app")
def test_an_app_that_cannot_be_used(tmp_path: Path, command: str, text: str | None, reason: str) -> None:
    module = f"app_bad_{abs(hash((command, text)))}"
    if text is not None:
        (tmp_path / f"{module}.py").write_text(text)
    # Before it connects: no database is asked.
    assert reason.format(module=module) in refused(2, command, f"{module}:app", "--dsn", HERE)


@pytest.mark.parametrize("target", ["app", "app:", ":app", ""])
def test_a_target_that_names_no_app(target: str) -> None:
    assert refused(2, "sync", target) == f"{target!r} does not name an app: write MODULE:APP, as in shop.events:app."


def test_listening_to_a_table_that_does_not_exist(dsn: str, write_app: WriteApp) -> None:
    for declaration in ("app.after('nothing')(lambda event: None)", "app.before('nothing')(lambda event: None)"):
        assert "There is no table nothing in database" in refused(2, "listen", write_app(declaration), "--dsn", dsn)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--nope"], 'No such option: --nope: "rowcall --help" shows what it takes.'),
        (["nope"], "No such command 'nope': \"rowcall --help\" shows what it takes."),
        (["watch"], "Missing argument 'TABLE…': \"rowcall watch --help\" shows what it takes."),
        (["watch", "t", "--nope"], 'No such option: --nope: "rowcall watch --help" shows what it takes.'),
        (["audit", "nope"], "No such command 'nope': \"rowcall audit --help\" shows what it takes."),
        (["audit", "row", "users"], "Missing argument 'KEY': \"rowcall audit row --help\" shows what it takes."),
        (["watches", "--format", "xml"], "'xml' is not one of 'table', 'json', 'jsonl', 'csv'"),
        (["watches", "--dsn"], "requires an argument"),
        (["migrate", "--down", "base", "--to", "x"], "--down goes with neither --to nor --sql: run it by itself."),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str) -> None:
    assert sentence in refused(2, *arguments)


def test_help_is_no_error() -> None:
    for arguments in (["--help"], ["watch", "--help"], ["audit", "log", "--help"]):
        assert "Usage:" in fine(*arguments).out
    assert rowcall().code == rowcall("audit").code == 2
    assert fine("--version").out.startswith("rowcall 0.")


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for arguments in (["--debug", "watches"], ["watches", "--debug"]):
        said = rowcall(*arguments, "--dsn", HERE)
        assert said.code == 3
        assert "Traceback (most recent call last)" in said.err
        assert said.err.splitlines()[-1].startswith("rowcall: The database cannot be reached")
    assert "Traceback" in rowcall("watches", "--dsn", HERE, ROWCALL_DEBUG="1").err


def test_a_fault_of_ours_is_a_sentence_too(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("inner")

    monkeypatch.setattr(connection, "check_server_version", broken)
    assert (
        refused(4, "watches", "--dsn", dsn) == "KeyError: 'inner'. This is a fault of Rowcall's; --debug shows where."
    )


def test_a_server_that_is_too_old(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = connection.check_server_version
    monkeypatch.setattr(connection, "check_server_version", lambda version: real(130008))
    for command in (["watches"], ["migrate"], ["audit", "log"]):
        assert refused(2, *command, "--dsn", dsn) == (
            "PostgreSQL 13.8 is too old: Rowcall needs 14 or newer; upgrade the server."
        )


def test_what_the_server_will_not_do_now(dsn: str, database: Database) -> None:
    """A lock that somebody else keeps is no outage, but try again."""
    with database.transaction():
        database.execute("lock table users")
        sentence = refused(3, "watch", "users", "--dsn", f"{dsn}&options=-clock_timeout%3D50")
    assert sentence == "The database could not do it: canceling statement due to lock timeout. Try again."


def test_whoever_has_read_enough_ends_it_quietly(dsn: str, database: Database) -> None:
    fine("watch", "users", "--dsn", dsn)
    database.execute("insert into users select n, repeat('x', 1000), n from generate_series(1, 2000) as n")
    log = [*PROGRAM, "audit", "log", "--limit", "2000", "--dsn", dsn, "--format"]
    with ExitStack() as running:
        # Side by side, because a program takes most of its time to start.
        processes = {
            form: running.enter_context(
                subprocess.Popen([*log, form], stdout=subprocess.PIPE, stderr=subprocess.PIPE),
            )
            for form in ("jsonl", "json", "csv", "table")
        }
        for form, process in processes.items():
            assert process.stdout
            assert process.stderr
            process.stdout.read(10)
            process.stdout.close()
            assert (form, process.stderr.read()) == (form, b"")
            assert (form, process.wait(10)) == (form, 0)


def test_an_interrupt_is_no_traceback(dsn: str, database: Database) -> None:
    with database.transaction():
        database.execute("lock table users")
        command = [*PROGRAM, "watch", "users", "--dsn", dsn]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            waiting = "select count(*) from pg_locks where not granted and relation = 'users'::regclass"
            eventually(lambda: database.execute(waiting).fetchone() == (1,))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert database.execute("select count(*) from rowcall.watch").fetchone() == (0,)


def test_on_a_terminal_a_table_and_a_question(dsn: str, database: Database) -> None:
    fine("watch", "users", "--dsn", dsn)
    said = typed("", "watches", "--dsn", dsn)
    assert said.code == 0
    assert said.out.split()[:2] == ["table", "declared_by"]
    said = typed("n\n", "migrate", "--down", "base", "--dsn", dsn)
    assert said.code == 1
    assert "the log included" in said.out
    assert database.execute("select count(*) from rowcall.watch").fetchone() == (1,)
    said = typed("y\n", "migrate", "--down", "base", "--dsn", dsn)
    assert said.code == 0
    assert "Rowcall's schema is at base now." in said.out
