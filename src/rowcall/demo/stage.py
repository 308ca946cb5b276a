"""Everything of a demo that runs by itself, shown by the one thread that prints."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import psycopg

from rowcall import errors
from rowcall.demo.process import Listener, run
from rowcall.demo.screen import Screen

_PATIENCE = 60.0


class Stage:
    """A listener, and a plain LISTEN client beside it.

    :param target: the app, as MODULE:APP.
    :param channel: what the plain client listens to, if there is one.
    :ivar heard: how many NOTIFYs it heard.
    :ivar calls: how many lines the handlers printed.
    :ivar quiet: count what comes instead of printing it.
    """

    def __init__(self, screen: Screen, target: str, dsn: str, channel: str | None = None) -> None:
        self.screen = screen
        self.heard = 0
        self.calls = 0
        self.quiet = False
        self._target = target
        self._dsn = dsn
        self._channel = channel
        self._ears: psycopg.Connection[Any] | None = None
        self._listener: Listener | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def sync(self) -> None:
        """Make the database match the app, and have the plain client listen."""
        self.command("sync", self._target)
        if self._channel is not None:
            self._ears = self._open.enter_context(psycopg.connect(self._dsn, autocommit=True))
            self._ears.execute(f"listen {self._channel}")

    def command(self, *arguments: str) -> None:
        """Run a command of Rowcall and show what it prints."""
        self.screen.say("$", f"rowcall {' '.join(arguments)}", "bold")
        for line in run([*arguments], self._dsn):
            self.screen.say("", line)

    def listen(self) -> None:
        """Start a listener and wait until it is ready."""
        self.screen.say("$", f"rowcall listen {self._target}", "bold")
        self._listener = self._open.enter_context(Listener(self._target, self._dsn))
        self.wait_until(lambda: self._listener is not None and self._listener.ready)
        self.screen.say("listener", f"ready, process {self._listener.pid}")

    def kill_listener(self) -> None:
        """Kill -9."""
        assert self._listener is not None
        self._show(self._listener)
        self.screen.say("$", f"kill -9 {self._listener.pid}", "bold")
        self._listener.kill()
        self._listener = None

    def stop_listener(self) -> None:
        """End it in good order."""
        assert self._listener is not None
        self._listener.stop()
        self._listener = None

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Show what comes until something is done.

        :raises Undeliverable: if it takes longer than a minute.
        """
        deadline = time.monotonic() + _PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise errors.Undeliverable("What was written has not all arrived after a minute: the log has it.")
            self.show(0.01)
        self.show(0)

    def show(self, seconds: float) -> None:
        """Print what has come, after waiting so long for something to come."""
        sources = [source for source in (self._ears, self._listener and self._listener.printed) if source]
        select.select(sources, [], [], seconds)
        if self._ears is not None:
            for notify in self._ears.notifies(timeout=0):
                self.heard += 1
                self._say("LISTEN", f"{notify.channel} {notify.payload}")
        if self._listener is not None:
            self._show(self._listener)

    def _show(self, listener: Listener) -> None:
        for line in listener.printed.take():
            self.calls += 1
            self._say("handler", line)
        for message in listener.log():
            if message != "listening":
                self._say("listener", message)

    def _say(self, who: str, text: str) -> None:
        if not self.quiet:
            self.screen.say(who, text)
