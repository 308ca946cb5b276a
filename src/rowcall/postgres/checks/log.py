"""Whether the log has room ahead, and can only be appended to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from rowcall.postgres import status
from rowcall.postgres.checks.finding import Finding, ask, psql

#: So far ahead the log shall have partitions by month.
AHEAD = timedelta(days=62)

_EXTEND = psql("select rowcall.extend_partitions_v1()")


def partitions_ahead(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Partitions of the coming months. Events come into the last one when these have run out, which retention cannot drop."""
    until = status.log(connection).until
    if until is None:
        yield _endless(connection)
        return
    [(overflows,)] = ask(connection, "overflow", since=until)
    if overflows:
        finding = f"The log's partitions by month ended on {until:%Y-%m-%d}: its last one fills without end."
        yield Finding("problem", "partitions_ahead", "rowcall.event", finding, f"Run {_EXTEND} while writers can wait.")
    elif until < datetime.now(UTC) + AHEAD:
        finding = f"The log has partitions by month only until {until:%Y-%m-%d}."
        yield Finding("risk", "partitions_ahead", "rowcall.event", finding, f"Run {_EXTEND}.")


def _endless(connection: psycopg.Connection[Any]) -> Finding:
    [(end,)] = ask(connection, "newest_end")
    cure = psql(f"select rowcall.create_partition_v1('{end or 'minvalue'}', 'maxvalue')")
    finding = (
        f"The log has no partition that reaches to the end of time: writes fail{f' from {end} on' if end else ''}."
    )
    return Finding("problem", "partitions_ahead", "rowcall.event", finding, f"Run {cure}.")


def anchored(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Cursors with the transaction ids of another cluster, as a restore from a dump leaves them."""
    for _ in ask(connection, "restored"):
        yield Finding(
            "problem",
            "anchored",
            "rowcall.event",
            "The database was restored from a dump, and its subscriptions are not anchored in this cluster yet.",
            "Run rowcall migrate, or start rowcall listen, which does the same.",
        )


def append_only(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """The triggers that refuse to alter the log."""
    for table, trigger, exists, cure in ask(connection, "unguarded"):
        yield Finding(
            "problem",
            "append_only",
            table,
            f"The trigger {trigger} of {table} is {'disabled' if exists else 'missing'}, so the log can be altered there.",
            f"Run {psql(cure)}.",
        )
