"""The listener's side of the gate: claim requests, ask the handlers, write verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
import structlog

from rowcall import resources
from rowcall.errors import describe
from rowcall.event import Event, Operation
from rowcall.gate.verdict import encode, judge
from rowcall.handler import BeforeHandler
from rowcall.postgres import connection as connections
from rowcall.postgres.log import LogReader
from rowcall.postgres.tables import Table

_QUERIES = resources.queries("gate")
_LOG = structlog.get_logger("rowcall")

#: The channel writers' gate sessions notify.
CHANNEL = "rowcall_gate"
#: Seconds after which to look although nobody notified: for the requests of a listener that died.
BACKSTOP = 1.0
#: Seconds between looks for requests whose writers have gone.
SWEEP = 30.0
#: Before the writer's deadline a handler is cut, so that the writer still hears which one was too slow: by so many seconds at
#: most, or this share of the time that is left.
MARGIN = 0.02
SHARE = 0.1


class Request(msgspec.Struct, frozen=True):
    """What a writer's trigger asks; images stay as the bytes they came in."""

    at: datetime
    relation: int
    operation: Operation
    key: msgspec.Raw
    old: msgspec.Raw
    new: msgspec.Raw
    xid: str | None
    actor: str | None
    context: dict[str, Any] | None
    handlers: list[str]


class GateServer:
    """Answers requests for the handlers of one app, over two connections: one to LISTEN, one to work."""

    def __init__(
        self,
        guarded: Mapping[Table, Sequence[BeforeHandler]],
        reader: LogReader,
        ears: psycopg.AsyncConnection[Any],
        hands: psycopg.AsyncConnection[Any],
    ) -> None:
        self._handlers = {
            (table.schema, table.name): {handler.name: handler for handler in handlers}
            for table, handlers in guarded.items()
        }
        self._mine = encode(
            [
                {"schema": schema, "table": table, "handlers": sorted(handlers)}
                for (schema, table), handlers in self._handlers.items()
            ]
        ).decode()
        self._reader = reader
        self._ears = ears
        self._hands = hands
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, guarded: Mapping[Table, Sequence[BeforeHandler]], reader: LogReader, dsn: str) -> GateServer:
        """Connect and LISTEN.

        :param reader: knows what the images of a row mean.
        """
        ears = await connections.connect_async(dsn, application_name="rowcall gate listener")
        try:
            await ears.execute(f"listen {CHANNEL}")
            hands = await connections.connect_async(dsn, application_name="rowcall gate")
        except BaseException:
            await ears.close()
            raise
        # A verdict is read by a session that waits for it now; losing one in a crash costs nothing.
        await hands.execute("set synchronous_commit = off")
        return cls(guarded, reader, ears, hands)

    async def close(self) -> None:
        """Answer what is claimed, then disconnect."""
        if self._answering:
            await asyncio.wait(self._answering)
        await self._ears.close()
        await self._hands.close()

    async def serve(self) -> None:
        """Answer requests until cancelled."""
        loop = asyncio.get_running_loop()
        swept = 0.0
        while True:
            for request_id, body, schema, table, seconds, mark in await self._claim():
                deadline = loop.time() + seconds - min(MARGIN, seconds * SHARE)
                handlers = self._handlers[schema, table]
                task = asyncio.create_task(self._answer(request_id, body, handlers, deadline, mark))
                self._answering.add(task)
                task.add_done_callback(self._answered)
            if loop.time() - swept > SWEEP:
                await self._hands.execute(_QUERIES["sweep"])
                swept = loop.time()
            # To its end, as a generator left in the middle would keep the connection's lock.
            _ = [ring async for ring in self._ears.notifies(timeout=BACKSTOP, stop_after=1)]

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.warning("a verdict could not be delivered", error=describe(error))

    async def _claim(self) -> list[Any]:
        cursor = connections.raw_cursor(self._hands)
        await cursor.execute(_QUERIES["claim"], {"mine": self._mine})
        return await cursor.fetchall()  # type: ignore[no-any-return]

    async def _answer(
        self, request_id: int, body: bytes, handlers: Mapping[str, BeforeHandler], deadline: float, mark: str
    ) -> None:
        request = msgspec.json.decode(body, type=Request)
        if mark != self._reader.layouts.mark:
            await self._reader.refresh_layouts()
        asked = [handlers[name] for name in request.handlers]
        verdict = await judge(asked, self._event(request_id, request), deadline)
        try:
            await self._write(request_id, verdict)
        except psycopg.DataError as error:
            # The one thing left that PostgreSQL may not take is what a handler put into it.
            refused = {
                "verdict": "reject",
                "handler": asked[0].name,
                "message": f"its answer cannot be stored: {error}",
            }
            await self._write(request_id, refused)

    async def _write(self, request_id: int, verdict: dict[str, Any]) -> None:
        await self._hands.execute(_QUERIES["answer"], {"id": request_id, "verdict": encode(verdict).decode()})

    def _event(self, request_id: int, request: Request) -> Event:
        layouts = self._reader.layouts
        return Event(
            None,
            int(request.xid) if request.xid else None,
            request.at,
            request.operation,
            request.actor,
            request.context or {},
            f"{layouts.installation}-request-{request_id}",
            layouts.at(request.relation, None),
            _image(request.key),
            _image(request.old),
            _image(request.new),
            request.relation,
        )


def _image(raw: msgspec.Raw) -> bytes | None:
    found = bytes(raw)
    return found if found != b"null" else None
