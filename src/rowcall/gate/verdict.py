"""What before-handlers decide about one row."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from concurrent import futures
from dataclasses import replace
from decimal import Decimal
from math import isfinite, isnan
from typing import Any

import msgspec
import structlog

from rowcall.errors import Reject, describe, storable
from rowcall.event import Event
from rowcall.handler import BeforeHandler

_LOG = structlog.get_logger("rowcall")

Verdict = dict[str, Any]
#: See :func:`decide`.
Deciding = Generator[tuple[BeforeHandler, Event], Any, Verdict]


class Late(Exception):
    """A handler has not returned in its time."""


_CANCELLED = "something it awaited was cancelled"
#: What a handler that is too late may have run into.
_LOCKED = (
    "A handler that reads or writes the row it judges for itself waits for its writer, who waits for the handler:"
    " use what event.old and event.new say."
)

#: Exact numbers keep their digits; what is no number is a string before it gets here.
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def decide(handlers: Sequence[BeforeHandler], event: Event) -> Deciding:
    """Decide about a row by what its handlers say, in order, each about the row as the ones before amended it; the first rejection
    ends it. Calls nobody itself: yields each handler with the event it is to be called with, and is sent what that returned, or
    thrown what it raised.

    :returns: ``{"verdict": "accept", "amendment": {…}?}`` or ``{"verdict": "reject", "handler", "message", …}``.
    """
    amendment: dict[str, Any] = {}
    for handler in handlers:
        if not handler.selector.wants(event):
            continue
        try:
            # A copy, in case the handler writes into the row it is shown.
            answer = changes(_answer((yield handler, replace(event))), event)
            event = amended(event, answer)
            amendment |= answer
        except Reject as verdict:
            return refusal(handler.name, verdict.message, verdict.column, verdict.hint)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may fail in any way
            reason = _reason(handler, error)
            _LOG.warning("a before-handler failed", handler=handler.name, table=event.table, error=reason)
            if handler.on_unavailable == "reject":
                return refusal(handler.name, reason, hint=_LOCKED if isinstance(error, Late) else None)
    return {"verdict": "accept", "amendment": amendment} if amendment else {"verdict": "accept"}


def refusal(handler: str, message: Any, column: Any = None, hint: Any = None) -> Verdict:
    """A rejection in the name of a handler."""
    return {
        "verdict": "reject",
        "handler": handler,
        "message": storable(str(message)),
        "column": None if column is None else storable(str(column)),
        "hint": None if hint is None else storable(str(hint)),
    }


def _reason(handler: BeforeHandler, error: BaseException) -> str:
    if isinstance(error, Late):
        return f"it did not answer within {handler.timeout * 1000:.0f} ms"
    return f"it failed: {describe(error)}"


async def ask(handler: BeforeHandler, event: Event) -> Mapping[str, Any]:
    """What a handler answers, however long it takes: the columns it amends.

    :raises TypeError: for what is no answer.
    """
    if handler.is_async:
        return _answer(await call_async(handler, event))
    return _answer(await asyncio.to_thread(call, handler, event))


def call(handler: BeforeHandler, event: Event) -> Any:
    """What a sync handler returns."""
    try:
        return handler.function(**_arguments(handler, event))
    except (asyncio.CancelledError, futures.CancelledError) as error:
        raise RuntimeError(_CANCELLED) from error


async def call_async(handler: BeforeHandler, event: Event) -> Any:
    """What an async handler returns."""
    try:
        return await handler.function(**_arguments(handler, event))
    except (asyncio.CancelledError, futures.CancelledError) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError(_CANCELLED) from error


def _arguments(handler: BeforeHandler, event: Event) -> dict[str, Any]:
    return {"event": event} if handler.parameters else {}


def _answer(returned: Any) -> Mapping[str, Any]:
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise TypeError(f"a before-handler returns None or a mapping of columns, not {type(returned).__name__}")
    return returned


def changes(answer: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """The part of an answer that differs from the row, as JSON can hold it.

    A handler may return the whole row: what it only passes through must not be written back, because a redacted column
    holds a hash there.

    :raises ValueError: for a column the row does not have, and for a delete, which has no row to amend.
    """
    if not answer:
        return {}
    if event.raw_new is None:
        raise ValueError("a delete has no new row to amend")
    row = event.layout.row(event.raw_new)
    unknown = sorted(str(name) for name in answer if name not in row)
    if unknown:
        raise ValueError(f"there is no column {', '.join(unknown)} to amend in {event.table}")
    return {name: jsonable(value) for name, value in answer.items() if not _is_same(value, row[name])}


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other) and str(one) == str(other)


def jsonable(value: Any) -> Any:
    """A value as PostgreSQL reads it out of JSON.

    :raises ValueError: for a text that PostgreSQL cannot store.
    """
    if isinstance(value, str) and "\0" in value:
        raise ValueError("PostgreSQL cannot store a NUL character in a text")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, (float, Decimal)) and not isfinite(value):
        return "NaN" if isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, Mapping):
        return {name: jsonable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(inner) for inner in value]
    return value


def amended(event: Event, amendment: Mapping[str, Any]) -> Event:
    """The event as the next handler sees it."""
    if not amendment or event.raw_new is None:
        return event
    row = msgspec.json.decode(event.raw_new, type=dict[str, msgspec.Raw])
    encoded = {name: msgspec.Raw(encode(value)) for name, value in amendment.items()}
    return replace(event, raw_new=msgspec.json.encode(row | encoded))


def encode(value: Any) -> bytes:
    """A verdict, or a part of one, as JSON.

    :raises TypeError: for what JSON cannot hold.
    """
    return _ENCODER.encode(value)
