"""Where sync handlers run: each change of threads costs a writer as much as a statement, so there is one, and none back.

A thread that has a request calls its handlers, decides, and hands the verdict to whoever sends it. Of requests that come together
one thread takes one after the other; if that takes it longer than a moment, others help.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from rowcall.gate import verdict
from rowcall.gate.asking import Asking, Call

#: Sync handlers that run at a time; those beyond wait, up to their writers' deadlines.
MOST_THREADS = 64
#: Seconds that a request waits behind another one before a thread of its own is woken.
PATIENCE = 0.001


class Threads:
    """Threads that call handlers until told to stop; one that never returns keeps its thread.

    Made and used on an event loop.

    :param done: called in the thread with what is decided, or is to go on on the loop.
    """

    def __init__(self, done: Callable[[Asking], None]) -> None:
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Asking, Call | None]] = deque()
        self._idle: list[SimpleQueue[bool]] = []
        self._threads = 0
        # Whether a thread was woken that has not taken anything yet.
        self._woken = False
        self._helping = False
        self._running: dict[int, float] = {}
        self._closed = False

    def submit(self, asking: Asking) -> None:
        """Have its handler called."""
        self._waiting.append((asking, asking.call))
        if self._woken or not self._wake():
            self._help_soon()

    @property
    def are_running(self) -> bool:
        """Whether a handler has not returned."""
        return bool(self._running)

    def are_stuck(self, since: float) -> bool:
        """Whether every thread is taken by what began before that, by the clock of event loops."""
        return sum(began < since for began in list(self._running.values())) >= MOST_THREADS

    def shut_down(self) -> None:
        """Let threads end that run nothing, and the others once they do."""
        self._closed = True
        self._waiting.clear()
        while self._idle:
            self._idle.pop().put(False)

    def _wake(self) -> bool:
        try:
            woken = self._idle.pop()
        except IndexError:
            if self._closed or self._threads >= MOST_THREADS:
                return False
            self._threads += 1
            woken = SimpleQueue()
            # A daemon, because nothing stops a handler that never returns, and the process is to end.
            threading.Thread(
                target=self._work, args=(woken,), name=f"rowcall-gate-{self._threads}", daemon=True
            ).start()
        self._woken = True
        woken.put(True)
        return True

    def _help_soon(self) -> None:
        if not self._helping:
            self._helping = True
            self._loop.call_later(PATIENCE, self._help)

    def _help(self) -> None:
        self._helping = False
        if self._waiting:
            for _ in range(len(self._waiting)):
                self._wake()
            self._help_soon()

    def _work(self, woken: SimpleQueue[bool]) -> None:
        while woken.get():
            self._woken = False
            while self._waiting:
                try:
                    asking, call = self._waiting.popleft()
                except IndexError:
                    break
                self._go_through(asking, call)
            # What is appended just now, the next submission or look for help finds.
            self._idle.append(woken)
            if self._closed:
                return

    def _go_through(self, asking: Asking, call: Call | None) -> None:
        """Call its handlers until it is decided, or the loop goes on with it: at an async one, at one that has less time than the
        clock knows of, or as the clock says.
        """
        while call is not None and asking.awaits(call):
            go_on = self._outcome(asking, call)
            if not asking.claim(call):
                return
            go_on()
            limit, call = call.limit, asking.call
            if call is None or call.handler.is_async or call.limit < limit:
                self._done(asking)
                return

    def _outcome(self, asking: Asking, call: Call) -> Callable[[], None]:
        me = threading.get_ident()
        self._running[me] = time.monotonic()
        try:
            return partial(asking.returned, verdict.call(call.handler, call.event))
        except BaseException as error:  # noqa: BLE001 - a handler may fail in any way
            return partial(asking.raised, error)
        finally:
            del self._running[me]
