"""rowcall rules …"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from rowcall.cli.options import DsnOption, connect, is_for_a_subcommand, load_app
from rowcall.cli.output import Format, FormatOption, cell, chosen, fitted, key_values, print_table, show
from rowcall.postgres import rules

RULE_COLUMNS = ("table", "name", "expression", "message", "operations", "on_violation", "declared_by", "current")
VERDICT_COLUMNS = tuple(field.name for field in fields(rules.Verdict))

commands = typer.Typer(help="List rules; look for rows that break them.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="rules")


@commands.callback()
def list_rules(context: typer.Context, dsn: DsnOption = None, format: FormatOption = None) -> None:
    """List rules, by whose declaration, and whether their tables' validation is in place; look for rows that break them.

    Example: rowcall rules --format jsonl
    """
    if is_for_a_subcommand(context, dsn, format):
        return
    with connect(dsn) as connection:
        found = rules.rules(connection)
    if chosen(format) is Format.TABLE:
        _show_rules(found)
    else:
        show(found, RULE_COLUMNS, format)


def _show_rules(found: Iterable[dict[str, Any]]) -> None:
    lines = [
        [
            Text(rule["table"]),
            Text(rule["name"]),
            Text(f"{', '.join(rule['operations'])}{': warn' if rule['on_violation'] == 'warn' else ''}"),
            Text(rule["declared_by"], "dim"),
            Text(cell(rule["current"])),
            Text(rule["expression"]),
        ]
        for rule in found
    ]
    names = ("table", "name", "on", "declared_by", "current", "expression")
    print_table(fitted(names, lines, (1 / 4, 1 / 5, None, 1 / 6, None, None), stretched=5, fold=True))


@commands.command()
def check(
    target: Annotated[
        str | None, typer.Argument(metavar="[MODULE:APP]", help="An app, whose rules need not be in the database yet.")
    ] = None,
    table: Annotated[list[str] | None, typer.Option("--table", help="Rules of this table only; repeatable.")] = None,
    keys: Annotated[int, typer.Option("--keys", min=0, help="Keys to show of the rows that break a rule.")] = 10,
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """Look for rows that break rules over new. Changes nothing and locks nothing; exits with 1 if there are some.

    Example: rowcall rules check shop.events:app --table users
    """
    tables = table or []
    app = None if target is None else load_app(target)[0]
    with connect(dsn) as connection:
        subjects = rules.declared(connection, tables) if app is None else rules.of_app(connection, app.rules, tables)
        verdicts = _checked(connection, subjects, keys)
    if chosen(format) is Format.TABLE:
        _show_verdicts(verdicts)
    else:
        show((asdict(verdict) for verdict in verdicts), VERDICT_COLUMNS, format)
    if any(verdict.violations for verdict in verdicts):
        raise typer.Exit(1)


def _checked(connection: psycopg.Connection[Any], subjects: Sequence[rules.Subject], many: int) -> list[rules.Verdict]:
    """Put each rule to its table's rows, with a bar on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal and not console.is_dumb_terminal
    verdicts = []
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        for subject in subjects:
            parts = rules.parts(connection, subject.table) if subject.is_checkable else []
            estimate = sum(part.estimate for part in parts)
            task = bar.add_task(f"{subject.table.display} {subject.name}", total=estimate)

            def advance(rows: int, task: Any = task, estimate: int = estimate) -> None:
                bar.advance(task, rows)
                bar.update(task, total=max(estimate, bar.tasks[task].completed))

            verdicts.append(rules.check(connection, subject, parts, many=many, progress=advance))
    return verdicts


def _show_verdicts(verdicts: Iterable[rules.Verdict]) -> None:
    lines = [
        [
            Text(verdict.table),
            Text(verdict.rule),
            _count(verdict.scanned),
            _count(verdict.violations, "red" if verdict.violations else ""),
            Text(verdict.note or _keys(verdict)),
        ]
        for verdict in verdicts
    ]
    names = ("table", "rule", "rows", "violations", "keys")
    print_table(fitted(names, lines, (1 / 4, 1 / 4, None, None, None), stretched=4, fold=True))


def _count(number: int | None, style: str = "") -> Text:
    return Text("" if number is None else f"{number:,}", style, justify="right")


def _keys(verdict: rules.Verdict) -> str:
    shown = "; ".join(key_values(key) for key in verdict.keys)
    more = (verdict.violations or 0) - len(verdict.keys)
    return f"{shown} and {more:,} more" if more and shown else shown
