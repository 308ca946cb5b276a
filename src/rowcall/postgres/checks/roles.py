"""Who could write to the log by hand, or keep changes out of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from rowcall.postgres.checks.finding import Finding, ask, psql

#: What a member of each role can do.
_POWERS = {
    "rowcall_capture": "can write events that never happened, and read the key of redaction",
    "rowcall_gate": "can answer for before-handlers, and read the key of redaction",
    "pg_write_all_data": "can write events that never happened",
}


def log_grants(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Rights on the log that nobody needs."""
    for role, rights, tables in ask(connection, "grants"):
        yield Finding(
            "problem",
            "log_grants",
            role,
            f"{role} was granted {rights} on the log, which only Rowcall's capture writes to.",
            f"Run {psql(f'revoke {rights} on {tables} from {role}')}.",
        )


def more_rights(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Roles that can do more than an auditor of the log."""
    for role, rights, statements in ask(connection, "more_rights"):
        yield Finding(
            "note",
            "more_rights",
            role,
            f"{role} has more rights than an auditor of the log needs: {rights}.",
            f"Unless it runs a listener, run {psql(*statements)}.",
        )


def role_members(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Members of roles that may write to the log."""
    for member, role, quoted_role, quoted_member, owns_log in ask(connection, "members"):
        power = "owns the log by it, and can alter it" if owns_log else _POWERS[role]
        yield Finding(
            "risk",
            "role_members",
            member,
            f"{member} is a member of {role} and {power}.",
            f"Run {psql(f'revoke {quoted_role} from {quoted_member}')}.",
        )


def table_owners(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Owners of watched tables, who rule their triggers."""
    for owner, tables in ask(connection, "owners"):
        what = tables[0] if len(tables) == 1 else f"{len(tables)} watched tables"
        yield Finding(
            "note",
            "table_owners",
            owner,
            f"{owner} owns {what} and can disable or drop the triggers that capture changes.",
            "Let applications log in as another role than their tables' owner, and run rowcall doctor regularly.",
        )
