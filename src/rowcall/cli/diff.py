"""rowcall audit diff."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from rowcall import errors
from rowcall.audit import Difference, diff
from rowcall.cli.as_of import image_of
from rowcall.cli.history import show_difference
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import Format, FormatOption, chosen, show

DIFFERENCE_COLUMNS = ("kind", "table", "key", "old", "new", "changed")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diff")(show_diff)


def show_diff(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="The first moment.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="The second one; now unless given.")] = None,
    from_snapshot: Annotated[
        str | None, typer.Option("--from-snapshot", metavar="SNAPSHOT", help="The first moment, as a snapshot.")
    ] = None,
    to_snapshot: Annotated[
        str | None, typer.Option("--to-snapshot", metavar="SNAPSHOT", help="The second one, as a snapshot.")
    ] = None,
    dsn: DsnOption = None,
    format: FormatOption = None,
) -> None:
    """Rows that were added, removed or changed between two moments.

    Example: rowcall audit diff users --from yesterday --to today
    """
    if until is None and to_snapshot is None and since is not None:
        until = "infinity"
    if (
        (since is None) == (from_snapshot is None)
        or (until is None) == (to_snapshot is None)
        or bool(since) != bool(until)
    ):
        raise errors.UsageError("Say between what: --from TIME and --to TIME, or --from-snapshot and --to-snapshot.")
    with (
        connect(dsn) as connection,
        closing(
            diff(connection, table, since, until, from_snapshot=from_snapshot, to_snapshot=to_snapshot)
        ) as differences,
    ):
        if chosen(format) is not Format.TABLE:
            show(map(_line, differences), DIFFERENCE_COLUMNS, format)
            return
        console, shown = Console(), 0
        for shown, difference in enumerate(differences, 1):  # noqa: B007 - how many they were
            show_difference(console, difference)
        if not shown:
            console.print("[dim]nothing[/dim]")


def _line(difference: Difference) -> dict[str, Any]:
    return {
        "kind": difference.kind,
        "table": difference.table,
        "key": msgspec.Raw(difference.raw_key),
        "old": image_of(difference.before.raw_row if difference.before else None),
        "new": image_of(difference.after.raw_row if difference.after else None),
        "changed": difference.changed,
    }
