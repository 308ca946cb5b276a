"""Loading the shop's CSV files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from rowcall import errors
from rowcall.demo.chinook.app import TABLES

_CHUNK = 1 << 16


def check(directory: Path) -> None:
    """Refuse a directory that is not the shop's.

    :raises UsageError: if a file is missing.
    """
    missing = [f"{table}.csv" for table in TABLES if not (directory / f"{table}.csv").is_file()]
    if missing:
        raise errors.UsageError(f"{directory} is not the Chinook data: it has no {', '.join(missing)}.")


def load(connection: psycopg.Connection[Any], directory: Path) -> Iterator[tuple[str, int]]:
    """Load every table by COPY, each in a transaction of its own; its name and how many rows it has."""
    for table in TABLES:
        yield table, _copy(connection, table, directory / f"{table}.csv")


def _copy(connection: psycopg.Connection[Any], table: str, path: Path) -> int:
    with path.open("rb") as file, connection.cursor() as cursor:
        header = file.readline().decode("utf-8-sig").strip().split(",")
        columns = sql.SQL(", ").join(map(sql.Identifier, header))
        statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(sql.Identifier(table), columns)
        with cursor.copy(statement) as copy:
            while part := file.read(_CHUNK):
                copy.write(part)
        return cursor.rowcount
