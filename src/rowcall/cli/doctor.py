"""rowcall doctor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields

import typer
from rich.console import Console
from rich.text import Text

from rowcall import settings
from rowcall.cli.options import DsnOption
from rowcall.cli.output import Format, FormatOption, chosen, show
from rowcall.postgres import checks
from rowcall.postgres import connection as connections
from rowcall.postgres.checks.finding import counted

FINDING_COLUMNS = tuple(field.name for field in fields(checks.Finding))

_INDENT = "    "
_COLORS = {"problem": "red", "risk": "yellow", "note": "blue"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(dsn: DsnOption = None, format: FormatOption = None) -> None:
    """Say what is wrong or risky in this installation, each with its cure; exit 1 if something is wrong.

    Example: rowcall doctor --format jsonl
    """
    # Without the check of the schema that other commands begin with: here it is a finding.
    with connections.connect(settings.database_dsn(dsn)) as connection:
        found = checks.findings(connection)
    if chosen(format) is Format.TABLE:
        _print(Console(), found)
    else:
        show((asdict(finding) for finding in found), FINDING_COLUMNS, format)
    if problems(found):
        raise typer.Exit(1)


def problems(found: Sequence[checks.Finding]) -> int:
    """How many of the findings are wrong already."""
    return sum(finding.severity == "problem" for finding in found)


def _print(console: Console, found: Sequence[checks.Finding]) -> None:
    """Each finding in a paragraph: sentences and commands fit no column."""
    for finding in found:
        color = _COLORS[finding.severity]
        title = [Text(finding.severity, f"bold {color}"), Text(finding.check), Text(finding.subject or "", "bold")]
        console.print(Text(" ").join(part for part in title if part))
        _print_indented(console, Text(finding.finding))
        _print_indented(console, Text(finding.cure, "dim" if finding.severity == "note" else "green"))
    console.print(Text(_summary(found)))


def _print_indented(console: Console, text: Text) -> None:
    for line in text.wrap(console, console.width - len(_INDENT)):
        line.rstrip()
        console.print(_INDENT, line, sep="")


def _summary(found: Sequence[checks.Finding]) -> str:
    counts = Counter(finding.severity for finding in found)
    rest = f"{counted(counts['risk'], 'risk')}, {counted(counts['note'], 'note')}."
    if counts["problem"]:
        return f"{counted(counts['problem'], 'problem')}, {rest}"
    return f"Nothing is wrong: {rest}" if counts["risk"] else f"All is well: {rest.partition(', ')[2]}"
