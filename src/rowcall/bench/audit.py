"""How soon a long log answers what an audit asks of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from rowcall import embedded, resources
from rowcall.audit import Filter, as_of, check, history
from rowcall.audit.sealing import seal_pending
from rowcall.audit.verify import verify
from rowcall.bench.results import Results
from rowcall.migrate import upgrade
from rowcall.postgres import connection as connections
from rowcall.postgres import declarations
from rowcall.watch import Watch

_PIECES = resources.named("bench/audit.sql")
_TABLE = "bench_audit"
#: Events a statement of the filling.
_CHUNK = 100_000
#: Questions about one row or one actor, each about another one.
_ASKED = 50

#: A question, put once.
Question = Callable[[random.Random], object]


class AuditBench:
    """One server, one table, its log over four partitions.

    :param events: how many the log has.
    :param rows: how many the table has.
    :param rounds: how often what reads the whole log is asked.
    """

    def __init__(
        self, server: embedded.Server, *, events: int, rows: int, rounds: int, report: Callable[[str], None]
    ) -> None:
        self._dsn = server.dsn("postgres")
        self._events = events
        self._rows = rows
        self._rounds = rounds
        self._report = report
        self.results = Results()

    def run(self) -> Results:
        """Fill the log, and ask."""
        upgrade(self._dsn)
        with connections.connect(self._dsn) as connection:
            self._fill(connection)
            chance = random.Random(1)
            for name, question, times in self._questions(connection):
                self._report(name)
                for _ in range(times):
                    started = time.perf_counter()
                    question(chance)
                    self.results.add(f"{name}, ms", "rowcall", (time.perf_counter() - started) * 1000)
            self._seal(connection)
        return self.results

    def _seal(self, connection: psycopg.Connection[Any]) -> None:
        """Seal the whole log, and verify it: events a second."""
        self._time("sealing", lambda: seal_pending(connection))
        self._time("verifying", lambda: verify(connection).events)

    def _time(self, name: str, work: Callable[[], int]) -> None:
        self._report(name)
        started = time.perf_counter()
        events = work()
        self.results.add(f"{name}, events/s", "rowcall", events / (time.perf_counter() - started))

    def _fill(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(_PIECES["table"])
        with connection.transaction():
            declarations.watch(connection, Watch.of(_TABLE), "bench")
        connection.execute(_PIECES["partitions"])
        # The rows come without events: these are made here, by the million.
        connection.execute("set session_replication_role = replica")
        connection.execute(_PIECES["rows"], {"rows": self._rows, "events": self._events})
        connection.execute("set session_replication_role = origin")
        for since in range(1, self._events + 1, _CHUNK):
            until = min(self._events, since + _CHUNK - 1)
            self._report(f"filling the log: {until:,} of {self._events:,} events")
            span = {"since": since, "until": until, "rows": self._rows, "events": self._events}
            connection.execute(_PIECES["fill"], span)
        connection.execute("select setval('rowcall.event_seq', %s)", (self._events,))
        connection.execute("select rowcall.merge_index_v1()")
        connection.execute("vacuum (analyze)")

    def _questions(self, connection: psycopg.Connection[Any]) -> Iterator[tuple[str, Question, int]]:
        def row(chance: random.Random) -> object:
            return history.row(connection, _TABLE, str(chance.randint(1, self._rows)))

        def actor(chance: random.Random) -> object:
            return list(history.log(connection, Filter(actor=f"actor{chance.randint(0, 199)}", limit=100)))

        def hour(chance: random.Random) -> object:
            since = datetime.now(UTC) - timedelta(days=chance.randint(5, 80))
            until = since + timedelta(hours=1)
            return list(history.log(connection, Filter(since=since.isoformat(), until=until.isoformat())))

        def all_rows(chance: random.Random) -> object:
            return sum(1 for _ in check.check(connection, _TABLE))

        def moment(chance: random.Random) -> datetime:
            return datetime.now(UTC) - timedelta(days=chance.randint(5, 80))

        def row_as_of(chance: random.Random) -> object:
            return list(as_of(connection, _TABLE, chance.randint(1, self._rows), at=moment(chance)))

        def table_as_of(chance: random.Random) -> object:
            return sum(1 for _ in as_of(connection, _TABLE, at=moment(chance)))

        yield "history of a row", row, _ASKED
        yield "last 100 events of an actor", actor, _ASKED
        yield "an hour of the log", hour, _ASKED
        yield "a row as of", row_as_of, _ASKED
        yield "the table as of", table_as_of, self._rounds
        yield "check of the table", all_rows, self._rounds
