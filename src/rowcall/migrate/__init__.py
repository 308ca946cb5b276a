"""Rowcall's own schema in a database, by Alembic."""

from rowcall.migrate.gate import configure_gate
from rowcall.migrate.runner import CODE_REVISION, check_current, downgrade, offline_sql, upgrade

__all__ = ["CODE_REVISION", "check_current", "configure_gate", "downgrade", "offline_sql", "upgrade"]
