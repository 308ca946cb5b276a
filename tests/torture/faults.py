"""What befalls listeners, writers and the server, and when: as random as its seed."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import psycopg

from rowcall.embedded import Server
from tests.torture.crew import Crew

Fault = Literal[
    "listener killed",
    "listener frozen",
    "listener frozen for long",
    "listener's session terminated",
    "writer's session terminated",
    "server restarted",
]

_BAG: dict[Fault, int] = {
    "listener killed": 3,
    "listener frozen": 3,
    "listener's session terminated": 5,
    "writer's session terminated": 2,
    "server restarted": 1,
}
#: Of so many bags, one has a freeze that is longer than any lease.
_BAGS_PER_LONG_FREEZE = 3
_SHORT_FREEZE = (0.2, 1.0)
_LONG_FREEZE = (8.2, 10.0)
_PAUSE = (0.1, 0.8)
_TICK = 0.02


def schedule(chance: random.Random) -> Iterator[tuple[float, Fault]]:
    """Faults for ever, with the seconds before each; no kind is missing for long."""
    bags = 0
    while True:
        bag = chance.sample(list(_BAG), sum(_BAG.values()), counts=list(_BAG.values()))
        if bags % _BAGS_PER_LONG_FREEZE == 0:
            bag.insert(0, "listener frozen for long")
        for fault in bag:
            yield chance.uniform(*_PAUSE), fault
        bags += 1


class Faults:
    """Inflicts faults.

    :ivar inflicted: how many of each kind.
    :ivar terminated: how many sessions of each name.
    """

    def __init__(self, server: Server, dsn: str, crew: Crew, chance: random.Random) -> None:
        self._server = server
        self._dsn = dsn
        self._crew = crew
        self._random = chance
        self.inflicted: Counter[Fault] = Counter()
        self.terminated: Counter[str] = Counter()

    def rage(self, seconds: float) -> None:
        """Inflict what the schedule says for so long."""
        end = time.monotonic() + seconds
        for pause, fault in schedule(self._random):
            due = time.monotonic() + pause
            while time.monotonic() < min(due, end):
                self._crew.tend()
                time.sleep(_TICK)
            if due >= end:
                return
            if self._inflict(fault):
                self.inflicted[fault] += 1

    def _inflict(self, fault: Fault) -> bool:
        match fault:
            case "listener killed":
                return self._crew.kill()
            case "listener frozen":
                return self._crew.freeze(self._random.uniform(*_SHORT_FREEZE))
            case "listener frozen for long":
                return self._crew.freeze(self._random.uniform(*_LONG_FREEZE))
            case "listener's session terminated":
                return self._terminate("rowcall %")
            case "writer's session terminated":
                return self._terminate("writer %")
            case "server restarted":
                self._server.restart("immediate")
                return True

    def _terminate(self, name: str) -> bool:
        """Terminate a session whose name is like that; whether there was any."""
        query = (
            "select pid, application_name from pg_stat_activity where application_name like %s order by backend_start"
        )
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            sessions = connection.execute(query, (name,)).fetchall()
            if not sessions:
                return False
            pid, found = self._random.choice(sessions)
            connection.execute("select pg_terminate_backend(%s)", (pid,))
        self.terminated[found] += 1
        return True
