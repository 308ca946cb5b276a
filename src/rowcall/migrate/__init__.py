"""Rowcall's own schema in a database, by Alembic."""

from rowcall.migrate.runner import configure_gate, downgrade, offline_sql, upgrade

__all__ = ["configure_gate", "downgrade", "offline_sql", "upgrade"]
