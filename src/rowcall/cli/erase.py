"""rowcall audit erase."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from rowcall.audit import archives
from rowcall.audit import erase as erasing
from rowcall.audit.extent import Request, extent
from rowcall.audit.turn import alone
from rowcall.cli.options import DsnOption, YesOption, confirmed, connect
from rowcall.postgres.checks.finding import counted


def register(commands: typer.Typer) -> None:
    """Add the command."""
    commands.command()(erase)


def erase(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="A plain value, a=1,b=2, or JSON.")],
    dsn: DsnOption = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", metavar="C", help="Only this column, of the erasable ones; repeatable."),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="NAME", help="Also what the context says under this name; repeatable."),
    ] = None,
    actor: Annotated[bool, typer.Option("--actor", help="Also who acted.")] = False,
    forgo_proof: Annotated[
        bool,
        typer.Option(
            "--forgo-proof",
            help="Also what was sealed when its column was not erasable: nothing of those events is proven any more.",
        ),
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="DIR", help="Also from what rowcall prune --archive wrote there."),
    ] = None,
    yes: YesOption = False,
) -> None:
    """Take a row's erasable values out of the log for good, on record; its seals still prove the rest.

    Example: rowcall audit erase users 42 --yes
    """
    wanted = Request(table=table, key=key, columns=columns or (), context=context or (), actor=actor, forgo=forgo_proof)
    with connect(dsn) as connection, ExitStack() as stack:
        stack.enter_context(alone(connection))
        beside = None if archive is None else stack.enter_context(archives.loaded(connection, archive))
        found = extent(connection, wanted, beside)
        names = ", ".join(sorted(found.columns))
        confirmed(yes, f"Erase {names} from {counted(len(found.seqs), 'event')} of {found.table} {key}, for good?")
        result = erasing.erase(connection, wanted, beside)
        if archive is None and archives.are_there(connection):
            print("rowcall: What rowcall prune archived still has it: --archive DIR erases there too.", file=sys.stderr)
    for path, _ in result.files:
        print(f"wrote {path} anew")
    if not result.records:
        return
    numbers = " and ".join(str(record.number) for record in result.records)
    also = f", {counted(result.rejections, 'refused write')}" if result.rejections else ""
    also += f", {counted(result.texts, 'error text')}" if result.texts else ""
    print(f"erased {names} from {counted(result.events, 'event')}{also} of {found.table} {key}: erasure {numbers}")
