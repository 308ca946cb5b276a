"""The gate's login and connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from rowcall import errors, resources, settings
from rowcall.postgres import connection as connections

_QUERIES = resources.queries("gate_login")

#: The connection options a foreign server of dblink takes that are worth keeping.
_SERVER_OPTIONS = ("host", "hostaddr", "port", "dbname", "sslmode", "sslrootcert", "connect_timeout")
#: The server's words for: this login was not asked for its password.
_NO_PASSWORD_ASKED = "2F003"
_EXAMPLE = "postgresql://rowcall_gate_login:secret@localhost/app"


@dataclass(frozen=True, slots=True)
class Login:
    """How the server reaches itself as the gate.

    :ivar server: the connection's options without user and password.
    """

    user: str
    password: str = field(repr=False)
    server: dict[str, str]


@contextmanager
def login(dsn: str, gate_dsn: str) -> Iterator[Login]:
    """The login that ``gate_dsn`` names, made if it does not exist; unmade again if what is done within fails.

    It is committed at once, because what follows logs in with it. Transactions that use it have to end within, too.

    :raises UsageError: if it has no password, has rights that every writer would have by it, or cannot be made.
    """
    with connections.connect(dsn) as admin:
        found = _login_of(admin, gate_dsn)
        _check_dblink(admin)
        made = _ensure(admin, found)
        try:
            yield found
        except BaseException:
            if made:
                admin.execute(sql.SQL("drop role {}").format(sql.Identifier(found.user)))
            raise


def _login_of(connection: psycopg.Connection[Any], gate_dsn: str) -> Login:
    try:
        given = conninfo_to_dict(settings.database_dsn(gate_dsn))
    except psycopg.ProgrammingError as error:
        raise errors.UsageError(
            f"--gate-dsn cannot be read: {connections.one_line(error)}. Write it like {_EXAMPLE}."
        ) from error
    if not given.get("user") or not given.get("password"):
        raise errors.UsageError(f"--gate-dsn needs a login and its password, as in {_EXAMPLE}.")
    info = connection.info
    options = {"host": info.host, "port": str(info.port), "dbname": info.dbname} | {
        name: str(value) for name, value in given.items() if value is not None
    }
    server = {name: options[name] for name in _SERVER_OPTIONS if options.get(name)}
    return Login(str(given["user"]), str(given["password"]), server)


def _check_dblink(connection: psycopg.Connection[Any]) -> None:
    if not connection.execute(_QUERIES["dblink_is_available"]).fetchall():
        raise errors.UsageError(
            "The gate needs the extension dblink, which this server does not have: install PostgreSQL's contrib"
            " package (postgresql-contrib), then run this again."
        )


def _ensure(connection: psycopg.Connection[Any], login: Login) -> bool:
    """Make the login unless it exists; whether it was made."""
    rights = connection.execute(_QUERIES["rights"], {"login": login.user}).fetchone()
    if rights is not None:
        _check_worthless(login, rights[0])
        return False
    try:
        with connection.transaction(), _by_administrator(f"create the gate's login {login.user}"):
            role = sql.Identifier(login.user)
            connection.execute(sql.SQL("create role {} login password {}").format(role, sql.Literal(login.password)))
            # By this remark "rowcall migrate --down base" knows that it may drop it.
            connection.execute(sql.SQL("comment on role {} is 'made by rowcall migrate'").format(role))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return False  # somebody else was faster
    return True


def _check_worthless(login: Login, rights: list[str]) -> None:
    if rights:
        raise errors.UsageError(
            f"The gate's login {login.user} {' and '.join(rights)}, but every writer can use its connection:"
            " name a login with no rights in --gate-dsn."
        )


@contextmanager
def _by_administrator(what: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.UsageError(
            f"This login may not {what} ({connections.one_line(error)}): run rowcall migrate --gate-dsn as a superuser once."
        ) from error


def open_gate(connection: psycopg.Connection[Any], login: Login) -> None:
    """Give the gate its connection and try it, in the connection's open transaction.

    :raises UsageError: if dblink cannot be installed, or the login cannot be used for it.
    """
    with _by_administrator("set up the gate's connection"):
        connection.execute(_QUERIES["configure"], (Jsonb(login.server), login.user, login.password))
    if not _try(connection, login):
        raise errors.UsageError(
            f"--gate-dsn leads to another database than {connection.info.dbname}: the gate's login has to come back to it."
        )


def _try(connection: psycopg.Connection[Any], login: Login) -> bool:
    """Connect as the gate will, from the server to itself; whether that is the same database."""
    try:
        row = connection.execute(_QUERIES["try"]).fetchone()
    except psycopg.Error as error:
        if error.sqlstate == _NO_PASSWORD_ASKED:
            raise errors.UsageError(
                f"The server lets {login.user} in without asking for a password, and dblink refuses that:"
                f' put "host all {login.user} all scram-sha-256" (or "local all {login.user} scram-sha-256") first in'
                " pg_hba.conf and reload."
            ) from error
        if error.sqlstate == "08001":
            raise errors.UsageError(
                f"The server cannot connect to itself as {login.user} ({_detail(error)}): correct --gate-dsn, whose"
                " host, port and password are those the server's own machine would use."
            ) from error
        raise
    assert row is not None
    return bool(row[0])


def _detail(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_detail or connections.one_line(error)).split()).rstrip(".")
