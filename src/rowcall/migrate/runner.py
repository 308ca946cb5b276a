"""Running Rowcall's own migrations: its own environment, version table in schema rowcall, never the user's."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from rowcall import errors, resources
from rowcall.migrate import gate
from rowcall.postgres import anchor, partitions
from rowcall.postgres import connection as connections
from rowcall.postgres.schema import code_revision, database_revision, refuse_newer

_QUERIES = resources.queries("schema")
_ALREADY_THERE = ("42P06", "42P07", "42710", "42723")
_DEPENDED_ON = "2BP01"

Step = Callable[[Config, str], None]


def _config(**attributes: Any) -> Config:
    config = Config(output_buffer=attributes.pop("output", None))
    config.set_main_option("script_location", str(resources.directory("migrations")).replace("%", "%%"))
    config.attributes.update(attributes)
    return config


@contextmanager
def _locked(dsn: str) -> Iterator[tuple[psycopg.Connection[Any], Connection]]:
    """A connection in a transaction that holds the lock on migrations, and the same connection as SQLAlchemy's, for Alembic.

    The caller commits, or nothing happened.
    """
    with connections.connect(dsn, autocommit=False) as connection:
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
        # On its first connection SQLAlchemy looks around and rolls back: the lock comes after that.
        with engine.connect() as borrowed:
            connection.execute(_QUERIES["lock"])
            refuse_newer(database_revision(connection))
            yield connection, borrowed


def _take(step: Step, connection: Connection, revision: str) -> None:
    try:
        step(_config(connection=connection), revision)
    except CommandError as error:
        raise _unknown(revision) from error
    except DBAPIError as error:
        raise _told(error.orig) from error


def _unknown(revision: str) -> errors.UsageError:
    return errors.UsageError(f"There is no revision {revision!r}: this code's newest is {code_revision()}.")


def _told(error: BaseException | None) -> BaseException:
    """What the server said to a migration, as a sentence where we know the cure."""
    if not isinstance(error, psycopg.Error):
        return error or errors.RowcallError("A migration failed without saying why.")
    said = connections.one_line(error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return errors.UsageError(
            f"The login lacks a right that migrating needs: {said}. Migrate as a superuser, or as a login with"
            " CREATEROLE that owns the database."
        )
    if error.sqlstate in _ALREADY_THERE:
        return errors.UsageError(f"Something of Rowcall's name is there already: {said}. Move it out of the way first.")
    if error.sqlstate == _DEPENDED_ON:
        return errors.UsageError(f"Something else needs what would go: {said}. Drop that first, then run this again.")
    return error


def upgrade(dsn: str, gate_dsn: str | None = None, *, to: str = "head") -> bool:
    """Create or upgrade Rowcall's schema, in one transaction; safe from several machines at once. If the database was restored
    from a dump, its subscriptions are anchored in the cluster it is in now.

    :param gate_dsn: also give the gate its connection, see :func:`configure_gate`; if that fails, nothing happened.
    :param to: the revision to stop at.
    :returns: whether it had been restored.
    :raises SchemaError: if the database is newer than this code.
    :raises UsageError: if the login lacks rights, or for what ``gate_dsn`` gets wrong.
    """
    with ExitStack() as stack:
        login = stack.enter_context(gate.login(dsn, gate_dsn)) if gate_dsn is not None else None
        connection, borrowed = stack.enter_context(_locked(dsn))
        _take(command.upgrade, borrowed, to)
        if login is not None:
            gate.open_gate(connection, login)
        connection.commit()
        if database_revision(connection) != code_revision():
            return False
        connection.commit()
        restored = anchor.reanchor(connection)
        connection.commit()
        partitions.extend(connection)
        connection.commit()
        return restored


def configure_gate(dsn: str, gate_dsn: str) -> None:
    """Give the gate its connection: an ordinary login with a password, made here if it does not exist.

    :param dsn: an administrator's connection to the database.
    :param gate_dsn: how the *server* reaches itself as that login; what it leaves out is taken from ``dsn``.
    :raises UsageError: if dblink cannot be installed, or the login will not do.
    """
    with gate.login(dsn, gate_dsn) as login, _locked(dsn) as (connection, _):
        gate.open_gate(connection, login)
        connection.commit()


def downgrade(dsn: str, to: str) -> list[str]:
    """Go back to a revision; ``base`` removes every object Rowcall made, the log included.

    :returns: what had to stay, and why.
    :raises UsageError: if the login lacks rights, or something of the user's depends on what would go.
    """
    said: list[str] = []
    with _locked(dsn) as (connection, borrowed):
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        _take(command.downgrade, borrowed, to)
        connection.commit()
    return [words for words in said if words.startswith("role ")]


def offline_sql(to: str = "head") -> str:
    """What :func:`upgrade` would run on an empty database, without connecting."""
    output = io.StringIO()
    try:
        command.upgrade(_config(output=output), to, sql=True)
    except CommandError as error:
        raise _unknown(to) from error
    return output.getvalue()
