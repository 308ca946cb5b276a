"""Retention of rejections: those older than what is kept of the log go."""

from __future__ import annotations

from typing import Any

import psycopg

from rowcall import resources

_QUERIES = resources.queries("old_rejections")


def count(connection: psycopg.Connection[Any], keep: str) -> int:
    """How many rejections are older than an interval, those that were only counted included.

    :param keep: an interval that PostgreSQL reads.
    """
    return _number(connection, "count", keep)


def drop(connection: psycopg.Connection[Any], keep: str) -> int:
    """Remove them; how many there were. No writer waits, since nobody else changes a record that old."""
    return _number(connection, "drop", keep)


def _number(connection: psycopg.Connection[Any], query: str, keep: str) -> int:
    row = connection.execute(_QUERIES[query], {"keep": keep}).fetchone()
    assert row is not None
    return int(row[0])
