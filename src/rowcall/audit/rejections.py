"""Writes that validation refused."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import psycopg

from rowcall import resources
from rowcall.audit.filters import Filter
from rowcall.audit.keys import relations
from rowcall.postgres import connection as connections

_QUERIES = resources.queries("audit")


def rejections(connection: psycopg.Connection[Any], wanted: Filter) -> Generator[dict[str, Any]]:
    """Refused writes, oldest first: at, table, operation, key, rule, handler, message, actor.

    Of the filter, ``table``, ``actor``, ``since``, ``until`` and ``limit`` count.
    """
    parameters = {
        "relations": relations(connection, wanted.table),
        "actor": wanted.actor,
        "since": wanted.since,
        "until": wanted.until,
        "limit": wanted.limit,
    }
    for _, at, table, operation, key, rule, handler, message, actor in connections.stream(
        connection, _QUERIES["rejections"], parameters
    ):
        yield {
            "at": at,
            "table": table,
            "operation": operation,
            "key": msgspec.Raw(key) if key is not None else None,
            "rule": rule,
            "handler": handler,
            "message": message,
            "actor": actor,
        }
