"""`rowcall demo`: it tells the truth, ends in good order however it ends, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from rowcall import embedded, errors
from rowcall.demo import place as places
from rowcall.demo.screen import Claim, Screen
from tests.demo.conftest import COMMAND, RunDemo
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(90)

#: Seconds. Four are usual and 15 are promised, on a machine with nothing else to do.
LONGEST = 30

PROOF = re.compile(r"^✓ ([\d,]+) rows changed = \1 events logged = \1 events handled$", re.MULTILINE)

# Counts a row too many whenever a writer changed some.
MISCOUNTING = """
from rowcall.demo.writer import Writer

count = Writer._count
Writer._count = lambda self, rows: count(self, rows + 1)

from rowcall.cli import main
main()
"""


def test_it_tells_the_whole_story(run_demo: RunDemo, environment: dict[str, str]) -> None:
    done = run_demo()
    assert (done.returncode, done.stderr) == (0, "")
    assert PROOF.search(done.stdout)
    assert float(done.stdout.splitlines()[-1].removesuffix(" s")) < LONGEST
    for part in (
        "subscription rowcall.demo.app.log_user_update: created",
        "SQLSTATE 23514: update of public.users was rejected by check_user",
        "log_user_update: ada@example.org became ada@lovelace.example",
        'insert of public.users violates rule "adult":',
        "1,002 rows, committed",
        "LISTEN  rowcall_users {",
        "kill -9",
        "email: 'ada@example.org' → 'ada@lovelace.example'",
        "✓ 2 writes refused = 2 recorded",
    ):
        assert part in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def test_it_fails_when_the_figures_disagree(run_demo: RunDemo) -> None:
    done = run_demo(command=[sys.executable, "-c", MISCOUNTING, "demo"])
    assert done.returncode == errors.Undeliverable.exit_code
    assert re.search(r"✗ [\d,]+ rows changed ≠ [\d,]+ events logged = [\d,]+ events handled", done.stdout)
    assert done.stderr.startswith("rowcall: The figures disagree: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_it_leaves_nothing_behind_when_it_is_ended(
    environment: dict[str, str], number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as demo:
        assert demo.stdout is not None
        ready = next(line for line in demo.stdout if "ready, process" in line)
        # A terminal's Ctrl-C reaches the whole group; any other signal only the demo itself.
        os.killpg(demo.pid, number) if number == signal.SIGINT else demo.send_signal(number)
        demo.stdout.read()
    assert demo.returncode == code
    listener = int(ready.split()[-1])
    eventually(lambda: not Path(f"/proc/{listener}").exists() if Path("/proc/self").exists() else True)
    eventually(lambda: list(Path(environment["TMPDIR"]).iterdir()) == [])


def test_a_kept_database_is_there_again(run_demo: RunDemo, environment: dict[str, str], place: Path) -> None:
    keep = place / "kept"
    done = run_demo("--keep", str(keep))
    assert done.returncode == 0
    assert f"rowcall demo --keep {keep}" in done.stdout
    again = [*COMMAND, "--keep", str(keep)]
    with subprocess.Popen(again, env=environment, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        told = next(line for line in serving.stdout if "ROWCALL_DSN" in line)
        dsn = told.split("'")[1]
        assert dsn == embedded.dsn(keep / "run")
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select count(*) from rowcall.event").fetchone() == (2406,)
            # The gate's own connection still finds the server.
            with pytest.raises(psycopg.errors.CheckViolation, match="no listener answered"):
                connection.execute("update users set email = 'nobody answers' where id = 2")
        serving.send_signal(signal.SIGINT)
        assert "rowcall listen rowcall.demo.app:app" in serving.stdout.read()
    assert serving.returncode == 0


def test_a_directory_to_keep_is_fresh(run_demo: RunDemo, place: Path) -> None:
    (place / "something").touch()
    done = run_demo("--keep", str(place))
    assert done.returncode == errors.UsageError.exit_code
    assert "is not a fresh directory" in done.stderr


def test_a_directory_to_keep_has_a_short_path(place: Path) -> None:
    with pytest.raises(errors.UsageError, match="too long for the server's socket"):
        places.server(place / ("long" * 30))


def test_a_claim_holds_while_all_figures_agree(capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong = Claim([(1000, "one"), (1000, "other")]), Claim([(1, "one"), (2, "other"), (2, "third")])
    Screen().prove([right])
    with pytest.raises(errors.Undeliverable, match="1 one ≠ 2 other = 2 third"):
        Screen().prove([right, wrong])
    assert capsys.readouterr().out.splitlines() == [
        "✓ 1,000 one = 1,000 other",
        "✓ 1,000 one = 1,000 other",
        "✗ 1 one ≠ 2 other = 2 third",
    ]
