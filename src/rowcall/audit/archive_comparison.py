"""The events of archives, compared with the leaves of their seals."""

from __future__ import annotations

from rowcall.audit import archives, erasures, reading
from rowcall.audit.archives import Archives
from rowcall.audit.canonical import Row
from rowcall.audit.leaves import Leaves, clusters, described, operation
from rowcall.audit.seal import Seal
from rowcall.audit.verification import Verification


class ArchiveComparison:
    """Compares seal after seal."""

    def __init__(self, verification: Verification, beside: Archives) -> None:
        self._connection = verification.connection
        self._report = verification.report
        self._records = verification.records
        self._catalog = verification.catalog
        self._archives = beside
        # By file, what stands for other events in those of what an earlier prune had kept.
        self._stand_ins: dict[int, dict[int, bytes]] = {}
        self._not_archived = 0
        for wrong in beside.wrong:
            self._report.find("archive", None, None, wrong)

    def compare(self, current: Seal, leaves: Leaves) -> set[int]:
        """The archived events of a seal that are as they were sealed, or said to be altered."""
        seen: set[int] = set()
        if not self._archives.files:
            return seen
        for first, last in clusters(leaves.position):
            parameters = {"first": first, "last": last, "erasable": self._catalog.erasing}
            for *values, number in reading.stream(self._connection, reading.rendered("archived"), parameters):
                row = Row._make(values)
                index = leaves.position.get(row.seq)
                if index is None:
                    continue
                if leaves.matches(row, index):
                    seen.add(row.seq)
                elif self._may_be_stand_in(row, number):
                    self._stand_ins.setdefault(number, {})[row.seq] = erasures.stand_in_leaf(row, self._catalog)
                else:
                    seen.add(row.seq)
                    self._note_altered(current, row, number)
        return seen

    def _may_be_stand_in(self, row: Row, number: int) -> bool:
        """Whether an archived event may stand for another: in a file of what an earlier prune had kept."""
        kept = self._archives.files[number].manifest.partition == "event_first"
        return kept and operation(row) in ("snapshot", "delete") and self._records.drop(row.seq)

    def _note_altered(self, current: Seal, row: Row, number: int) -> None:
        name = self._archives.files[number].path.name
        what = described(row, self._catalog)
        said = f"Event {row.seq} in {name} was altered since it was sealed at {current.at:%F %T} UTC: {what}."
        self._report.find("altered", current.number, row.seq, said)

    def note_missing(self, current: Seal, seq: int) -> None:
        """Say that an event that retention dropped is not there."""
        if self._archives.is_unread(seq):
            return
        files = (one.manifest for one in self._archives.files)
        inside = any((one.first_seq or 0) <= seq <= (one.last_seq or 0) for one in files)
        if self._archives.unarchived and not inside:
            self._not_archived += 1
            return
        said = f"Event {seq} is missing in the archive: it was there when it was sealed at {current.at:%F %T} UTC."
        self._report.find("missing", current.number, seq, said)

    def finish(self, *, complete: bool) -> None:
        """What no seal shows: stand-ins, and events that none covers.

        :param complete: whether all seals were compared.
        """
        if self._not_archived:
            said = f"{self._not_archived:,} events that retention dropped: they are in no archive."
            self._report.unproven.append(said)
        if complete:
            self._check_stand_ins()
            self._check_unsealed()

    def _check_stand_ins(self) -> None:
        known = self._records.all_stand_ins()
        for number, stand_ins in self._stand_ins.items():
            root = erasures.STAND_INS + erasures.stand_in_root(stand_ins).hex()
            if root not in known and not self._records.forgo(stand_ins):
                name = self._archives.files[number].path.name
                said = f"What stands for dropped events of tables without a key was altered in {name}."
                self._report.find("altered", None, None, said)

    def _check_unsealed(self) -> None:
        [since] = self._connection.execute(archives.QUERIES["sealed_since"]).fetchone() or (None,)
        before = 0
        for seq, number in self._connection.execute(archives.QUERIES["unsealed"]):
            file = self._archives.files[number]
            if since is not None and file.dropped_at is not None and file.dropped_at > since:
                said = f"Event {seq} in {file.path.name} is in no seal: it was put there afterwards."
                self._report.find("added", None, seq, said)
            else:
                before += 1
        if before:
            self._report.unproven.append(f"{before:,} archived events that were dropped before the log was sealed.")
