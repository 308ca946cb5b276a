"""What before-handlers decide about one row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from rowcall.errors import Reject, describe
from rowcall.event import Event
from rowcall.handler import BeforeHandler

Verdict = dict[str, Any]


async def judge(handlers: Sequence[BeforeHandler], event: Event) -> Verdict:
    """Ask the handlers in order, each about the row as the ones before amended it; the first rejection ends it.

    :returns: ``{"verdict": "accept", "amendment": {…}?}`` or ``{"verdict": "reject", "handler", "message", …}``.
    """
    amendment: dict[str, Any] = {}
    for handler in handlers:
        if not handler.selector.wants(event):
            continue
        try:
            answer = await _ask(handler, event)
            event = amended(event, answer)
            amendment |= answer
        except Reject as verdict:
            return {
                "verdict": "reject",
                "handler": handler.name,
                "message": verdict.message,
                "column": verdict.column,
                "hint": verdict.hint,
            }
        except Exception as error:  # noqa: BLE001 - a handler may fail in any way
            if handler.on_unavailable == "reject":
                return {"verdict": "reject", "handler": handler.name, "message": f"it failed: {describe(error)}"}
    return {"verdict": "accept", "amendment": _jsonable(amendment)} if amendment else {"verdict": "accept"}


async def _ask(handler: BeforeHandler, event: Event) -> dict[str, Any]:
    arguments = {"event": event} if handler.parameters else {}
    if handler.is_async:
        answer = await handler.function(**arguments)
    else:
        answer = await asyncio.to_thread(handler.function, **arguments)
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        raise TypeError(f"a before-handler returns None or a mapping of columns, not {type(answer).__name__}")
    return dict(answer)


def amended(event: Event, answer: Mapping[str, Any]) -> Event:
    """The event as the next handler sees it.

    :raises ValueError: for a column the row does not have, and for a delete, which has no row to amend.
    """
    if not answer:
        return event
    if event.raw_new is None:
        raise ValueError("a delete has no new row to amend")
    row = msgspec.json.decode(event.raw_new, type=dict[str, msgspec.Raw])
    unknown = sorted(set(answer) - set(row))
    if unknown:
        raise ValueError(f"there is no column {', '.join(unknown)} to amend in {event.table}")
    encoded = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in _jsonable(answer).items()}
    return replace(event, raw_new=msgspec.json.encode(row | encoded))


def _jsonable(amendment: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes as PostgreSQL writes them; the rest msgspec writes as PostgreSQL reads it."""
    return {
        name: f"\\x{bytes(value).hex()}" if isinstance(value, (bytes, bytearray, memoryview)) else value
        for name, value in amendment.items()
    }
