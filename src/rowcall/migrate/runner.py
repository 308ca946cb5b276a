"""Running Rowcall's own migrations: its own environment, version table in schema rowcall, never the user's."""

from __future__ import annotations

import io
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from rowcall import errors, resources
from rowcall.migrate.gate import configure_gate
from rowcall.postgres import connection as connections

#: Two migrations at once wait for each other here; Alembic takes no lock of its own. See the doorbell for the class.
_LOCK = "select pg_advisory_xact_lock(1383036771, 100)"


def _config(**attributes: Any) -> Config:
    config = Config(output_buffer=attributes.pop("output", None))
    config.set_main_option("script_location", str(resources.directory("migrations")).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


def code_revision() -> str:
    """The newest revision this code knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


#: The revision of the schema that this code was written for.
CODE_REVISION = code_revision()


def database_revision(connection: psycopg.Connection[Any]) -> str | None:
    """The revision the database is at, None where Rowcall is not installed."""
    exists = connection.execute("select to_regclass('rowcall.alembic_version') is not null").fetchone()
    if exists is None or not exists[0]:
        return None
    row = connection.execute("select version_num from rowcall.alembic_version").fetchone()
    return None if row is None else str(row[0])


def _refuse_newer(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise errors.SchemaError(
            f"The database's Rowcall schema is at {revision}, newer than this code, which knows {CODE_REVISION}:"
            " upgrade the rowcall package."
        )


def check_current(connection: psycopg.Connection[Any]) -> None:
    """Refuse to work on a schema that is missing, older or newer.

    :raises SchemaError: with the revisions and the cure.
    """
    revision = database_revision(connection)
    if revision is None:
        raise errors.SchemaError('Rowcall is not installed in this database: run "rowcall migrate" first.')
    _refuse_newer(revision)
    if revision != CODE_REVISION:
        raise errors.SchemaError(
            f'The database\'s Rowcall schema is at {revision}, this code needs {CODE_REVISION}: run "rowcall migrate".'
        )


def _run(dsn: str, step: Any, revision: str) -> None:
    with connections.connect(dsn, autocommit=False) as connection:
        connection.execute(_LOCK)
        _refuse_newer(database_revision(connection))
        # The engine borrows our connection, so migrations run in the transaction that holds the lock.
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
        with engine.connect() as borrowed:
            try:
                step(_config(connection=borrowed), revision)
            except CommandError as error:
                raise errors.UsageError(
                    f"There is no revision {revision!r}: this code's newest is {CODE_REVISION}."
                ) from error
            except psycopg.errors.InsufficientPrivilege as error:
                raise _lacking(error) from error
            if not connection.closed:
                connection.commit()


def _lacking(error: psycopg.Error) -> errors.UsageError:
    return errors.UsageError(
        f"The login lacks a right that migrating needs: {error.diag.message_primary}. Migrate as a superuser, or as"
        " a login with CREATEROLE that owns the database."
    )


def upgrade(dsn: str, gate_dsn: str | None = None, *, to: str = "head") -> None:
    """Create or upgrade Rowcall's schema, in one transaction; safe from several machines at once.

    :param gate_dsn: also give the gate its connection, see :func:`configure_gate`.
    :param to: the revision to stop at.
    :raises SchemaError: if the database is newer than this code.
    """
    _run(dsn, command.upgrade, to)
    if gate_dsn is not None:
        configure_gate(dsn, gate_dsn)


def downgrade(dsn: str, to: str) -> None:
    """Go back to a revision; ``base`` removes every object Rowcall made."""
    _run(dsn, command.downgrade, to)


def offline_sql(to: str = "head") -> str:
    """What :func:`upgrade` would run on an empty database, without connecting."""
    output = io.StringIO()
    command.upgrade(_config(output=output), to, sql=True)
    return output.getvalue()
