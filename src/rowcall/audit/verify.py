"""Recomputing the seals: whether the log is what it was when it was sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import psycopg

from rowcall import errors
from rowcall.audit import anchor_file, archives, erasures, merkle, reading, seal
from rowcall.audit.archives import Archives
from rowcall.audit.canonical import NOTHING_ERASED, SALT, WHOLE, Erasures, Row, canonical
from rowcall.audit.catalog import Catalog
from rowcall.audit.erasures import Erasure, Ranges
from rowcall.audit.prune import check_whole
from rowcall.audit.reading import QUERIES
from rowcall.audit.seal import NOTHING_BEFORE, Seal
from rowcall.audit.signing import Verifier

Kind = Literal[
    "altered",
    "missing",
    "added",
    "reordered",
    "seal",
    "chain",
    "signature",
    "anchor",
    "clock",
    "catalog",
    "erasure",
    "archive",
]

#: So many findings are listed; what is wrong with one event is often wrong with many.
MOST = 100
#: Places in the log that are further apart are read by themselves.
_GAP = 1000
#: A clock that is set back by so many microseconds is worth a finding; less is what a time server may do.
CLOCK_STEP = 60_000_000
#: Most events between which exchanged places are looked for.
_PAIRS = 200

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was sealed.

    :ivar seal: the seal that shows it, None if none does.
    :ivar seq: the event it is about, None where it is about none, or about more than are known.
    """

    kind: Kind
    seal: int | None
    seq: int | None
    finding: str


@dataclass(slots=True)
class Report:
    """What verifying came to.

    :ivar findings: in the order of the seals, at most :data:`MOST`.
    :ivar unproven: what remains possible all the same, in sentences.
    :ivar pruned: events that retention dropped, on record; ``archived``: those of them that were found in the archive, as they were.
    :ivar erased: events of which something is erased, on record.
    """

    seals: int = 0
    events: int = 0
    findings: list[Finding] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    pruned: int = 0
    archived: int = 0
    erased: int = 0
    newest: Seal | None = None

    def find(self, kind: Kind, number: int | None, seq: int | None, finding: str) -> None:
        """Note something that is wrong."""
        if len(self.findings) < MOST:
            self.findings.append(Finding(kind, number, seq, finding))


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
    with ExitStack() as stack:
        beside = None
        if archive is not None:
            places = connection.execute(archives.QUERIES["places"], {"first": first, "last": last}).fetchone()
            beside = stack.enter_context(archives.loaded(connection, archive, *(places or (None, None))))
        stack.enter_context(connection.transaction())
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute(QUERIES["planning"])
        check_whole(connection)
        return _Verification(connection, public_keys, anchor, beside, progress).run(first, last)


class _Verification:
    """One run, all of it in one snapshot."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        public_keys: Sequence[Verifier],
        anchor: Path | None,
        beside: Archives | None,
        progress: Progress | None,
    ) -> None:
        self._connection = connection
        self._keys = {key.key_id: key for key in public_keys}
        self._anchor = anchor
        self._archives = beside
        # Events that are not as they were sealed in files of what an earlier prune had kept.
        self._archived_odd: dict[int, dict[int, bytes]] = {}
        self._not_archived = 0
        self._progress = progress
        self._report = Report()
        self._moment = self._one("moment")
        self._installation: str = self._moment[0]
        self._catalog = Catalog()
        self._records: list[Erasure] = erasures.erasures(connection)
        self._ranges = [Ranges.parse(record.seqs) for record in self._records]
        self._pruned = [
            ranges for ranges, record in zip(self._ranges, self._records, strict=True) if record.kind == "prune"
        ]
        self._stand_ins: dict[int, bytes] = {}
        # The highest seq of the windows that are finished, and of the one that is read: events of later transactions come after.
        self._reached = self._reaching = 0
        self._clock = 0
        self._signed: int | None = None

    def _one(self, query: str, **parameters: Any) -> tuple[Any, ...]:
        row = self._connection.execute(QUERIES[query], parameters).fetchone()
        assert row is not None
        return tuple(row)

    def run(self, first: int, last: int | None) -> Report:
        """All of it."""
        anchored = {} if self._anchor is None else {line.seal: line.head for line in anchor_file.read(self._anchor)}
        total = self._count(first, last)
        before = self._before(first)
        self._check_records()
        for wrong in self._archives.wrong if self._archives is not None else ():
            self._report.find("archive", None, None, wrong)
        done = 0
        for current in seal.seals(self._connection, first, last):
            self._check_chain(current, before, first)
            self._check_outside(current, anchored)
            self._check_catalog(current)
            self._check_events(current, before)
            self._report.seals += 1
            self._report.events += current.events
            done += current.events
            if self._progress is not None:
                self._progress(done, total)
            before = current
        self._report.newest = before
        self._check_archives(first == 1 and last is None)
        if before is not None:
            self._check_end(before, first, last, anchored)
        else:
            self._check_nothing(anchored)
        self._say_what_is_not_proven(before, first, last, anchored)
        return self._report

    def _count(self, first: int, last: int | None) -> int:
        highest, events = self._one("seal_count", first=first, last=last)
        wanted = max(first, last or 1)
        if wanted > 1 and wanted > (highest or 0):
            raise errors.UsageError(f"There is no seal {wanted}: rowcall audit seals lists them.")
        return int(events)

    def _before(self, first: int) -> Seal | None:
        """The seal before the first one to look at, and what all of them up to it say."""
        if first <= 1:
            return None
        self._catalog = Catalog.sealed(self._connection, first - 1)
        found = list(seal.seals(self._connection, first - 1, first - 1))
        self._reached = self._reaching = int(self._one("highest", last=first - 1)[0] or 0)
        return found[0] if found else None

    def _check_records(self) -> None:
        for wrong in erasures.check_chain(self._records, self._installation):
            self._report.find("erasure", None, None, f"{wrong[0].upper()}{wrong[1:]}.")

    def _check_chain(self, current: Seal, before: Seal | None, first: int) -> None:
        find, number = self._report.find, current.number
        expected = first if before is None else before.number + 1
        if number != expected:
            find("chain", expected, None, f"Seal {expected} is missing: after the one before it comes seal {number}.")
        elif current.previous != (NOTHING_BEFORE if before is None else before.head):
            find("chain", number, None, f"Seal {number} is not chained to the one before it: one of them was altered.")
        if sha256(current.text(self._installation)).digest() != current.head:
            find("seal", number, None, f"Seal {number} is not as it was made: its head is of something else.")
        if before is not None and current.sealed_at < before.sealed_at - CLOCK_STEP:
            said = (
                f"Seal {number} was made at {current.at:%F %T} UTC, before seal {before.number}: the clock went back."
            )
            find("clock", number, None, said)
        if not _goes_on(current, before):
            find(
                "chain",
                number,
                None,
                f"Seal {number} does not begin where the one before it ends: events are left out.",
            )
        if not self._has_record(current):
            find("erasure", number, None, f"The erasures that seal {number} knows of are not those on record.")

    def _has_record(self, current: Seal) -> bool:
        if current.erasures == 0:
            return current.erasure_head == NOTHING_BEFORE
        return (
            current.erasures <= len(self._records) and self._records[current.erasures - 1].head == current.erasure_head
        )

    def _check_outside(self, current: Seal, anchored: dict[int, str]) -> None:
        find, number = self._report.find, current.number
        head = anchored.pop(number, None)
        if head is not None and head != current.head.hex():
            find("anchor", number, None, f"Seal {number} is not the one that was anchored: it was made anew.")
        key = self._keys.get(current.key_id or "")
        if key is not None and (current.signature is None or not key.accepts(current.head, current.signature)):
            find("signature", number, None, f"The signature of seal {number} is not one of key {current.key_id}.")
        elif key is not None:
            self._signed = number

    def _check_catalog(self, current: Seal) -> None:
        if current.catalog is None:
            return
        known = dict(self._catalog.layouts)
        self._catalog.add(current.catalog)
        for (relation, since), layout in known.items():
            if self._catalog.layouts[relation, since] != layout:
                said = f"The layout of {self._catalog.name(relation)} since seq {since} was altered before seal {current.number}."
                self._report.find("catalog", current.number, None, said)

    def _check_events(self, current: Seal, before: Seal | None) -> None:
        seqs, hashes, salts = self._one("leaves", seal=current.number)
        if not _are_leaves(current, seqs, hashes):
            said = f"The leaves of seal {current.number} are not those it was made of: they, or its root, were altered."
            self._report.find("seal", current.number, None, said)
            if not seqs or len(hashes) != 32 * len(seqs):
                return
        if before is not None and (before.complete or before.epoch != current.epoch):
            self._reached = self._reaching
        if seqs:
            self._reaching = max(self._reaching, seqs[-1])
            self._compare(current, seqs, hashes, salts)

    def _compare(self, current: Seal, seqs: Sequence[int], hashes: bytes, salts: bytes | None) -> None:
        """The events of a seal with its leaves."""
        gone = erasures.erased_between(self._connection, seqs[0], seqs[-1])
        leaves = _Leaves(seqs, hashes, salts, gone, self._catalog)
        self._check_erased(current, leaves)
        odd: list[Row] = []
        ats: list[tuple[int, int]] = []
        newer = reading.unseen(current.lower)["xmax"] if not current.is_restored and seqs[0] <= self._reached else None
        for first, last in _clusters(seqs):
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
                if newer is not None and row.seq <= self._reached and row.xid >= int(newer):
                    self._note_backdated(current, row)
        archived = self._compare_archived(current, leaves, seqs)
        self._note_odd(current, leaves, odd, archived)
        self._check_clock(current, ats)

    def _compare_archived(self, current: Seal, leaves: _Leaves, seqs: Sequence[int]) -> set[int]:
        """The archived events of a seal with its leaves: those that are as they were sealed, or said to be altered."""
        seen: set[int] = set()
        if self._archives is None or not self._archives.files:
            return seen
        for first, last in _clusters(seqs):
            parameters = {"first": first, "last": last, "erasable": self._catalog.erasing}
            for *values, number in reading.stream(self._connection, reading.rendered("archived"), parameters):
                row = Row._make(values)
                index = leaves.position.get(row.seq)
                if index is None:
                    continue
                if leaves.matches(row, index):
                    seen.add(row.seq)
                elif self._may_be_stand_in(row, number):
                    self._archived_odd.setdefault(number, {})[row.seq] = erasures.stand_in_leaf(row, self._catalog)
                else:
                    seen.add(row.seq)
                    name = self._archives.files[number].path.name
                    said = f"Event {row.seq} in {name} was altered since it was sealed at {current.at:%F %T} UTC: {self._describe(row)}."
                    self._report.find("altered", current.number, row.seq, said)
        return seen

    def _may_be_stand_in(self, row: Row, number: int) -> bool:
        """Whether an archived event may stand for another: in a file of what an earlier prune had kept."""
        assert self._archives is not None
        kept = self._archives.files[number].manifest.partition == "event_first"
        return kept and _operation(row) in ("snapshot", "delete") and self._is_pruned(row.seq)

    def _check_archives(self, complete: bool) -> None:
        """What no seal shows of the archives: stand-ins, and events that none covers."""
        if self._archives is None:
            if self._report.pruned:
                self._report.unproven.append("What retention dropped was not looked at: --archive DIR verifies it.")
            return
        if self._not_archived:
            said = f"{self._not_archived:,} events that retention dropped: they are in no archive."
            self._report.unproven.append(said)
        if not complete:
            return
        known = {path for record in self._records if record.kind == "prune" for path in record.paths}
        for number, stand_ins in self._archived_odd.items():
            if erasures.STAND_INS + erasures.stand_in_root(stand_ins).hex() not in known and not self._is_forgone(
                stand_ins
            ):
                name = self._archives.files[number].path.name
                said = f"What stands for dropped events of tables without a key was altered in {name}."
                self._report.find("altered", None, None, said)
        self._check_unsealed_archived(self._archives)

    def _check_unsealed_archived(self, beside: Archives) -> None:
        [since] = self._connection.execute(archives.QUERIES["sealed_since"]).fetchone() or (None,)
        before = 0
        for seq, number in self._connection.execute(archives.QUERIES["unsealed"]):
            file = beside.files[number]
            if since is not None and file.dropped_at is not None and file.dropped_at > since:
                said = f"Event {seq} in {file.path.name} is in no seal: it was put there afterwards."
                self._report.find("added", None, seq, said)
            else:
                before += 1
        if before:
            self._report.unproven.append(f"{before:,} archived events that were dropped before the log was sealed.")

    def _is_forgone(self, seqs: Iterable[int]) -> bool:
        """Whether the proof of one of these events was given up."""
        forgone = [ranges for ranges, one in zip(self._ranges, self._records, strict=True) if one.kind == "forgo"]
        return any(seq in ranges for ranges in forgone for seq in seqs)

    def _check_erased(self, current: Seal, leaves: _Leaves) -> None:
        for seq, paths in leaves.erased.items():
            if seq not in leaves.position:
                continue
            self._report.erased += 1
            for path, one in paths.items():
                if one.commitment is not None and not self._is_on_record(seq, path, one.erasure):
                    said = f"{path} of event {seq} was erased without a record of that."
                    self._report.find("erasure", current.number, seq, said)

    def _is_on_record(self, seq: int, path: str, erasure: int) -> bool:
        if not 0 < erasure <= len(self._records) or seq not in self._ranges[erasure - 1]:
            return False
        record = self._records[erasure - 1]
        return record.kind == "forgo" if path == WHOLE else path in record.paths

    def _note_backdated(self, current: Seal, row: Row) -> None:
        if _operation(row) in ("snapshot", "truncate"):
            return  # these draw their place before their transaction has a number
        said = f"Event {row.seq} was put into the log by a transaction that began after later events were sealed."
        self._report.find("added", current.number, row.seq, said)

    def _note_odd(self, current: Seal, leaves: _Leaves, odd: list[Row], archived: set[int]) -> None:
        """What was read and is no leaf's event, and the leaves whose event was not read."""
        find, number = self._report.find, current.number
        said: dict[int, tuple[Kind, str]] = {}
        for row in odd:
            index = leaves.position[row.seq]
            what = self._describe(row)
            if not leaves.found[index] and row.seq not in self._stand_ins and self._is_pruned(row.seq):
                self._stand_ins[row.seq] = erasures.stand_in_leaf(row, self._catalog)
            elif leaves.found[index] or row.seq in self._stand_ins:
                said[row.seq] = "added", f"A second event {row.seq} was put into the log: {what}."
            else:
                said[row.seq] = (
                    "altered",
                    f"Event {row.seq} was altered since it was sealed at {current.at:%F %T} UTC: {what}.",
                )
        for row in [row for row in odd if row.seq in said][:_PAIRS]:
            other = leaves.place_of(row)
            if other is not None:
                said[row.seq] = (
                    "reordered",
                    f"Event {row.seq} was sealed as event {other}: it was put in another place.",
                )
        for seq, index in leaves.position.items():
            if leaves.found[index] or seq in said:
                continue
            if self._is_pruned(seq):
                self._report.pruned += 1
                self._report.archived += seq in archived
                if self._archives is not None and seq not in archived:
                    self._note_not_archived(self._archives, current, seq)
            else:
                said[seq] = (
                    "missing",
                    f"Event {seq} is missing: it was there when it was sealed at {current.at:%F %T} UTC.",
                )
        for seq in sorted(said):
            kind, sentence = said[seq]
            find(kind, number, seq, sentence)

    def _note_not_archived(self, beside: Archives, current: Seal, seq: int) -> None:
        if beside.is_unread(seq):
            return
        inside = any((one.manifest.first_seq or 0) <= seq <= (one.manifest.last_seq or 0) for one in beside.files)
        if beside.unarchived and not inside:
            self._not_archived += 1
            return
        said = f"Event {seq} is missing in the archive: it was there when it was sealed at {current.at:%F %T} UTC."
        self._report.find("missing", current.number, seq, said)

    def _is_pruned(self, seq: int) -> bool:
        """Whether retention dropped an event, on record. Something may stand for it."""
        return any(seq in ranges for ranges in self._pruned)

    def _check_stand_ins(self) -> None:
        """Whether what stands for dropped events is what the newest prune left."""
        newest = next((record for record in reversed(self._records) if record.kind == "prune"), None)
        paths = newest.paths if newest is not None else []
        kept = [erasures.STAND_INS + erasures.stand_in_root(self._stand_ins).hex()] if self._stand_ins else []
        if list(paths) == kept:
            return
        if self._is_forgone(self._stand_ins):
            self._report.unproven.append("The rows that stand for dropped events: something of them was erased since.")
            return
        said = "What stands for dropped events of tables without a key was altered: it is not what rowcall prune left."
        self._report.find("altered", None, None, said)

    def _describe(self, row: Row) -> str:
        """An event in short."""
        return f"{_operation(row)} of {self._catalog.name(row.relation)} in transaction {row.xid}"

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

    def _check_end(self, newest: Seal, first: int, last: int | None, anchored: dict[int, str]) -> None:
        """What no seal shows: events that none covers, names, and seals that are gone."""
        self._check_unaccounted(newest)
        if last is not None:
            return
        if first == 1:
            self._check_stand_ins()
        for number in sorted(number for number in anchored if number > newest.number):
            said = f"Seal {number} was anchored and is gone: the log was cut off after seal {newest.number}."
            self._report.find("anchor", number, None, said)
            break
        for wrong in Catalog.present(self._connection).differences(self._catalog):
            self._report.find("catalog", None, None, f"{wrong[0].upper()}{wrong[1:]}.")
        if self._keys and self._signed != newest.number:
            said = f"The newest seal, {newest.number}, is not signed with a key given."
            self._report.find("signature", newest.number, None, said)

    def _check_nothing(self, anchored: dict[int, str]) -> None:
        if anchored:
            self._report.find("anchor", min(anchored), None, "There are no seals in the database, but there were.")

    def _check_unaccounted(self, newest: Seal) -> None:
        floor = self._moment[2]
        here = newest.epoch == self._moment[1]
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

    def _say_what_is_not_proven(
        self, newest: Seal | None, first: int, last: int | None, anchored: Mapping[int, str]
    ) -> None:
        say = self._report.unproven.append
        if newest is None:
            say("Nothing is sealed yet: rowcall listen seals the log.")
            return
        if first > 1 or last is not None:
            say(f"Only seals {first} to {newest.number} were looked at.")
        if not self._keys and self._anchor is None:
            say(
                "Whoever owns the log can write all of it anew, with its seals: only an anchor or signatures show that,"
                " with --anchor or --public-key."
            )
        elif self._anchor is None:
            say(f"Whether newer seals were cut off after seal {newest.number}: an anchor would show that.")
        if last is None:
            waiting = self._one("unsealed", limit=1)[0]
            if waiting:
                say("Events that are committed and not sealed yet: rowcall status says how many.")
            for renamed in Catalog.present(self._connection).renamed(self._catalog):
                say(f"Since the last seal: {renamed}.")
            if len(self._records) > newest.erasures:
                say("Erasures since the last seal.")


class _Leaves:
    """What a seal's tree is over, by the events' places."""

    def __init__(
        self,
        seqs: Sequence[int],
        hashes: bytes,
        salts: bytes | None,
        erased: Mapping[int, Erasures],
        catalog: Catalog,
    ) -> None:
        self.position = {seq: index for index, seq in enumerate(seqs)}
        self.found = bytearray(len(seqs))
        self.erased = erased
        self._hashes = [hashes[place : place + 32] for place in range(0, len(hashes), 32)]
        self._salts = salts
        self._catalog = catalog

    def matches(self, row: Row, index: int) -> bool:
        """Whether an event is the one that a leaf is of."""
        if row.plain is not None and row.actor is None and row.context is None:
            hashed = sha256(b"\0" + row.plain).digest()
            return hashed == self._hashes[index] or self._is_given_up(row.seq, index)
        return self._hash(row, index) == self._hashes[index] or self._is_given_up(row.seq, index)

    def _hash(self, row: Row, index: int) -> bytes:
        salt = None if self._salts is None else self._salts[SALT * index : SALT * (index + 1)]
        columns = self._catalog.erasable(row.relation, row.seq)
        body, _ = canonical(row, columns, salt, self.erased.get(row.seq, NOTHING_ERASED))
        return merkle.leaf(body)

    def _is_given_up(self, seq: int, index: int) -> bool:
        whole = self.erased.get(seq, NOTHING_ERASED).get(WHOLE)
        return whole is not None and whole.commitment == self._hashes[index]

    def place_of(self, row: Row) -> int | None:
        """The place that an event had when it was sealed, if it was another one of the same seal."""
        missing = (seq for seq, index in self.position.items() if not self.found[index])
        for seq in [seq for seq, _ in zip(missing, range(_PAIRS), strict=False)]:
            if seq == row.seq:
                continue
            plain = None if row.plain is None else row.plain.replace(b" %d " % row.seq, b" %d " % seq, 1)
            if self._hash(row._replace(seq=seq, plain=plain), self.position[seq]) == self._hashes[self.position[seq]]:
                return seq
        return None


def _operation(row: Row) -> str:
    """What an event is, wherever it stands."""
    return (row.operation or (row.plain or b"").split(b" ", 6)[5]).decode()


def _goes_on(current: Seal, before: Seal | None) -> bool:
    """Whether a seal's window begins where the one before ended. Another epoch's begins anew."""
    if before is None:
        return current.number > 1 or current.is_restored or current.lower == seal.NOTHING_SEEN
    if before.epoch != current.epoch:
        return current.after_seq == 0
    if before.complete:
        return current.lower == before.upper and current.after_seq == 0
    return (current.lower, current.upper, current.after_seq) == (before.lower, before.upper, before.last_seq)


def _are_leaves(current: Seal, seqs: list[int] | None, hashes: bytes | None) -> bool:
    """Whether these are the leaves of a seal's tree."""
    if seqs is None or hashes is None or not len(seqs) == current.events == len(hashes) / 32:
        return False
    ends = (seqs[0], seqs[-1]) if seqs else (None, None)
    leaves = [hashes[place : place + 32] for place in range(0, len(hashes), 32)]
    ordered = all(one < other for one, other in pairwise(seqs))
    return ordered and ends == (current.first_seq, current.last_seq) and merkle.root(leaves) == current.root


def _clusters(seqs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Stretches of the log in which these places lie, first and last, without wide gaps."""
    first = last = None
    for seq in seqs:
        if first is None or last is None:
            first = last = seq
        elif seq - last > _GAP:
            yield first, last
            first = seq
        last = seq
    if first is not None and last is not None:
        yield first, last
