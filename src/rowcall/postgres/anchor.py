"""Going on in a new cluster, after a restore from a dump."""

from __future__ import annotations

from typing import Any

import psycopg

from rowcall import resources

_QUERIES = resources.queries("anchor")


def reanchor(connection: psycopg.Connection[Any]) -> bool:
    """Anchor the cursors of a restored database in the cluster it is in now; costs one query where nothing is to be done.

    In a transaction of its own, which must not be one that has written already.

    :returns: whether the database had been restored, and was not anchored yet.
    """
    row = connection.execute(_QUERIES["is_restored"]).fetchone()
    if row is None or not row[0]:
        return False
    with connection.transaction():
        done = connection.execute(_QUERIES["reanchor"]).fetchone()
    return done is not None and bool(done[0])
