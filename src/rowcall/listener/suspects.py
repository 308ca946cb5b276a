"""Events at which a process died: found by trying them alone, each on record before, and given up on in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rowcall import errors
from rowcall.event import Event
from rowcall.listener.delivery import Delivery, Statement
from rowcall.postgres import claims

#: So many processes may die at an event that is tried alone. The death before, in company, found out that one of many does it.
MOST_DEATHS = 2


@dataclass(frozen=True, slots=True)
class _Suspect:
    """What is on record of an event.

    :ivar deaths: how many processes tried it and were not seen again.
    :ivar error: why a process gave itself up.
    :ivar certain: when those that only lost their connection must have been seen again, by the loop's clock.
    """

    deaths: int = 0
    error: str | None = None
    certain: float = 0.0


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
        self._known: dict[int, _Suspect] = {}

    async def load(self, delivery: Delivery, subscription: int) -> None:
        """Learn what earlier processes left on record."""
        parameters = {"subscription": subscription, "process": self._process}
        rows = await delivery.fetch(claims.QUERIES["suspects"], parameters)
        now = asyncio.get_running_loop().time()
        self._known = {seq: _Suspect(deaths, error, now + seconds) for seq, deaths, error, seconds in rows}

    async def make_certain(self, delivery: Delivery, subscription: int, events: Iterable[Event]) -> None:
        """Before events are given up on, wait until processes that only lost their connection have been seen again."""
        known = (self._known.get(event.seq or 0, _Suspect()) for event in events)
        until = max((one.certain for one in known if one.deaths >= MOST_DEATHS), default=0.0)
        left = until - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
            await self.load(delivery, subscription)

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, seq: object) -> bool:
        return seq in self._known

    def verdict(self, seq: int | None) -> BaseException | None:
        """What an event failed with as far as the record goes; None if it has to be tried."""
        known = self._known.get(seq or 0, _Suspect())
        if known.error is not None:
            return TimeoutError(known.error)
        if known.deaths >= MOST_DEATHS:
            return errors.ProcessDied(f"the listener's process died while handling it, {known.deaths + 1} times")
        return None

    def mark(self, subscription: int, seqs: Sequence[int | None], error: str | None = None) -> Statement:
        """The statement that puts events on record, to be committed before they are tried."""
        self._known.update({seq: _Suspect() for seq in seqs if seq is not None and seq not in self._known})
        parameters = {"subscription": subscription, "seqs": list(seqs), "process": self._process, "error": error}
        return Statement(claims.QUERIES["suspect"], parameters)

    def among(self, events: Iterable[Event]) -> list[int | None]:
        """Those of some events that are on record."""
        return [event.seq for event in events if event.seq in self._known]

    def forget(self, seqs: Iterable[int | None]) -> None:
        """They were tried and nobody died."""
        for seq in seqs:
            self._known.pop(seq or 0, None)
