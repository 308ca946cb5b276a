"""rowcall bench …"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rowcall import embedded, errors
from rowcall.bench.capture import CONTENDERS, WORKLOADS, CaptureBench, Results

commands = typer.Typer(help="Measure, contenders side by side in one run: trust the ratios.", no_args_is_help=True)

#: Enough memory that the tables stay in it, and no background work that hits one contender only.
_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "autovacuum": "off",
}


@commands.callback()
def options() -> None:
    """Measurements on an embedded PostgreSQL."""


@commands.command()
def capture(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender; the median counts.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="Length of a turn of single-row transactions.")] = 5,
    workloads: Annotated[
        list[str] | None, typer.Option("--workload", help=f"One of: {', '.join(WORKLOADS)}; repeatable.")
    ] = None,
    contenders: Annotated[
        list[str] | None, typer.Option("--contender", help=f"One of: {', '.join(CONTENDERS)}; repeatable.")
    ] = None,
    fsync: Annotated[bool, typer.Option(help="Flush commits to disk, as a real server does.")] = True,
) -> None:
    """What capture costs the writer, against no trigger and what else people use.

    Example: rowcall bench capture --rounds 3 --workload update@8
    """
    chosen = _known(contenders or list(CONTENDERS), CONTENDERS)
    work = _known(workloads or list(WORKLOADS), WORKLOADS)
    console = Console()
    with embedded.Server(fsync=fsync, settings=_SETTINGS) as server:
        bench = CaptureBench(server, rounds=rounds, seconds=seconds, contenders=chosen, report=console.log)
        console.print(_table(bench.run(work), chosen))


def _known(names: list[str], known: tuple[str, ...]) -> list[str]:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise errors.UsageError(f"Nothing is called {', '.join(unknown)}: choose from {', '.join(known)}.")
    return [name for name in known if name in names]


def _table(results: Results, contenders: list[str]) -> Table:
    """Medians, and in brackets their ratio to the first contender's."""
    table = Table("", *contenders, box=None, padding=(0, 2, 0, 0))
    for name, samples in results.samples.items():
        cells = []
        for contender in contenders:
            if contender not in samples:
                cells.append("")
                continue
            median, ratio = results.median(name, contender), ""
            if contenders[0] in samples and contender != contenders[0]:
                ratio = f" ({results.ratio(name, contender, contenders[0]):.2f})"
            cells.append(f"{median:,.0f}{ratio}" if median >= 10 else f"{median:.2f} s{ratio}")
        table.add_row(name, *cells)
    return table
