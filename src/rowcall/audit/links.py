"""The chain of the seals, and what is kept of it outside the database."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from rowcall.audit import seal
from rowcall.audit.seal import NOTHING_BEFORE, Seal
from rowcall.audit.signing import Verifier
from rowcall.audit.verification import Verification

#: A clock that is set back by so many microseconds is worth a finding; less is what a time server may do.
CLOCK_STEP = 60_000_000


class Links:
    """What holds the seals together.

    :ivar anchored: heads by the seals' numbers, of those that were not looked at yet.
    :ivar signed: the last seal with a signature of a key given; ``seen``: the last one that is anchored.
    """

    def __init__(
        self, verification: Verification, public_keys: Sequence[Verifier], anchored: dict[int, set[str]]
    ) -> None:
        self._report = verification.report
        self._records = verification.records
        self._catalog = verification.catalog
        self._installation = verification.installation
        self._keys = {key.key_id: key for key in public_keys}
        self.anchored = anchored
        self.signed: int | None = None
        self.seen: int | None = None

    def check(self, current: Seal, before: Seal | None, expected: int) -> None:
        """Whether a seal follows the one before it, and is the one that was made.

        :param expected: its number.
        """
        self._check_chain(current, before, expected)
        self._check_outside(current)

    def _check_chain(self, current: Seal, before: Seal | None, expected: int) -> None:
        find, number = self._report.find, current.number
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
        if self._catalog.root() != current.relations:
            find("catalog", number, None, f"The names of tables that seal {number} knows of are not those in seals.")
        if not self._records.are_known_to(current):
            find("erasure", number, None, f"The erasures that seal {number} knows of are not those on record.")

    def _check_outside(self, current: Seal) -> None:
        find, number = self._report.find, current.number
        heads = self.anchored.pop(number, None)
        if heads is not None:
            self.seen = number
            if current.head.hex() not in heads:
                find("anchor", number, None, f"Seal {number} is not the one that was anchored: it was made anew.")
            elif len(heads) > 1:
                find(
                    "anchor", number, None, f"The anchor has several heads of seal {number}: somebody has added to it."
                )
        key = self._keys.get(current.key_id or "")
        if key is not None and (current.signature is None or not key.accepts(current.head, current.signature)):
            find("signature", number, None, f"The signature of seal {number} is not one of key {current.key_id}.")
        elif key is not None:
            self.signed = number


def _goes_on(current: Seal, before: Seal | None) -> bool:
    """Whether a seal's window begins where the one before ended. Another epoch's begins anew."""
    if before is None:
        return current.number > 1 or current.is_restored or current.lower == seal.NOTHING_SEEN
    if before.epoch != current.epoch:
        return current.after_seq == 0
    if before.complete:
        return current.lower == before.upper and current.after_seq == 0
    return (current.lower, current.upper, current.after_seq) == (before.lower, before.upper, before.last_seq)
