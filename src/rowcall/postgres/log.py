"""Reading the log by snapshot windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.event import Event
from rowcall.postgres import connection as connections
from rowcall.postgres.layouts import Layouts
from rowcall.selector import Selector, Topic

_QUERIES = resources.queries("log")


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a subscription has read.

    The window holds what is visible in ``upper`` and not in ``lower``, in seq order, delivered up to ``last_seq``;
    ``upper`` is None between windows. Snapshots are PostgreSQL's ``pg_snapshot`` as text, ``xmin:xmax:xip,…``. The idea of
    batches between two snapshots is PgQ's; here any reader takes its own, without a ticker.
    """

    lower: str
    upper: str | None = None
    last_seq: int = 0

    def unseen(self) -> dict[str, Any]:
        """The transactions that ``lower`` does not see: all from xmax on, and those running while it was taken."""
        _, xmax, running = self.lower.split(":")
        return {"xmax": xmax, "xip": running.split(",") if running else []}

    def transactions_since(self, earlier: Cursor) -> int:
        """How many transactions began between an earlier cursor's place in the log and this one's."""
        return int(self.lower.split(":")[1]) - int(earlier.lower.split(":")[1])


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive events of a window.

    :ivar start: the cursor within the window, before them.
    :ivar after: the cursor once all of them are delivered.
    """

    events: Sequence[Event]
    start: Cursor
    after: Cursor

    def past(self, event: Event) -> Cursor:
        """The cursor once the events up to this one are delivered."""
        assert event.seq is not None
        return replace(self.start, last_seq=event.seq)


class LogReader:
    """Reads slices for every subscription of a process, over one autocommit connection.

    Autocommit matters: a snapshot leaves out the transaction it is taken in, so one taken where a transaction id is
    assigned already would lose that transaction's own events.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], layouts: Layouts) -> None:
        self._connection = connection
        self._layouts = layouts

    @classmethod
    async def over(cls, connection: psycopg.AsyncConnection[Any]) -> LogReader:
        """A reader over a connection of its own."""
        # Without statistics the planner takes a third of the log for new and would scan it all.
        await connection.execute("set enable_seqscan = off")
        # Before PostgreSQL 18 that makes every plan look dear enough to be compiled, for a second each time.
        await connection.execute("set jit = off")
        row = await (await connection.execute(_QUERIES["installation"])).fetchone()
        assert row is not None
        if row[1]:
            raise errors.Unreachable("The database is a standby, where nothing can be delivered: name the primary.")
        reader = cls(connection, Layouts(row[0]))
        await reader.refresh_layouts()
        return reader

    @property
    def layouts(self) -> Layouts:
        return self._layouts

    async def refresh_layouts(self) -> None:
        """Learn what the images mean, again."""
        [(mark,)] = await self._fetch(_QUERIES["layout_mark"], {})
        self._layouts.load(await self._fetch(_QUERIES["layouts"], {}), mark)

    async def _fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        cursor = connections.raw_cursor(self._connection)
        await cursor.execute(query, parameters, binary=True)
        return await cursor.fetchall()  # type: ignore[no-any-return]

    async def read(self, cursor: Cursor, topic: Topic, selector: Selector, limit: int) -> Slice:
        """The next slice for a cursor: up to ``limit`` events of the topic that the selector wants."""
        parameters = cursor.unseen() | {
            "upper": cursor.upper,
            "last_seq": cursor.last_seq,
            "schema": topic.schema,
            "table": topic.table,
            "operations": list(selector.operations),
            "columns": list(selector.columns) or None,
            "limit": limit,
        }
        query = _QUERIES["new_window" if cursor.upper is None else "next_slice"]
        rows = await self._fetch(query, parameters)
        return await self._slice(cursor, rows, limit)

    async def _slice(self, cursor: Cursor, rows: list[Any], limit: int) -> Slice:
        found = [row[2:] for row in rows if row[2] is not None]
        if rows and rows[0][1] != self._layouts.mark:
            await self.refresh_layouts()
        upper = rows[0][0] if rows else cursor.upper
        assert upper is not None
        start = Cursor(cursor.lower, upper, cursor.last_seq)
        after = Cursor(upper) if len(found) < limit else replace(start, last_seq=found[-1][0])
        return Slice([self._layouts.event(row) for row in found], start, after)

    async def by_seq(self, seqs: Sequence[int]) -> dict[int, Event]:
        """Events by their place."""
        rows = await self._fetch(_QUERIES["by_seq"], {"seqs": list(seqs)})
        return {row[0]: self._layouts.event(row) for row in rows}
