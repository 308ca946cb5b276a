"""Reading the log for hashing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import capabilities

from rowcall import resources

QUERIES = resources.queries("seals")

#: Rows that the server sends at a time, if libpq knows how: not one of them more is held here.
_CHUNK = 500 if capabilities.has_stream_chunked() else 1


def rendered(name: str) -> str:
    """One of the queries over events, with what it makes of them."""
    return QUERIES[name].replace("{rendering}", QUERIES["rendering"]).replace("{parts}", QUERIES["parts"])


def stream(connection: psycopg.Connection[Any], query: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Rows as the server sends them: however large, only a few are held."""
    with connection.cursor(binary=True) as cursor:
        yield from cursor.stream(query, parameters, size=_CHUNK)


def unseen(snapshot: str) -> dict[str, Any]:
    """The transactions that a snapshot does not see: all from xmax on, and those running while it was taken."""
    _, xmax, running = snapshot.split(":")
    return {"xmax": xmax, "xip": running.split(",") if running else []}
