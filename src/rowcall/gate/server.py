"""The listener's side of the gate: claim requests, ask the handlers, write verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import structlog

from rowcall import resources
from rowcall.event import Event
from rowcall.gate.verdict import judge
from rowcall.handler import BeforeHandler
from rowcall.postgres import connection as connections
from rowcall.postgres.layouts import Layouts

_QUERIES = resources.queries("gate")
_LOG = structlog.get_logger("rowcall")

#: The channel writers' gate sessions notify.
CHANNEL = "rowcall_gate"
#: Seconds after which to look although nobody notified: for the requests of a listener that died.
BACKSTOP = 1.0


class GateServer:
    """Answers requests for the handlers of one app, over two connections: one to LISTEN, one to work."""

    def __init__(
        self,
        handlers: Sequence[BeforeHandler],
        layouts: Layouts,
        ears: psycopg.AsyncConnection[Any],
        hands: psycopg.AsyncConnection[Any],
    ) -> None:
        self._handlers = {handler.name: handler for handler in handlers}
        self._layouts = layouts
        self._ears = ears
        self._hands = hands
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, handlers: Sequence[BeforeHandler], layouts: Layouts, dsn: str) -> GateServer:
        """Connect and LISTEN."""
        ears = await connections.connect_async(dsn, application_name="rowcall gate listener")
        await ears.execute(f"listen {CHANNEL}")
        hands = await connections.connect_async(dsn, application_name="rowcall gate")
        # A verdict is read by a session that waits for it now; losing one in a crash costs nothing.
        await hands.execute("set synchronous_commit = off")
        return cls(handlers, layouts, ears, hands)

    async def close(self) -> None:
        """Answer what is claimed, then disconnect."""
        if self._answering:
            await asyncio.wait(self._answering)
        await self._ears.close()
        await self._hands.close()

    async def serve(self) -> None:
        """Answer requests until cancelled."""
        while True:
            for request_id, body, seconds in await self._claim():
                task = asyncio.create_task(self._answer(request_id, msgspec.json.decode(body), body, seconds))
                self._answering.add(task)
                task.add_done_callback(self._answered)
            async for _ in self._ears.notifies(timeout=BACKSTOP, stop_after=1):
                break

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.warning("a verdict could not be delivered", error=str(error))

    async def _claim(self) -> list[Any]:
        names = msgspec.json.encode(sorted(self._handlers)).decode()
        cursor = connections.raw_cursor(self._hands)
        await cursor.execute(_QUERIES["claim"], {"handlers": names})
        return await cursor.fetchall()  # type: ignore[no-any-return]

    async def _answer(self, request_id: int, request: dict[str, Any], body: bytes, seconds: float) -> None:
        handlers = [self._handlers[name] for name in request["handlers"]]
        try:
            verdict = await asyncio.wait_for(judge(handlers, self._event(request_id, request, body)), seconds)
        except TimeoutError:
            _LOG.warning("before-handlers were too slow", handlers=request["handlers"], seconds=seconds)
            return
        await self._hands.execute(
            _QUERIES["answer"], {"id": request_id, "verdict": msgspec.json.encode(verdict).decode()}
        )

    def _event(self, request_id: int, request: dict[str, Any], body: bytes) -> Event:
        raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])

        def image(name: str) -> bytes | None:
            return bytes(raw[name]) if request[name] is not None else None

        return Event(
            None,
            int(request["xid"]) if request["xid"] else None,
            datetime.now(UTC),
            request["operation"],
            request["actor"],
            request["context"] or {},
            f"{self._layouts.installation}-request-{request_id}",
            self._layouts.at(request["relation"], None),
            image("key"),
            image("old"),
            image("new"),
            request["relation"],
        )
