"""Whether Rowcall's schema is the one this code was written for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from rowcall.postgres.checks.finding import Finding
from rowcall.postgres.schema import code_revision, database_revision, known_revisions


def schema_current(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """The revision of the database's schema and that of the code."""
    revision = database_revision(connection)
    if revision == code_revision():
        return
    if revision is None:
        finding, cure = "Rowcall is not installed in this database.", "Run rowcall migrate."
    elif revision in known_revisions():
        finding = f"Rowcall's schema is at {revision}, this code needs {code_revision()}."
        cure = "Run rowcall migrate."
    else:
        finding = f"Rowcall's schema is at {revision}, newer than this code, which knows {code_revision()}."
        cure = "Upgrade the rowcall package: pip install --upgrade rowcall."
    yield Finding("problem", "schema_current", revision, finding, cure)
