"""A request on its way through the handlers it is for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from rowcall.errors import describe
from rowcall.event import Event
from rowcall.gate.verdict import Deciding, encode, refusal
from rowcall.handler import BeforeHandler

#: Before the writer's deadline a handler is cut, so that the writer still hears which one was too slow: by so many seconds at
#: most, or this share of the time that is left.
MARGIN = 0.02
SHARE = 0.1


class Request(msgspec.Struct, frozen=True):
    """What a writer's session of the gate waits for.

    :ivar ticket: who asks which handlers; its locks say whose requests these are, and when one is answered.
    :ivar turn: by which of the ticket's two locks this one is waited for.
    :ivar seconds: until the writer's deadline.
    :ivar since: since when its table has the layout it has; None if it has gone.
    :ivar body: what it asks, still as text: one that cannot be read must not be in the way of others. None if the turn was full.
    """

    id: int
    ticket: int
    turn: int
    seconds: float
    since: int | None
    relation: int
    handlers: list[str]
    body: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a handler.

    :ivar limit: when it is late, by the clock of event loops.
    """

    handler: BeforeHandler
    event: Event
    limit: float


class Asking:
    """A request and how far it is: one handler after the other, called on the event loop or in a thread.

    A call that is late may still return, in a thread that nothing stops, while the next handler is asked. So what comes of a call
    is decided by who claims it: the caller, or the clock.

    :ivar call: the one that is to be made or under way; None while nobody waits for one.
    :ivar verdict: once it is decided.
    :ivar timer: which looks whether a call is late.
    """

    __slots__ = ("_claim", "_deadline", "_deciding", "call", "request", "timer", "verdict")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.verdict: bytes | None = None
        self.call: Call | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._claim = threading.Lock()
        self._deadline = time.monotonic() + request.seconds - min(MARGIN, request.seconds * SHARE)

    def begin(self, deciding: Deciding) -> None:
        """Go to the first handler."""
        self._deciding = deciding
        self._step(lambda: next(deciding))

    def awaits(self, call: Call) -> bool:
        """Whether a call is waited for."""
        return self.call is call

    def claim(self, call: Call) -> bool:
        """Whether a call is still waited for; from then on it is not."""
        with self._claim:
            if self.call is not call:
                return False
            self.call = None
            return True

    def returned(self, answer: Any) -> None:
        """Go on with what the handler returned."""
        self._step(lambda: self._deciding.send(answer))

    def raised(self, error: BaseException) -> None:
        """Go on with what the handler raised."""
        self._step(lambda: self._deciding.throw(error))

    def refuse(self, message: str) -> None:
        """Decide against it, for a reason that no handler gave."""
        self.verdict = encode(refusal(self.request.handlers[0], message))

    def stop_timer(self) -> None:
        """Nothing can be late any more."""
        if self.timer is not None:
            self.timer.cancel()

    def _step(self, step: Callable[[], tuple[BeforeHandler, Event]]) -> None:
        try:
            try:
                handler, event = step()
            except StopIteration as end:
                self.verdict = encode(end.value)
            else:
                self.call = Call(handler, event, min(time.monotonic() + handler.timeout, self._deadline))
        except BaseException as error:  # noqa: BLE001 - a writer waits for it, whatever it was
            self.refuse(f"it could not be asked: {describe(error)}")
