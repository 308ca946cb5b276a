"""The gate's login and connection."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from rowcall import errors, settings
from rowcall.postgres import connection as connections

#: The connection options a foreign server of dblink takes that are worth keeping.
_SERVER_OPTIONS = ("host", "hostaddr", "port", "dbname", "sslmode", "sslrootcert", "connect_timeout")


def configure_gate(dsn: str, gate_dsn: str) -> None:
    """Give the gate its connection: an ordinary login with a password, made here if it does not exist.

    :param dsn: an administrator's connection to the database.
    :param gate_dsn: how the *server* reaches itself as that login; what it leaves out is taken from ``dsn``.
    :raises UsageError: if dblink cannot be installed, or the login has no password or is not asked for it.
    """
    with connections.connect(dsn, autocommit=False) as connection:
        options = _gate_options(connection, gate_dsn)
        login, password = options.pop("user"), options.pop("password")
        _ensure_login(connection, login, password)
        _ensure_dblink(connection)
        connection.execute("select rowcall.configure_gate_v1(%s, %s, %s)", (Jsonb(options), login, password))
        connection.commit()
        _check_login(options | {"user": login, "password": password})


def _gate_options(connection: psycopg.Connection[Any], gate_dsn: str) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(settings.database_dsn(gate_dsn))
    except psycopg.ProgrammingError as error:
        raise errors.UsageError(f"--gate-dsn cannot be read: {' '.join(str(error).split())}.") from error
    if not given.get("user") or not given.get("password"):
        raise errors.UsageError(
            "--gate-dsn needs a login and its password, as in postgresql://rowcall_gate_login:secret@localhost/app."
        )
    info = connection.info
    options = {"host": info.host, "port": str(info.port), "dbname": info.dbname} | {
        name: str(value) for name, value in given.items() if value is not None
    }
    return {name: options[name] for name in (*_SERVER_OPTIONS, "user", "password") if options.get(name)}


def _ensure_login(connection: psycopg.Connection[Any], login: str, password: str) -> None:
    row = connection.execute("select rolsuper from pg_roles where rolname = %s", (login,)).fetchone()
    if row is None:
        _execute_as_admin(
            connection,
            sql.SQL("create role {} login password {}").format(sql.Identifier(login), sql.Literal(password)),
            f"create the gate's login {login}",
        )
    elif row[0]:
        raise errors.UsageError(
            f"The gate's login {login} is a superuser, but every writer can use its connection:"
            " name a login with no rights in --gate-dsn."
        )


def _ensure_dblink(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(
        "select (select count(*) from pg_extension where extname = 'dblink'),"
        " (select count(*) from pg_available_extensions where name = 'dblink')"
    ).fetchone()
    assert row is not None
    if row == (0, 0):
        raise errors.UsageError(
            "The gate needs the extension dblink, which this server does not have: install PostgreSQL's contrib"
            " package (postgresql-contrib), then run this again."
        )
    if row[0] == 0:
        # In the schema that configure_gate_v1 expects, and only to fail early with a sentence of our own.
        with connection.transaction(force_rollback=True):
            _execute_as_admin(
                connection, sql.SQL("create extension dblink schema rowcall"), "create the extension dblink"
            )


def _execute_as_admin(connection: psycopg.Connection[Any], statement: sql.Composed | sql.SQL, what: str) -> None:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.UsageError(
            f"This login may not {what}: run rowcall migrate --gate-dsn as a superuser once."
        ) from error


def _check_login(options: dict[str, Any]) -> None:
    """Connect once as the gate will. dblink refuses a login that is let in without being asked for its password."""
    with connections.connect(psycopg.conninfo.make_conninfo(**options)) as connection:
        if not connection.pgconn.used_password:
            raise errors.UsageError(
                f"The server lets {options['user']} in without asking for a password, and dblink refuses that:"
                f' put "host all {options["user"]} all scram-sha-256" (or "local …") first in pg_hba.conf and reload.'
            )
