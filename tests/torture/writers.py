"""The writers: threads that change the tables in random transactions until they are stopped."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg import errors

from tests.torture import tables

_ITEMS = 120
_NUMBERS = 20
_WIDEST = 12
_LONGEST_BACKLOG = 3000
#: Roughly: what is set aside, and what comes after everything that was applied.
_BACKLOG = """
select max((select count(*) from rowcall.event where seq > applied.seq)) + (select count(*) from rowcall.parked)
from (
  select coalesce((select max(seq) from copies where subscription = s.name), 0) as seq
  from unnest(array['each', 'batch', 'session']) as s (name)
) as applied
"""
#: What a busy table does to a transaction, by itself.
_CLASHES = (errors.UniqueViolation, errors.DeadlockDetected, errors.LockNotAvailable, errors.SerializationFailure)


class Tally:
    """What the writers came to, counted by all of them; and what should not have happened to them.

    :ivar ahead: set while the listeners are too far behind, and writers wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.transactions: Counter[str] = Counter()
        self.ahead = threading.Event()
        self.failures: list[BaseException] = []

    def count(self, outcome: str) -> None:
        with self._lock:
            self.transactions[outcome] += 1


class _Session(threading.Thread):
    """Works on a connection, and on another one when that is lost, until it is told to stop.

    :cvar kind: what its transactions are counted as.
    """

    kind = ""

    def __init__(self, name: str, dsn: str, seed: str, stop: threading.Event, tally: Tally) -> None:
        super().__init__(name=name, daemon=True)
        self._dsn = dsn
        self._stop_asked = stop
        self.tally = tally
        self.random = random.Random(f"{seed} {name}")

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._connection_life()
        except BaseException as error:  # noqa: BLE001 - told by the test's thread
            self.tally.failures.append(error)

    def _connection_life(self) -> None:
        options = "-c lock_timeout=300 -c deadlock_timeout=50"
        try:
            with psycopg.connect(self._dsn, autocommit=True, application_name=self.name, options=options) as connection:
                while not self._stop_asked.is_set():
                    self._transact(connection)
        except (psycopg.OperationalError, psycopg.Rollback) as error:
            # Whether a transaction that was being committed is in is known to the database alone. A rollback that finds the
            # connection gone stays a Rollback.
            self._count(f"lost ({getattr(error, 'sqlstate', None) or 'connection'})")
            self.pause(0.05)

    def _transact(self, connection: psycopg.Connection[Any]) -> None:
        outcome = "committed"
        try:
            with connection.transaction() as transaction:
                self.work(connection)
                if self.random.random() < 0.1:
                    outcome = "rolled back"
                    raise psycopg.Rollback(transaction)
        except _CLASHES as error:
            outcome = f"failed ({type(error).__name__})"
        self._count(outcome)
        self.rest(outcome)

    def _count(self, outcome: str) -> None:
        self.tally.count(f"{self.kind} {outcome}".strip())

    def work(self, connection: psycopg.Connection[Any]) -> None:
        """What to do in one transaction."""
        raise NotImplementedError

    def rest(self, outcome: str) -> None:
        """The pace between transactions."""
        raise NotImplementedError

    def pause(self, longest: float) -> None:
        """Pass some time, unless everything is to stop."""
        self._stop_asked.wait(self.random.uniform(0, longest))


class Writer(_Session):
    """Short transactions of a few statements each, some in savepoints."""

    def work(self, connection: psycopg.Connection[Any]) -> None:
        for _ in range(self.random.randint(1, 3)):
            if self.random.random() < 0.3:
                self._savepoint(connection)
            else:
                self._change(connection)
            if self.random.random() < 0.3:
                # Others draw later numbers and commit before this one.
                self.pause(0.05)

    def rest(self, outcome: str) -> None:
        self.pause(0.04)
        while self.tally.ahead.is_set() and not self._stop_asked.is_set():
            self.pause(0.5)

    def _savepoint(self, connection: psycopg.Connection[Any]) -> None:
        try:
            with connection.transaction() as savepoint:
                self._change(connection)
                self._change(connection)
                if self.random.random() < 0.4:
                    raise psycopg.Rollback(savepoint)
        except errors.UniqueViolation:
            self._count("savepoints failed")

    def _change(self, connection: psycopg.Connection[Any]) -> None:
        statements, keys = self.random.choice([(tables.ITEM, _ITEMS), (tables.STOCK, _NUMBERS)])
        low = self.random.randint(1, keys)
        width = 0 if self.random.random() < 0.75 else self.random.randint(1, _WIDEST)
        parameters = {
            "low": low,
            "high": min(low + width, keys),
            "depot": self.random.randint(0, 3),
            "price": self.random.choice([None, self.random.randint(1, 1000)]),
            "note": "",
        }
        connection.execute(self._choose(statements), parameters)

    def _choose(self, statements: dict[str, str]) -> str:
        weights = {"insert": 4, "update": 6}
        return self.random.choices(list(statements.values()), [weights.get(name, 2) for name in statements])[0]


class SlowWriter(Writer):
    """A transaction that stays open for seconds after it has written."""

    kind = "long"

    def work(self, connection: psycopg.Connection[Any]) -> None:
        self._change(connection)
        self.pause(3)
        self._change(connection)

    def rest(self, outcome: str) -> None:
        self.pause(1)


class Troublemaker(_Session):
    """Changes a few rows in a way that handlers fail for at first, and whoever changes them next may pass it on."""

    kind = "trouble"

    def work(self, connection: psycopg.Connection[Any]) -> None:
        item, number = self.random.randint(1, _ITEMS), self.random.randint(1, _NUMBERS)
        connection.execute(tables.ITEM["upsert"], {"low": item, "high": item, "price": 1, "note": "fail"})
        connection.execute(
            tables.STOCK["update"], {"low": number, "high": number, "depot": 0, "price": 1, "note": "fail"}
        )

    def rest(self, outcome: str) -> None:
        self.pause(6)


class Truncater(_Session):
    """Empties a table now and then, when nobody else is in the middle of it."""

    kind = "truncate"

    def work(self, connection: psycopg.Connection[Any]) -> None:
        tables.truncate(connection)

    def rest(self, outcome: str) -> None:
        self.pause(3 if outcome == "committed" else 0.3)


class Stranger(_Session):
    """A transaction with an id, open for seconds, in a database that has nothing to do with all this."""

    kind = "elsewhere"

    def work(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("create table if not exists something (n int)")
        connection.execute("insert into something values (1)")
        self.pause(4)

    def rest(self, outcome: str) -> None:
        self.pause(0.2)


class Governor(_Session):
    """Lets the writers wait while a subscription is far behind, or the end would be waited for as long again."""

    def work(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(_BACKLOG).fetchone()
        if row is not None and row[0] > _LONGEST_BACKLOG:
            self.tally.ahead.set()
            self.tally.count("held back")
        else:
            self.tally.ahead.clear()

    def rest(self, outcome: str) -> None:
        self.pause(1)

    def _count(self, outcome: str) -> None:
        """Nothing: it writes nothing."""


@contextmanager
def writing(dsn: str, elsewhere: str, seed: str) -> Iterator[Tally]:
    """Have writers at work, of which all have ended at the end.

    :param elsewhere: another database of the same cluster.
    """
    stop, tally = threading.Event(), Tally()
    sessions = [
        *(Writer(f"writer {number}", dsn, seed, stop, tally) for number in range(8)),
        SlowWriter("writer slow", dsn, seed, stop, tally),
        Truncater("writer truncate", dsn, seed, stop, tally),
        Troublemaker("writer trouble", dsn, seed, stop, tally),
        Governor("writer governor", dsn, seed, stop, tally),
        Stranger("writer elsewhere", elsewhere, seed, stop, tally),
    ]
    with ExitStack() as stack:
        stack.callback(_join, sessions, stop)
        for session in sessions:
            session.start()
        yield tally


def _join(sessions: list[_Session], stop: threading.Event) -> None:
    stop.set()
    for session in sessions:
        session.join(30)
    assert not [session.name for session in sessions if session.is_alive()], "a writer does not end"
