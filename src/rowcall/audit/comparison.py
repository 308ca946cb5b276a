"""The events of the log, compared with the leaves of their seals."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from rowcall.audit import erasures, reading, seal
from rowcall.audit.archive_comparison import ArchiveComparison
from rowcall.audit.canonical import WHOLE, Row
from rowcall.audit.findings import Kind
from rowcall.audit.leaves import PAIRS, Leaves, clusters, described, operation
from rowcall.audit.links import CLOCK_STEP
from rowcall.audit.reading import QUERIES
from rowcall.audit.seal import Seal
from rowcall.audit.verification import Verification


@dataclass(frozen=True, slots=True)
class _StandIn:
    """What is in the place of an event that retention dropped, in whose seal that was."""

    seal: int
    relation: int
    operation: str
    description: str
    leaf: bytes


class Comparison:
    """Compares seal after seal.

    :param reached: the highest place in the log that seals before the first one are of, and the transaction of the last of these.
    """

    def __init__(self, verification: Verification, archive: ArchiveComparison | None, reached: tuple[int, int]) -> None:
        self._connection = verification.connection
        self._report = verification.report
        self._records = verification.records
        self._catalog = verification.catalog
        self._archive = archive
        self._stand_ins: dict[int, _StandIn] = {}
        # The highest seq of the windows that are finished, and of the one that is read.
        self._reached = self._reaching = reached[0]
        # When the last window was finished, transactions after this one had not begun, and what they do comes after.
        self._newest_xid = reached[1]
        self._window_xid: int | None = None
        self._clock = 0

    @property
    def reached(self) -> int:
        """The highest place in the log that was compared."""
        return self._reaching

    def check(self, current: Seal, before: Seal | None) -> None:
        """Whether the events of a seal are those that it was made of."""
        row = self._connection.execute(QUERIES["leaves"], {"seal": current.number}).fetchone()
        assert row is not None
        seqs, hashes, salts = row
        if not current.is_over(seqs, hashes):
            said = f"The leaves of seal {current.number} are not those it was made of: they, or its root, were altered."
            self._report.find("seal", current.number, None, said)
            if not seqs or hashes is None or len(hashes) != 32 * len(seqs):
                return
        if before is not None and (before.complete or before.epoch != current.epoch):
            self._reached = self._reaching
            self._newest_xid = self._window_xid or before.xid
            self._window_xid = None
        self._window_xid = self._window_xid or current.xid
        if seqs:
            self._reaching = max(self._reaching, seqs[-1])
            gone = erasures.erased_between(self._connection, seqs[0], seqs[-1])
            self._compare(current, Leaves(seqs, hashes, salts, gone, self._catalog))

    def _compare(self, current: Seal, leaves: Leaves) -> None:
        self._check_erased(current, leaves)
        odd: list[Row] = []
        ats: list[tuple[int, int]] = []
        late = not current.is_restored and leaves.first <= self._reached
        for first, last in clusters(leaves.position):
            parameters = {"first": first, "last": last, "erasable": self._catalog.erasing}
            for values in reading.stream(self._connection, reading.rendered("range"), parameters):
                row = Row._make(values)
                index = leaves.position.get(row.seq)
                if index is None:
                    continue
                if leaves.found[index] or not leaves.matches(row, index):
                    odd.append(row)
                    continue
                leaves.found[index] = 1
                if row.at is not None:
                    ats.append((row.seq, row.at))
                if late and row.seq <= self._reached and row.xid > self._newest_xid:
                    self._note_backdated(current, row)
        archived = set() if self._archive is None else self._archive.compare(current, leaves)
        said = self._odd(current, leaves, odd)
        self._note(current, said | self._missing(current, leaves, said.keys(), archived))
        self._check_clock(current, ats)

    def _check_erased(self, current: Seal, leaves: Leaves) -> None:
        for seq, paths in leaves.erased.items():
            if seq not in leaves.position:
                continue
            if WHOLE in paths:
                self._report.forgone += 1
            else:
                self._report.erased += 1
            for path, one in paths.items():
                if one.commitment is not None and not self._records.allow(seq, path, one.erasure):
                    said = f"{path} of event {seq} was erased without a record of that."
                    self._report.find("erasure", current.number, seq, said)

    def _note_backdated(self, current: Seal, row: Row) -> None:
        said = f"Event {row.seq} was put into the log by a transaction that began after later events were sealed."
        self._report.find("added", current.number, row.seq, said)

    def _odd(self, current: Seal, leaves: Leaves, odd: list[Row]) -> dict[int, tuple[Kind, str]]:
        """What there is to say of events that were read and are no leaf's."""
        said: dict[int, tuple[Kind, str]] = {}
        for row in odd:
            index = leaves.position[row.seq]
            what = described(row, self._catalog)
            if not leaves.found[index] and row.seq not in self._stand_ins and self._records.drop(row.seq):
                leaf = erasures.stand_in_leaf(row, self._catalog)
                self._stand_ins[row.seq] = _StandIn(current.number, row.relation, operation(row), what, leaf)
            elif leaves.found[index] or row.seq in self._stand_ins:
                said[row.seq] = "added", f"A second event {row.seq} was put into the log: {what}."
            else:
                altered = f"Event {row.seq} was altered since it was sealed at {current.at:%F %T} UTC: {what}."
                said[row.seq] = "altered", altered
        for row in [row for row in odd if row.seq in said][:PAIRS]:
            other = leaves.place_of(row)
            if other is not None:
                moved = f"Event {row.seq} was sealed as event {other}: it was put in another place."
                said[row.seq] = "reordered", moved
        return said

    def _missing(
        self, current: Seal, leaves: Leaves, odd: Container[int], archived: set[int]
    ) -> dict[int, tuple[Kind, str]]:
        """What there is to say of leaves whose event was not read."""
        said: dict[int, tuple[Kind, str]] = {}
        for seq, index in leaves.position.items():
            if leaves.found[index] or seq in odd:
                continue
            if self._records.drop(seq):
                self._report.pruned += 1
                self._report.archived += seq in archived
                if self._archive is not None and seq not in archived:
                    self._archive.note_missing(current, seq)
            else:
                missing = f"Event {seq} is missing: it was there when it was sealed at {current.at:%F %T} UTC."
                said[seq] = "missing", missing
        return said

    def _note(self, current: Seal, said: dict[int, tuple[Kind, str]]) -> None:
        for seq in sorted(said):
            kind, sentence = said[seq]
            self._report.find(kind, current.number, seq, sentence)

    def _check_clock(self, current: Seal, ats: list[tuple[int, int]]) -> None:
        """Whether the time goes on as the places in the log do."""
        # Those of transactions that took long come later than their places say.
        ats = sorted(one for one in ats if one[0] > self._reached)
        for seq, at in ats:
            if at > current.sealed_at + CLOCK_STEP:
                said = f"Event {seq} was made at {seal.moment(at):%F %T} UTC, after it was sealed: the clock went back."
                self._report.find("clock", current.number, seq, said)
                return
        for seq, at in ats:
            if at < self._clock - CLOCK_STEP:
                said = f"Event {seq} was made at {seal.moment(at):%F %T} UTC, before the events before it: the clock went back."
                self._report.find("clock", current.number, seq, said)
                self._clock = at
                return
            self._clock = max(self._clock, at)

    def check_stand_ins(self) -> None:
        """Whether what stands for dropped events is what the newest prune left."""
        leaves = {}
        for seq, one in sorted(self._stand_ins.items()):
            if one.operation in ("snapshot", "delete") and self._catalog.is_ever_keyless(one.relation):
                leaves[seq] = one.leaf
            else:
                said = f"Event {seq}, which retention dropped, is in the log as another one: {one.description}."
                self._report.find("altered", one.seal, seq, said)
        kept = [erasures.STAND_INS + erasures.stand_in_root(leaves).hex()] if leaves else []
        if self._records.stand_ins() == kept:
            return
        if self._records.forgo(leaves):
            self._report.unproven.append("The rows that stand for dropped events: something of them was erased since.")
            return
        said = "What stands for dropped events of tables without a key was altered: it is not what rowcall prune left."
        self._report.find("altered", None, None, said)
