"""What before-handlers decide about one row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from decimal import Decimal
from functools import partial
from math import isfinite, isnan
from typing import Any

import msgspec
import structlog

from rowcall.errors import Reject, describe, storable
from rowcall.event import Event
from rowcall.handler import BeforeHandler

_LOG = structlog.get_logger("rowcall")

Verdict = dict[str, Any]

#: What a handler that is too late may have run into.
_LOCKED = (
    "A handler that reads or writes the row it judges for itself waits for its writer, who waits for the handler:"
    " use what event.old and event.new say."
)

#: Exact numbers keep their digits; what is no number is a string before it gets here.
_ENCODER = msgspec.json.Encoder(decimal_format="number")


async def judge(
    handlers: Sequence[BeforeHandler], event: Event, deadline: float, threads: Executor | None = None
) -> Verdict:
    """Ask the handlers in order, each about the row as the ones before amended it; the first rejection ends it.

    :param deadline: by the event loop's clock, when the writer stops waiting.
    :returns: ``{"verdict": "accept", "amendment": {…}?}`` or ``{"verdict": "reject", "handler", "message", …}``.
    """
    amendment: dict[str, Any] = {}
    for handler in handlers:
        if not handler.selector.wants(event):
            continue
        try:
            # A copy, in case the handler writes into the row it is shown.
            answer = changes(await _ask_in_time(handler, replace(event), deadline, threads), event)
            event = amended(event, answer)
            amendment |= answer
        except Reject as verdict:
            return refusal(handler.name, verdict.message, verdict.column, verdict.hint)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may fail in any way
            reason = _reason(handler, error)
            _LOG.warning("a before-handler failed", handler=handler.name, table=event.table, error=reason)
            if handler.on_unavailable == "reject":
                return refusal(handler.name, reason, hint=_LOCKED if _is_late(error) else None)
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


def _is_late(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) and not error.args


def _reason(handler: BeforeHandler, error: BaseException) -> str:
    if _is_late(error):
        return f"it did not answer within {handler.timeout * 1000:.0f} ms"
    return f"it failed: {describe(error)}"


async def _ask_in_time(
    handler: BeforeHandler, event: Event, deadline: float, threads: Executor | None
) -> Mapping[str, Any]:
    """What a handler answers, in its own time and before the deadline.

    :raises TimeoutError: if it takes longer; a sync handler goes on in its thread, to no effect.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout_at(min(loop.time() + handler.timeout, deadline)):
        return await ask(handler, event, threads)


async def ask(handler: BeforeHandler, event: Event, threads: Executor | None = None) -> Mapping[str, Any]:
    """What a handler answers, however long it takes: the columns it amends.

    :raises TypeError: for what is no answer.
    """
    answer = await _call(handler, event, threads)
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        raise TypeError(f"a before-handler returns None or a mapping of columns, not {type(answer).__name__}")
    return answer


async def _call(handler: BeforeHandler, event: Event, threads: Executor | None) -> Any:
    arguments = {"event": event} if handler.parameters else {}
    try:
        if handler.is_async:
            return await handler.function(**arguments)
        return await asyncio.get_running_loop().run_in_executor(threads, partial(handler.function, **arguments))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("something it awaited was cancelled") from error


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
