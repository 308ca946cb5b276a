"""Whether what is declared for tables is in place, and stays so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

from rowcall import identifiers, resources
from rowcall.postgres.checks.finding import Finding, ask, psql

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def capture_current(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Watches whose triggers and functions do not fit their tables."""
    for schema, table, declared_by, options in ask(connection, "capture_not_current"):
        yield Finding(
            "problem",
            "capture_current",
            f"{schema}.{table}",
            f"The triggers or functions that capture {schema}.{table} are missing or not those it needs now.",
            f"Run {_declare_again(schema, table, [declared_by], options)}.",
        )


def capture_enabled(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Watches with triggers that somebody disabled."""
    for schema, table, declared_by, options in ask(connection, "capture_disabled"):
        yield Finding(
            "problem",
            "capture_enabled",
            f"{schema}.{table}",
            f"Triggers that capture {schema}.{table} are disabled, so changes are missing from the log.",
            f"Run {_declare_again(schema, table, [declared_by], options)}, which enables them.",
        )


def guard_current(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Rules and before-handlers whose triggers are disabled or do not fit."""
    for schema, table, declared_by in ask(connection, "guard_not_current"):
        yield Finding(
            "problem",
            "guard_current",
            f"{schema}.{table}",
            f"The triggers that validate {schema}.{table} are missing, disabled, not the last to fire, or made from other"
            " declarations.",
            f"Run {_declare_again(schema, table, declared_by, {})}.",
        )


def guards_last(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Triggers that can change a row after it was judged, because no name that validation could have sorts after theirs."""
    for table, trigger in ask(connection, "late_triggers"):
        yield Finding(
            "risk",
            "guards_last",
            table,
            f"The trigger {trigger} of {table} fires after validation, so what it changes in a row is not validated.",
            f"Rename it so that it sorts before zz_rowcall_: {psql(_renamed(trigger, table))}.",
        )


def _renamed(trigger: str, table: str) -> str:
    return f"alter trigger {trigger} on {table} rename to {identifiers.quote(f'a_{identifiers.split(trigger)[1]}')}"


def tables_there(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Declarations about tables that were dropped."""
    for schema, table, made_again, forget, declared_by, options in ask(connection, "dropped"):
        name, declarers = f"{schema}.{table}", ", ".join(declared_by)
        if made_again:
            declare = _declare_again(schema, table, declared_by, options)
            yield Finding(
                "problem",
                "tables_there",
                name,
                f"{name} was dropped and made again; what was declared for it by {declarers} is not in place.",
                f"Run {declare} to go on with its history, or {psql(*forget)} to forget it.",
            )
        else:
            yield Finding(
                "risk",
                "tables_there",
                name,
                f"{name} was dropped but is still declared by {declarers}; made again, it would not be captured.",
                f"Run {psql(*forget)} to forget it; its history stays.",
            )


def ddl_followed(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """Event triggers that keep capture true to the tables while people change them."""
    for name, exists in ask(connection, "not_following"):
        state = "disabled" if exists else "missing"
        yield Finding(
            "risk",
            "ddl_followed",
            name,
            f"The event trigger {name} is {state}, so changes of watched tables are followed only at the next sync.",
            f"As a superuser run {psql(*_event_trigger(name, exists))}; where nobody may, run rowcall sync after each change"
            " of a watched table.",
        )


def _event_trigger(name: str, exists: bool) -> list[str]:
    """The statements with which migrating makes an event trigger, or those that only enable it."""
    text = re.sub("--.*", "", resources.sql("functions/follow_ddl_v1.sql"))
    verb = "alter" if exists else "create|alter"
    return [" ".join(found.split()) for found in re.findall(rf"((?:{verb}) event trigger {name} [^;]*);", text)]


def _declare_again(schema: str, table: str, declared_by: Iterable[str], options: dict[str, Any]) -> str:
    """The commands that put in place again what was declared for a table, by whoever did."""
    return " and ".join(
        _watch(schema, table, options) if declarer == "cli" else _sync(declarer) for declarer in declared_by
    )


def _watch(schema: str, table: str, options: dict[str, Any]) -> str:
    """The command that declares a watch as it was declared: without its options it would be another one."""
    columns = [
        f"--{option} {shlex.quote(column)}" for option in ("exclude", "redact") for column in options.get(option, ())
    ]
    notify = ["--notify"] if options.get("notify") else []
    return " ".join(["rowcall watch", _argument(schema, table), *columns, *notify])


def _argument(schema: str, table: str) -> str:
    """A table's name as an argument on the command line, quoted where it is not plain."""
    if _PLAIN.fullmatch(schema) and _PLAIN.fullmatch(table):
        return f"{schema}.{table}"
    return shlex.quote(identifiers.qualified(schema, table))


def _sync(declared_by: str) -> str:
    """The command that puts in place what an app declares, whose name need not say where it is."""
    if ":" in declared_by:
        return f"rowcall sync {shlex.quote(declared_by)}"
    return f"rowcall sync MODULE:APP of {declared_by}"
