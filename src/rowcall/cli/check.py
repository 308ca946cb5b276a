"""rowcall audit check"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from rowcall import errors
from rowcall.audit import check as checking
from rowcall.cli.filling import advancing
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import FormatOption, show
from rowcall.postgres.checks.finding import counted, word

CHECK_COLUMNS = ("key", "difference", "columns", "last_seq", "last_at")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """Prove that the log says what a table holds now, row by row; list the rows where it does not, and exit 1.

    Such rows were changed while their table was not captured: its triggers were disabled, or it was rewritten by DDL. The last event
    says since when.

    Example: rowcall audit check users
    """
    found: Counter[str] = Counter()

    def rows(advance: checking.Progress) -> Iterator[dict[str, Any]]:
        for difference in checking.check(connection, table, advance):
            found[difference.kind] += 1
            yield {
                "key": difference.key,
                "difference": difference.kind,
                "columns": list(difference.columns),
                "last_seq": difference.seq,
                "last_at": difference.since,
            }

    with connect(dsn) as connection:
        with advancing(f"check {table}", checking.estimate(connection, table)) as advance:
            differences = list(rows(advance))
    if not differences:
        Console(stderr=True).print(f"The log says what {table} holds.", highlight=False)
        return
    show(differences, CHECK_COLUMNS, format)
    many = sum(found.values())
    gone = found["extra in the log"]
    cures = ["rowcall doctor finds disabled triggers"]
    if many > gone:
        cures.append(f"rowcall watch {word(table)} --baseline has the log say what is there now")
    if gone:
        cures.append("no baseline takes back what is only in the log: such rows went while nothing was captured")
    raise errors.Differs(
        f"{counted(many, 'row')} of {table} {'differs' if many == 1 else 'differ'} from what the log says: {', and '.join(cures)}."
    )
