"""rowcall demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rowcall.cli.history import show_history


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the database in this fresh directory; with the directory of an earlier demo, start its server.",
        ),
    ] = None,
    chinook: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run a day of the Chinook music shop instead, from its CSV files there."),
    ] = None,
) -> None:
    """The whole story on a PostgreSQL of its own: nothing to configure, nothing left behind.

    Example: rowcall demo --keep /var/tmp/demo
    """
    from rowcall.demo import place

    try:
        _run(keep, chinook)
    except place.Ended as ended:
        raise typer.Exit(ended.code) from ended


def _run(keep: Path | None, chinook: Path | None) -> None:
    from rowcall.demo import place, story
    from rowcall.demo.chinook import story as shop

    if chinook is not None:
        shop.tell(chinook, keep)
    elif keep is not None and place.is_kept(keep):
        place.serve(keep)
    else:
        story.tell(keep, show_history)
