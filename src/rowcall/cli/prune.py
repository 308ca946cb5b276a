"""rowcall prune"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from rowcall import errors
from rowcall.audit import old_rejections
from rowcall.audit import prune as pruning
from rowcall.cli.filling import advancing
from rowcall.cli.options import DsnOption, YesOption, confirmed, connect
from rowcall.postgres.checks.finding import counted


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(prune)


def prune(
    keep: Annotated[str, typer.Option("--keep", metavar="INTERVAL", help="How much stays, such as '18 months'.")],
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="DIR", help="Write what goes to compressed files there.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and what holds it.")] = False,
    yes: YesOption = False,
    dsn: DsnOption = None,
) -> None:
    """Take out of the log what is older than that, by whole months, and archive it. Of each row that was there its last event stays.
    Rejections older than that go too.

    Nothing goes that a subscription has not read, that is parked, or that is not sealed. Killed on the way, it goes on with the next call.

    Example: rowcall prune --keep '18 months' --archive /srv/archive --dry-run
    """
    with connect(dsn) as connection:
        partitions = pruning.candidates(connection, keep)
        rejections = old_rejections.count(connection, keep)
        if dry_run and rejections:
            print(f"{counted(rejections, 'rejection')} would go.")
        if not partitions:
            if rejections and not dry_run:
                confirmed(yes, f"Drop {counted(rejections, 'rejection')} older than {keep}?")
                _drop_rejections(connection, keep)
            print(f"Nothing is older than {keep} by a whole partition.")
            return
        upper = partitions[-1].upper
        names = ", ".join(one.name for one in partitions)
        if dry_run:
            reasons = pruning.holds(connection, upper)
            print(f"{names}: the log would begin at {upper:%Y-%m-%d}.")
            if reasons:
                raise errors.HeldBack(" ".join(reasons))
            return
        where = f"after archiving it to {archive}" if archive else "without an archive"
        with_it = f", and {counted(rejections, 'rejection')}" if rejections else ""
        confirmed(yes, f"Drop the log before {upper:%Y-%m-%d} ({names}), {where}{with_it}?")
        with advancing("archive", 0) as advance:
            done = pruning.prune(connection, partitions, archive, progress=advance)
        _drop_rejections(connection, keep)
    for path in done.files:
        print(f"archived {path}")
    print(
        f"{counted(done.events, 'event')} dropped, of which {done.kept:,} stay as the last of their rows:"
        f" the log begins at {upper:%Y-%m-%d}."
    )


def _drop_rejections(connection: psycopg.Connection[Any], keep: str) -> None:
    if dropped := old_rejections.drop(connection, keep):
        print(f"{counted(dropped, 'rejection')} dropped.")
