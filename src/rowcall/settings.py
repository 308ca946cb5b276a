"""Where the database is: --dsn, else ROWCALL_DSN, else libpq's own environment."""

from __future__ import annotations

import os

#: The oldest server whose features Rowcall rests on (CREATE OR REPLACE TRIGGER came with 14).
MINIMUM_SERVER_VERSION = 140000


def database_dsn(explicit: str | None = None) -> str:
    """The connection string to use, as psycopg takes it; empty means libpq's environment and defaults.

    URLs in SQLAlchemy's form (``postgresql+psycopg://``) mean the same database, so they are accepted.
    """
    dsn = explicit if explicit is not None else os.environ.get("ROWCALL_DSN", "")
    scheme, separator, rest = dsn.partition("://")
    if separator and scheme.startswith(("postgresql+", "postgres+")):
        return f"postgresql://{rest}"
    return dsn
