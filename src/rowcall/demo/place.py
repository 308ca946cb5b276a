"""Where a demo's database lives: in a temporary directory, or in one that is kept."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psycopg

from rowcall import embedded, errors
from rowcall.demo.screen import Screen
from rowcall.migrate import upgrade

#: What a socket's path may have at most, less the name of the socket itself.
_LONGEST_PATH = 107 - len(f"/.s.PGSQL.{embedded.PORT}")


#: Seconds between looks at whether a server still runs.
_GLANCE = 0.5


class Ended(BaseException):
    """A signal told us to end.

    :ivar code: the exit code, as a shell says it of a process that a signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Let the signals that end a process unwind it instead, so that everything it started ends with it.

    :raises Ended: when one comes.
    """
    ending = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _leave) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise Ended(number)


def server(keep: Path | None) -> embedded.Server:
    """A server for a new database, not started yet.

    :param keep: a fresh directory for it, or None for a temporary one.
    :raises UsageError: if the directory cannot be used.
    """
    if keep is None:
        return embedded.Server()
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise errors.UsageError(f"{keep} is not a fresh directory: name one that is empty or does not exist.")
    keep.mkdir(parents=True, exist_ok=True)
    return kept(keep)


def kept(keep: Path) -> embedded.Server:
    """The server of a directory that an earlier demo kept, not started yet.

    :raises UsageError: if no server can run there.
    """
    place = keep.resolve()
    _check(place)
    found = embedded.Server(place / "data")
    # The gate's connection names the socket, so the socket has to be where it was.
    found.socket_directory = place / "run"
    return found


def is_kept(keep: Path) -> bool:
    """Whether an earlier demo kept its database there."""
    return (keep / "data").is_dir() and (keep / "run").is_dir()


def _check(place: Path) -> None:
    if len(os.fsencode(place / "run")) > _LONGEST_PATH:
        raise errors.UsageError(f"The path {place} is too long for the server's socket: choose a shorter one.")
    # PostgreSQL refuses to run as root, so the server runs as another account, which has to get there.
    if os.geteuid() == 0 and not all(part.stat().st_mode & 0o001 for part in (place, *place.parents)):
        raise errors.UsageError(
            f"The server cannot run as root, and no other account can enter {place}:"
            " choose a directory such as /var/tmp/demo, or run as another user."
        )


def install(running: embedded.Server) -> str:
    """Migrate a server's database, gate included; its DSN."""
    password = secrets.token_urlsafe()
    upgrade(running.dsn(), running.dsn(user=embedded.GATE_ROLES[0], password=password))
    return running.dsn()


def say_where(screen: Screen, keep: Path, dsn: str) -> None:
    """How to come back to a database that is kept."""
    keep = keep.resolve()
    screen.console.print(f"\nKept in {keep}. Its server stops with this command; to start it again:", soft_wrap=True)
    screen.console.print(f"  rowcall demo --keep {shlex.quote(str(keep))}", soft_wrap=True)
    screen.console.print("and then, in another terminal:")
    _say_how(screen, dsn)


def _say_how(screen: Screen, dsn: str) -> None:
    for line in (f"export ROWCALL_DSN='{dsn}'", 'psql "$ROWCALL_DSN"', "rowcall audit log --limit 5"):
        screen.console.print(f"  {line}", soft_wrap=True)


def serve(keep: Path) -> None:
    """Start the server of a kept database and keep it running until Ctrl-C."""
    screen = Screen()
    with cleaning_up(), kept(keep) as running, suppress(KeyboardInterrupt):
        screen.console.print("The server of the demo runs until Ctrl-C. In another terminal:")
        _say_how(screen, running.dsn())
        for target in _apps(running.dsn()):
            screen.console.print(f"  rowcall listen {target}")
        while running.pid is not None:
            time.sleep(_GLANCE)


def _apps(dsn: str) -> list[str]:
    """The apps that declared something in a database."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("select distinct declared_by from rowcall.watch order by 1").fetchall()
    return [row[0] for row in rows if row[0] != "cli"]
