"""rowcall subscriptions …"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Annotated

import typer
from rich.text import Text

from rowcall import errors
from rowcall.cli.options import DsnOption, YesOption, confirmed, connect, is_for_a_subcommand
from rowcall.cli.output import Format, FormatOption, chosen, fitted, print_table, show
from rowcall.postgres import subscriptions
from rowcall.postgres.checks.finding import counted

SUBSCRIPTION_COLUMNS = tuple(field.name for field in fields(subscriptions.Subscription))

commands = typer.Typer(help="List who reads the log; drop and rename subscriptions.", invoke_without_command=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="subscriptions")


@commands.callback()
def list_subscriptions(context: typer.Context, dsn: DsnOption = None, format: FormatOption = None) -> None:
    """List who reads the log, and how far behind; drop and rename subscriptions.

    Example: rowcall subscriptions --format jsonl
    """
    if is_for_a_subcommand(context, dsn, format):
        return
    with connect(dsn) as connection:
        found = subscriptions.subscriptions(connection)
    if chosen(format) is Format.TABLE:
        _print(found)
    else:
        show((asdict(subscription) for subscription in found), SUBSCRIPTION_COLUMNS, format)


def _print(found: Sequence[subscriptions.Subscription]) -> None:
    names = ("name", "declared_by", "listening", "created", "waiting", "set aside", "skipped")
    lines = [
        [
            Text(one.name),
            Text(one.declared_by, "dim"),
            Text("yes") if one.listening else Text("no", "yellow"),
            Text(f"{one.created:%Y-%m-%d}"),
            Text(f"{one.waiting:,}{'+' if one.capped else ''}", justify="right"),
            Text(f"{one.parked + one.dead:,}", "red" if one.dead else "yellow" if one.parked else "", justify="right"),
            Text(f"{one.skipped:,}", justify="right"),
        ]
        for one in found
    ]
    print_table(fitted(names, lines, (None, 1 / 6, None, None, None, None, None), stretched=0, fold=True))


@commands.command()
def drop(name: NameArgument, dsn: DsnOption = None, yes: YesOption = False) -> None:
    """Forget a subscription, with its place in the log and what it set aside.

    Example: rowcall subscriptions drop shop.events.old_handler
    """
    with connect(dsn) as connection:
        subscriptions.check_free(connection, name)
        found = subscriptions.one(connection, name)
        set_aside = found.parked + found.dead
        lost = f" and {counted(set_aside, 'event')} that it set aside" if set_aside else ""
        confirmed(yes, f"Dropping {name} forgets its place in the log{lost}.")
        subscriptions.drop(connection, name)
    print(f"subscription {name}: dropped")
    print(f"If {found.declared_by} still declares it, its next sync or listen creates it anew, to read from then on.")


@commands.command()
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD")],
    new: Annotated[str, typer.Argument(metavar="NEW")],
    dsn: DsnOption = None,
    yes: YesOption = False,
) -> None:
    """Give a subscription another name, as after its handler was renamed; it keeps its place in the log.

    Example: rowcall subscriptions rename shop.events.old_handler shop.events.new_handler
    """
    if not new or not new.isprintable():
        raise errors.UsageError(f"{new!r} is no name for a subscription: give it one that can be read.")
    with connect(dsn) as connection:
        subscriptions.check_free(connection, old)
        confirmed(yes, f"{old} will be {new}.")
        subscriptions.rename(connection, old, new)
    print(f"subscription {old}: now {new}")
    print(f"Where its handler is called {old} still, the next sync or listen creates that anew, to read from then on.")
