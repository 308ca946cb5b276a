"""The statements that take changes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from rowcall import errors, resources
from rowcall.audit.connection import ask
from rowcall.identifiers import qualified

_QUERIES = resources.queries("undo")

#: Of each column of a row, what its type's input function reads; None for null.
Literals = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table as it is now.

    :ivar captured: whether events have it, ``redacted``: but only its hash.
    :ivar needed: whether it has to be given when a row is inserted.
    :ivar same: the operator by which keys are equal, for a column of the key.
    """

    name: str
    type: str
    captured: bool
    redacted: bool
    needed: bool
    key_position: int | None
    same: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A watched table as it is now.

    :ivar columns: those that can be written, ``generated``: the names of the others.
    """

    oid: int
    name: str
    quoted: str
    partitioned: bool
    options: bytes
    columns: tuple[Column, ...]
    generated: frozenset[str]

    @classmethod
    def of(cls, connection: psycopg.Connection[Any], relation: int, name: str) -> Table:
        """The table of a relation.

        :param name: what to call it where it is no more.
        :raises UsageError: if it is gone or not watched.
        """
        rows = ask(connection, _QUERIES["table"], {"relation": relation})
        if not rows:
            raise errors.UsageError(
                f"{name} is gone or not watched any more: only changes of watched tables can be undone, so that the"
                " log has that too."
            )
        oid, schema, table, partitioned, options = rows[0]
        columns = ask(connection, _QUERIES["columns"], {"oid": oid, "options": options.decode()})
        return cls(
            oid,
            f"{schema}.{table}",
            qualified(schema, table),
            partitioned,
            options,
            tuple(Column(*column[:-1]) for column in columns if not column[-1]),
            frozenset(column[0] for column in columns if column[-1]),
        )

    @property
    def key(self) -> list[Column]:
        """The columns of the key, in order; none, where rows are told apart only by all they hold."""
        return sorted((c for c in self.columns if c.key_position is not None), key=lambda c: c.key_position or 0)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    def literals(self, connection: psycopg.Connection[Any], images: Sequence[bytes]) -> list[Literals]:
        """The rows that images mean.

        :raises UsageError: where the table's types cannot hold them any more.
        """
        texts = [image.decode() for image in images]
        try:
            with connection.transaction():
                rows = ask(connection, _QUERIES["literals"], {"oid": self.oid, "images": texts})
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise errors.UsageError(
                f"{self.name} cannot hold what it held: {error.diag.message_primary}. Its columns changed since."
            ) from error
        return [self._named(found) for _, found in sorted(rows, key=lambda row: row[0])]

    def live(self, connection: psycopg.Connection[Any], images: Sequence[bytes]) -> dict[int, Literals]:
        """The rows that have the keys of these images, locked, by the images' numbers."""
        texts = [image.decode() for image in images]
        parameters = {"oid": self.oid, "options": self.options.decode(), "images": texts}
        rows = ask(connection, _QUERIES["live_literals"], parameters) if texts else []
        return {n - 1: self._named(found) for n, found in rows}

    def alike(self, connection: psycopg.Connection[Any], row: Literals) -> int:
        """How many rows hold just this, to the last bit."""
        columns = [column for column in self.columns if column.name in row]
        live = ", ".join(f"live.{_quoted(column.name)}" for column in columns)
        wanted = ", ".join(_literal(row[column.name], column.type) for column in columns)
        query = (
            f"select count(*) from {self.quoted} as live where pg_catalog.record_image_eq(row({live}), row({wanted}))"
        )
        cursor = connection.cursor(row_factory=tuple_row)
        found = cursor.execute(query.encode()).fetchone()
        assert found is not None
        return int(found[0])

    def _named(self, literals: Sequence[str | None]) -> Literals:
        return {column.name: literal for column, literal in zip(self.columns, literals, strict=True)}


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one row.

    :ivar row: as it is, for what is updated or deleted.
    :ivar values: what it is to hold, for what is inserted or updated.
    """

    table: Table
    kind: Literal["delete", "update", "insert"]
    row: Literals
    values: Literals


def statement(steps: Sequence[Step]) -> str:
    """One statement for all: foreign keys are checked when it ends, so the order among rows does not matter to them.

    Unique constraints are checked at once, so rows go before others change, and others change before rows come.
    """
    parts = [_Part(kind, part) for kind in ("delete", "update", "insert") for part in _parts(steps, kind)]
    if len(parts) == 1:
        return parts[0].text("")
    named: list[str] = []
    for number, part in enumerate(parts, 1):
        earlier = [f"{p.kind}_{n}" for n, p in enumerate(parts[: number - 1], 1) if p.kind != part.kind]
        counts = " and ".join(f"(select count(*) from {name}) is not null" for name in earlier)
        named.append(f"{part.kind}_{number} as (\n{part.text(counts)}\n  returning 1)")
    totals = ", ".join(f"(select count(*) from {part.kind}_{number})" for number, part in enumerate(parts, 1))
    return f"with {', '.join(named)}\nselect {totals}"


def _parts(steps: Sequence[Step], kind: str) -> Iterable[list[Step]]:
    """Steps that fit into one part of the statement: those of a table with the same columns."""
    of_kind = [step for step in steps if step.kind == kind]

    def group(step: Step) -> tuple[Any, ...]:
        # Rows that are told apart only by what they hold are changed together only if they are alike.
        alike = () if step.table.key else (tuple(step.row.items()), tuple(step.values.items()))
        return (step.table.oid, tuple(step.values), alike)

    return (list(alike) for _, alike in groupby(sorted(of_kind, key=lambda s: repr(group(s))), group))


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    steps: Sequence[Step]

    @property
    def _table(self) -> Table:
        return self.steps[0].table

    @property
    def _target(self) -> str:
        return self._table.quoted if self._table.partitioned or self.kind == "insert" else f"only {self._table.quoted}"

    def text(self, after: str) -> str:
        """The SQL, which runs after what the condition counts."""
        if self.kind == "insert":
            return self._insertion(after)
        if not self._table.key:
            return self._of_likeness(after)
        return self._deletion(after) if self.kind == "delete" else self._update(after)

    def _columns(self, names: Iterable[str]) -> list[Column]:
        return [column for name in names if (column := self._table.column(name)) is not None]

    def _insertion(self, after: str) -> str:
        columns = self._columns(self.steps[0].values)
        names = ", ".join(_quoted(column.name) for column in columns)
        rows = _values(columns, [step.values for step in self.steps])
        where = f"\n  where {after}" if after else ""
        return (
            f"  insert into {self._target} ({names}) overriding system value\n"
            f"  select * from (values\n{rows}) as v ({names}){where}"
        )

    def _deletion(self, after: str) -> str:
        key = self._table.key
        names = ", ".join(_quoted(column.name) for column in key)
        rows = _values(key, [step.row for step in self.steps])
        return (
            f"  delete from {self._target} as t using (values\n{rows}) as v ({names})\n"
            f"  where {_both(_same_key(key, ''), after)}"
        )

    def _update(self, after: str) -> str:
        key, columns = self._table.key, self._columns(self.steps[0].values)
        names = ", ".join([_quoted(f"key {n}") for n, _ in enumerate(key, 1)] + [_quoted(c.name) for c in columns])
        rows = _rows(
            [*key, *columns],
            [[*(step.row[c.name] for c in key), *(step.values[c.name] for c in columns)] for step in self.steps],
        )
        sets = ", ".join(f"{_quoted(c.name)} = v.{_quoted(c.name)}" for c in columns)
        return (
            f"  update {self._target} as t set {sets} from (values\n{rows}) as v ({names})\n"
            f"  where {_both(_same_key(key, 'key '), after)}"
        )

    def _of_likeness(self, after: str) -> str:
        """Of a table without a key, any rows that hold just this; alike to the last bit."""
        columns = [column for column in self._table.columns if column.name in self.steps[0].row]
        live = ", ".join(f"live.{_quoted(column.name)}" for column in columns)
        wanted = ", ".join(_literal(self.steps[0].row[c.name], c.type) for c in columns)
        where = _both(
            f"(t.tableoid, t.ctid) in (select live.tableoid, live.ctid from {self._target} as live\n"
            f"    where pg_catalog.record_image_eq(row({live}), row({wanted})) limit {len(self.steps)})",
            after,
        )
        if self.kind == "delete":
            return f"  delete from {self._target} as t\n  where {where}"
        sets = ", ".join(
            f"{_quoted(c.name)} = {_literal(self.steps[0].values[c.name], None)}"
            for c in self._columns(self.steps[0].values)
        )
        return f"  update {self._target} as t set {sets}\n  where {where}"


def _same_key(key: Sequence[Column], prefix: str) -> str:
    """The condition that a row has a key, by the operators of the key's own types."""
    names = [_quoted(f"key {n}") if prefix else _quoted(column.name) for n, column in enumerate(key, 1)]
    return " and ".join(
        f"t.{_quoted(column.name)} {column.same} v.{name}" for column, name in zip(key, names, strict=True)
    )


def _both(condition: str, other: str) -> str:
    return f"{condition} and {other}" if other else condition


def _values(columns: Sequence[Column], rows: Iterable[Literals]) -> str:
    return _rows(columns, [[row[column.name] for column in columns] for row in rows])


def _rows(columns: Sequence[Column], rows: Sequence[Sequence[str | None]]) -> str:
    """Rows of VALUES; the types of the first one are those of all."""
    lines = []
    for number, row in enumerate(rows):
        types = [column.type if number == 0 else None for column in columns]
        lines.append("    (" + ", ".join(map(_literal, row, types)) + ")")
    return ",\n".join(lines)


def _literal(text: str | None, type_name: str | None) -> str:
    """A value in SQL; types are named as PostgreSQL itself names them."""
    written = "null" if text is None else sql.Literal(text).as_string(None)
    return f"{written.strip()}::{type_name}" if type_name else written.strip()


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)
