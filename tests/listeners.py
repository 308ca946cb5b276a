"""Listeners for tests: in this process, or as a program of their own that can be killed."""

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import Rowcall, resources
from rowcall.listener.daemon import LeftOver, Listener
from rowcall.postgres import connection, declarations, tables
from tests.command import PROGRAM, fine
from tests.conftest import Database
from tests.waiting import eventually

#: The name apps of tests have in the database.
NAME = "tests"


def sync(app: Rowcall, dsn: str, name: str = NAME) -> list[str]:
    """What ``rowcall sync`` did, as ``watch public.users created``."""
    with connection.connect(dsn, autocommit=False) as admin:
        changes = declarations.synchronise(admin, app, name)
    return [f"{change.kind} {change.subject} {change.outcome}" for change in changes]


def listener_for(app: Rowcall, dsn: str, *, drain: bool = False) -> Listener:
    with connection.connect(dsn) as admin:
        return Listener(app, dsn, tables.subjects(admin, app), drain=drain)


def drain(app: Rowcall, dsn: str) -> LeftOver:
    """Deliver everything that is pending; what could not be."""
    return asyncio.run(listener_for(app, dsn, drain=True).run())


def enlist(connection: psycopg.Connection[Any], name: str, *, process: str = "another", lanes: int = 16) -> int:
    """Do what a listener does before it reads; the worker's id."""
    parameters = {"name": name, "lanes": lanes, "process": process, "locked": True, "sessions": []}
    row = connection.execute(resources.queries("claims")["enlist"], parameters).fetchone()
    assert row
    return int(row[1])


def is_asleep(database: Database) -> bool:
    """Whether a listener of the database sleeps, so that writers ring."""
    query = """
        select count(*) from pg_locks where locktype = 'advisory' and classid = 1383036771 and objid = 0 and granted
          and mode = 'ExclusiveLock' and database = (select oid from pg_database where datname = current_database())
    """
    return database.execute(query).fetchone() == (1,)


def synchronised(place: Path, dsn: str, patched: pytest.MonkeyPatch, name: str, text: str) -> Path:
    """A directory with an app in it that was synchronised, for this process to import as well; the directory."""
    (place / f"{name}.py").write_text(text)
    patched.chdir(place)
    patched.syspath_prepend(place)
    fine("sync", f"{name}:app", "--dsn", dsn)
    return place


@contextmanager
def listening(app: Rowcall, dsn: str) -> Iterator[None]:
    """A listener in a thread of its own, stopped at the end; what it fails with is raised there."""
    failures: list[BaseException] = []
    started: list[tuple[asyncio.AbstractEventLoop, Listener]] = []

    async def run() -> None:
        listener = listener_for(app, dsn)
        started.append((asyncio.get_running_loop(), listener))
        await listener.run()

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - raised again by the test's thread
            failures.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    try:
        eventually(lambda: started or failures)
        yield
    finally:
        if started:
            loop, listener = started[0]
            if thread.is_alive():
                loop.call_soon_threadsafe(listener.stop)
        thread.join(10)
    assert not thread.is_alive(), "the listener did not stop"
    if failures:
        raise failures[0]


class Program:
    """``rowcall listen`` as a process of its own, and the lines it logs."""

    def __init__(self, directory: Path, target: str, dsn: str, *options: str) -> None:
        self.log = directory / f"listener_{os.urandom(4).hex()}.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*PROGRAM, "listen", target, "--dsn", dsn, *options],
                cwd=directory,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log about one kind of event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def wait_until_listening(self, times: int = 1) -> None:
        def check() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return len(self.logged("listening")) >= times

        eventually(check)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, timeout: float = 10) -> int:
        """Its exit code once it has ended."""
        return self.process.wait(timeout)


@contextmanager
def program(directory: Path, target: str, dsn: str, *options: str) -> Iterator[Program]:
    """``rowcall listen`` as a process, listening, and killed at the end if it still runs."""
    running = Program(directory, target, dsn, *options)
    try:
        running.wait_until_listening()
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
