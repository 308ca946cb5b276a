"""Asking before-handlers without a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from rowcall import errors, identifiers
from rowcall.app import Rowcall
from rowcall.event import Event, Operation, Row
from rowcall.gate.verdict import ask, changes
from rowcall.handler import BeforeHandler
from rowcall.testing.conditions import fulfils
from rowcall.testing.events import make_event


class Write(TypedDict, total=False):
    """What of a write there is to say beside its table and its operation; see :func:`make_event`."""

    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    key: Mapping[str, Any] | None
    actor: str | None
    context: Mapping[str, Any] | None


def judge(
    app: Rowcall, table: Any, operation: Operation, *, connection: Any = None, **write: Unpack[Write]
) -> Row | None:
    """What an app's before-handlers make of a write: each that wants it is asked, in order, about the row as the ones
    before amended it. Rules are not asked; those PostgreSQL checks in any test that writes.

    What a handler raises comes through as it is, and none is held to its time.

    :param connection: psycopg's or SQLAlchemy's, to a database that has the table: for handlers with ``when``, which PostgreSQL
        evaluates. Columns of the row that the test does not give are null there.
    :param write: ``old``, the row before, and ``new``, the row after, with ``key``, ``actor`` and ``context``.
    :returns: the new row with everything amended; None for a delete.
    :raises Reject: as a handler does.
    :raises UsageError: if the app has no before-handler for the table, one has ``when`` and there is no connection, or an event
        loop runs already.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(judge_async(app, table, operation, connection=connection, **write))
    raise errors.UsageError("judge cannot be called where an event loop runs: await judge_async(…) there.")


async def judge_async(
    app: Rowcall, table: Any, operation: Operation, *, connection: Any = None, **write: Unpack[Write]
) -> Row | None:
    """The same as :func:`judge`, in async tests; the connection may be an async one."""
    handlers = _guards(app, table)
    event = make_event(table, operation, **write)
    for handler in handlers:
        if handler.selector.wants(event) and await fulfils(handler, event, connection):
            answer = await ask(handler, _unwritten(event))
            event = _amended(event, table, {name: answer[name] for name in changes(answer, event)})
    return event.new


def _amended(event: Event, table: Any, amendment: Row) -> Event:
    """The event as the next handler sees it, with the very values that the one before returned."""
    if event.new is None:
        return event
    return make_event(
        table,
        event.operation,
        key=event.key,
        old=event.old,
        new=event.new | amendment,
        actor=event.actor,
        context=event.context,
        at=event.at,
    )


def _unwritten(event: Event) -> Event:
    """A copy, in case a handler writes into the row it is shown, of a change that is in no log yet."""
    return replace(event, seq=None, xid=None, id="test-request")


def _guards(app: Rowcall, table: Any) -> Sequence[BeforeHandler]:
    name = identifiers.one_table(table)
    found = [handler for handler in app.before_handlers if _may_be_same(handler.selector.subject, name)]
    if not found:
        known = sorted({handler.selector.subject for handler in app.before_handlers})
        raise errors.UsageError(
            f"The app has no before-handler for {name}: it has some for {', '.join(known) or 'no table at all'}."
        )
    return found


def _may_be_same(one: str, other: str) -> bool:
    """Whether two names can mean one table; a schema that is not named can be any."""
    (schema, table), (other_schema, other_table) = identifiers.split(one), identifiers.split(other)
    return table == other_table and (schema is None or other_schema is None or schema == other_schema)
