"""Settings of the server, its databases and roles that Rowcall depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from rowcall.postgres.checks.finding import Finding, ask, psql

_OFF = ("off", "false", "no", "0")


def _set_to(connection: psycopg.Connection[Any], name: str, *values: str) -> Iterator[tuple[str, str]]:
    """Where a setting has one of these values for sessions of this database, and the command that takes it back."""
    for place, value, undo in ask(connection, "defaults", name=name):
        if value.lower() in values:
            # ALTER SYSTEM cannot run in a transaction, where the statements of one -c are.
            reload = ' -c "select pg_reload_conf()"' if place == "the server" else ""
            yield place, psql(undo) + reload


def replication_role(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Sessions that begin in the role that silences triggers."""
    for place, undo in _set_to(connection, "session_replication_role", "replica"):
        yield Finding(
            "problem",
            "replication_role",
            place,
            f"session_replication_role is replica by default for {place}: no trigger sees what such sessions write.",
            f"Run {undo}, and connect anew.",
        )


def event_triggers(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Sessions whose DDL is not followed; the setting came with PostgreSQL 17."""
    for place, undo in _set_to(connection, "event_triggers", *_OFF):
        yield Finding(
            "risk",
            "event_triggers",
            place,
            f"event_triggers is off for {place}, so changes of watched tables are followed only at the next sync.",
            f"Run {undo}, and connect anew.",
        )


def durable_commits(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Sessions that do not wait until their commits are on disk."""
    for place, undo in _set_to(connection, "synchronous_commit", *_OFF):
        yield Finding(
            "note",
            "durable_commits",
            place,
            f"synchronous_commit is off for {place}: a crash can lose the last commits, and with them their events.",
            f"Run {undo} if that is not what you want.",
        )


def doorbell(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Prepared transactions, which cannot have sent a NOTIFY."""
    [(allowed,)] = ask(connection, "prepared_transactions")
    if allowed:
        yield Finding(
            "note",
            "doorbell",
            "max_prepared_transactions",
            f"max_prepared_transactions is {allowed}, so nobody wakes listeners: they poll, and deliver a little later.",
            f"Run {psql('alter system set max_prepared_transactions = 0')} and restart the server, unless something"
            " uses PREPARE TRANSACTION.",
        )


def connections(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Room for a listener to connect."""
    [(server, database, needed, name)] = ask(connection, "room")
    if server < needed:
        yield _full("the server", server, needed, "Raise max_connections, or close sessions or pool them")
    if database is not None and database < needed:
        yield _full(f"database {name}", database, needed, f"Run {psql(f'alter database {name} connection limit -1')}")


def _full(place: str, free: int, needed: int, cure: str) -> Finding:
    finding = f"Only {max(free, 0)} more sessions can connect to {place}; a listener that takes over needs {needed}."
    return Finding("risk", "connections", place, finding, f"{cure}.")
