"""Sealing the log while the listener runs: in a thread of its own, so that no handler waits for a hash.

Events wait for their seal for a second at most, so that a seal covers what comes in a second and not each event its own. Whether
anything came is known from the subscriptions' own sleep: while nobody rings, nothing is asked.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import structlog

from rowcall.audit import anchor_file, sealing
from rowcall.audit.signing import Signer
from rowcall.listener.sleep import Sleep
from rowcall.postgres import connection as connections

_LOG = structlog.get_logger("rowcall")

#: Seconds between looks at what there is to seal.
EVERY = 1.0
#: Seconds between looks of a drain, while another process seals.
_OTHERS = 0.05
#: Seconds for which a thread that does not return is waited for.
_PATIENCE = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seals:
    """How to seal.

    :ivar signer: signs each seal.
    :ivar anchor: a file to which each seal's head is appended, whichever process made it.
    """

    signer: Signer | None = None
    anchor: Path | None = None


class LogSealer:
    """Seals what is committed, unless another process does.

    :param pooled: whether the connection may lead to another session for each transaction.
    """

    def __init__(self, dsn: str, seals: Seals, sleep: Sleep, *, pooled: bool) -> None:
        self._dsn = dsn
        self._seals = seals
        self._sleep = sleep
        self._pooled = pooled
        self._connection: psycopg.Connection[Any] | None = None
        self._sealer: sealing.Sealer | None = None
        self._anchored: int | None = None
        self._disagreed = False
        self._failed = ""
        self._ending = False
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Seal until cancelled."""
        stirred = -1
        while True:
            if self._sleep.stirs != stirred:
                stirred = self._sleep.stirs
                await self._try()
            await asyncio.sleep(EVERY)

    async def _try(self) -> None:
        """Seal; where that is impossible the log says so, and delivery goes on."""
        try:
            await self._turn(self._step)
        except psycopg.Error as error:
            if connections.is_passing(error):
                raise
            reason = connections.one_line(error)
            if reason != self._failed:
                _LOG.error("the log cannot be sealed", error=reason)
            self._failed = reason

    async def drain(self) -> None:
        """Return once everything that is committed is sealed, by whomever."""
        while await self._turn(self._step):  # noqa: ASYNC110 - no event tells of another process
            await asyncio.sleep(_OTHERS)

    async def close(self) -> None:
        """Disconnect, unless a statement still runs, which then ends with the process."""
        self._ending = True
        if not self._busy.locked() and self._connection is not None:
            self._connection.close()

    async def _turn(self, work: Callable[[], T]) -> T:
        """Do something in a thread, one thing at a time. Nobody waits for long for a host that does not answer."""
        async with self._busy:
            working = asyncio.ensure_future(_in_thread(work))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                self._ending = True
                await asyncio.wait({working}, timeout=_PATIENCE)
                raise

    def _step(self) -> bool:
        """Seal all there is; whether something is left to others, who are at it."""
        sealer = self._open()
        while not self._ending and sealer.is_pending():
            try:
                if sealer.seal() is None and sealer.is_pending():
                    self._anchor(sealer)
                    return True
            except psycopg.errors.SerializationFailure:
                continue  # a table changed while the log was read
        self._anchor(sealer)
        return False

    def _open(self) -> sealing.Sealer:
        if self._sealer is None:
            self._connection = connections.connect(self._dsn, application_name="rowcall sealer", pooled=self._pooled)
            if not self._pooled:
                connections.settle(self._connection)
            self._sealer = sealing.Sealer(self._connection, self._seals.signer)
        return self._sealer

    def _anchor(self, sealer: sealing.Sealer) -> None:
        """Append what the anchor does not have. If that cannot be, it is tried again, and delivery goes on."""
        if self._seals.anchor is None or self._anchored == sealer.newest:
            return
        assert self._connection is not None
        try:
            anchor_file.catch_up(self._seals.anchor, self._connection)
        except anchor_file.Disagreement as error:
            if not self._disagreed:
                _LOG.error("the seals were altered", error=str(error))
            self._disagreed = True
        except OSError as error:
            _LOG.error("the anchor cannot be written", file=str(self._seals.anchor), error=str(error))
            return
        self._anchored = sealer.newest


async def _in_thread(work: Callable[[], T]) -> T:
    """What a function returns in a thread that nobody waits for at the process's end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="rowcall-sealer", daemon=True).start()
    return await done
