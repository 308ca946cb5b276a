"""Rules that are declared, and the rows that break them already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from rowcall import errors, resources
from rowcall.postgres import connection as connections
from rowcall.postgres.connection import one_line
from rowcall.postgres.tables import Table, resolve
from rowcall.rule import Rule

_QUERIES = resources.queries("rules")

#: Pages of a table that one statement looks at: some tens of thousands of rows, and a snapshot that is soon over.
PAGES: Final = 512

#: Hears how many more rows were looked at.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """A rule to put to the rows of its table.

    :ivar rows: which of old and new it speaks of.
    """

    table: Table
    name: str
    expression: str
    rows: Sequence[str]

    @property
    def is_checkable(self) -> bool:
        """Whether it says something about a row by itself, and not about a change."""
        return "old" not in self.rows


@dataclass(frozen=True, slots=True)
class Part:
    """A table that rows lie in: the rule's own, or a partition of it.

    :ivar pages: how many it has; 0 if it has to be read in one go.
    :ivar estimate: about how many rows it has.
    :ivar key: the SQL expression for a row's key.
    """

    table: Table
    pages: int
    estimate: int
    key: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rows of a table come to by one rule.

    :ivar scanned: how many rows were looked at, and ``violations``: how many of them break it; None if it cannot be checked.
    :ivar keys: the keys of the first of these.
    :ivar note: why it cannot be checked.
    """

    table: str
    rule: str
    scanned: int | None
    violations: int | None
    keys: list[msgspec.Raw]
    note: str | None = None


def rules(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Every rule: table, name, expression, message, operations, on_violation, declared_by, current."""
    cursor = connection.execute(_QUERIES["rules"])
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def declared(connection: psycopg.Connection[Any], tables: Sequence[str]) -> list[Subject]:
    """The rules in the database of some tables, or of all.

    :raises UsageError: for a table that does not exist, or where there are none.
    """
    oids = [_oid(connection, resolve(connection, name)) for name in tables] or None
    rows = connection.execute(_QUERIES["declared"], {"tables": oids}).fetchall()
    if not rows:
        whose = ", ".join(tables) or "any table"
        raise errors.UsageError(
            f'No rules are declared for {whose}: "rowcall rules" lists them, and MODULE:APP names an app.'
        )
    return [Subject(Table(schema, table), *rest) for schema, table, *rest in rows]


def of_app(connection: psycopg.Connection[Any], app_rules: Iterable[Rule], tables: Sequence[str]) -> list[Subject]:
    """The rules an app declares, of some tables or of all, be they in the database or not.

    :raises UsageError: for a table that does not exist, or where there are none.
    """
    wanted = {resolve(connection, name) for name in tables}
    found = [Subject(resolve(connection, rule.table), rule.name, rule.expression, rule.rows) for rule in app_rules]
    found = [subject for subject in found if not wanted or subject.table in wanted]
    if not found:
        raise errors.UsageError(f"The app has no rules for {', '.join(tables) or 'any table'}.")
    return found


def _oid(connection: psycopg.Connection[Any], table: Table) -> int:
    row = connection.execute("select %s::regclass::oid", (table.quoted,)).fetchone()
    assert row is not None
    return int(row[0])


def parts(connection: psycopg.Connection[Any], table: Table) -> list[Part]:
    """What the rows of a table lie in."""
    rows = connection.execute(_QUERIES["parts"], {"name": table.quoted}).fetchall()
    return [Part(Table(schema, name), *rest) for schema, name, *rest in rows]


def check(
    connection: psycopg.Connection[Any],
    subject: Subject,
    among: Sequence[Part],
    *,
    many: int,
    progress: Progress = lambda rows: None,
) -> Verdict:
    """Look for rows that break a rule. Nothing is locked, and each statement has a snapshot of its own: rows that others write
    meanwhile may be seen or not.

    :param among: what the rows of its table lie in.
    :param many: how many keys to give at most.
    :raises UsageError: if the rule cannot be evaluated.
    """
    if not subject.is_checkable:
        note = "speaks of old: only a change can break it"
        return Verdict(subject.table.display, subject.name, None, None, [], note)
    scanned = violations = 0
    keys: list[msgspec.Raw] = []
    for query in (query for part in among for query in _queries(subject, part, many)):
        rows, broken, found = _judged(connection, subject, query)
        scanned += rows
        violations += broken
        keys += [msgspec.Raw(key) for key in found[: many - len(keys)]]
        progress(rows)
    return Verdict(subject.table.display, subject.name, scanned, violations, keys)


def _queries(subject: Subject, part: Part, many: int) -> Iterator[sql.Composed]:
    """A statement for every so many pages; the last takes what was added since they were counted."""
    # SQL by nature: the rule's own words, and what our own function made of the columns' names.
    expression: Any = subject.expression
    key: Any = part.key
    starts = range(0, max(part.pages, 1), PAGES)
    for start in starts:
        yield sql.SQL(_QUERIES["broken"]).format(
            many=sql.Literal(many),
            expression=sql.SQL(expression),
            key=sql.SQL(key),
            table=sql.Identifier(part.table.schema, part.table.name),
            place=_place(start, None if start == starts[-1] else start + PAGES),
        )


def _place(start: int, end: int | None) -> sql.Composable:
    if start == 0 and end is None:
        return sql.SQL("true")
    since = sql.SQL("new.ctid >= {}::tid").format(f"({start},0)")
    return since if end is None else since + sql.SQL(" and new.ctid < {}::tid").format(f"({end},0)")


def _judged(connection: psycopg.Connection[Any], subject: Subject, query: sql.Composed) -> tuple[int, int, list[bytes]]:
    """Run a statement. Prepared, it can be one only; the transaction is one that cannot write."""
    cursor = connections.raw_cursor(connection)
    try:
        with connection.transaction():
            connection.execute("set transaction read only")
            row = cursor.execute(query, prepare=True).fetchone()
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError):
            raise
        raise errors.UsageError(
            f"The rule {subject.name} of {subject.table.display} cannot be checked: {one_line(error)}. Correct it, or give"
            " this login the rights to read what it asks for."
        ) from error
    return row  # type: ignore[no-any-return]
