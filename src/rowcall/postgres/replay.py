"""Having a subscription read a stretch of the log once more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.postgres import connection as connections
from rowcall.postgres import subscriptions
from rowcall.selector import Selector, Topic

_QUERIES = resources.queries("replay")

_IN_PROGRESS = {
    "incomplete": "its backfill is not complete: let rowcall sync or rowcall listen complete it first",
    "backfill": "the rows of its backfill are still being delivered: let rowcall listen --drain get through them first",
    "replay": "a replay is in progress: let rowcall listen --drain get through it first",
    "restored": "what was pending when the database was restored is still being delivered: let rowcall listen --drain get"
    " through it first",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the log, by seq, both ends included."""

    first: int
    last: int


def stretch(connection: psycopg.Connection[Any], start: str) -> Stretch:
    """The log from a place on.

    :param start: a seq; a date, which begins at midnight by the session's time zone; or an ISO time with its zone.
    :raises UsageError: if it is none of these, or nothing is in the log from there on.
    """
    row = connection.execute(_QUERIES["stretch"], _place(start)).fetchone()
    if row is None or row[0] is None:
        raise errors.UsageError(f"The log has no event from {start} on: choose an earlier place.")
    return Stretch(row[0], row[1])


def _place(start: str) -> dict[str, Any]:
    if start.isdecimal() and start.isascii():
        if int(start) >= 2**63:
            raise errors.UsageError(f"{start} is no seq: the log does not reach so far.")
        return {"seq": int(start), "at": None}
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise errors.UsageError(
            f"{start!r} is no place in the log: give a seq, a date, or a time such as 2026-01-31T12:00+01:00."
        ) from error
    if moment.tzinfo is None and len(start) > len("2026-01-31"):
        raise errors.UsageError(f"{start!r} has no time zone: write {start}Z if it is UTC, else such as {start}+01:00.")
    return {"seq": None, "at": start}


def check_possible(connection: psycopg.Connection[Any], name: str) -> None:
    """See to it that a subscription is free and between windows.

    :raises InUse: while a listener has it, or a stage is in progress.
    """
    with connection.transaction():
        _possible(connection, name)


def _possible(connection: psycopg.Connection[Any], name: str) -> int:
    subscription = subscriptions.reserved(connection, name)
    row = connection.execute(_QUERIES["stage"], {"subscription": subscription}).fetchone()
    if row is not None:
        raise errors.InUse(f"{name} cannot be replayed now, because {_IN_PROGRESS[row[0]]}.")
    return subscription


def replay(connection: psycopg.Connection[Any], name: str, again: Stretch) -> None:
    """Have a subscription read a stretch again, before it goes on: what it had delivered of it, and what it had set aside.

    :raises InUse: while a listener has it, or a stage is in progress.
    """
    with connection.transaction():
        place = {"subscription": _possible(connection, name), "first": again.first, "last": again.last}
        connection.execute(_QUERIES["replay"], place)


def history(
    connection: psycopg.Connection[Any], subscription: int, again: Stretch, topic: Topic, selector: Selector
) -> Iterator[tuple[Any, ...]]:
    """The rows of the log that a replay would deliver, of those that a handler asks for."""
    parameters = {
        "subscription": subscription,
        "first": again.first,
        "last": again.last,
        "schema": topic.schema,
        "table": topic.table,
        "operations": list(selector.operations),
    }
    return connections.stream(connection, _QUERIES["history"], parameters)
