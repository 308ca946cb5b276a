"""Rules as SQLAlchemy expressions."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, inspect, literal_column
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import CompileError, NoInspectionAvailable, SQLAlchemyError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.schema import Table

from rowcall import errors
from rowcall.rule import RowName, sql_of


class _Dialect(PGDialect):
    """PostgreSQL's, for text that no driver reads: a percent sign is one, and a backslash in a string too."""

    supports_statement_cache = False
    _backslash_escapes = False

    def __init__(self) -> None:
        super().__init__(paramstyle="named")  # type: ignore[no-untyped-call]


_DIALECT: Final = _Dialect()


class Row:
    """One of the two rows of a change: its columns are attributes, for use in the expression of a rule.

    They belong to no table that SQLAlchemy knows of, so a subquery refers to the row instead of selecting from it.
    """

    def __init__(self, name: RowName, subject: Any) -> None:
        self._name = name
        self._columns = {
            attribute: literal_column(f"{name}.{_DIALECT.identifier_preparer.quote(column.name)}", column.type)
            for attribute, column in _columns(subject).items()
        }

    def __getattr__(self, name: str) -> ColumnElement[Any]:
        try:
            return self[name]
        except KeyError:
            known = ", ".join(self._columns)
            raise AttributeError(f"{self._name} has no column {name}: it has {known}.") from None

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        """A column by its attribute's name, for names that Python has another use for."""
        return self._columns[name]


def rows(subject: Any) -> tuple[Row, Row]:
    """The rows before and after a change, for rules: ``old, new = rows(User)``.

    ``app.rule(User, "grows", new.age >= old.age)``; ``exists().where(Region.code == new.region)`` looks into another table.

    :param subject: a model or a Table.
    :raises UsageError: for anything else.
    """
    return Row("old", subject), Row("new", subject)


def _columns(subject: Any) -> dict[str, Any]:
    """The columns of a model by attribute, or of a Table by key."""
    if isinstance(subject, Table):
        return dict(subject.columns.items())
    try:
        mapper = inspect(subject)
        return {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    except (NoInspectionAvailable, AttributeError) as error:
        raise errors.UsageError(f"{subject!r} has no columns: pass a SQLAlchemy model or a Table to rows().") from error


@sql_of.register
def _(expression: ClauseElement) -> str:
    try:
        return str(expression.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    except (SQLAlchemyError, NotImplementedError) as error:
        reason = str(error.__cause__ or error) if isinstance(error, CompileError) else str(error)
        raise errors.UsageError(
            f"this expression cannot be written as SQL ({' '.join(reason.split())}): use literals of plain types, or SQL text."
        ) from error
