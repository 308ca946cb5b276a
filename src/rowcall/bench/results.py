"""Measurements, and how contenders compare."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass(slots=True)
class Results:
    """Measurements by workload and contender; the last figure of a workload is its median."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, workload: str, contender: str, value: float) -> None:
        """Note one measurement."""
        self.samples.setdefault(workload, {}).setdefault(contender, []).append(value)

    def median(self, workload: str, contender: str) -> float:
        """The median of a contender's measurements."""
        return statistics.median(self.samples[workload][contender])

    def ratio(self, workload: str, contender: str, yardstick: str) -> float:
        """How a contender's median compares with a yardstick's."""
        return self.median(workload, contender) / self.median(workload, yardstick)
