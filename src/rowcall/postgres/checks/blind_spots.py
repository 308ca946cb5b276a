"""What no trigger can see, in any installation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from rowcall.postgres.checks.finding import Finding

_SPOTS = (
    (
        "unseen_rewrites",
        "ALTER TABLE … USING and other DDL that rewrites a table changes its rows without an event.",
        "Change values by UPDATE before the type, so that the log has them.",
    ),
    (
        "unseen_disabled",
        "What is written while a trigger is disabled, as by ALTER TABLE … DISABLE TRIGGER, leaves no event.",
        "Never disable triggers to load data faster, and run rowcall doctor regularly.",
    ),
    (
        "unseen_replica",
        "What a session writes with session_replication_role = replica, as restores do, leaves no event.",
        r'Stop the applications while you restore; psql -c "\dconfig+ session_replication_role" says who may set it.',
    ),
    (
        "unseen_catalog",
        "Changes of the system catalogs by hand, with allow_system_table_mods, can take triggers away unseen.",
        "Never change system catalogs by hand.",
    ),
    (
        "unseen_replication",
        "Logical replication into a watched table fires only triggers that are ENABLE ALWAYS or REPLICA; capture's are not.",
        "Watch the table where it is written first.",
    ),
)


def blind_spots(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Ways to change rows past every trigger, one note each. They belong to PostgreSQL, so no connection is asked."""
    del connection
    for check, finding, cure in _SPOTS:
        yield Finding("note", check, None, finding, cure)
