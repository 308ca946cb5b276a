"""Noticing at once that another process has died.

The processes of a ring watch one neighbour each: over a connection of its own, which only exists where there are several, a
process waits for the lock that a worker of its neighbour holds, and asks nothing meanwhile. A heartbeat would take a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from rowcall.listener import tasks
from rowcall.postgres import connection as connections
from rowcall.postgres.claims import QUERIES

_FOR_EVER = "set statement_timeout = 0; set lock_timeout = 0"


class Peers:
    """Watches a neighbour.

    :param process: the name of this process.
    :param alarm: called when a neighbour's session has ended.
    """

    def __init__(self, dsn: str, process: str, alarm: Callable[[], None]) -> None:
        self._dsn = dsn
        self._process = process
        self._alarm = alarm
        self._neighbour: int | None = None
        self._changed = asyncio.Event()

    def hear(self, workers: Mapping[str, int]) -> None:
        """Learn which processes there are.

        :param workers: the id of a worker of each, by the process's name.
        """
        others = sorted(name for name in workers if name != self._process)
        following = [name for name in others if name > self._process] or others
        neighbour = workers[following[0]] if following else None
        if neighbour != self._neighbour:
            self._neighbour = neighbour
            self._changed.set()

    async def keep_watch(self) -> None:
        """Watch whoever is the neighbour; runs until cancelled."""
        while True:
            if self._neighbour is None:
                await self._changed.wait()
                self._changed.clear()
                continue
            async with await connections.connect_async(self._dsn, application_name="rowcall peers") as connection:
                await connection.execute(_FOR_EVER)
                while (neighbour := self._neighbour) is not None:
                    self._changed.clear()
                    ended = asyncio.ensure_future(connection.execute(QUERIES["await_end"], {"worker": neighbour}))
                    await self._until_changed_or(ended)

    async def _until_changed_or(self, ended: asyncio.Future[Any]) -> None:
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({ended, changed}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
                self._alarm()
                await changed
        finally:
            await tasks.end([changed, ended])
