"""Making the database match what an app declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from rowcall import errors, identifiers, resources
from rowcall.app import Rowcall
from rowcall.handler import AfterHandler, BeforeHandler
from rowcall.rule import Rule
from rowcall.selector import Topic
from rowcall.watch import Watch

_QUERIES = resources.queries("declarations")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that synchronising did or would do: ``watch public.users: created``."""

    kind: str
    table: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table that exists."""

    schema: str
    name: str

    @property
    def quoted(self) -> str:
        return identifiers.qualified(self.schema, self.name)

    @property
    def display(self) -> str:
        return f"{self.schema}.{self.name}"


def resolve(connection: psycopg.Connection[Any], name: str) -> Table:
    """The table a name means by the search_path.

    :raises UsageError: if there is none.
    """
    quoted = identifiers.qualified(*identifiers.split(name))
    row = connection.execute(_QUERIES["resolve"], {"name": quoted}).fetchone()
    if row is None:
        database = connection.info.dbname
        raise errors.UsageError(
            f"There is no table {name} in database {database}: create it first, or correct the name or the search_path."
        )
    return Table(row[1], row[2])


def topic_of(connection: psycopg.Connection[Any], handler: AfterHandler) -> Topic:
    """The tables an after-handler reads."""
    if handler.selector.is_pattern:
        return handler.selector.topic()
    table = resolve(connection, handler.selector.subject)
    return Topic.exactly(table.schema, table.name)


def _sentence(error: psycopg.Error) -> errors.UsageError:
    """What our SQL functions raised, as they worded it."""
    primary = (error.diag.message_primary or str(error)).rstrip(".")
    hint = error.diag.message_hint
    return errors.UsageError(f"{primary[:1].upper()}{primary[1:]}. {hint}" if hint else f"{primary}.")


def _call(connection: psycopg.Connection[Any], query: str, parameters: dict[str, Any]) -> Any:
    try:
        row = connection.execute(query, parameters).fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.UsageError(
            f"This login lacks a right: {error.diag.message_primary}. Use the login that ran rowcall migrate and owns the table."
        ) from error
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise _sentence(error) from error
    assert row is not None
    return row[0]


def watch(connection: psycopg.Connection[Any], declared: Watch, declared_by: str) -> Change:
    """Capture a table's changes.

    :raises UsageError: if the table cannot be watched so.
    """
    table = resolve(connection, declared.table)
    outcome = _call(
        connection,
        _QUERIES["watch"],
        {"name": table.quoted, "options": Jsonb(declared.options()), "declared_by": declared_by},
    )
    return Change("watch", table.display, outcome)


def unwatch(connection: psycopg.Connection[Any], name: str) -> Change:
    """Stop capturing a table's changes; its history stays.

    :raises UsageError: if it is not watched.
    """
    table = resolve(connection, name)
    if not _call(connection, _QUERIES["unwatch"], {"name": table.quoted}):
        raise errors.UsageError(f'{table.display} is not watched: "rowcall watches" lists what is.')
    return Change("watch", table.display, "removed")


def watches(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Every watch: table, declared_by, exclude, redact, notify, current."""
    cursor = connection.execute(_QUERIES["watches"])
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def synchronise(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> list[Change]:
    """Make triggers match the app, in the connection's open transaction. Touches only what the app declared before.

    :param name: the app's name in the database.
    :raises UsageError: for the first declaration that cannot be; the caller rolls back, so nothing is half installed.
    """
    changes = _remove_stale_watches(connection, app, name)
    changes += [watch(connection, declared, name) for declared in app.watches]
    changes += _guard(connection, app, name)
    _check_subjects(connection, app)
    return changes


def _remove_stale_watches(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> list[Change]:
    wanted = {resolve(connection, declared.table).quoted for declared in app.watches}
    return [
        unwatch(connection, table)
        for table in _declared(connection, "declared_watches", name)
        if resolve(connection, table).quoted not in wanted
    ]


def _declared(connection: psycopg.Connection[Any], query: str, name: str) -> list[str]:
    return [row[0] for row in connection.execute(_QUERIES[query], {"declared_by": name}).fetchall()]


def _guard(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> list[Change]:
    return [
        Change("validation", resolve(connection, guard["name"]).display, _call(connection, _QUERIES["guard"], guard))
        for guard in _guards(connection, app, name)
    ]


def _guards(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> list[dict[str, Any]]:
    """Rules and before-handlers by table, also for tables that had some and shall have none."""
    rules = _by_table(connection, app.rules, lambda rule: rule.table)
    handlers = _by_table(connection, app.before_handlers, lambda handler: handler.selector.subject)
    stale = {resolve(connection, table) for table in _declared(connection, "declared_guards", name)}
    return [
        {
            "name": table.quoted,
            "rules": Jsonb([_rule(rule) for rule in rules.get(table, [])]),
            "handlers": Jsonb([_handler(handler) for handler in handlers.get(table, [])]),
            "declared_by": name,
        }
        for table in sorted(stale | rules.keys() | handlers.keys(), key=lambda table: table.quoted)
    ]


def _by_table(
    connection: psycopg.Connection[Any], declarations: list[_T], subject: Callable[[_T], str]
) -> dict[Table, list[_T]]:
    found: dict[Table, list[_T]] = {}
    for declaration in declarations:
        found.setdefault(resolve(connection, subject(declaration)), []).append(declaration)
    return found


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "expression": rule.expression,
        "message": rule.message,
        "operations": list(rule.operations),
    }


def _handler(handler: BeforeHandler) -> dict[str, Any]:
    return {
        "name": handler.name,
        "operations": list(handler.selector.operations),
        "columns": list(handler.selector.columns),
        "timeout_ms": max(1, round(handler.timeout * 1000)),
        "on_unavailable": handler.on_unavailable,
    }


def _check_subjects(connection: psycopg.Connection[Any], app: Rowcall) -> None:
    """An after-handler of a table that nobody watches would wait for ever."""
    watched = {row["table"] for row in watches(connection)}
    for handler in app.after_handlers:
        if handler.selector.is_pattern:
            continue
        table = resolve(connection, handler.selector.subject)
        if table.display not in watched:
            raise errors.UsageError(
                f"{handler.name} wants changes of {table.display}, which is not watched:"
                f' add app.watch("{handler.selector.subject}").'
            )


def statements(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> list[str]:
    """What :func:`synchronise` would call, as SQL to read or to run elsewhere."""
    printer = psycopg.ClientCursor(connection)
    wanted = {resolve(connection, declared.table).quoted: declared for declared in app.watches}
    calls: list[tuple[str, dict[str, Any]]] = [
        (_QUERIES["unwatch"], {"name": resolve(connection, table).quoted})
        for table in _declared(connection, "declared_watches", name)
        if resolve(connection, table).quoted not in wanted
    ]
    calls += [
        (_QUERIES["watch"], {"name": table, "options": Jsonb(declared.options()), "declared_by": name})
        for table, declared in wanted.items()
    ]
    calls += [(_QUERIES["guard"], parameters) for parameters in _guards(connection, app, name)]
    return [printer.mogrify(query, parameters) for query, parameters in calls]
