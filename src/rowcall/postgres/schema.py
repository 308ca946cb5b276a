"""Which revision of Rowcall's schema a database has, and which one this code was written for."""

from __future__ import annotations

from functools import cache
from typing import Any

import psycopg

from rowcall import errors, resources

_QUERIES = resources.queries("schema")


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions this code knows, oldest first, by the names of their files: Alembic itself is loaded only to migrate."""
    files = (resources.directory("migrations") / "versions").glob("rowcall_*.py")
    return tuple(sorted("_".join(file.stem.split("_")[:2]) for file in files))


def code_revision() -> str:
    """The revision of the schema that this code was written for."""
    return known_revisions()[-1]


def database_revision(connection: psycopg.Connection[Any]) -> str | None:
    """The revision the database is at, None where Rowcall is not installed."""
    exists = connection.execute(_QUERIES["is_installed"]).fetchone()
    if exists is None or not exists[0]:
        return None
    row = connection.execute(_QUERIES["revision"]).fetchone()
    return None if row is None else str(row[0])


def refuse_newer(revision: str | None) -> None:
    """Refuse a database that a newer Rowcall has migrated.

    :raises SchemaError: naming both revisions.
    """
    if revision is not None and revision not in known_revisions():
        raise errors.SchemaError(
            f"The database's Rowcall schema is at {revision}, newer than this code, which knows {code_revision()}:"
            " upgrade the rowcall package."
        )


def check_current(connection: psycopg.Connection[Any]) -> None:
    """Refuse to work on a schema that is missing, older or newer.

    :raises SchemaError: with the revisions and the cure.
    """
    revision = database_revision(connection)
    if revision is None:
        raise errors.SchemaError('Rowcall is not installed in this database: run "rowcall migrate" first.')
    refuse_newer(revision)
    if revision != code_revision():
        raise errors.SchemaError(
            f'The database\'s Rowcall schema is at {revision}, this code needs {code_revision()}: run "rowcall migrate".'
        )
