"""Making the database match what an app declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from rowcall import errors, resources
from rowcall.app import Rowcall
from rowcall.handler import BeforeHandler
from rowcall.postgres import subscriptions
from rowcall.postgres.connection import one_line
from rowcall.postgres.tables import Table, resolve, subjects
from rowcall.rule import Rule
from rowcall.watch import Watch

_QUERIES = resources.queries("declarations")

#: Of the errors that psycopg calls operational, those our functions raise: object not ready, object in use.
_RAISED_BY_US = ("55000", "55006")

#: What a declaration that is in place already comes to.
UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that synchronising did or would do: ``watch public.users: created``."""

    kind: str
    subject: str
    outcome: str


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of one of our SQL functions, about one table."""

    kind: str
    query: str
    table: Table
    parameters: dict[str, Any]

    def run(self, connection: psycopg.Connection[Any]) -> Change:
        """Run it.

        :raises UsageError: as the function words it.
        """
        try:
            row = connection.execute(self._text, self._all).fetchone()
        except psycopg.errors.InsufficientPrivilege as error:
            raise errors.UsageError(
                f"This login lacks a right: {one_line(error)}. Use the login that ran rowcall migrate and owns the table."
            ) from error
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError) and error.sqlstate not in _RAISED_BY_US:
                raise
            raise _sentence(error) from error
        assert row is not None
        return Change(self.kind, self.table.display, str(row[0]))

    @property
    def _text(self) -> str:
        return _QUERIES[self.query]

    @property
    def _all(self) -> dict[str, Any]:
        return {"name": self.table.quoted, **self.parameters}

    def sql(self, printer: psycopg.ClientCursor[Any]) -> str:
        """The same as SQL to read or to run elsewhere."""
        return printer.mogrify(self._text, self._all)


def _sentence(error: psycopg.Error) -> errors.UsageError:
    """What our SQL functions raised, as they worded it."""
    primary = one_line(error)
    hint = error.diag.message_hint
    return errors.UsageError(f"{primary[:1].upper()}{primary[1:]}. {hint}" if hint else f"{primary}.")


def watch(connection: psycopg.Connection[Any], declared: Watch, declared_by: str) -> Change:
    """Capture a table's changes.

    :raises UsageError: if the table cannot be watched so.
    """
    return _watch(resolve(connection, declared.table), declared, declared_by).run(connection)


def _watch(table: Table, declared: Watch, declared_by: str) -> _Call:
    return _Call("watch", "watch", table, {"options": Jsonb(declared.options()), "declared_by": declared_by})


def unwatch(connection: psycopg.Connection[Any], name: str) -> Change:
    """Stop capturing a table's changes; its history stays.

    :raises UsageError: if it is not watched.
    """
    table = resolve(connection, name)
    change = _Call("watch", "unwatch", table, {}).run(connection)
    if change.outcome != "removed":
        raise errors.UsageError(f'{table.display} is not watched: "rowcall watches" lists what is.')
    return change


def watches(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Every watch: table, declared_by, exclude, redact, erasable, notify, columns, when, operations, truncate, current."""
    cursor = connection.execute(_QUERIES["watches"])
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def synchronise(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> list[Change]:
    """Make triggers and subscriptions match the app. Touches only what the app declared before.

    The connection's transaction, which begins with this, ends with it or not at all: the caller commits. New subscriptions start
    where it begins, so nothing written after that is missed.

    :param name: the app's name in the database.
    :raises UsageError: for the first declaration that cannot be; the caller rolls back, so nothing is half installed.
    """
    moment = subscriptions.this_moment(connection)
    changes = [call.run(connection) for call in _calls(connection, app, name)]
    _check_subjects(connection, app)
    created = subscriptions.create_missing(connection, app, subjects(connection, app).topics, name, moment)
    return changes + [Change("subscription", subscription, "created") for subscription in created]


def not_in_place(connection: psycopg.Connection[Any], app: Rowcall) -> list[str]:
    """The tables an app declares something for that :func:`synchronise` has not seen so; reads only, and takes no lock.

    :raises UsageError: for a table that does not exist.
    """
    watched = set(_watched(connection, app))
    guarded = {*subjects(connection, app).guarded, *(resolve(connection, rule.table) for rule in app.rules)}
    declared = [
        {"schema": table.schema, "table": table.name, "watched": table in watched, "guarded": table in guarded}
        for table in sorted(watched | guarded)
    ]
    rows = connection.execute(_QUERIES["not_in_place"], {"tables": Jsonb(declared)}).fetchall()
    return [Table(*row).display for row in rows]


def statements(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> list[str]:
    """What :func:`synchronise` would call, as SQL to read or to run elsewhere."""
    printer = psycopg.ClientCursor(connection)
    calls = [call.sql(printer) for call in _calls(connection, app, name)]
    return calls + subscriptions.statements(connection, app, subjects(connection, app).topics, name)


def _calls(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> Iterator[_Call]:
    wanted = _watched(connection, app)
    for table in _declared(connection, "declared_watches", name):
        if table not in wanted:
            yield _Call("watch", "unwatch", table, {})
    for table, declared in wanted.items():
        yield _watch(table, declared, name)
    yield from _guards(connection, app, name)


def _watched(connection: psycopg.Connection[Any], app: Rowcall) -> dict[Table, Watch]:
    found: dict[Table, Watch] = {}
    for declared in app.watches:
        table = resolve(connection, declared.table)
        if table in found:
            raise errors.UsageError(
                f"{declared.table} and {found[table].table} are both {table.display}: watch it once, with all its options."
            )
        found[table] = declared
    return found


def _declared(connection: psycopg.Connection[Any], query: str, name: str) -> list[Table]:
    return [Table(*row) for row in connection.execute(_QUERIES[query], {"declared_by": name}).fetchall()]


def _guards(connection: psycopg.Connection[Any], app: Rowcall, name: str) -> Iterator[_Call]:
    """Rules and before-handlers by table, also for tables that had some and shall have none."""
    rules: dict[Table, list[Rule]] = {}
    for rule in app.rules:
        rules.setdefault(resolve(connection, rule.table), []).append(rule)
    handlers = subjects(connection, app).guarded
    for table in sorted({*_declared(connection, "declared_guards", name), *rules, *handlers}):
        of_table = rules.get(table, []), handlers.get(table, [])
        _check_names(table, "rule", (rule.name for rule in of_table[0]))
        _check_names(table, "before-handler", (handler.name for handler in of_table[1]))
        parameters = {
            "rules": Jsonb([_rule(rule) for rule in of_table[0]]),
            "handlers": Jsonb([_handler(handler) for handler in of_table[1]]),
            "declared_by": name,
        }
        yield _Call("validation", "guard", table, parameters)


def _check_names(table: Table, what: str, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise errors.UsageError(f"{table.display} has {times} {what}s named {name}: give each a name of its own.")


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "expression": rule.expression,
        "message": rule.message,
        "operations": list(rule.operations),
        "rows": list(rule.rows),
        "on_violation": rule.on_violation,
    }


def _handler(handler: BeforeHandler) -> dict[str, Any]:
    return {
        "name": handler.name,
        "operations": list(handler.selector.operations),
        "columns": list(handler.selector.columns),
        "when": handler.when,
        "timeout_ms": max(1, round(handler.timeout * 1000)),
        "on_unavailable": handler.on_unavailable,
    }


def _check_subjects(connection: psycopg.Connection[Any], app: Rowcall) -> None:
    """An after-handler of a table that nobody watches would wait for ever."""
    watched = {name for (name,) in connection.execute(_QUERIES["watched"]).fetchall()}
    for handler in app.after_handlers:
        if handler.selector.is_pattern:
            continue
        table = resolve(connection, handler.selector.subject)
        if table.display not in watched:
            raise errors.UsageError(
                f"{handler.name} wants changes of {table.display}, which is not watched:"
                f" add app.watch({handler.selector.subject!r})."
            )
