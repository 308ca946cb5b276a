"""Events at which a process died: found by trying them alone, each on record before, and given up on in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from rowcall import errors
from rowcall.event import Event
from rowcall.listener.delivery import Delivery, Statement
from rowcall.postgres import claims

#: So often may a process die at an event that is tried alone. The death before, in company, found out that one of many does it.
MOST_TRIES = 2


class Process:
    """What the subscriptions of one process share.

    :ivar name: says which it is, also to the next one.
    :ivar alone: held while an event on record is handled: if the process dies, that one is to blame.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alone = asyncio.Lock()


class Suspects:
    """What is on record of a subscription. Nothing is written before a process died."""

    def __init__(self, process: Process) -> None:
        self._process = process.name
        self._known: dict[int, tuple[int, str | None]] = {}

    async def load(self, delivery: Delivery, subscription: int) -> None:
        """Learn what earlier processes left on record."""
        parameters = {"subscription": subscription, "process": self._process}
        rows = await delivery.fetch(claims.QUERIES["suspects"], parameters)
        self._known = {seq: (tries, error) for seq, tries, error in rows}

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, seq: object) -> bool:
        return seq in self._known

    def verdict(self, seq: int | None) -> BaseException | None:
        """What an event failed with as far as the record goes; None if it has to be tried."""
        tries, error = self._known.get(seq, (0, None)) if seq is not None else (0, None)
        if error is not None:
            return TimeoutError(error)
        if tries >= MOST_TRIES:
            return errors.ProcessDied(f"the listener's process died while handling it, {tries + 1} times")
        return None

    def mark(self, subscription: int, seqs: Sequence[int | None], error: str | None = None) -> Statement:
        """The statement that puts events on record, to be committed before they are tried."""
        self._known.update({seq: (0, None) for seq in seqs if seq is not None and seq not in self._known})
        parameters = {"subscription": subscription, "seqs": list(seqs), "process": self._process, "error": error}
        return Statement(claims.QUERIES["suspect"], parameters)

    def among(self, events: Iterable[Event]) -> list[int | None]:
        """Those of some events that are on record."""
        return [event.seq for event in events if event.seq in self._known]

    def forget(self, seqs: Iterable[int | None]) -> None:
        """They were tried and nobody died."""
        for seq in seqs:
            self._known.pop(seq or 0, None)
