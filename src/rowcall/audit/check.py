"""Whether the log says what a table holds."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import sql

from rowcall import errors, resources
from rowcall.audit import keys
from rowcall.postgres.checks.finding import word
from rowcall.postgres.connection import one_line

_QUERIES = resources.queries("check")

Kind = Literal["missing in the log", "extra in the log", "different"]

#: Hears after so many rows that they were compared.
_STEP = 1_000
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of which the log says something else than the table.

    :ivar columns: those that differ.
    :ivar seq: the last event of its key: what happened to the row after that is not in the log; None where there is none.
    :ivar since: when that was.
    """

    key: msgspec.Raw
    kind: Kind
    columns: tuple[str, ...]
    seq: int | None
    since: datetime | None


def estimate(connection: psycopg.Connection[Any], table: str) -> int:
    """About how many rows there are to compare."""
    return _watched(connection, table)[2]


def check(
    connection: psycopg.Connection[Any], table: str, progress: Progress = lambda rows: None
) -> Generator[Difference]:
    """Compare a watched table with the last images of its rows in the log, both as of one moment; streamed.

    :param connection: in autocommit mode, of a login that may read both.
    :raises UsageError: for a table that is not watched, or whose watch does not record every change.
    """
    relation, name, _ = _watched(connection, table)
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute(_QUERIES["settings"])
        row = connection.execute(_QUERIES["statement"], {"relation": relation}).fetchone()
        assert row is not None
        with connection.cursor(name="rowcall_check") as cursor:
            cursor.itersize = _STEP
            try:
                # Made by our own function out of quoted names.
                cursor.execute(sql.SQL(row[0]))
            except psycopg.errors.InsufficientPrivilege as error:
                raise errors.UsageError(
                    f"This login cannot see every row of {name}, which it has to: {one_line(error)}."
                ) from error
            while rows := cursor.fetchmany(_STEP):
                for key, kind, columns, seq, since in rows:
                    if kind is not None:
                        yield Difference(msgspec.Raw(key.encode()), kind, tuple(columns), seq, since)
                progress(len(rows))


def _watched(connection: psycopg.Connection[Any], table: str) -> tuple[int, str, int]:
    """The watched table: its relation, its name, and about how many rows it has."""
    row = connection.execute(_QUERIES["relation"], {"relation": keys.relation(connection, table)}).fetchone()
    if row is None:
        raise errors.UsageError(
            f"{table} is not watched, so its log is not complete: rowcall watch {word(table)} --baseline."
        )
    relation, name, options, rows = row
    for option in ("when", "operations"):
        if option in options:
            raise errors.UsageError(
                f"The watch of {name} records only some changes ({option}), so its log does not say what the table holds:"
                f" declare it without {option}, and with a baseline."
            )
    return relation, name, rows
