"""Reading the log by snapshot windows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

import psycopg

from rowcall import errors, resources
from rowcall.event import Event
from rowcall.postgres import connection as connections
from rowcall.postgres.layouts import Layouts
from rowcall.selector import Selector, Topic

_QUERIES = resources.queries("log")

#: To plan a query takes longer than to read a few events by it. Without statistics the planner takes a third of the log for new
#: and would scan it all; before PostgreSQL 18 that makes every plan look dear enough to be compiled, for a second each time.
#: For the session, or for the transaction only.
_PLANNING = """
    select set_config(name, value, %(local)s)
    from (values ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'), ('jit', 'off')) as s (name, value)
"""

#: The lanes of a subscription, see functions/lane_v1.sql.
LANES = 16
ALL_LANES = tuple(range(LANES))

#: A stretch of the log that is read before the windows go on, see tables/subscription_v1.sql.
Stage = Literal["backfill", "replay", "restored"]
#: A snapshot that sees nothing.
_NOTHING_SEEN = "1:1:"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far some lanes of a subscription have read.

    The window holds what is visible in ``upper`` and not in ``lower``, in seq order, delivered up to ``last_seq``;
    ``upper`` is None between windows. Snapshots are PostgreSQL's ``pg_snapshot`` as text, ``xmin:xmax:xip,…``. The idea of
    batches between two snapshots is PgQ's; here any reader takes its own, without a ticker.

    :ivar number: how many windows were opened. The lanes of a subscription walk through the same ones.
    :ivar stage: what is read before the windows go on: the log after ``stage_seq`` up to ``stage_until``.
    :ivar restored_until: unless it is 0, another such stage follows, from ``restored_seq`` on: the log was restored in the
        middle of this one.
    """

    lower: str
    upper: str | None = None
    last_seq: int = 0
    number: int = 0
    stage: Stage | None = None
    stage_seq: int = 0
    stage_until: int = 0
    restored_seq: int = 0
    restored_until: int = 0

    def unseen(self) -> dict[str, Any]:
        """The transactions that ``lower`` does not see: all from xmax on, and those running while it was taken."""
        _, xmax, running = self.lower.split(":")
        return {"xmax": xmax, "xip": running.split(",") if running else []}

    def transactions_since(self, earlier: Cursor) -> int:
        """How many transactions began between an earlier cursor's place in the log and this one's."""
        return int(self.lower.split(":")[1]) - int(earlier.lower.split(":")[1])

    @property
    def place(self) -> tuple[bool, int, float]:
        """Where it is on the way that all lanes of a subscription go, to be compared."""
        if self.stage is not None:
            return False, int(self.stage == "restored" and not self.restored_until), self.stage_seq
        return True, self.number, inf if self.upper is None else self.last_seq

    def past(self, seq: int) -> Cursor:
        """The same once what it reads now is delivered up to ``seq``."""
        return replace(self, last_seq=seq) if self.stage is None else replace(self, stage_seq=seq)

    def opened(self, upper: str) -> Cursor:
        """The same in its next window, unless it is in one already or in a stage."""
        if self.upper is not None or self.stage is not None:
            return self
        return replace(self, upper=upper, last_seq=0, number=self.number + 1)

    def finished(self, anchor: str | None) -> Cursor:
        """The same once its window or its stage is delivered.

        :param anchor: where windows go on from after what was restored.
        """
        if self.stage is None:
            assert self.upper is not None
            return Cursor(self.upper, number=self.number)
        following: Stage | None = "restored" if self.restored_until else None
        after = replace(
            self,
            stage=following,
            stage_seq=self.restored_seq,
            stage_until=self.restored_until,
            restored_seq=0,
            restored_until=0,
        )
        if self.stage != "restored":
            return after
        # Nothing of what follows was delivered before, or all of it was.
        return replace(after, lower=_NOTHING_SEEN if following else anchor or self.lower, upper=None, last_seq=0)


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive events of a window.

    :ivar start: the cursor within the window, before them.
    :ivar after: the cursor once all of them are delivered.
    :ivar opened: whether the window was opened already, by these lanes or others.
    :ivar concerns: of each event that concerns more lanes than one, by seq, which: its home first.
    """

    events: Sequence[Event]
    start: Cursor
    after: Cursor
    opened: bool = True
    concerns: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def past(self, event: Event) -> Cursor:
        """The cursor once the events up to this one are delivered."""
        return self.start.past(seq_of(event))


class LogReader:
    """Reads slices for every subscription of a process, over one autocommit connection.

    Autocommit matters: a snapshot leaves out the transaction it is taken in, so one taken where a transaction id is
    assigned already would lose that transaction's own events.
    """

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        layouts: Layouts,
        *,
        floor: int = 0,
        anchor: str | None = None,
        pooled: bool = False,
    ) -> None:
        self._connection = connection
        self._layouts = layouts
        self._floor = floor
        self._anchor = anchor
        self._pooled = pooled
        self._turn = asyncio.Lock()

    @classmethod
    async def over(cls, connection: psycopg.AsyncConnection[Any], *, pooled: bool = False) -> LogReader:
        """A reader over a connection of its own.

        :param pooled: whether that may lead to another session for each transaction.
        """
        if not pooled:
            await connection.execute(_PLANNING, {"local": False})
            connection.prepare_threshold = 0
        row = await (await connection.execute(_QUERIES["installation"])).fetchone()
        assert row is not None
        if row[1]:
            raise errors.Unreachable("The database is a standby, where nothing can be delivered: name the primary.")
        reader = cls(connection, Layouts(row[0]), floor=row[2], anchor=row[3], pooled=pooled)
        await reader.refresh_layouts()
        return reader

    @property
    def layouts(self) -> Layouts:
        return self._layouts

    async def refresh_layouts(self) -> None:
        """Learn what the images mean, again."""
        [(mark,)] = await self.fetch(_QUERIES["layout_mark"], {})
        self._layouts.load(await self.fetch(_QUERIES["layouts"], {}), mark)

    async def fetch(self, query: str, parameters: dict[str, Any]) -> list[Any]:
        """Rows of a statement in a transaction of its own, json values as bytes."""
        cursor = connections.raw_cursor(self._connection)
        if not self._pooled:
            await cursor.execute(query, parameters, binary=True)
            return await cursor.fetchall() if cursor.description else []
        async with self._turn, self._connection.transaction():
            await self._connection.execute(_PLANNING, {"local": True})
            await cursor.execute(query, parameters, binary=True)
        return await cursor.fetchall() if cursor.description else []

    async def read(
        self, subscription: int, lanes: Sequence[int], cursor: Cursor, topic: Topic, selector: Selector, *, limit: int
    ) -> Slice:
        """The next slice for some lanes of a subscription: up to ``limit`` events of the topic that the selector wants."""
        parameters = cursor.unseen() | {
            "subscription": subscription,
            "lanes": None if len(lanes) == LANES else list(lanes),
            # All lanes together need nobody's windows.
            "number": None if len(lanes) == LANES else cursor.number + 1,
            "lower": cursor.lower,
            "upper": cursor.upper,
            "last_seq": cursor.last_seq,
            "stage": cursor.stage,
            "stage_seq": cursor.stage_seq,
            "stage_until": cursor.stage_until,
            "floor": cursor.restored_seq if cursor.restored_until else self._floor,
            "schema": topic.schema,
            "table": topic.table,
            "operations": list(selector.operations),
            "columns": list(selector.columns) or None,
            "limit": limit,
        }
        rows = await self.fetch(_QUERIES[_query(cursor)], parameters)
        if rows and rows[0][1] != self._layouts.mark:
            await self.refresh_layouts()
        return self._slice(cursor, rows, limit)

    def _slice(self, cursor: Cursor, rows: list[Any], limit: int) -> Slice:
        found = [row for row in rows if row[3] is not None]
        start = cursor.opened(rows[0][0]) if rows else cursor
        after = start.finished(self._anchor) if len(found) < limit else start.past(found[-1][3])
        concerns: dict[int, Sequence[int]] = {}
        if found and found[0][-2] is not None:
            concerns = {row[3]: lanes for row in found if (lanes := _concerned(row[8], *row[-2:]))}
        events = [self._layouts.event(row[3:-2]) for row in found]
        return Slice(events, start, after, not rows or rows[0][2], concerns)

    async def by_seq(self, seqs: Sequence[int]) -> dict[int, Event]:
        """Events by their place."""
        rows = await self.fetch(_QUERIES["by_seq"], {"seqs": list(seqs)})
        return {row[0]: self._layouts.event(row) for row in rows}


def seq_of(event: Event) -> int:
    """The place of an event that was read from the log: only what has yet to be written has none."""
    assert event.seq is not None
    return event.seq


def _query(cursor: Cursor) -> str:
    if cursor.stage is not None:
        return "stage_slice"
    return "new_window" if cursor.upper is None else "next_slice"


def _concerned(key: bytes | None, lane: int | None, next_lane: int | None) -> Sequence[int]:
    """The lanes that an event concerns, if they are several: a truncate all, one that changed its row's key two."""
    if lane is None:
        return ()
    if key is None:
        return ALL_LANES
    return () if next_lane in (None, lane) else (lane, next_lane)
