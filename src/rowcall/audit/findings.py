"""What verifying the log finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rowcall.audit.seal import Seal

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
    :ivar erased: events of which something is erased, on record; ``forgone``: of which nothing is proven any more.
    """

    seals: int = 0
    events: int = 0
    findings: list[Finding] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    pruned: int = 0
    archived: int = 0
    erased: int = 0
    forgone: int = 0
    newest: Seal | None = None

    def find(self, kind: Kind, number: int | None, seq: int | None, finding: str) -> None:
        """Note something that is wrong."""
        if len(self.findings) < MOST:
            self.findings.append(Finding(kind, number, seq, finding))
