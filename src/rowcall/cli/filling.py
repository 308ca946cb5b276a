"""Filling new subscriptions, where somebody may be watching."""

from __future__ import annotations

from typing import Any

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rowcall.postgres import backfill


def filled(connection: psycopg.Connection[Any], pending: backfill.Backfill) -> int:
    """Run a backfill, with a bar on a terminal; how many rows it came to.

    :raises NotFilled: if what happened meanwhile makes it impossible.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal and not console.is_dumb_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        read = sum(part.events for part in pending.parts)
        estimate = read + sum(part.estimate for part in pending.parts)
        task = bar.add_task(f"backfill {pending.name}", total=estimate, completed=read)

        def advance(rows: int) -> None:
            bar.advance(task, rows)
            bar.update(task, total=max(estimate, bar.tasks[0].completed))

        return backfill.run(connection, pending, advance)
