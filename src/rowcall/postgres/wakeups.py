"""The sleeper's side of the doorbell: a LISTEN connection of its own, and the lock that tells writers to ring."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import psycopg

from rowcall import resources
from rowcall.postgres import connection as connections

_QUERIES = resources.queries("wakeups")

#: The channel writers ring on.
CHANNEL = "rowcall"

#: What lying down came to: we sleep, another process sleeps already, or a writer is in the middle of something.
Place = Literal["asleep", "another", "open"]


class Alarm(Protocol):
    """What wakes a listener that has nothing to read."""

    @property
    def connection(self) -> psycopg.AsyncConnection[Any] | None:
        """The one that LISTENs, if any."""

    async def lie_down(self) -> Place:
        """Tell writers to ring. Unless it comes to ``asleep``, they do not ring for us."""

    async def get_up(self) -> None:
        """Tell writers that reading goes on by itself."""

    async def wait(self, timeout: float) -> bool:
        """Sleep until somebody rings, at most ``timeout`` seconds; whether somebody did."""

    async def close(self) -> None:
        """Disconnect."""


class NoDoorbell:
    """For those who poll: nobody ever sleeps, so nobody rings."""

    connection = None

    async def lie_down(self) -> Place:
        return "open"

    async def get_up(self) -> None:
        raise AssertionError("nobody lay down")

    async def wait(self, timeout: float) -> bool:
        raise AssertionError("nobody lay down")

    async def close(self) -> None:
        """There is no connection."""


class Doorbell:
    """Lying down tells writers to ring; getting up spares them the NOTIFY.

    A connection inside ``notifies()`` is locked, so nothing else ever runs on this one while it waits.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], possible: bool) -> None:
        self._connection = connection
        self._possible = possible

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:
        """The one that LISTENs."""
        return self._connection

    @classmethod
    async def open(cls, dsn: str) -> Doorbell:
        """Connect and LISTEN, committed before anybody sleeps."""
        connection = await connections.connect_async(dsn, application_name="rowcall doorbell")
        await connection.execute(f"listen {CHANNEL}")
        row = await (await connection.execute(_QUERIES["doorbell_possible"])).fetchone()
        assert row is not None
        return cls(connection, row[0])

    async def close(self) -> None:
        await self._connection.close()

    async def lie_down(self) -> Place:
        """Tell writers to ring. Unless it comes to ``asleep``, they do not ring for us."""
        if not self._possible:
            return "open"
        return await self._ask("lie_down")  # type: ignore[no-any-return]

    async def get_up(self) -> None:
        """Tell writers that reading goes on by itself."""
        await self._ask("get_up")

    async def _ask(self, name: str) -> Any:
        row = await (await self._connection.execute(_QUERIES[name])).fetchone()
        assert row is not None
        return row[0]

    async def wait(self, timeout: float) -> bool:
        """Sleep until somebody rings, at most ``timeout`` seconds; whether somebody did."""
        # To its end, as a generator left in the middle would keep the connection's lock.
        return bool([ring async for ring in self._connection.notifies(timeout=timeout, stop_after=1)])
