"""A client that writes, as any other."""

from __future__ import annotations

import io
from types import TracebackType
from typing import Any, Self

import psycopg

from rowcall import acting
from rowcall.demo.screen import Screen


class Writer:
    """A connection of its own to the database, and a name in the log.

    :ivar changed: rows it changed, in transactions that committed.
    :ivar statements: how many statements did.
    :ivar refused: how many writes validation refused.
    """

    def __init__(self, name: str, dsn: str, screen: Screen) -> None:
        self.changed = 0
        self.statements = 0
        self.refused = 0
        self._name = name
        self._screen = screen
        self._requests = 0
        self._connection: psycopg.Connection[Any] = psycopg.connect(dsn, application_name=name, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def write(self, statement: str) -> None:
        """Run a statement in a transaction and show what comes of it."""
        self._screen.say(self._name, statement)
        try:
            self._count(self._run(statement))
        except psycopg.errors.CheckViolation as error:
            self.refused += 1
            self._screen.say("refused", f"SQLSTATE {error.sqlstate}: {error.diag.message_primary}", "red")

    def _run(self, statement: str) -> int:
        self._requests += 1
        with acting(self._connection, actor=self._name, request_id=f"{self._name}-{self._requests}"):
            return self._connection.execute(statement.encode()).rowcount

    def _count(self, rows: int) -> None:
        self.changed += rows
        self.statements += 1
        self._screen.say("", f"{rows:,} {'row' if rows == 1 else 'rows'}, committed", "green")

    def copy(self, statement: str, rows: list[str]) -> None:
        """Load lines by COPY."""
        self._screen.say(self._name, statement)
        data = io.StringIO("".join(f"{row}\n" for row in rows))
        with acting(self._connection, actor=self._name), self._connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                copy.write(data.read())
            copied = cursor.rowcount
        self._count(copied)

    def write_often(self, statement: str, keys: list[int]) -> None:
        """Run a statement for each key, each in a transaction of its own, without a word."""
        for key in keys:
            with acting(self._connection, actor=self._name):
                self.changed += self._connection.execute(statement, (key,)).rowcount
            self.statements += 1
