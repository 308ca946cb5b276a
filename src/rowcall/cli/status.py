"""rowcall status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from rowcall.cli.doctor import problems
from rowcall.cli.options import DsnOption, connect
from rowcall.cli.output import Format, FormatOption, ago, chosen, fitted, print_table, show
from rowcall.postgres import checks
from rowcall.postgres import status as states
from rowcall.postgres.checks.finding import counted

BACKLOG_COLUMNS = tuple(field.name for field in fields(states.Backlog))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(dsn: DsnOption = None, format: FormatOption = None) -> None:
    """Say what lags and what failed, a line a subscription; exit 1 if there are dead letters or problems.

    Example: rowcall status --format jsonl
    """
    with connect(dsn) as connection:
        backlogs = states.backlogs(connection)
        log = states.log(connection)
        sealing = states.sealing(connection)
        alarms = problems(checks.findings(connection))
    as_table = chosen(format) is Format.TABLE
    if as_table:
        _print(backlogs, log, sealing)
    else:
        show((asdict(backlog) for backlog in backlogs), BACKLOG_COLUMNS, format)
    if alarms:
        # Where only subscriptions are listed, whatever reads the list has to be spared.
        remark = Text(f"{counted(alarms, 'problem')}: rowcall doctor says what to do.", "red")
        Console(stderr=not as_table).print(remark)
    if alarms or any(backlog.dead for backlog in backlogs):
        raise typer.Exit(1)


def _print(backlogs: Sequence[states.Backlog], log: states.Log, sealing: states.Sealing) -> None:
    until = f"partitions until {log.until.astimezone(UTC):%Y-%m}" if log.until else "no last partition"
    parts = (counted(log.tables, "watched table"), f"about {counted(log.events, 'event')}", decimal(log.size), until)
    Console().print(Text(", ".join(parts)))
    Console().print(_sealed(sealing))
    if not backlogs:
        Console().print(Text("No subscriptions: rowcall sync makes those of an app.", "dim"))
        return
    names = ("subscription", "declared_by", "listening", "waiting", "oldest", "parked", "dead")
    lines = [_line(backlog) for backlog in backlogs]
    print_table(fitted(names, lines, (None, 1 / 5, None, None, None, None, None), stretched=0, fold=True))


def _sealed(sealing: states.Sealing) -> Text:
    """How far the log is sealed."""
    if sealing.sealed_at is None:
        return Text("not sealed yet: rowcall listen does that", "yellow" if sealing.waiting else "dim")
    sealed = f"{counted(sealing.seals, 'seal')}, the newest of {ago(sealing.sealed_at)} ago"
    if sealing.oldest is None:
        return Text(f"{sealed}, nothing waits for one")
    more = "+" if sealing.waiting == states.LIMIT else ""
    return Text(f"{sealed}, {sealing.waiting:,}{more} events wait since {ago(sealing.oldest)}")


def _line(backlog: states.Backlog) -> list[Text]:
    return [
        Text(backlog.subscription),
        Text(backlog.declared_by, "dim"),
        Text("yes") if backlog.listening else Text("no", "yellow"),
        Text(f"{backlog.waiting:,}{'+' if backlog.capped else ''}", justify="right"),
        Text(ago(backlog.oldest) if backlog.oldest else ""),
        Text(f"{backlog.parked:,}", "yellow" if backlog.parked else "", justify="right"),
        Text(f"{backlog.dead:,}", "red" if backlog.dead else "", justify="right"),
    ]
