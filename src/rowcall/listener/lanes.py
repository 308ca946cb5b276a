"""Who shall have how many lanes of a subscription."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rowcall.postgres.log import LANES


def shares(limits: Mapping[int, int], lanes: int = LANES) -> dict[int, int]:
    """How many lanes each worker shall have: evenly, the older ones one more, nobody more than it takes.

    :param limits: the most lanes each worker takes, by its id.
    """
    given = dict.fromkeys(sorted(limits), 0)
    while lanes and (hungry := [worker for worker in given if given[worker] < limits[worker]]):
        for worker in hungry[:lanes]:
            given[worker] += 1
        lanes -= len(hungry[:lanes])
    return given


@dataclass(frozen=True, slots=True)
class Roll:
    """The workers of a subscription that are alive, and who has its lanes.

    :ivar limits: the most lanes each live worker takes, by its id.
    :ivar owned: each cursor's owner, None if it is free, and how many lanes it is.
    """

    limits: Mapping[int, int]
    owned: Sequence[tuple[int | None, int]]

    def share(self, worker: int) -> int:
        """How many lanes a worker shall have."""
        return shares(self.limits).get(worker, 0)

    def surplus(self, worker: int) -> int:
        """How many lanes a worker has more than it shall have; negative if it has too few."""
        return sum(lanes for owner, lanes in self.owned if owner == worker) - self.share(worker)

    def has_left_behind(self) -> bool:
        """Whether a dead worker left lanes behind."""
        return any(owner is not None and owner not in self.limits for owner, _ in self.owned)

    def has_free(self) -> bool:
        """Whether there are lanes that nobody has."""
        return any(owner is None for owner, _ in self.owned)
