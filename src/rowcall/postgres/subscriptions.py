"""Creating subscriptions, at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from rowcall import errors, resources

_QUERIES = resources.queries("delivery")


def this_moment(connection: psycopg.Connection[Any]) -> str:
    """A snapshot of now, to start a subscription from.

    Its transaction must not have written anything yet: a snapshot leaves out the transaction it is taken in.
    """
    row = connection.execute(_QUERIES["snapshot"]).fetchone()
    assert row is not None
    return str(row[0])


def create_missing(
    connection: psycopg.Connection[Any], names: Sequence[str], declared_by: str, start: str
) -> list[str]:
    """Create the subscriptions that do not exist yet.

    :param start: from which moment on they read.
    :returns: the names created.
    :raises UsageError: if one exists for another app.
    """
    missing = _missing(connection, names, declared_by)
    for name in missing:
        connection.execute(_QUERIES["create_subscription"], {"name": name, "declared_by": declared_by, "lower": start})
    return missing


def statements(connection: psycopg.Connection[Any], names: Sequence[str], declared_by: str) -> list[str]:
    """What :func:`create_missing` would run, as SQL to run in autocommit; they start when that is."""
    printer = psycopg.ClientCursor(connection)
    return [
        printer.mogrify(_QUERIES["create_subscription"], {"name": name, "declared_by": declared_by, "lower": None})
        for name in _missing(connection, names, declared_by)
    ]


def _missing(connection: psycopg.Connection[Any], names: Sequence[str], declared_by: str) -> list[str]:
    declarers = dict(connection.execute(_QUERIES["subscriptions"], {"names": list(names)}).fetchall())
    for name, other in declarers.items():
        if other != declared_by:
            raise errors.UsageError(
                f"A subscription named {name} is declared by {other} already: name one of the two differently, or if"
                f" this app was renamed, keep its name with Rowcall({other!r})."
            )
    return [name for name in names if name not in declarers]
