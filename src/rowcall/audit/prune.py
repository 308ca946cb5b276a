"""Retention: what is old enough leaves the log by whole partitions, archived before it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from rowcall import errors, resources
from rowcall.audit import archive
from rowcall.audit.connection import ask
from rowcall.audit.erasures import record_prune
from rowcall.audit.turn import alone
from rowcall.postgres.checks.finding import counted, word

_QUERIES = resources.queries("prune")
_T = TypeVar("_T")

#: How often a lock is tried, that somebody else holds, and for how long each time, in seconds.
TRIES = 30
_WAIT = "set lock_timeout = '1s'"
_PAUSE = 0.2

#: Called after each step, with its name.
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the log.

    :ivar lower: where it begins, None for the beginning of time; ``upper``: where it ends.
    """

    name: str
    lower: datetime | None
    upper: datetime


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken out.

    :ivar kept: events that stay, as the last of rows that were there.
    """

    partitions: Sequence[Partition]
    events: int
    kept: int
    files: Sequence[Path]


def begins_at(connection: psycopg.Connection[Any]) -> datetime | None:
    """Where the log begins; before it, it has of each row its last event only. None if it was never pruned."""
    [(moment,)] = ask(connection, _QUERIES["begins_at"])
    return moment if isinstance(moment, datetime) else None


def check_whole(connection: psycopg.Connection[Any]) -> None:
    """See that no partition is out of the log while what is kept of it is not yet in its place.

    :raises HeldBack: if one is: whoever asks now is not told all.
    """
    [(absent,)] = ask(connection, _QUERIES["is_absent"])
    if absent:
        raise errors.HeldBack(
            "rowcall prune is under way, and a part of the log is out of reach until its end: ask again then. If it was interrupted,"
            " run it again."
        )


def interrupted(connection: psycopg.Connection[Any]) -> list[Partition]:
    """The partitions that an earlier prune has planned to take out, and has not."""
    return [Partition(*row[:3]) for row in connection.execute(_QUERIES["planned"]).fetchall()]


def check_finished(connection: psycopg.Connection[Any]) -> None:
    """See that no prune was interrupted, which goes on from copies of its own.

    :raises HeldBack: if one was.
    """
    if interrupted(connection):
        raise errors.HeldBack(
            "A rowcall prune was interrupted, and its copies would keep what is erased: run rowcall prune again first."
        )


def candidates(connection: psycopg.Connection[Any], keep: str) -> list[Partition]:
    """The partitions all of whose events are older than an interval; those of an interrupted prune, if there are some.

    :param keep: as PostgreSQL reads an interval, such as ``18 months``.
    :raises UsageError: for what is no interval, or not a positive one.
    """
    if left := interrupted(connection):
        return left
    try:
        before, positive = _one(connection, "cut", keep=keep)
    except psycopg.DataError as error:
        raise errors.UsageError(f"--keep {keep!r} is no interval: write something like '18 months'.") from error
    if not positive:
        raise errors.UsageError(f"--keep {keep!r} keeps nothing: write something like '18 months'.")
    found = connection.execute(_QUERIES["partitions"], {"before": before}).fetchall()
    return [Partition(*row[:3]) for row in found]


def holds(connection: psycopg.Connection[Any], upper: datetime) -> list[str]:
    """What still needs events before a moment, each with its cure, in sentences."""
    place = {"upper": upper}
    found = [
        f"Subscription {name} has yet to read them: let its rowcall listen run, or run rowcall subscriptions drop {word(name)}."
        for (name,) in connection.execute(_QUERIES["unread"], place)
    ]
    found += [
        f"{counted(many, 'event')} of subscription {name} are set aside: rowcall parked shows them, rowcall retry and rowcall skip"
        " decide about them."
        for name, many in connection.execute(_QUERIES["set_aside"], place)
    ]
    found += [
        f"The baseline of {table} is not complete: run rowcall watch {word(table)} --baseline, or rowcall sync, again."
        for (table,) in connection.execute(_QUERIES["based"], place)
    ]
    if _one(connection, "is_sealed")[0] and _one(connection, "unsealed", upper=upper)[0]:
        found.append("Some of them are not sealed yet: let rowcall listen run, which seals them.")
    return found


def prune(
    connection: psycopg.Connection[Any],
    partitions: Sequence[Partition],
    directory: Path | None,
    *,
    progress: archive.Progress = lambda events: None,
    step: Step = lambda name: None,
) -> Pruned:
    """Archive partitions and take them out of the log, while writers go on. Whoever is killed on the way is followed by a call with
    :func:`interrupted`, which goes on; until the last step, which is one transaction, all is still there.

    :param connection: in autocommit mode, of the log's owner.
    :param directory: where the archive is; None drops the events without one.
    :raises HeldBack: if somebody still needs these events, or holds a lock for long.
    :raises DamagedArchive: if what was archived cannot be read back; nothing is dropped.
    """
    with alone(connection, patience=0):
        upper = partitions[-1].upper
        if reasons := holds(connection, upper):
            raise errors.HeldBack(f"The log before {upper:%Y-%m-%d} is still needed. {' '.join(reasons)}")
        connection.execute(_WAIT)
        try:
            return _pruned(connection, partitions, directory, progress, step=step)
        finally:
            if not connection.closed and not connection.broken:
                connection.execute("reset lock_timeout")


def _pruned(
    connection: psycopg.Connection[Any],
    partitions: Sequence[Partition],
    directory: Path | None,
    progress: archive.Progress,
    *,
    step: Step,
) -> Pruned:
    _plan(connection, partitions)
    step("planned")
    while True:
        files, events = _archive(connection, partitions, directory, progress)
        step("archived")
        [kept] = _one(connection, "keep", partitions=[one.name for one in partitions])
        step("kept")
        for partition in partitions:
            _patiently(partial(_detach, connection, partition))
            step("detached")
        if _patiently(partial(_finish, connection, partitions)):
            step("finished")
            return Pruned(partitions, events, kept, files)


def _plan(connection: psycopg.Connection[Any], partitions: Sequence[Partition]) -> None:
    planned = {partition.name for partition in interrupted(connection)}
    with connection.transaction():
        for one in partitions:
            if one.name not in planned:
                connection.execute(_QUERIES["plan"], {"partition": one.name, "lower": one.lower, "upper": one.upper})


def _archive(
    connection: psycopg.Connection[Any],
    partitions: Sequence[Partition],
    directory: Path | None,
    progress: archive.Progress,
) -> tuple[list[Path], int]:
    """Write all of them, and down what is in each."""
    files: list[Path] = []
    events = 0
    for partition in partitions:
        values: dict[str, Any] = {"archive": None, "first_seq": None, "last_seq": None, "sha256": None}
        if directory is None:
            query = sql.SQL(_QUERIES["contents"]).format(partition=sql.Identifier("rowcall", partition.name))
            counts = connection.execute(query).fetchone()
            assert counts is not None
            values |= zip(("events", "first_seq", "last_seq"), counts, strict=True)
        else:
            path, manifest = archive.write(connection, partition, directory, progress)
            values = {name: getattr(manifest, name) for name in ("events", "first_seq", "last_seq", "sha256")}
            values["archive"] = str(path.absolute())
            files.append(path)
        events += values["events"]
        connection.execute(_QUERIES["archived"], values | {"partition": partition.name})
    return files, events


def _detach(connection: psycopg.Connection[Any], partition: Partition) -> None:
    """Take a partition out of the log, or go on with that."""
    [state] = _one(connection, "state", partition=partition.name)
    if state != "detached":
        how = "concurrently" if state == "attached" else "finalize"
        connection.execute(
            sql.SQL("alter table rowcall.event detach partition rowcall.{} {}").format(
                sql.Identifier(partition.name), sql.SQL(how)
            )
        )


def _finish(connection: psycopg.Connection[Any], partitions: Sequence[Partition]) -> bool:
    """The last step, on record where the log is sealed; False if it has to be done again from the archive on."""
    with connection.transaction() as transaction:
        record_prune(connection, [one.name for one in partitions], kept="event_kept")
        [done] = _one(connection, "finish", upper=partitions[-1].upper)
        if not done:
            raise psycopg.Rollback(transaction)
    return bool(done)


def _patiently(attempt: Callable[[], _T]) -> _T:
    """What comes of something that needs a lock, tried for a while: writers would wait behind one long wait."""
    for _ in range(TRIES - 1):
        try:
            return attempt()
        except psycopg.errors.LockNotAvailable:
            time.sleep(_PAUSE)
    try:
        return attempt()
    except psycopg.errors.LockNotAvailable as error:
        raise errors.HeldBack(
            "A transaction that has used the log is open for long: end it, and run rowcall prune again, which goes on where it is."
        ) from error


def _one(connection: psycopg.Connection[Any], query: str, **parameters: Any) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(_QUERIES[query], parameters).fetchone()
    assert row is not None
    return row
