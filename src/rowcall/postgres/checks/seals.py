"""Whether the log is sealed soon after it is written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from rowcall.postgres import status
from rowcall.postgres.checks.finding import Finding, counted

#: Events may wait so long for their seal, as while a new version is deployed.
PATIENCE = timedelta(minutes=10)


def log_sealed(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Events that wait for their seal: until they have it, nobody would notice if they were altered."""
    found = status.sealing(connection)
    if found.oldest is None or datetime.now(UTC) - found.oldest < PATIENCE:
        return
    count = ("more than " if found.waiting == status.LIMIT else "") + counted(found.waiting, "event")
    last = f"the last seal is of {found.sealed_at:%Y-%m-%d %H:%M:%S %Z}" if found.sealed_at else "there is no seal yet"
    yield Finding(
        "risk",
        "log_sealed",
        "rowcall.event",
        f"Nobody seals the log: {count} could be altered unnoticed, and {last}.",
        "Run rowcall listen MODULE:APP without --no-seal; its log says what keeps it from sealing.",
    )
