"""rowcall listen."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NoReturn

import psycopg
import structlog
import typer

from rowcall import errors, settings
from rowcall.app import Rowcall
from rowcall.audit.signing import Signer
from rowcall.cli.filling import filled
from rowcall.cli.options import AppArgument, DsnOption, connect, load_app
from rowcall.listener.daemon import GRACE, LeftOver, Listener
from rowcall.listener.sealer import Seals
from rowcall.postgres import anchor, backfill, declarations, subscriptions, tables
from rowcall.postgres.log import LANES

_LOG = structlog.get_logger("rowcall")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(listen)


def listen(
    target: AppArgument,
    dsn: DsnOption = None,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain",
            help="Exit 0 once all is delivered and sealed, 1 if something could not be or is in lanes that nobody has.",
        ),
    ] = False,
    lanes: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=LANES, help="Most of the 16 lanes of each subscription this process takes."
        ),
    ] = LANES,
    poll: Annotated[
        bool, typer.Option("--poll", help="Look once a second instead of being woken: behind a transaction pooler.")
    ] = False,
    listen_dsn: Annotated[
        str | None,
        typer.Option(
            metavar="DSN", help="Behind a transaction pooler: a way around it, for the one connection that LISTENs."
        ),
    ] = None,
    no_seal: Annotated[bool, typer.Option("--no-seal", help="Leave sealing the log to other processes.")] = False,
    seal_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="ROWCALL_SEAL_KEY",
            help="Sign seals with this key, of rowcall audit keygen; ROWCALL_SEAL_KEY.",
        ),
    ] = None,
    anchor_file: Annotated[
        Path | None,
        typer.Option(
            "--anchor",
            metavar="FILE",
            envvar="ROWCALL_ANCHOR",
            help="Append each seal's hash to this file, kept where the database's owner cannot write; ROWCALL_ANCHOR.",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="How long handlers have to finish after SIGTERM; then they are rolled back."
        ),
    ] = GRACE,
) -> None:
    """Run the daemon: deliver committed changes to after-handlers and answer before-handlers, until SIGTERM.

    Example: rowcall listen shop.events:app
    """
    if poll and listen_dsn:
        raise errors.UsageError("--poll and --listen-dsn exclude each other: who polls does not LISTEN.")
    if no_seal and (seal_key or anchor_file):
        raise errors.UsageError(
            "--no-seal excludes --seal-key and --anchor: there would be nothing to sign or to write."
        )
    seals = None if no_seal else Seals(None if seal_key is None else Signer.load(seal_key), anchor_file)
    _configure_log()
    app, name = load_app(target)
    with connect(dsn) as connection:
        if anchor.reanchor(connection):
            _LOG.info("the database was restored from a dump: its subscriptions go on from there")
        subjects = tables.subjects(connection, app)
        moment = subscriptions.this_moment(connection)
        subscriptions.create_missing(connection, app, subjects.topics, name, moment)
        _fill(connection, name)
        _warn_of_drift(connection, app)
    around = None if listen_dsn is None else settings.database_dsn(listen_dsn)
    listener = Listener(
        app,
        settings.database_dsn(dsn),
        subjects,
        drain=drain,
        lanes=lanes,
        grace=grace,
        poll=poll,
        listen_dsn=around,
        seals=seals,
    )
    asyncio.run(_run(listener))


def _warn_of_drift(connection: psycopg.Connection[Any], app: Rowcall) -> None:
    try:
        if missing := declarations.not_in_place(connection, app):
            _LOG.warning("declared, but not in place in the database: run rowcall sync", tables=missing)
    except psycopg.errors.InsufficientPrivilege:
        # Only who may generate the triggers' functions can compare them.
        _LOG.info("this login cannot see whether all that is declared is in place: rowcall sync --check says so")


def _start_anew(error: errors.Stuck) -> NoReturn:
    """Become a new process, with the same arguments, since a thread cannot be stopped in any other way."""
    _LOG.error("starting anew", error=str(error))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _fill(connection: psycopg.Connection[Any], name: str) -> None:
    """Complete the app's new subscriptions; the others are delivered whatever comes of it."""
    for pending in backfill.pending(connection, name):
        _LOG.info("backfill", handler=pending.name, tables=[part.table for part in pending.parts])
        try:
            _LOG.info("backfill complete", handler=pending.name, rows=filled(connection, pending))
        except errors.NotFilled as error:
            _LOG.error("not delivered", handler=pending.name, error=str(error))


async def _run(listener: Listener) -> None:
    """Run until a signal. The second signal does not wait for what is in flight, which is delivered again some day.

    A handler that cannot be stopped would be waited for, by the loop or by the interpreter: so the process ends, or starts anew,
    without either.
    """
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: object) -> None:
        for other in _SIGNALS:
            signal.signal(other, _leave)
        loop.call_soon_threadsafe(listener.stop)

    # Not by the loop, which a handler may block.
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        _check_left(await listener.run())
    except errors.Stuck as error:
        _start_anew(error)
    except errors.RowcallError as error:
        if not listener.abandoned:
            raise
        print(f"rowcall: {error}", file=sys.stderr)
        os._exit(error.exit_code)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if listener.abandoned:
        os._exit(0)


def _check_left(left: LeftOver) -> None:
    """See to it that a drain has delivered everything; nothing is left over where there was none."""
    if left.abandoned:
        lanes = " and ".join(f"lanes {_ranges(lanes)} of {name}" for name, lanes in left.abandoned.items())
        raise errors.Undeliverable(
            f"Nobody has {lanes}, so that not everything was delivered: run more listeners beside this one, or one"
            " without --lanes."
        )
    if left.waiting or left.dead:
        raise errors.Undeliverable(
            f'{left.waiting} events wait for a retry and {left.dead} are dead letters: "rowcall parked" says why.'
        )


def _ranges(lanes: Sequence[int]) -> str:
    """Lanes as one says them: ``0, 4 to 7``."""
    places = enumerate(sorted(lanes))
    runs = [[lane for _, lane in run] for _, run in groupby(places, key=lambda place: place[1] - place[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _leave(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)


def _configure_log() -> None:
    # What psycopg ignored while a connection died is said by us, once.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=True) if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
