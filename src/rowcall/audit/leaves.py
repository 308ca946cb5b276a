"""The leaves of one seal, and the events that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from rowcall.audit import merkle
from rowcall.audit.canonical import NOTHING_ERASED, SALT, WHOLE, Erasures, Row, canonical
from rowcall.audit.catalog import Catalog

#: Places in the log that are further apart are read by themselves.
_GAP = 1000
#: Most events between which exchanged places are looked for.
PAIRS = 200


class Leaves:
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
        self.first = seqs[0]
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
        for seq in [seq for seq, _ in zip(missing, range(PAIRS), strict=False)]:
            if seq == row.seq:
                continue
            plain = None if row.plain is None else row.plain.replace(b" %d " % row.seq, b" %d " % seq, 1)
            if self._hash(row._replace(seq=seq, plain=plain), self.position[seq]) == self._hashes[self.position[seq]]:
                return seq
        return None


def clusters(seqs: Iterable[int]) -> Iterator[tuple[int, int]]:
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


def operation(row: Row) -> str:
    """What an event is, wherever it stands."""
    return (row.operation or (row.plain or b"").split(b" ", 6)[5]).decode()


def described(row: Row, catalog: Catalog) -> str:
    """An event in short."""
    return f"{operation(row)} of {catalog.name(row.relation)} in transaction {row.xid}"
