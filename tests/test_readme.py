"""The README: its programs are run, its commands typed, and what it shows is what comes out.

Blocks are run in order, in one directory and one database: `python` and `sql` whose first line names a file are that file,
others are run; of `console`, what follows "$ " is typed and the rest has to come out. There, "…" stands for whatever was left out.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import typer

from rowcall import embedded, errors
from rowcall.cli import audit, check, doctor, parked, rejections, rules, seals, status, subscriptions
from rowcall.cli.main import app
from tests.conftest import GATE_ROLE, bin_directory
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

NAMED = re.compile(r"(?:#|--) (\S+\.(?:py|sql))\n")
READING = re.compile(r'psql -c "select|rowcall audit')
GATE_DSN = "postgresql://rowcall_gate_login:secret@localhost/shop"

# What differs each time, and what stands for it in a comparison.
VOLATILE = [
    (re.compile(r"\x1b\[[0-9;]*m|\r"), ""),
    (re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?"), "TIME"),
    (re.compile(r"transaction \d+"), "transaction N"),
    (re.compile(r"\d+ events in \d+ seals"), "N events in N seals"),
    (re.compile(r"^key [0-9a-f]{16}", re.MULTILINE), "key N"),
    (re.compile(r"\bEvent \d+"), "Event N"),
    (re.compile(r"in seal \d+ of log [0-9a-f-]{36}"), "in seal N of log ID"),
    (re.compile(r'"xid":\d+'), '"xid":N'),
    (re.compile(r'"seq" : \[\d+,\d+\]'), '"seq" : [N,N]'),
    (re.compile(r'"seq":\d+|\bseq \d+'), "seq N"),
    (re.compile(r"rowcall_\d{4}"), "rowcall_N"),
    (re.compile(r"(PID|process|kill -9) \d+"), r"\1 N"),
    (re.compile(r"^\d+\.\d s$", re.MULTILINE), "N s"),
]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the line it starts at."""

    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"README.md:{self.line}"


@dataclass(frozen=True, slots=True)
class Typed:
    """A command, and what is shown of its output."""

    command: str
    output: str


def blocks() -> list[Block]:
    return [
        Block(found[1], found[2], README.count("\n", 0, found.start()) + 2)
        for found in re.finditer(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    ]


def typed(block: Block) -> list[Typed]:
    chunks = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [Typed(*chunk.partition("\n")[::2]) for chunk in chunks]


def is_demo(block: Block) -> bool:
    return block.text.startswith("$ rowcall demo")


def normal(text: str) -> str:
    for pattern, stand_in in VOLATILE:
        text = pattern.sub(stand_in, text)
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


def fits(shown: str, actual: str) -> bool:
    pattern = re.escape(normal(shown)).replace("…\\\n", "(?:.*\n)*?").replace("…", ".*(?:\n.*)*")
    return re.fullmatch(pattern, normal(actual)) is not None


class Terminal:
    """Types commands in a directory of its own, at a terminal 100 columns wide."""

    def __init__(self, directory: Path, environment: dict[str, str], gate_dsn: str, opened: ExitStack) -> None:
        self.directory = directory
        self._environment = environment
        self._gate_dsn = gate_dsn
        self._opened = opened
        self._job: subprocess.Popen[bytes] | None = None

    def type(self, command: str) -> str:
        if command == "kill %1":
            return self._kill()
        if command.endswith(" &"):
            return self._start(command.removesuffix(" &"))
        ours, theirs = pty.openpty()
        shell = ["bash", "-c", command.replace(GATE_DSN, self._gate_dsn)]
        with subprocess.Popen(
            shell, cwd=self.directory, env=self._environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        ):
            os.close(theirs)
            return read_all(ours)

    def _start(self, command: str) -> str:
        log = self.directory / "log"
        with log.open("w") as file:
            shell = ["bash", "-c", f"exec {command}"]
            job = subprocess.Popen(shell, cwd=self.directory, env=self._environment, stdout=file, stderr=file)
        self._job = self._opened.enter_context(job)
        self._opened.callback(job.kill)
        eventually(lambda: "listening" in log.read_text(), timeout=30)
        return ""

    def _kill(self) -> str:
        assert self._job is not None
        self._job.send_signal(signal.SIGTERM)
        assert self._job.wait(30) == 0
        return ""

    def expect(self, block: Block, shown: Typed) -> None:
        """Type a command; what it asks may take a moment to be so."""

        def attempt() -> bool:
            actual = self.type(shown.command)
            if not fits(shown.output, actual):
                raise AssertionError(f"{block}: $ {shown.command}\n{actual}\n--- shown:\n{shown.output}")
            return True

        eventually(attempt, timeout=10.0 if READING.match(shown.command) else 0.0)

    def run(self, block: Block) -> None:
        if named := NAMED.match(block.text):
            (self.directory / named[1]).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for shown in typed(block):
                self.expect(block, shown)
        else:
            command = [sys.executable, "-"] if block.language == "python" else ["psql", "-v", "ON_ERROR_STOP=1"]
            done = subprocess.run(
                command,
                cwd=self.directory,
                env=self._environment,
                input=block.text,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block}: {done.stderr}"


def read_all(terminal: int) -> str:
    parts = []
    with suppress(OSError):  # which is how Linux says that everybody on the other side is gone
        while part := os.read(terminal, 65536):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


@pytest.fixture
def terminal(cluster: embedded.Server, empty_dsn: str, gate_password: str, tmp_path: Path) -> Iterator[Terminal]:
    dbname = str(psycopg.conninfo.conninfo_to_dict(empty_dsn)["dbname"])
    path = f"{Path(sys.executable).parent}:{bin_directory()}:{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": path,
        "PGHOST": str(cluster.socket_directory),
        "PGUSER": "postgres",
        "PGDATABASE": dbname,
        "PSQLRC": os.devnull,
        "PSQL_PAGER": "cat",
        "PAGER": "cat",
        "TERM": "dumb",
        "COLUMNS": "100",
        "LINES": "40",
        "ROWCALL_PG_BIN": str(bin_directory()),
        "PYTEST_ADDOPTS": f"-p no:cacheprovider --postgresql-host={cluster.socket_directory}",
    }
    with ExitStack() as opened:
        gate_dsn = cluster.dsn(dbname, user=GATE_ROLE, password=gate_password)
        yield Terminal(tmp_path, environment, gate_dsn, opened)


def test_what_it_shows_is_what_comes_out(terminal: Terminal) -> None:
    run = [block for block in blocks() if block.language in ("python", "sql", "console") and not is_demo(block)]
    for block in sorted(run, key=lambda block: NAMED.match(block.text) is None):  # a file may be shown after its use
        terminal.run(block)


@pytest.mark.parametrize("block", [block for block in blocks() if is_demo(block)], ids=str)
def test_the_demo_is_as_shown(terminal: Terminal, block: Block) -> None:
    [shown] = typed(block)
    if "--chinook" in shown.command:
        (terminal.directory / "chinook").symlink_to(chinook())
    actual = normal(terminal.type(f"COLUMNS=80 {shown.command}")).splitlines()
    # What the listener and the plain client print does not always come in the same order.
    missing = [line for line in normal(shown.output).splitlines() if line != "…" and line not in actual]
    assert missing == [], "\n".join(actual)


def chinook() -> Path:
    directory = Path(os.environ.get("ROWCALL_CHINOOK", ROOT.parent / "shared" / "data" / "chinook"))
    if not (directory / "track.csv").is_file():
        pytest.skip("the Chinook data is not here: ROWCALL_CHINOOK=<directory> says where it is")
    return directory


def test_every_kind_of_block_is_known() -> None:
    assert {block.language for block in blocks()} == {"python", "sql", "console", "sh", "text"}


def test_what_it_says_to_install_and_make_exists() -> None:
    shell = "\n".join(block.text for block in blocks() if block.language == "sh")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", shell, re.MULTILINE)
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    assert set(re.findall(r"\.\[(\w+)\]", shell)) <= set(extras)


def test_it_links_to_what_exists() -> None:
    links = [link for link in re.findall(r"\]\((?!https?://)([^)#]+)", README) if not (ROOT / link).exists()]
    assert links == []


def test_it_names_every_field_of_the_listings() -> None:
    listings = (
        audit.EVENT_COLUMNS,
        rejections.REJECTION_COLUMNS,
        rules.RULE_COLUMNS,
        rules.VERDICT_COLUMNS,
        status.BACKLOG_COLUMNS,
        parked.PARKED_COLUMNS,
        parked.SKIPPED_COLUMNS,
        subscriptions.SUBSCRIPTION_COLUMNS,
        doctor.FINDING_COLUMNS,
        check.CHECK_COLUMNS,
        seals.SEAL_COLUMNS,
        seals.FINDING_COLUMNS,
    )
    for columns in listings:
        assert ", ".join(f"`{column}`" for column in columns) in README


def test_it_lists_every_command() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    missing = [name for name in group.commands if not re.search(rf"^\| .*`(rowcall )?{name}\b", README, re.MULTILINE)]
    assert missing == []


def test_it_explains_every_exit_code() -> None:
    [line] = re.findall(r"^Exit codes: (.*?)\.\n", README, re.MULTILINE | re.DOTALL)
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert {int(code) for code in re.findall(r"\d", line)} == codes | {0}
