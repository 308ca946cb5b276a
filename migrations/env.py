"""Alembic's environment for Rowcall's own schema. The version table lives in that schema, so the schema comes first."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

config = context.config
options = {"version_table": "alembic_version", "version_table_schema": "rowcall"}


def run_offline() -> None:
    context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, as_sql=True, **options)
    with context.begin_transaction():
        context.execute("create schema if not exists rowcall")
        context.run_migrations()


def run_online() -> None:
    connection = config.attributes["connection"]
    connection.execute(text("create schema if not exists rowcall"))
    context.configure(connection=connection, transaction_per_migration=False, **options)
    with context.begin_transaction():
        context.run_migrations()
    if not connection.scalar(text("select count(*) from rowcall.alembic_version")):
        # Back at base: the version table is all that is left.
        connection.execute(text("drop table rowcall.alembic_version"))
        connection.execute(text("drop schema rowcall"))


if context.is_offline_mode():
    run_offline()
else:
    run_online()
