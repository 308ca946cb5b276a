"""Random tables and what random sessions do to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from hypothesis import strategies as st
from psycopg import sql

from tests.capture.kinds import Kind

_NAMES = (
    "id", "a", "B b", "new", "old", "select", "v_old", "tg_op", 'quo"te', "o'clock", "back\\slash", "$capture$", "%s", "ä🐘", "x" * 63, "{}", "rowcall_row",
    "image", "plain", "exact", "t", "seq", "null",
)  # fmt: skip

_SETTINGS: dict[str, Sequence[str]] = {
    "timezone": ("UTC", "Asia/Kolkata", "America/St_Johns", "-12:34"),
    "datestyle": ("ISO, MDY", "German, DMY", "SQL, YMD", "Postgres, DMY"),
    "intervalstyle": ("postgres", "iso_8601", "sql_standard", "postgres_verbose"),
    "bytea_output": ("hex", "escape"),
    "extra_float_digits": ("-15", "0", "1", "3"),
    "lc_monetary": ("C", "POSIX"),
    "array_nulls": ("on", "off"),
    "quote_all_identifiers": ("on", "off"),
    "xmlbinary": ("base64", "hex"),
    "transform_null_equals": ("on", "off"),
    "standard_conforming_strings": ("on", "off"),
    "row_security": ("on", "off"),
    "plan_cache_mode": ("auto", "force_custom_plan", "force_generic_plan"),
    "default_toast_compression": ("pglz",),
    "search_path": ("public", "pg_temp, kinds", '""'),
    "plpgsql.extra_errors": ("all", "none"),
    "plpgsql.extra_warnings": ("none",),
    "rowcall.actor": ("", "alice", "'"),
    "rowcall.context": ("", '{"a": 1}', "no json", "null"),
}


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be made: columns, those of its key, and how it is kept.

    :ivar keyed_by: 'primary key', 'replica identity' or 'nothing'.
    :ivar stored: 'plain' or 'partitioned', the latter by the integer column "part".
    """

    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    keyed_by: str
    stored: str

    def definition(self, name: sql.Composable) -> sql.Composed:
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.kind.type)) for column in self.columns
        ]
        if self.keyed_by == "primary key":
            columns.append(sql.SQL("primary key ({})").format(self._names(self.key)))
        return sql.SQL("create table {name} ({columns}) {partitioned}").format(
            name=name,
            columns=sql.SQL(", ").join(columns),
            partitioned=sql.SQL("partition by list (part)" if self.stored == "partitioned" else ""),
        )

    def completion(self, name: sql.Composable, schema: str) -> Sequence[sql.Composed]:
        """What follows the definition: partitions, the index of the replica identity."""
        made = []
        if self.stored == "partitioned":
            for part, values in (("one", "in (1)"), ("two", "in (2, 3)"), ("rest", None)):
                bound = f"for values {values}" if values else "default"
                leaf = sql.Identifier(schema, part)
                made.append(sql.SQL("create table {} partition of {} " + bound).format(leaf, name))
        if self.keyed_by == "replica identity":
            nulls = [sql.SQL("alter {} set not null").format(sql.Identifier(column.name)) for column in self.key]
            made.append(sql.SQL("alter table {} {}").format(name, sql.SQL(", ").join(nulls)))
            made.append(sql.SQL("create unique index identity on {} ({})").format(name, self._names(self.key)))
            made.append(sql.SQL("alter table {} replica identity using index identity").format(name))
        return made

    @staticmethod
    def _names(columns: Sequence[Column]) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)


@dataclass(frozen=True, slots=True)
class Statement:
    text: sql.Composed

    def __repr__(self) -> str:
        return self.text.as_string(None)


@dataclass(frozen=True, slots=True)
class Block:
    """Steps between a savepoint and its release or rollback; the outermost ones are transactions."""

    steps: Sequence["Statement | Block"] = field(default=())
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Program:
    table: Table
    blocks: Sequence[Block]

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """How Hypothesis shows a program that failed."""
        printer.text("\n" + script(self.blocks))


@st.composite
def tables(draw: st.DrawFn, kinds: Sequence[Kind], stored: str) -> Table:
    names = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=6, unique=True))
    columns = [Column(name, draw(st.sampled_from(kinds))) for name in names]
    possible = [column for column in columns if column.kind.ordered]
    key = draw(st.lists(st.sampled_from(possible), max_size=3, unique=True)) if possible else []
    if stored == "partitioned":
        part = Column("part", Kind("integer", st.sampled_from(["1", "2", "3", "4"])))
        columns.append(part)
        key.append(part)
    keyed_by = (
        draw(st.sampled_from(("primary key", "primary key", "replica identity", "nothing"))) if key else "nothing"
    )
    if stored == "partitioned" and keyed_by == "replica identity":
        keyed_by = "nothing"
    return Table(tuple(columns), tuple(key), keyed_by, stored)


class _Statements:
    """Strategies of statements on one table."""

    def __init__(self, table: Table, name: sql.Identifier) -> None:
        self.table = table
        self.name = name

    def value(self, column: Column) -> st.SearchStrategy[sql.Composable]:
        given = column.kind.literals.map(sql.Literal)
        return given if column in self.table.key else st.just(sql.SQL("null")) | given

    def format(self, text: str, **parts: sql.Composable) -> Statement:
        return Statement(sql.SQL(text).format(t=self.name, **parts))

    def row(self) -> st.SearchStrategy[sql.Composable]:
        values = st.tuples(*(self.value(column) for column in self.table.columns))
        return values.map(lambda found: sql.SQL("({})").format(sql.SQL(", ").join(found)))

    def rows(self) -> st.SearchStrategy[sql.Composable]:
        return st.lists(self.row(), min_size=1, max_size=4).map(sql.SQL(", ").join)

    @staticmethod
    @st.composite
    def assignment(draw: st.DrawFn, self: "_Statements") -> sql.Composable:
        column = draw(st.sampled_from(self.table.columns))
        alike = [other for other in self.table.columns if other.kind == column.kind]
        source = draw(self.value(column) | st.sampled_from(alike).map(lambda other: sql.Identifier(other.name)))
        return sql.SQL("{} = {}").format(sql.Identifier(column.name), source)

    def assignments(self) -> st.SearchStrategy[sql.Composable]:
        several = st.lists(
            self.assignment(self), min_size=1, max_size=3, unique_by=lambda part: repr(part).split("=")[0]
        )
        return several.map(sql.SQL(", ").join)

    def some_rows(self) -> st.SearchStrategy[sql.Composable]:
        """A condition for a few rows, the same ones whenever the same program runs."""
        slices = st.sampled_from(("true", "limit 1", "limit 2", "offset 1", "offset 1 limit 1"))
        return slices.map(
            lambda part: sql.SQL(
                "true"
                if part == "true"
                else "(t.tableoid, t.ctid) in (select s.tableoid, s.ctid from {t} as s order by s.tableoid, s.ctid "
                + part
                + ")"
            ).format(t=self.name)
        )

    def insert(self) -> st.SearchStrategy[Statement]:
        return self.rows().map(lambda rows: self.format("insert into {t} values {rows}", rows=rows))

    def update(self) -> st.SearchStrategy[Statement]:
        return st.tuples(self.assignments(), self.some_rows()).map(
            lambda parts: self.format("update {t} as t set {set} where {where}", set=parts[0], where=parts[1])
        )

    def delete(self) -> st.SearchStrategy[Statement]:
        return self.some_rows().map(lambda where: self.format("delete from {t} as t where {where}", where=where))

    def truncate(self) -> st.SearchStrategy[Statement]:
        return st.just(self.format("truncate {t}"))

    def upsert(self) -> st.SearchStrategy[Statement]:
        target = sql.SQL(", ").join(sql.Identifier(column.name) for column in self.table.key)
        update = self.assignments().map(lambda found: sql.SQL("({}) do update set {}").format(target, found))
        # In a SET the names are ambiguous no more once the table has another name than its columns.
        action = st.just(sql.SQL("do nothing")) | update
        return st.tuples(self.row(), action).map(
            lambda parts: self.format(
                "insert into {t} as t values {row} on conflict {action}", row=parts[0], action=parts[1]
            )
        )

    def copied(self) -> st.SearchStrategy[Statement]:
        """Rows into themselves, through a statement that reads and writes, and one with two writers."""
        return st.sampled_from(
            (
                self.format("insert into {t} select * from {t}"),
                self.format("with gone as (delete from {t} returning *) insert into {t} select * from gone"),
            )
        )

    def merge(self) -> st.SearchStrategy[Statement]:
        parts = st.tuples(self.row(), self.assignments(), self.some_rows(), st.sampled_from(("t.ctid = s.at", "false")))
        return parts.map(
            lambda found: self.format(
                "merge into {t} as t using (select s.ctid as at, s.tableoid as of from {t} as s) as s on {on} and t.tableoid = s.of"
                " when matched and {where} then update set {set} when matched then delete"
                " when not matched then insert values {row}",
                row=found[0],
                set=found[1],
                where=found[2],
                on=sql.SQL(found[3]),
            )
        )

    def failing(self) -> st.SearchStrategy[Statement]:
        """A statement in a block that catches the error which follows it."""
        body = self.insert() | self.update() | self.delete()
        return body.map(
            lambda inner: self.format(
                "do {code}",
                code=sql.Literal(
                    "begin "
                    + inner.text.as_string(None)
                    + "; raise exception 'no'; exception when others then null; end"
                ),
            )
        )

    def setting(self) -> st.SearchStrategy[Statement]:
        return st.sampled_from(sorted(_SETTINGS)).flatmap(
            lambda name: st.sampled_from(_SETTINGS[name]).map(
                lambda value: self.format(
                    "select set_config({name}, {value}, false)", name=sql.Literal(name), value=sql.Literal(value)
                )
            )
        )

    def any(self) -> st.SearchStrategy[Statement]:
        found = [
            self.insert(),
            self.insert(),
            self.update(),
            self.update(),
            self.delete(),
            self.truncate(),
            self.copied(),
        ]
        found += [self.merge(), self.failing(), self.setting()]
        if self.table.keyed_by == "primary key":
            found.append(self.upsert())
        return st.one_of(found)


@st.composite
def programs(draw: st.DrawFn, kinds: Sequence[Kind], name: sql.Identifier, stored: str) -> Program:
    table = draw(tables(kinds, stored))
    statement = _Statements(table, name).any()
    inner = st.builds(Block, st.lists(statement, min_size=1, max_size=3), st.booleans())
    outer = st.builds(Block, st.lists(statement | inner, min_size=1, max_size=5), st.sampled_from((True, True, False)))
    return Program(table, draw(st.lists(outer, min_size=1, max_size=4)))


def run(connection: psycopg.Connection[object], steps: Sequence[Statement | Block]) -> None:
    """Take steps, each in a savepoint or transaction of its own; those that fail are undone by themselves."""
    for step in steps:
        try:
            with connection.transaction(force_rollback=isinstance(step, Block) and not step.kept):
                if isinstance(step, Block):
                    run(connection, step.steps)
                else:
                    connection.execute(step.text)
        except psycopg.Error as error:
            refuse_our_errors(error)


def refuse_our_errors(error: psycopg.Error) -> None:
    """Random statements may break the user's own constraints; nothing may fail inside Rowcall."""
    where = error.diag.context or ""
    if "rowcall" in where or error.sqlstate in (None, "XX000", "40P01", "57014", "54001"):
        raise AssertionError(f"a write failed because of Rowcall: {error}\n{where}") from error


def script(steps: Sequence[Statement | Block], depth: int = 0) -> str:
    """A program as a person reads it."""
    lines = []
    for step in steps:
        if isinstance(step, Block):
            lines.append("  " * depth + ("keep:" if step.kept else "undo:"))
            lines.append(script(step.steps, depth + 1))
        else:
            lines.append("  " * depth + repr(step))
    return "\n".join(lines)
