"""Filling new subscriptions and the log itself, where somebody may be watching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rowcall.audit import baseline
from rowcall.postgres import backfill


@contextmanager
def advancing(what: str, estimate: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, and the function that moves it on by so many; an estimate that was too low grows."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal and not console.is_dumb_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=estimate, completed=done)

        def advance(many: int) -> None:
            bar.advance(task, many)
            bar.update(task, total=max(estimate, bar.tasks[0].completed))

        yield advance


def filled(connection: psycopg.Connection[Any], pending: backfill.Backfill) -> int:
    """Run a backfill, with a bar on a terminal; how many rows it came to.

    :raises NotFilled: if what happened meanwhile makes it impossible.
    """
    read = sum(part.events for part in pending.parts)
    estimate = read + sum(part.estimate for part in pending.parts)
    with advancing(f"backfill {pending.name}", estimate, read) as advance:
        return backfill.run(connection, pending, advance)


def based(connection: psycopg.Connection[Any], pending: baseline.Baseline) -> int:
    """Run a baseline, with a bar on a terminal; how many rows it came to.

    :raises NotFilled: if what happened meanwhile makes it impossible.
    """
    with advancing(f"baseline {pending.table}", pending.estimate, pending.events) as advance:
        return baseline.run(connection, pending, advance)
