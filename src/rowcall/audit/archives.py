"""Archived events in a temporary table, where the server renders them as it does those of the log."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from rowcall import errors, resources
from rowcall.audit import archive
from rowcall.audit.archive import Manifest

QUERIES = resources.queries("archives")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """An archived partition whose events are in the temporary table, by the file's number.

    :ivar dropped_at: when the log let go of them; None if it does not know.
    """

    path: Path
    manifest: Manifest
    dropped_at: datetime | None


@dataclass(slots=True)
class Archives:
    """What a directory of archives holds.

    :ivar wrong: what is wrong with the files as such, in sentences that name them.
    :ivar unread: first and last seq of archives that are not there, or cannot be read.
    :ivar unequal: numbers of files that are not what their manifests, or the log, say.
    :ivar unarchived: whether retention also dropped events without archiving them.
    """

    files: list[File] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unread: list[tuple[int, int]] = field(default_factory=list)
    unequal: set[int] = field(default_factory=set)
    unarchived: bool = False

    def is_unread(self, seq: int) -> bool:
        """Whether an event is among those that could not be looked at."""
        return any(first <= seq <= last for first, last in self.unread)


@dataclass(frozen=True, slots=True)
class _Dropped:
    """What the log knows of a partition that it let go of."""

    archive: str | None
    first_seq: int | None
    last_seq: int | None
    sha256: str | None
    dropped_at: datetime


@contextmanager
def loaded(
    connection: psycopg.Connection[Any], directory: Path, first: int | None = None, last: int | None = None
) -> Iterator[Archives]:
    """Copy the events of a directory's archives into ``pg_temp.rowcall_archived``, for as long as they are looked at.

    :param connection: in autocommit mode, outside of a transaction.
    :param first: leave out files all of whose events come before this place in the log; ``last``: or after that one.
    :raises UsageError: if there is no such directory.
    :raises DamagedArchive: if a manifest cannot be read.
    """
    if not directory.is_dir():
        raise errors.UsageError(
            f"There is no directory {directory}: name the one that rowcall prune --archive wrote to."
        )
    connection.execute(QUERIES["make_table"])
    try:
        found = Archives()
        dropped = [_Dropped(*row) for row in connection.execute(QUERIES["dropped"])]
        known = {Path(one.archive).name: one for one in dropped if one.archive is not None}
        found.unarchived = any(one.archive is None for one in dropped)
        for path, manifest in archive.archived(directory):
            one = known.pop(path.name, None)
            if _is_between(manifest.first_seq, manifest.last_seq, first, last):
                _load(connection, found, path, manifest, one)
        for name, one in known.items():
            if _is_between(one.first_seq, one.last_seq, first, last):
                found.wrong.append(f"{name} is not in {directory}, or its manifest is not: bring it back from a copy.")
                _leave_out(found, one.first_seq, one.last_seq)
        connection.execute(QUERIES["index"])
        yield found
    finally:
        if not connection.closed and not connection.broken:
            connection.execute("drop table if exists pg_temp.rowcall_archived")


def are_there(connection: psycopg.Connection[Any]) -> bool:
    """Whether retention has ever archived anything."""
    row = connection.execute(QUERIES["has_archives"]).fetchone()
    return row is not None and bool(row[0])


def _is_between(first_seq: int | None, last_seq: int | None, first: int | None, last: int | None) -> bool:
    if first_seq is None or last_seq is None:
        return True
    return (first is None or last_seq >= first) and (last is None or first_seq <= last)


def _load(
    connection: psycopg.Connection[Any], found: Archives, path: Path, manifest: Manifest, dropped: _Dropped | None
) -> None:
    wrong = len(found.wrong)
    try:
        archive.check(path, manifest)
        if dropped is not None and dropped.sha256 != manifest.sha256:
            found.wrong.append(
                f"{path.name} is not the file that rowcall prune wrote: it and its manifest were replaced."
            )
    except errors.DamagedArchive as error:
        found.wrong.append(str(error))
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("alter table pg_temp.rowcall_archived alter column file set default {}").format(
                    len(found.files)
                )
            )
            _copy(connection, path, manifest)
    except (OSError, EOFError, psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
        if not any(path.name in sentence for sentence in found.wrong):
            found.wrong.append(f"{path.name} holds no events that can be read ({error}): bring it back from a copy.")
        _leave_out(found, manifest.first_seq, manifest.last_seq)
        return
    if len(found.wrong) > wrong:
        found.unequal.add(len(found.files))
    found.files.append(File(path, manifest, dropped.dropped_at if dropped is not None else None))


def _copy(connection: psycopg.Connection[Any], path: Path, manifest: Manifest) -> None:
    query = sql.SQL("copy pg_temp.rowcall_archived ({}) from stdin").format(
        sql.SQL(", ").join(map(sql.Identifier, manifest.columns))
    )
    with gzip.open(path) as packed, connection.cursor().copy(query) as copy:
        while block := packed.read(_BLOCK):
            copy.write(block)


def _leave_out(found: Archives, first: int | None, last: int | None) -> None:
    if first is not None and last is not None:
        found.unread.append((first, last))
