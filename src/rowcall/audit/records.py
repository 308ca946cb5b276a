"""The records of what was taken out of the log, as whoever verifies it asks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rowcall.audit import erasures
from rowcall.audit.canonical import WHOLE
from rowcall.audit.erasures import Erasure, Ranges
from rowcall.audit.seal import NOTHING_BEFORE, Seal


class Records:
    """All records, in order."""

    def __init__(self, records: Sequence[Erasure]) -> None:
        self._records = records
        self._ranges = [Ranges.parse(record.seqs) for record in records]
        self._paths: dict[tuple[int, str], Ranges] = {}
        self._dropped = list(self._of("prune"))

    def __len__(self) -> int:
        return len(self._records)

    def wrong(self, installation: str) -> Iterator[str]:
        """What is wrong with their chain."""
        return erasures.check_chain(self._records, installation)

    def are_known_to(self, current: Seal) -> bool:
        """Whether a seal's newest record is one of these."""
        if current.erasures == 0:
            return current.erasure_head == NOTHING_BEFORE
        return (
            current.erasures <= len(self._records) and self._records[current.erasures - 1].head == current.erasure_head
        )

    def allow(self, seq: int, path: str, erasure: int) -> bool:
        """Whether a value was erased on record."""
        if not 0 < erasure <= len(self._records):
            return False
        record = self._records[erasure - 1]
        if (record.kind == "forgo") != (path == WHOLE) or path not in record.paths:
            return False
        return seq in self._of_path(erasure, path)

    def _of_path(self, erasure: int, path: str) -> Ranges:
        if (erasure, path) not in self._paths:
            self._paths[erasure, path] = Ranges.parse(self._records[erasure - 1].paths[path])
        return self._paths[erasure, path]

    def drop(self, seq: int) -> bool:
        """Whether retention dropped an event. Something may stand for it."""
        return any(seq in ranges for ranges in self._dropped)

    def forgo(self, seqs: Iterable[int]) -> bool:
        """Whether the proof of one of these events was given up."""
        forgone = list(self._of("forgo"))
        return any(seq in ranges for ranges in forgone for seq in seqs)

    def _of(self, kind: erasures.Kind) -> Iterator[Ranges]:
        return (ranges for ranges, one in zip(self._ranges, self._records, strict=True) if one.kind == kind)

    def prunes(self) -> Iterator[Erasure]:
        """What retention dropped, and when."""
        return (record for record in self._records if record.kind == "prune")

    def stand_ins(self) -> list[str]:
        """What the newest prune says of stand-ins."""
        prunes = list(self.prunes())
        return list(prunes[-1].paths) if prunes else []

    def all_stand_ins(self) -> set[str]:
        """What any prune says of stand-ins."""
        return {path for record in self.prunes() for path in record.paths}
