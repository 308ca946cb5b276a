"""Rowcall's own commands in processes of their own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

import msgspec

from rowcall import errors

_PATIENCE = 10.0

# Outlives us on purpose: end of file means that we died without stopping the listener.
_GUARD = 'read -r _; kill "$1"'


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-c", "from rowcall.cli import main; main()", *arguments]


def _environment(dsn: str) -> dict[str, str]:
    return os.environ | {"ROWCALL_DSN": dsn, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def run(arguments: list[str], dsn: str) -> list[str]:
    """Run a command to its end; the lines it printed.

    :raises RowcallError: if it failed.
    """
    done = subprocess.run(
        _command(arguments),
        env=_environment(dsn),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise errors.RowcallError(f"rowcall {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.splitlines()


class _Lines:
    """The whole lines that have come through a pipe, without waiting for more."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._rest = b""
        os.set_blocking(pipe.fileno(), False)

    def fileno(self) -> int:
        return int(self._pipe.fileno())

    def take(self) -> list[str]:
        try:
            while part := os.read(self.fileno(), 65536):
                self._rest += part
        except BlockingIOError:
            pass
        *whole, self._rest = self._rest.split(b"\n")
        return [line.decode(errors="replace") for line in whole]


class Listener:
    """`rowcall listen`, in our process group so that a terminal's Ctrl-C reaches it too."""

    def __init__(self, target: str, dsn: str) -> None:
        self._process = subprocess.Popen(
            _command(["listen", target]),
            env=_environment(dsn),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.printed = _Lines(self._process.stdout)
        self._logged = _Lines(self._process.stderr)
        self._last: list[str] = []
        self.ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> list[str]:
        """What it logged since the last call; notes whether it is ready.

        :raises RowcallError: if it ended by itself.
        """
        ended = self._process.poll() is not None
        lines = self._logged.take()
        messages = [_message(line) for line in lines]
        self._last = [*self._last, *messages][-3:]
        if ended:
            said = " / ".join(self._last)
            raise errors.RowcallError(f"rowcall listen ended by itself with {self._process.returncode}: {said}")
        self.ready = self.ready or "listening" in messages
        return messages

    def kill(self) -> None:
        """Kill -9: it gets no chance to finish anything."""
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        """SIGTERM: it finishes what is in flight, then ends."""
        self._guard.kill()
        self._guard.communicate()
        self._process.terminate()
        try:
            self._process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _message(line: str) -> str:
    """What a line of the structured log is about."""
    try:
        entry = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return line
    event = str(entry.get("event"))
    return f"{event}: {entry['error']}" if "error" in entry else event
