"""rowcall bench …"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
from rich.console import Console
from rich.table import Table

from rowcall import embedded, errors

if TYPE_CHECKING:
    from rowcall.bench.results import Results

commands = typer.Typer(help="Measure, contenders side by side in one run: trust the ratios.", no_args_is_help=True)

#: What every other contender is compared with.
YARDSTICKS = ("none", "images", "silent")
#: The same for deliveries.
FLOORS = ("floor", "bare")
#: And for the gate.
GATED = ("ungated",)
#: Enough memory that the tables stay in it, and no background work that hits one contender only.
_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "autovacuum": "off",
}


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="bench")


@commands.callback()
def options() -> None:
    """Measurements on an embedded PostgreSQL."""


@commands.command()
def capture(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender; the median counts.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="Length of a turn of single-row transactions.")] = 5,
    workloads: Annotated[
        list[str] | None,
        typer.Option("--workload", help="Only this one, repeatable; a wrong name shows which there are."),
    ] = None,
    contenders: Annotated[
        list[str] | None,
        typer.Option("--contender", help="Only this one, repeatable; a wrong name shows which there are."),
    ] = None,
    fsync: Annotated[bool, typer.Option(help="Flush commits to disk, as a real server does.")] = True,
) -> None:
    """What capture costs the writer, against no trigger and what else people use.

    Example: rowcall bench capture --rounds 3 --workload update@8
    """
    # Here, because it loads Alembic, which would make every other command wait.
    from rowcall.bench.capture import CONTENDERS, WORKLOADS, CaptureBench

    chosen = _known(contenders or list(CONTENDERS), CONTENDERS)
    work = _known(workloads or list(WORKLOADS), WORKLOADS)
    console = Console()
    with embedded.Server(fsync=fsync, settings=_SETTINGS) as server:
        bench = CaptureBench(server, rounds=rounds, seconds=seconds, contenders=chosen, report=console.print)
        console.print(_table(bench.run(work), chosen, YARDSTICKS))


@commands.command()
def delivery(
    events: Annotated[int, typer.Option(min=1000, help="Length of the backlog.")] = 200_000,
    pings: Annotated[int, typer.Option(min=10, help="Commits on the idle system, a round.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender; the median counts.")] = 3,
    fsync: Annotated[bool, typer.Option(help="Flush commits to disk, as a real server does.")] = True,
) -> None:
    """How fast handlers get the log, beside psycopg that only reads it, and how soon they get one commit.

    Example: rowcall bench delivery --events 50000
    """
    from rowcall.bench.delivery import READERS, WOKEN, DeliveryBench

    console = Console()
    # Outages are not what is measured; a line for each connection would be in the way.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with embedded.Server(fsync=fsync, settings=_SETTINGS) as server:
        bench = DeliveryBench(server, events=events, pings=pings, rounds=rounds, report=console.print)
        console.print(_table(bench.run(), [*READERS, *WOKEN], FLOORS))


@commands.command()
def audit(
    events: Annotated[int, typer.Option(min=1000, help="Length of the log.")] = 2_000_000,
    rows: Annotated[int, typer.Option(min=100, help="Rows of the table.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often what reads the whole log is asked.")] = 3,
) -> None:
    """How soon a log of four months answers: one row, one actor, one hour, and whether it holds the table as it is.

    Example: rowcall bench audit --events 200000 --rows 10000
    """
    from rowcall.bench.audit import AuditBench

    console = Console()
    with embedded.Server(fsync=False, settings=_SETTINGS) as server:
        bench = AuditBench(server, events=events, rows=rows, rounds=rounds, report=console.print)
        console.print(_table(bench.run(), ["rowcall"], ()))


@commands.command()
def gate(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender; the median counts.")] = 3,
    seconds: Annotated[int, typer.Option(min=1, help="Length of a turn.")] = 3,
    fsync: Annotated[bool, typer.Option(help="Flush commits to disk, as a real server does.")] = True,
) -> None:
    """What asking Python before a write costs the writer, beside the same write ungated, and when it stops waiting.

    Example: rowcall bench gate --rounds 5
    """
    from rowcall.bench.gate import CONTENDERS, GateBench

    console = Console()
    with embedded.Server(fsync=fsync, settings=_SETTINGS) as server:
        bench = GateBench(server, rounds=rounds, seconds=seconds, report=console.print)
        console.print(_table(bench.run(), list(CONTENDERS), GATED))


def _known(names: list[str], known: tuple[str, ...]) -> list[str]:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise errors.UsageError(f"Nothing is called {', '.join(unknown)}: choose from {', '.join(known)}.")
    return [name for name in known if name in names]


def _table(results: Results, contenders: list[str], yardsticks: tuple[str, ...]) -> Table:
    """A line a figure and contender: the median, and its ratios to the yardsticks."""
    table = Table("", "contender", "median", *(f"/ {name}" for name in yardsticks), box=None, padding=(0, 2, 0, 0))
    for name, samples in results.samples.items():
        for contender in (*contenders, *(other for other in samples if other not in contenders)):
            if contender in samples:
                median = results.median(name, contender)
                ratios = (
                    f"{results.ratio(name, contender, yardstick):.2f}" if yardstick in samples else ""
                    for yardstick in yardsticks
                )
                table.add_row(name, contender, _figure(name, median), *ratios)
        table.add_section()
    return table


def _figure(name: str, median: float) -> str:
    if name.endswith(", ms"):
        return f"{median:.2f}"
    return f"{median:,.0f}" if median >= 10 else f"{median:.2f} s"
