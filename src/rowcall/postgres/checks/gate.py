"""Whether before-handlers can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from rowcall.postgres.checks.finding import Finding, ask


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
