"""Rowcall's schema and an app's triggers in a database for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from rowcall import errors, settings
from rowcall.app import Rowcall
from rowcall.postgres import connection as connections
from rowcall.postgres import declarations


def install(app: Rowcall, database: str | psycopg.Connection[Any]) -> None:
    """Make Rowcall's schema, and the triggers of an app's watches and rules, as ``rowcall migrate`` and ``rowcall sync`` do.

    Before-handlers are left out: in a test nobody would answer for them, and every write would be refused.
    :func:`rowcall.testing.judge` tests those.

    :param database: a DSN, or a connection that is in no transaction. The login needs the rights to migrate, and the
        tables have to be there.
    :raises UsageError: as those commands do.
    """
    # Alembic is loaded by those only who install.
    from rowcall.migrate import upgrade

    dsn = settings.database_dsn(database) if isinstance(database, str) else _dsn(database)
    upgrade(dsn)
    with connections.connect(dsn, autocommit=False) as connection:
        declarations.synchronise(connection, _without_gate(app), app.name or "tests")


def loader(app: Rowcall) -> Callable[..., None]:
    """:func:`install` in the form that pytest-postgresql asks for: ``load=[Path("tables.sql"), loader(app)]``."""

    def load(*, autocommit: bool = False, **parameters: Any) -> None:
        install(app, make_conninfo(**parameters))

    return load


def _dsn(connection: psycopg.Connection[Any]) -> str:
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise errors.UsageError(
            "The connection is in a transaction, whose tables nobody else sees and whose locks installing would wait for:"
            " commit it first."
        )
    return make_conninfo(connection.info.dsn, password=connection.info.password or None)


def _without_gate(app: Rowcall) -> Rowcall:
    ungated = Rowcall(app.name)
    ungated.watches, ungated.rules, ungated.after_handlers = app.watches, app.rules, app.after_handlers
    return ungated
