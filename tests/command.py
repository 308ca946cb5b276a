"""The command line, run in this process: what it prints and its exit code."""

import os
import pty
import select
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any
from unittest.mock import patch

import msgspec

#: A program that runs the command line, for tests that need a process of its own.
PROGRAM = (sys.executable, "-c", "from rowcall.cli import main; main()")


@dataclass(frozen=True, slots=True)
class Said:
    """What one command came to."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Its output as JSON lines."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]


@contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    with patch.dict(os.environ, changes):
        yield


def rowcall(*arguments: str, **variables: str) -> Said:
    """Run ``rowcall <arguments>`` with more environment variables."""
    from rowcall.cli.main import run

    out, err = StringIO(), StringIO()
    with ExitStack() as stack:
        stack.enter_context(environment(variables))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        code = run(arguments)
    return Said(code, out.getvalue(), err.getvalue())


def typed(answer: str, *arguments: str) -> Said:
    """The same at a terminal of 80 columns, where somebody has typed the answer; what is shown there is all in ``out``."""
    from rowcall.cli.main import run

    terminal, line = pty.openpty()
    try:
        os.write(terminal, answer.encode())
        with ExitStack() as stack:
            stack.enter_context(environment({"COLUMNS": "80", "TERM": "dumb"}))
            for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
                stream = stack.enter_context(open(line, mode, encoding="utf-8", closefd=False))
                stack.enter_context(patch.object(sys, name, stream))
            code = run(arguments)
        return Said(code, _shown(terminal), "")
    finally:
        os.close(line)
        os.close(terminal)


def _shown(terminal: int) -> str:
    """What is to be read there by now."""
    shown = b""
    while select.select([terminal], [], [], 0)[0]:
        shown += os.read(terminal, 10_000)
    return shown.decode()


def fine(*arguments: str, **variables: str) -> Said:
    """The same, for commands that have to succeed."""
    said = rowcall(*arguments, **variables)
    assert said.code == 0, said.err
    return said


def refused(code: int, *arguments: str, **variables: str) -> str:
    """The one sentence with which a command fails."""
    said = rowcall(*arguments, **variables)
    assert said.code == code, (said.code, said.err, said.out)
    assert said.out == ""
    assert said.err.startswith("rowcall: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert said.err.rstrip().endswith((".", "?"))
    return said.err.removeprefix("rowcall: ").rstrip()
