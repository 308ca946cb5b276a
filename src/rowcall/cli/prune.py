"""rowcall prune"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rowcall import errors
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

    Nothing goes that a subscription has not read, that is parked, or that is not sealed. Killed on the way, it goes on with the next call.

    Example: rowcall prune --keep '18 months' --archive /srv/archive --dry-run
    """
    with connect(dsn) as connection:
        partitions = pruning.candidates(connection, keep)
        if not partitions:
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
        confirmed(yes, f"Drop the log before {upper:%Y-%m-%d} ({names}), {where}?")
        with advancing("archive", 0) as advance:
            done = pruning.prune(connection, partitions, archive, progress=advance)
    for path in done.files:
        print(f"archived {path}")
    print(
        f"{counted(done.events, 'event')} dropped, of which {done.kept:,} stay as the last of their rows:"
        f" the log begins at {upper:%Y-%m-%d}."
    )
