"""rowcall watch, unwatch, watches and sync."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import psycopg
import typer
from rich.text import Text

from rowcall import errors
from rowcall.audit import baseline
from rowcall.cli.filling import based, filled
from rowcall.cli.options import AppArgument, DsnOption, connect, load_app
from rowcall.cli.output import Format, FormatOption, cell, chosen, fitted, print_table, show
from rowcall.postgres import backfill, declarations
from rowcall.postgres.checks.finding import counted
from rowcall.postgres.checks.tables import guards_last
from rowcall.postgres.tables import Table, resolve
from rowcall.watch import WATCHABLE, Watch

TablesArgument = Annotated[list[str], typer.Argument(metavar="TABLE…")]

WATCH_COLUMNS = (
    "table",
    "declared_by",
    "exclude",
    "redact",
    "erasable",
    "notify",
    "columns",
    "when",
    "operations",
    "truncate",
    "current",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(watch)
    app.command()(unwatch)
    app.command("watches")(list_watches)
    app.command()(sync)


def watch(
    tables: TablesArgument,
    dsn: DsnOption = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="C", help="A column to keep out of everything.")] = None,
    redact: Annotated[
        list[str] | None, typer.Option(metavar="C", help="A column to keep only as a keyed hash.")
    ] = None,
    erasable: Annotated[
        list[str] | None, typer.Option(metavar="C", help="A column whose values rowcall audit erase can take out.")
    ] = None,
    notify: Annotated[
        bool, typer.Option("--notify", help="Also send one NOTIFY a statement on rowcall_<table>.")
    ] = False,
    baseline_wanted: Annotated[
        bool, typer.Option("--baseline", help="Also log the rows that are there, as snapshot events.")
    ] = False,
) -> None:
    """Capture the changes of tables, without writing Python.

    Example: rowcall watch users shop.orders --exclude password_hash --baseline
    """
    with connect(dsn, autocommit=False) as connection:
        declared = [
            Watch.of(table, exclude or (), redact or (), notify, baseline=baseline_wanted, erasable=erasable or ())
            for table in tables
        ]
        changes = [declarations.watch(connection, one, "cli") for one in declared]
        begun = _begin_baselines(connection, declared, again=lambda table: True)
    _print(changes)
    with connect(dsn) as connection:
        _complete_baselines(connection, begun)


def _begin_baselines(
    connection: psycopg.Connection[Any], declared: Iterable[Watch], again: Callable[[Table], bool]
) -> list[str]:
    """Begin the baselines of those that want one, in the transaction that declared them; the tables of all that do."""
    tables = [resolve(connection, watch.table) for watch in declared if watch.baseline]
    for table in tables:
        baseline.begin(connection, table, again=again(table))
    return [table.display for table in tables]


def _complete_baselines(connection: psycopg.Connection[Any], tables: list[str]) -> None:
    for pending in baseline.pending(connection, tables):
        print(f"baseline {pending.table}: {counted(based(connection, pending), 'row')}")


def unwatch(tables: TablesArgument, dsn: DsnOption = None) -> None:
    """Stop capturing tables; what is in the log stays.

    Example: rowcall unwatch users
    """
    with connect(dsn, autocommit=False) as connection:
        changes = [declarations.unwatch(connection, table) for table in tables]
    _print(changes)


def list_watches(dsn: DsnOption = None, format: FormatOption = None) -> None:
    """List what is captured, by whose declaration, and whether its triggers fit the table.

    Example: rowcall watches --format jsonl
    """
    with connect(dsn) as connection:
        rows = declarations.watches(connection)
    if chosen(format) is Format.TABLE:
        _show_watches(rows)
    else:
        show(rows, WATCH_COLUMNS, format)


def _show_watches(rows: Iterable[dict[str, Any]]) -> None:
    """A line each, with the options that were given: most are not, and a column for each would not fit a terminal."""
    lines = [
        [Text(row["table"]), Text(row["declared_by"]), Text(cell(row["current"])), Text("; ".join(_given(row)))]
        for row in rows
    ]
    names = ("table", "declared_by", "current", "options")
    print_table(fitted(names, lines, (2 / 5, 1 / 5, None, None), stretched=3, fold=True))


def _given(row: dict[str, Any]) -> Iterator[str]:
    """A watch's options that differ from their defaults."""
    for name in ("exclude", "redact", "erasable", "columns"):
        if row[name]:
            yield f"{name} {', '.join(row[name])}"
    if row["when"]:
        yield f"when {row['when']}"
    if set(row["operations"]) != set(WATCHABLE):
        yield f"operations {', '.join(row['operations'])}"
    if row["truncate"] != "event":
        yield f"truncate {row['truncate']}"
    if row["notify"]:
        yield "notify"


def sync(
    target: AppArgument,
    dsn: DsnOption = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if something would change.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements instead of running them.")] = False,
) -> None:
    """Make the database's triggers match an app and create its subscriptions, at this moment; fill those that start with a
    backfill.

    Example: rowcall sync shop.events:app
    """
    app, name = load_app(target)
    with connect(dsn, autocommit=False) as connection:
        if sql:
            for statement in declarations.statements(connection, app, name):
                print(f"{statement};")
            return
        changes = declarations.synchronise(connection, app, name)
        if check:
            connection.rollback()
            _report_drift(changes)
            return
        made = {change.subject for change in changes if change.kind == "watch" and change.outcome == "created"}
        begun = _begin_baselines(connection, app.watches, again=lambda table: table.display in made)
    _print(changes)
    with connect(dsn) as connection:
        for finding in guards_last(connection):
            print(f"rowcall: {finding.finding} {finding.cure}", file=sys.stderr)
        _complete_baselines(connection, begun)
        for pending in backfill.pending(connection, name):
            print(f"backfill {pending.name}: {counted(filled(connection, pending), 'row')}")


def _print(changes: list[declarations.Change]) -> None:
    """Say what was done, once it is committed."""
    for change in changes:
        print(f"{change.kind} {change.subject}: {change.outcome}")


def _report_drift(changes: list[declarations.Change]) -> None:
    drift = [change for change in changes if change.outcome != declarations.UNCHANGED]
    if drift:
        what = ", ".join(f"{change.kind} {change.subject}" for change in drift)
        raise errors.Drift(f'The database differs from the app: {what}. Run "rowcall sync" without --check.')
    print("The database matches the app.")
