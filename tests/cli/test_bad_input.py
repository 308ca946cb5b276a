"""Bad input: one sentence that names the cure, the contract's exit code, no traceback, nothing half installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Connect

GOOD = "from rowcall import Rowcall\napp = Rowcall()\napp.watch('users')\n"
APPS = {
    "broken": "import nothing_of_that_name",
    "other": "app = 42",
    "asking": GOOD + "@app.after('users')\ndef handler(event, weather): ...\n",
    "unparsable": GOOD + "app.rule('users', 'odd', 'new.id >>> ')\n",
    "missing": GOOD + "app.rule('users', 'odd', 'new.nothing > 1')\n",
    "ungated": GOOD + "@app.before('users')\ndef check(event): ...\n",
    "unwatched": "from rowcall import Rowcall\napp = Rowcall()\n@app.after('users')\ndef handler(event): ...\n",
}


def rowcall(*arguments: str, dsn: str, where: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from rowcall.cli import main; main()", *arguments]
    environment = {**os.environ, "ROWCALL_DSN": dsn, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(command, env=environment, cwd=where, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["watch", "nothing_there"], 2, "There is no table nothing_there"),
        (["watch", "users", "--exclude", "nothing"], 2, "has no column nothing"),
        (["watch", "users", "--exclude", "id"], 2, "part of the key"),
        (["watch", "a.b.c"], 2, "is not the name of a table"),
        (["unwatch", "users"], 2, "is not watched"),
        (["sync", "absent:app"], 2, "cannot be imported"),
        (["sync", "broken:app"], 2, "nothing_of_that_name"),
        (["sync", "other:app"], 2, "is not a Rowcall"),
        (["sync", "other"], 2, "write MODULE:APP"),
        (["sync", "asking:app"], 2, "asks for 'weather', which nobody can supply"),
        (["sync", "unparsable:app"], 2, "odd"),
        (["sync", "missing:app"], 2, "nothing"),
        (["sync", "ungated:app"], 2, "--gate-dsn"),
        (["sync", "unwatched:app"], 2, "add app.watch('users')"),
        (["watches", "--dsn", "host=/nowhere/at/all"], 3, "cannot be reached"),
        (["watches", "--dsn", "no such thing"], 2, "DSN"),
        (["migrate", "--gate-dsn", "user=somebody"], 2, "password"),
        (["audit", "row", "users", "1"], 2, "knows no table users"),
        (["audit", "log", "--operation", "upsert"], 2, "choose from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_it_is_told_in_a_sentence(
    dsn: str, connect: Connect, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    database = connect(autocommit=True)
    database.execute("create table users (id int primary key, email text)")
    for name, text in APPS.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = rowcall(*arguments, dsn=dsn, where=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert database.execute("select count(*) from rowcall.watch").fetchone() == (0,)
    assert database.execute("select count(*) from pg_trigger where tgname like '%rowcall%'").fetchone() == (0,)


def test_debug_shows_where(dsn: str, tmp_path: Path) -> None:
    done = rowcall("--debug", "watch", "nothing_there", dsn=dsn, where=tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_database_without_rowcall(empty_dsn: str, tmp_path: Path) -> None:
    done = rowcall("watches", dsn=empty_dsn, where=tmp_path)
    assert done.returncode == 2
    assert 'run "rowcall migrate"' in done.stderr
