"""Listeners of one app, several at once, of which each that died has a successor soon."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.listeners import Program
from tests.waiting import eventually

TARGET = "tests.torture.app:app"

#: The exit codes of a listener that could not reach the database when it started, and of one that was killed.
_OUT_OF_REACH, _KILLED = 3, -signal.SIGKILL
_LONGEST_GAP = 1.0


@dataclass(slots=True)
class _Post:
    """One listener's place.

    :ivar start_at: when to start one again that is not there.
    :ivar thaw_at: when to let one go on that is stopped.
    """

    program: Program | None = None
    start_at: float = 0.0
    thaw_at: float | None = None


class Crew:
    """Keeps as many listeners running as it has posts.

    :ivar starts: how many were started.
    :ivar failures: what listeners ended with that nobody had told to.
    """

    def __init__(self, directory: Path, dsn: str, chance: random.Random, posts: int = 3) -> None:
        self._directory = directory
        self._dsn = dsn
        self._random = chance
        self._posts = [_Post() for _ in range(posts)]
        self.starts = 0
        self.failures: list[str] = []

    def tend(self) -> None:
        """Do what is due: start those that are not there, let go on those that are stopped."""
        now = time.monotonic()
        for post in self._posts:
            self._note_end(post, now)
            if post.program is None and post.start_at <= now:
                post.program = Program(self._directory, TARGET, self._dsn)
                self.starts += 1
            elif post.program is not None and post.thaw_at is not None and post.thaw_at <= now:
                self._thaw(post, post.program)

    def _note_end(self, post: _Post, now: float) -> None:
        code = post.program.process.poll() if post.program else None
        if post.program is None or code is None:
            return
        if code not in {_OUT_OF_REACH, _KILLED}:
            self.failures.append(f"a listener ended with {code}: {post.program.log.read_text()[-2000:]}")
        self._empty(post, now + self._random.uniform(0, _LONGEST_GAP))

    @staticmethod
    def _empty(post: _Post, start_at: float) -> None:
        post.program, post.start_at, post.thaw_at = None, start_at, None

    @staticmethod
    def _thaw(post: _Post, program: Program) -> None:
        program.signal(signal.SIGCONT)
        post.thaw_at = None

    def _pick(self, *, frozen: bool) -> tuple[_Post, Program] | None:
        """Any listener; one that is stopped only if those are wanted too."""
        found = [
            (post, post.program)
            for post in self._posts
            if post.program is not None and (frozen or post.thaw_at is None)
        ]
        return self._random.choice(found) if found else None

    def kill(self) -> bool:
        """Kill one; whether there was any."""
        picked = self._pick(frozen=True)
        if picked:
            picked[1].signal(signal.SIGKILL)
            picked[1].ended()
        return picked is not None

    def freeze(self, seconds: float) -> bool:
        """Stop one for some time; whether there was any."""
        picked = self._pick(frozen=False)
        if picked:
            post, program = picked
            program.signal(signal.SIGSTOP)
            post.thaw_at = time.monotonic() + seconds
        return picked is not None

    def recover(self) -> None:
        """Start and let go on whatever does not run, at once."""
        for post in self._posts:
            post.start_at = 0.0
            post.thaw_at = None if post.thaw_at is None else 0.0
        self.tend()

    def is_complete(self) -> bool:
        """Tend to them; whether all of them listen."""
        self.tend()
        return all(post.program is not None and post.program.logged("listening") for post in self._posts)

    def logged(self) -> Counter[str]:
        """How often all of them, alive or dead, logged what."""
        lines = (line for log in self._directory.glob("listener_*.log") for line in log.read_text().splitlines())
        return Counter(json.loads(line)["event"] for line in lines if line.startswith("{") and line.endswith("}"))

    def dismiss(self) -> list[int]:
        """Tell all of them to end; their exit codes."""
        programs = [post.program for post in self._posts if post.program is not None]
        for program in programs:
            program.signal(signal.SIGTERM)
        return [program.ended(30) for program in programs]

    def close(self) -> None:
        """Let nobody survive."""
        for post in self._posts:
            if post.program is not None and post.program.process.poll() is None:
                post.program.process.kill()
                post.program.process.wait()


@contextmanager
def crew(directory: Path, dsn: str, chance: random.Random) -> Iterator[Crew]:
    """Listeners at work, killed at the end if they still run."""
    made = Crew(directory, dsn, chance)
    try:
        eventually(made.is_complete)
        yield made
    finally:
        made.close()


def python_path() -> str:
    """PYTHONPATH for programs that import this package, wherever they run."""
    here = str(Path(__file__).parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
