"""Whether before-handlers can be asked, and nobody hears it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from rowcall.postgres.checks.finding import Finding, ask, psql


def gate_open(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """What the gate needs, where somebody declared before-handlers."""
    [(tables, missing)] = ask(connection, "gate")
    if tables and missing:
        yield Finding(
            "problem",
            "gate_open",
            "rowcall_gate",
            f"The before-handlers of {', '.join(tables)} cannot be asked: the gate has no {', no '.join(missing)}.",
            "As a superuser run rowcall migrate --gate-dsn postgresql://LOGIN:PASSWORD@HOST/DATABASE.",
        )


def gate_hidden(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Sessions of the gate that show rows to each other."""
    for login, cure in ask(connection, "gate_shown"):
        yield Finding(
            "risk",
            "gate_hidden",
            login,
            f"pg_stat_activity shows what {login} was asked last, rows included, to whoever can use a connection of that login:"
            " every writer, where dblink is open to everybody.",
            f"As a superuser run {psql(cure)}; sessions that are connected show it until they end.",
        )
