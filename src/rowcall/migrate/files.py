"""Running files of sql/ from a migration, connected or not."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from rowcall import resources


def run_files(*paths: str) -> None:
    """Execute files below ``sql/`` in order, exactly as they stand.

    ``text()`` would take ``:name`` for a parameter; escaping every colon leaves none.
    """
    for path in paths:
        op.execute(text(resources.sql(path).replace(":", r"\:")))
