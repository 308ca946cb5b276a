"""Creating subscriptions at this moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from rowcall import resources

_QUERIES = resources.queries("delivery")


def create_missing(connection: psycopg.Connection[Any], names: Iterable[str], declared_by: str) -> list[str]:
    """Create the subscriptions that do not exist yet, starting now; an autocommit connection, outside a transaction.

    :returns: the names created.
    """
    existing = {row[0] for row in connection.execute("select name from rowcall.subscription").fetchall()}
    missing = [name for name in names if name not in existing]
    for name in missing:
        row = connection.execute(_QUERIES["snapshot"]).fetchone()
        assert row is not None
        connection.execute(_QUERIES["create_subscription"], {"name": name, "declared_by": declared_by, "lower": row[0]})
    return missing
