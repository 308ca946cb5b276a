"""What a run of the torture test came to, to be read by a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.torture.crew import Crew
from tests.torture.faults import Faults
from tests.torture.writers import Tally

_KINDS = """
select r.table_name || ' ' || e.operation || case when e.next_key is null then '' else ' of the key' end, count(*)
from rowcall.event as e join rowcall.relation as r on r.id = e.relation group by 1 order by 1
"""
_COPIES = "select subscription, count(*) from copies group by 1 order by 1"
_APPLIERS = "select count(distinct pid) from copies"
#: Of the events a subscription applied, those that others with larger numbers were applied before.
_LATE = """
select subscription, count(*) from (
  select subscription, seq < max(seq) over (partition by subscription order by place) as is_late from copies
) as c where is_late group by 1 order by 1
"""


@dataclass(frozen=True, slots=True)
class Report:
    """Faults and events per kind.

    :ivar drained_after: seconds from the last fault until everything was applied.
    :ivar late: per subscription, the events applied after some with larger numbers, by out-of-order commits.
    """

    seed: str
    seconds: float
    drained_after: float
    faults: Mapping[str, int]
    terminated: Mapping[str, int]
    starts: int
    transactions: Mapping[str, int]
    events: Mapping[str, int]
    copies: Mapping[str, int]
    late: Mapping[str, int]
    appliers: int
    logged: Mapping[str, int]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.seconds:g} s; again by ROWCALL_TORTURE_SECONDS={self.seconds:g} ROWCALL_TORTURE_SEED={self.seed}",
                f"all applied {self.drained_after:.1f} s after the last fault",
                f"faults: {_counts(self.faults)}",
                f"sessions terminated: {_counts(self.terminated)}",
                f"transactions: {_counts(self.transactions)}",
                f"events: {_counts(self.events)}",
                f"applied, by {self.appliers} of {self.starts} listeners: {_counts(self.copies)}",
                f"of them after later ones: {_counts(self.late)}",
                f"logged: {_counts(self.logged)}",
            ]
        )


def _counts(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    return f"{sum(counts.values()):,} ({listed})" if counts else "0"


def report(
    database: psycopg.Connection[Any],
    *,
    seed: str,
    seconds: float,
    drained_after: float,
    faults: Faults,
    crew: Crew,
    tally: Tally,
) -> Report:
    """The report of a run that has ended."""
    appliers = database.execute(_APPLIERS).fetchone()
    assert appliers is not None
    return Report(
        seed=seed,
        seconds=seconds,
        drained_after=drained_after,
        faults={str(kind): count for kind, count in faults.inflicted.items()},
        terminated=faults.terminated,
        starts=crew.starts,
        transactions=tally.transactions,
        events=dict(database.execute(_KINDS).fetchall()),
        copies=dict(database.execute(_COPIES).fetchall()),
        late=dict(database.execute(_LATE).fetchall()),
        appliers=appliers[0],
        logged=crew.logged(),
    )
