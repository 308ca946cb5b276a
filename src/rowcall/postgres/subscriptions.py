"""Subscriptions: creating them at a moment, and finding, dropping and renaming them later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.app import Rowcall
from rowcall.handler import AfterHandler
from rowcall.postgres import status
from rowcall.selector import Topic

_QUERIES = resources.queries("delivery")
_FINDING = resources.queries("subscriptions")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A reader of the log; of what it shares with :class:`rowcall.postgres.status.Backlog`, see there.

    :ivar declared_by: the app that declares its handler.
    :ivar created: since when it is there.
    :ivar skipped: events that a person gave up for good.
    """

    name: str
    declared_by: str
    listening: bool
    created: datetime
    waiting: int
    capped: bool
    oldest: datetime | None
    parked: int
    dead: int
    skipped: int


def this_moment(connection: psycopg.Connection[Any]) -> str:
    """A snapshot of now, to start a subscription from.

    Its transaction must not have written anything yet: a snapshot leaves out the transaction it is taken in.
    """
    row = connection.execute(_QUERIES["snapshot"]).fetchone()
    assert row is not None
    return str(row[0])


def create_missing(
    connection: psycopg.Connection[Any], app: Rowcall, topics: Mapping[str, Topic], declared_by: str, moment: str
) -> list[str]:
    """Create the subscriptions of an app's after-handlers that do not exist yet. Those that start with a backfill are not
    read before :func:`rowcall.postgres.backfill.run` is through with them.

    :param topics: the tables each handler reads, by its name.
    :param moment: a snapshot, from which on they read unless they start at the beginning.
    :returns: the names created.
    :raises UsageError: if one exists for another app.
    """
    missing = _missing(connection, app, declared_by)
    for handler in missing:
        connection.execute(
            _QUERIES["create_subscription"], _creation(handler, topics[handler.name], declared_by, moment)
        )
    return [handler.name for handler in missing]


def statements(
    connection: psycopg.Connection[Any], app: Rowcall, topics: Mapping[str, Topic], declared_by: str
) -> list[str]:
    """What :func:`create_missing` would run, as SQL to run in autocommit; they start when that is."""
    printer = psycopg.ClientCursor(connection)
    return [
        printer.mogrify(_QUERIES["create_subscription"], _creation(handler, topics[handler.name], declared_by, None))
        for handler in _missing(connection, app, declared_by)
    ]


def _creation(handler: AfterHandler, topic: Topic, declared_by: str, moment: str | None) -> dict[str, Any]:
    return {
        "name": handler.name,
        "declared_by": declared_by,
        "start": handler.start,
        "lower": moment,
        "schema": topic.schema,
        "table": topic.table,
    }


def _missing(connection: psycopg.Connection[Any], app: Rowcall, declared_by: str) -> list[AfterHandler]:
    names = [handler.name for handler in app.after_handlers]
    declarers = dict(connection.execute(_QUERIES["subscriptions"], {"names": names}).fetchall())
    for name, other in declarers.items():
        if other != declared_by:
            raise errors.UsageError(
                f"A subscription named {name} is declared by {other} already: name one of the two differently, or if"
                f" this app was renamed, keep its name with Rowcall({other!r})."
            )
    return [handler for handler in app.after_handlers if handler.name not in declarers]


def subscriptions(connection: psycopg.Connection[Any]) -> list[Subscription]:
    """Every subscription, by name."""
    registered = {row[0]: row[1:] for row in connection.execute(_FINDING["registered"]).fetchall()}
    return [
        _subscription(found, *registered[found.subscription])
        for found in status.backlogs(connection)
        if found.subscription in registered
    ]


def one(connection: psycopg.Connection[Any], name: str) -> Subscription:
    """One subscription.

    :raises UsageError: if there is none of this name.
    """
    for found in subscriptions(connection):
        if found.name == name:
            return found
    raise _no_such(name)


def _subscription(found: status.Backlog, created: datetime, skipped: int) -> Subscription:
    return Subscription(
        found.subscription,
        found.declared_by,
        found.listening,
        created,
        found.waiting,
        found.capped,
        found.oldest,
        found.parked,
        found.dead,
        skipped,
    )


def find(connection: psycopg.Connection[Any], name: str) -> int:
    """The id of a subscription.

    :raises UsageError: if there is none of this name.
    """
    row = connection.execute(_FINDING["found"], {"name": name}).fetchone()
    if row is None:
        raise _no_such(name)
    return int(row[0])


def _no_such(name: str) -> errors.UsageError:
    return errors.UsageError(f'There is no subscription {name}: "rowcall subscriptions" lists them.')


def holder(connection: psycopg.Connection[Any], subscription: int) -> str | None:
    """Which process has a subscription, in words; None if nobody has it."""
    row = connection.execute(_FINDING["holder"], {"subscription": subscription}).fetchone()
    if row is None:
        row = connection.execute(_FINDING["holding_process"], {"subscription": subscription}).fetchone()
        return None if row is None else f"process {row[0]}"
    pid, application, address, port = row
    if address is None and port is None:
        return f"server process {pid}, of which this login may not see more"
    return f'server process {pid} ("{application}", {address or "a local socket"})'


def drop(connection: psycopg.Connection[Any], name: str) -> None:
    """Forget a subscription, with its place in the log and everything it set aside.

    :raises InUse: while a listener has it.
    """
    with connection.transaction():
        connection.execute(_FINDING["drop"], {"subscription": reserved(connection, name)})


def rename(connection: psycopg.Connection[Any], old: str, new: str) -> None:
    """Give a subscription another name; it keeps its place in the log.

    :raises InUse: while a listener has it.
    :raises UsageError: if another one has the new name.
    """
    try:
        with connection.transaction():
            connection.execute(_FINDING["rename"], {"subscription": reserved(connection, old), "new": new})
    except psycopg.errors.UniqueViolation as error:
        raise errors.UsageError(
            f"There is a subscription {new} already: choose another name, or drop that one."
        ) from error


def check_free(connection: psycopg.Connection[Any], name: str) -> None:
    """See to it that nobody has a subscription.

    :raises InUse: while a listener has it.
    """
    with connection.transaction():
        reserved(connection, name)


def reserved(connection: psycopg.Connection[Any], name: str) -> int:
    """The id of a subscription that no listener can take before this transaction ends.

    :raises InUse: while a listener has it.
    """
    subscription = find(connection, name)
    row = connection.execute(_FINDING["reserve"], {"subscription": subscription}).fetchone()
    if row != (True,):
        who = holder(connection, subscription) or "a process that has just ended"
        raise errors.InUse(f"{name} is in use by {who}: stop that listener first.")
    return subscription
