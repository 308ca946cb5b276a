"""Recomputing the seals: whether the log is what it was when it was sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from rowcall import errors
from rowcall.audit import anchor_file, archives, erasures, reading, seal
from rowcall.audit.archive_comparison import ArchiveComparison
from rowcall.audit.archives import Archives
from rowcall.audit.catalog import Catalog
from rowcall.audit.comparison import Comparison
from rowcall.audit.findings import MOST, Report
from rowcall.audit.links import Links
from rowcall.audit.prune import check_whole
from rowcall.audit.reading import QUERIES
from rowcall.audit.records import Records
from rowcall.audit.seal import Seal
from rowcall.audit.signing import Verifier
from rowcall.audit.verification import Verification
from rowcall.postgres.checks.finding import counted

Progress = Callable[[int, int], None]

#: Events that are so many microseconds old cannot have been written while their layout was on its way.
_SETTLED = 600_000_000


def verify(
    connection: psycopg.Connection[Any],
    *,
    first: int = 1,
    last: int | None = None,
    public_keys: Sequence[Verifier] = (),
    anchor: Path | None = None,
    archive: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compare the log with its seals, and these with each other and with what is kept outside the database.

    :param connection: in autocommit mode.
    :param archive: the directory to which retention archived what it dropped: that is compared too.
    :param first: the first seal to look at, ``last``: the last one.
    :param progress: called now and then with the events that are done and those there are.
    :raises UsageError: if there is no such seal, or the anchor is none.
    :raises HeldBack: while rowcall prune is under way.
    :raises DamagedArchive: if a manifest in the archive cannot be read.
    """
    anchored = {} if anchor is None else anchor_file.heads(anchor)
    with ExitStack() as stack:
        beside = None
        if archive is not None:
            places = connection.execute(archives.QUERIES["places"], {"first": first, "last": last}).fetchone()
            beside = stack.enter_context(archives.loaded(connection, archive, *(places or (None, None))))
        stack.enter_context(connection.transaction())
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute(QUERIES["planning"])
        # Before the snapshot, which a partition that leaves meanwhile would not be in.
        connection.execute(QUERIES["hold"])
        check_whole(connection)
        _check_at_home(connection)
        made = _made(connection, first)
        outside = _Outside(public_keys, anchored, given=anchor is not None)
        return _Run(made, outside, beside, first, last).go(progress)


def _check_at_home(connection: psycopg.Connection[Any]) -> None:
    """See that the transactions of the log are this cluster's."""
    if (connection.execute(QUERIES["is_moved"]).fetchone() or (False,))[0]:
        raise errors.HeldBack(
            "The database was restored from a dump, and Rowcall was not told: run rowcall migrate, then verify."
        )


@dataclass(frozen=True, slots=True)
class _Outside:
    """What is kept outside the database.

    :ivar anchored: heads by the numbers of seals; ``given``: whether there is an anchor.
    """

    public_keys: Sequence[Verifier]
    anchored: dict[int, set[str]]
    given: bool


def _made(connection: psycopg.Connection[Any], first: int) -> Verification:
    [installation, *_] = connection.execute(QUERIES["moment"]).fetchone() or ("",)
    records = Records(erasures.erasures(connection))
    return Verification(connection, installation, Report(), records, Catalog.sealed(connection, first - 1))


class _Run:
    """One run over some seals."""

    def __init__(
        self, made: Verification, outside: _Outside, beside: Archives | None, first: int, last: int | None
    ) -> None:
        self._connection = made.connection
        self._report = made.report
        self._records = made.records
        self._catalog = made.catalog
        self._installation = made.installation
        self._outside = outside
        self._first = first
        self._last = last
        self._archive = None if beside is None else ArchiveComparison(made, beside)
        self._events = Comparison(made, self._archive, self._highest())
        self._links = Links(made, outside.public_keys, dict(outside.anchored))

    def _highest(self) -> tuple[int, int]:
        """The highest place in the log that earlier seals are of, and the transaction of the last of these."""
        before = self._before()
        return int(self._one("highest", last=self._first - 1)[0] or 0), 0 if before is None else before.xid

    def _one(self, query: str, **parameters: Any) -> tuple[Any, ...]:
        row = self._connection.execute(QUERIES[query], parameters).fetchone()
        assert row is not None
        return tuple(row)

    def go(self, progress: Progress | None) -> Report:
        """All of it."""
        total = self._count()
        for wrong in self._records.wrong(self._installation):
            self._report.find("erasure", None, None, f"{wrong[0].upper()}{wrong[1:]}.")
        before = self._before()
        for current in seal.seals(self._connection, self._first, self._last):
            self._check_catalog(current)
            self._links.check(current, before, self._first if before is None else before.number + 1)
            if current.is_restored and current.events:
                self._report.unproven.append(
                    f"{counted(current.events, 'event')} came with a dump, and was sealed only when that had been restored, by seal"
                    f" {current.number}."
                )
            self._events.check(current, before)
            self._report.seals += 1
            self._report.events += current.events
            if progress is not None:
                progress(self._report.events, total)
            before = current
        self._report.newest = before
        self._finish_archive()
        if before is not None:
            self._check_end(before)
        else:
            self._check_nothing(self._links.anchored)
        self._say_what_is_not_proven(before)
        return self._report

    def _count(self) -> int:
        highest, events = self._one("seal_count", first=self._first, last=self._last)
        wanted = max(self._first, self._last or 1)
        if wanted > 1 and wanted > (highest or 0):
            raise errors.UsageError(f"There is no seal {wanted}: rowcall audit seals lists them.")
        return int(events)

    def _before(self) -> Seal | None:
        """The seal before the first one to look at."""
        return next(iter(list(seal.seals(self._connection, self._first - 1, self._first - 1))), None)

    def _check_catalog(self, current: Seal) -> None:
        if current.catalog is None:
            return
        layouts, names = dict(self._catalog.layouts), dict(self._catalog.relations)
        self._catalog.add(current.catalog)
        for (relation, since), layout in layouts.items():
            if self._catalog.layouts[relation, since] != layout:
                said = f"The layout of {self._catalog.name(relation)} since seq {since} was altered before seal {current.number}."
                self._report.find("catalog", current.number, None, said)
        for one in names.values():
            if self._catalog.relations[one.id] != one:
                said = f"{one.schema}.{one.table} is called {self._catalog.name(one.id)} since seal {current.number}."
                self._report.unproven.append(said)
        added = self._catalog.layouts.keys() - layouts.keys()
        self._check_layouts(self._catalog, added, current.sealed_at, current.number)

    def _check_layouts(self, catalog: Catalog, added: Iterable[tuple[int, int]], at: int, number: int | None) -> None:
        """Whether layouts were there when the events were sealed that are said to be of them.

        :param at: when they were there, in microseconds since 1970; ``number``: the seal that was made then.
        """
        for relation, since in sorted(added):
            if since >= self._events.reached:
                continue
            parameters = {
                "relation": relation,
                "since": since,
                "reached": self._events.reached,
                "before": at - _SETTLED,
            }
            [seq] = self._connection.execute(QUERIES["layout_use"], parameters).fetchone() or (None,)
            if seq is not None:
                said = (
                    f"The layout of {catalog.name(relation)} since seq {since} was put there when event {seq} had been sealed,"
                    " which would be of it."
                )
                self._report.find("catalog", number, None, said)

    def _finish_archive(self) -> None:
        if self._archive is not None:
            self._archive.finish(complete=self._is_complete)
        elif self._report.pruned:
            for one in self._records.prunes():
                said = (
                    f"What {one.erased_by} dropped from the log as retention, {counted(one.events, 'event')} at"
                    f" {seal.moment(one.at):%F %T} UTC, seq {one.first} to {one.last}: --archive DIR verifies it."
                )
                self._report.unproven.append(said)

    @property
    def _is_complete(self) -> bool:
        """Whether all seals are looked at."""
        return self._first == 1 and self._last is None

    def _check_end(self, newest: Seal) -> None:
        """What no seal shows: events that none covers, names, and seals that are gone."""
        self._check_unaccounted(newest)
        if self._last is not None:
            return
        if self._is_complete:
            self._events.check_stand_ins()
        for number in sorted(number for number in self._links.anchored if number > newest.number)[:1]:
            said = f"Seal {number} was anchored and is gone: the log was cut off after seal {newest.number}."
            self._report.find("anchor", number, None, said)
        present = Catalog.present(self._connection)
        for wrong in present.differences(self._catalog):
            self._report.find("catalog", None, None, f"{wrong[0].upper()}{wrong[1:]}.")
        now = self._one("moment")[-1]
        self._check_layouts(present, present.layouts.keys() - self._catalog.layouts.keys(), now, None)
        self._check_places()
        if self._outside.public_keys and self._links.signed != newest.number:
            said = f"The newest seal, {newest.number}, is not signed with a key given."
            self._report.find("signature", newest.number, None, said)

    def _check_places(self) -> None:
        for seq, partition in self._connection.execute(QUERIES["misplaced"], {"limit": MOST}):
            said = f"Event {seq} is in {partition}, which is of another time: questions about its time do not find it."
            self._report.find("reordered", None, seq, said)

    def _check_nothing(self, anchored: Mapping[int, set[str]]) -> None:
        if anchored:
            self._report.find("anchor", min(anchored), None, "There are no seals in the database, but there were.")

    def _check_unaccounted(self, newest: Seal) -> None:
        _, epoch, floor, *_ = self._one("moment")
        here = newest.epoch == epoch
        under_way = here and newest.is_restored and not newest.complete
        snapshot = newest.upper if newest.complete else newest.lower
        parameters = reading.unseen(snapshot if here and not under_way else seal.NOTHING_SEEN) | {
            "upper": None if newest.complete or newest.is_restored or not here else newest.upper,
            "last_seq": newest.last_seq or 0,
            "floor": floor,
            "restored_until": (newest.last_seq if under_way else floor) if here else 0,
            "limit": MOST,
        }
        # This one reads all of the log.
        self._connection.execute("set local enable_seqscan = on")
        for seq, xid, table, operation in self._connection.execute(QUERIES["unaccounted"], parameters):
            said = f"Event {seq} was put into the log after its time: {operation} of {table} in transaction {xid}."
            self._report.find("added", None, seq, said)

    def _say_what_is_not_proven(self, newest: Seal | None) -> None:
        say = self._report.unproven.append
        if newest is None:
            say("Nothing is sealed yet: rowcall listen seals the log.")
            return
        if not self._is_complete:
            say(f"Only seals {self._first} to {newest.number} were looked at.")
        if not self._outside.public_keys and not self._outside.given:
            say(
                "Whoever owns the log can write all of it anew, with its seals: only an anchor or signatures show that,"
                " with --anchor or --public-key."
            )
        elif not self._outside.given:
            say(f"Whether newer seals were cut off after seal {newest.number}: an anchor would show that.")
        self._say_what_nobody_vouches_for(newest)
        if self._last is None:
            self._say_what_is_to_come(newest)

    def _say_what_nobody_vouches_for(self, newest: Seal) -> None:
        """Seals after the last one that is signed or anchored: those before it are chained to it."""
        say = self._report.unproven.append
        if newest.number in (self._links.signed, self._links.seen):
            return
        if self._outside.given:
            last = self._links.seen
            say(
                "None of the seals is in the anchor."
                if last is None
                else f"Seals after {last} are not in the anchor yet."
            )
        if self._outside.public_keys and self._last is not None:
            last = self._links.signed or self._first - 1
            say(f"No seal from {last + 1} to {newest.number} is signed with a key given.")

    def _say_what_is_to_come(self, newest: Seal) -> None:
        say = self._report.unproven.append
        if self._one("unsealed", limit=1)[0]:
            say("Events that are committed and not sealed yet: rowcall status says how many.")
        for renamed in Catalog.present(self._connection).renamed(self._catalog):
            say(f"Since the last seal: {renamed}.")
        if len(self._records) > newest.erasures:
            say("Erasures since the last seal.")
