"""Whether events reach their handlers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from rowcall.postgres import status
from rowcall.postgres.checks.finding import Finding, ask, counted, psql, word

#: A subscription that nobody reads may be behind so far, as while a new version is deployed.
PATIENCE = timedelta(hours=1)


def subscriptions_read(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Subscriptions that nobody delivers, though there is something to deliver."""
    for found in status.backlogs(connection):
        if found.listening or found.oldest is None or not (found.capped or _is_late(found.oldest)):
            continue
        count = "more than " * found.capped + counted(found.waiting, "event")
        app = found.declared_by if ":" in found.declared_by else f"MODULE:APP of {found.declared_by}"
        yield Finding(
            "problem",
            "subscriptions_read",
            found.subscription,
            f"Nobody reads {found.subscription}, with {count} of the log after its place, the oldest of"
            f" {found.oldest:%Y-%m-%d %H:%M:%S %Z}.",
            f"Run rowcall listen {app}, or if its handler is gone, rowcall subscriptions drop {word(found.subscription)}.",
        )


def _is_late(oldest: datetime) -> bool:
    return datetime.now(UTC) - oldest > PATIENCE


def backfills_complete(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Subscriptions that nobody may read yet."""
    for name, declared_by in ask(connection, "incomplete_backfills"):
        app = declared_by if ":" in declared_by else f"MODULE:APP of {declared_by}"
        yield Finding(
            "risk",
            "backfills_complete",
            name,
            f"The backfill of {name} is not complete, so nothing is delivered to it.",
            f"Run rowcall sync {app}, which goes on with it, unless it runs at this moment.",
        )


def dead_letters(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Events that a handler failed at so often that it was given up."""
    for name, _, dead in ask(connection, "set_aside"):
        if dead:
            named = word(name)
            yield Finding(
                "problem",
                "dead_letters",
                name,
                f"{name} has {counted(dead, 'dead letter')}, behind which later events of their rows wait.",
                f"Run rowcall parked {named} --dead for the errors, mend the handler, then rowcall retry {named} --all to"
                f" try again; rowcall skip {named} --seq N gives one up for good.",
            )


def parked_events(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Events that wait for another attempt."""
    for name, parked, _ in ask(connection, "set_aside"):
        if parked:
            yield Finding(
                "risk",
                "parked_events",
                name,
                f"{name} has {counted(parked, 'parked event')}, which failed or wait behind one that did.",
                f"They are tried again by themselves; rowcall parked {word(name)} shows the errors.",
            )


def lanes_delivered(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Subscriptions of whose lanes only some are delivered."""
    for name, lanes in ask(connection, "free_lanes"):
        yield Finding(
            "problem",
            "lanes_delivered",
            name,
            f"Listeners deliver {name}, but nobody has {lanes} of its 16 lanes: what is in them waits, and is kept for them.",
            "Run one more rowcall listen, without --lanes.",
        )


def sessions_endable(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Listeners that cannot end the session of a frozen one whose work they take over, because of its login."""
    for name, login, other, grantable in ask(connection, "unendable"):
        cure = "Have all listeners of a subscription log in as one role"
        grant = psql(f"grant pg_signal_backend, pg_read_all_stats to {login}")
        yield Finding(
            "risk",
            "sessions_endable",
            name,
            f"{login} and {other} both deliver {name}, but {login} cannot end sessions of {other}: if one freezes, what it locked"
            " stays locked.",
            f"{cure}, or run {grant}." if grantable else f"{cure}.",
        )
