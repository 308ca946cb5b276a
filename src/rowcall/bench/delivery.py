"""How fast the log is delivered: a backlog by several kinds of handler, and one commit on an idle system.

Each kind has its own subscription of the same log, put back to the beginning for every turn, and beside them the bare
floor: the same SQL, read by psycopg with no code of Rowcall's.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from rowcall import embedded, resources
from rowcall.app import Rowcall
from rowcall.bench.programs import pgbench_command, rowcall_command
from rowcall.bench.results import Results
from rowcall.event import Event
from rowcall.listener.daemon import Listener
from rowcall.listener.subscription import SLICE
from rowcall.migrate import upgrade
from rowcall.postgres import connection as connections
from rowcall.postgres import declarations, tables
from rowcall.postgres.log import Cursor

_TABLES = resources.named("bench/capture.sql")
_LOG = resources.queries("log")
_PIECES = resources.queries("bench")

#: Who reads the backlog, in the order they take turns: the bare floor, then handlers.
READERS = ("floor", "batches", "decoded", "events", "inserts")
#: Who is woken by one commit: a bare loop of notifies() and a SELECT, then a handler.
WOKEN = ("bare", "rowcall")
_TABLE = "bench_delivery"
#: Rows a transaction of the backlog writes.
_A_TRANSACTION = 100
#: Of the events of a backlog, those that are read by the handler that inserts: it is the slowest by far.
_SHARE_OF_INSERTS = 10
_WRITERS = 4
#: Where a subscription begins that reads everything.
_BEGINNING = "1:1:"
#: Drained by a process of its own, for its memory.
_APP = """
from rowcall import Rowcall

app = Rowcall("bench")


@app.after("bench_*", name="batches", batch=500)
def batches(events): ...
"""


def _app(seen: Callable[[Event], None]) -> Rowcall:
    app = Rowcall("bench")
    app.watch(_TABLE)
    app.watch("bench_pings")

    @app.after(_TABLE, name="batches", batch=500)
    def batches(events: list[Event]) -> None: ...

    @app.after(_TABLE, name="decoded", batch=500)
    def decoded(events: list[Event]) -> None:
        for event in events:
            _ = event.new

    @app.after(_TABLE, name="events")
    def events(event: Event) -> None: ...

    @app.after(_TABLE, name="inserts")
    def inserts(event: Event, conn: psycopg.Connection[Any]) -> None:
        conn.execute("insert into bench_seen values (%s)", (event.seq,))

    @app.after("bench_pings", name="pings")
    def pings(event: Event) -> None:
        seen(event)

    return app


def _only(app: Rowcall, name: str) -> Rowcall:
    """The app with one of its handlers."""
    single = Rowcall(app.name)
    single.after_handlers = [handler for handler in app.after_handlers if handler.name == name]
    return single


class DeliveryBench:
    """One server, one log.

    :param events: how long the backlog is.
    :param pings: commits of a turn on the idle system.
    :param rounds: how often each reader has its turn.
    """

    def __init__(
        self, server: embedded.Server, *, events: int, pings: int, rounds: int, report: Callable[[str], None]
    ) -> None:
        self._dsn = server.dsn("postgres")
        self._server = server
        self._events = events
        self._pings = pings
        self._rounds = rounds
        self._report = report
        self._connection = psycopg.connect(self._dsn, autocommit=True)
        self._arrived: list[float] = []
        self._awaited = threading.Event()
        self._app = _app(self._arrive)
        self.results = Results()

    def _arrive(self, event: Event) -> None:
        self._arrived.append(time.perf_counter())
        self._awaited.set()

    def run(self) -> Results:
        """Measure everything."""
        with self._connection:
            self._set_up()
            self._backlog()
            self._latency()
            self._lag()
            self._memory()
        return self.results

    def _set_up(self) -> None:
        self._report(f"a log of {self._events:,} events")
        upgrade(self._dsn, None)
        self._connection.execute(_TABLES["table"].format(table=_TABLE))
        self._connection.execute(_PIECES["tables"])
        with connections.connect(self._dsn, autocommit=False) as admin:
            declarations.synchronise(admin, self._app, "bench")
        for first in range(1, self._events, _A_TRANSACTION):
            last = min(first + _A_TRANSACTION - 1, self._events)
            self._connection.execute(_TABLES["fill"].format(table=_TABLE), {"first": first, "last": last})
        self._connection.execute("analyze")

    def _backlog(self) -> None:
        self._report("backlog, events/s")
        for _ in range(self._rounds):
            self.results.add("backlog, events/s", "floor", self._events / self._floor())
            for reader in READERS[1:]:
                events = self._events // (_SHARE_OF_INSERTS if reader == "inserts" else 1)
                self._rewind(reader, self._events - events)
                self.results.add("backlog, events/s", reader, events / self._drain(reader))

    def _rewind(self, reader: str, behind: int) -> None:
        self._connection.execute(_PIECES["rewind"], {"name": reader, "behind": behind, "lower": _BEGINNING})

    def _drain(self, reader: str) -> float:
        """Seconds that it takes a listener to deliver what is pending, connecting included."""
        app = _only(self._app, reader)
        with connections.connect(self._dsn) as admin:
            listener = Listener(app, self._dsn, tables.subjects(admin, app), drain=True)
        started = time.perf_counter()
        asyncio.run(listener.run())
        return time.perf_counter() - started

    def _floor(self) -> float:
        """Seconds that it takes psycopg to read the same."""
        started = time.perf_counter()
        assert asyncio.run(self._read_all()) >= self._events
        return time.perf_counter() - started

    async def _read_all(self) -> int:
        async with await connections.connect_async(self._dsn) as connection:
            await connection.execute("set enable_seqscan = off; set jit = off")
            cursor = Cursor(_BEGINNING)
            common = cursor.unseen() | dict.fromkeys(("lanes", "number", "columns"), None)
            common |= {
                "subscription": 0,
                "floor": 0,
                "schema": "public",
                "table": _TABLE,
                "operations": ["insert"],
                "limit": SLICE,
            }
            upper, last, count = None, 0, 0
            while True:
                reading = connections.raw_cursor(connection)
                query = _LOG["new_window" if upper is None else "next_slice"]
                await reading.execute(query, common | {"upper": upper, "last_seq": last}, binary=True)
                rows = await reading.fetchall()
                count += len(rows)
                if len(rows) < SLICE:
                    return count
                upper, last = rows[0][0], rows[-1][3]

    def _latency(self) -> None:
        self._report("commit to handler")
        for _ in range(self._rounds):
            self._note_latencies("bare", list(self._bare()))
            with self._listening("pings"):
                self._note_latencies("rowcall", list(self._pinged(self._ping)))

    def _note_latencies(self, who: str, seconds: list[float]) -> None:
        quantiles = statistics.quantiles(seconds, n=100)
        self.results.add("commit to handler p50, ms", who, quantiles[49] * 1000)
        self.results.add("commit to handler p99, ms", who, quantiles[98] * 1000)

    def _ping(self) -> None:
        self._connection.execute("insert into bench_pings default values")

    def _bare_ping(self) -> None:
        self._connection.execute(_PIECES["bare"])

    def _pinged(self, ping: Callable[[], None]) -> Iterator[float]:
        """Seconds from each commit to the call; at a pace at which everybody has gone to sleep again."""
        for _ in range(self._pings):
            self._awaited.clear()
            ping()
            committed = time.perf_counter()
            assert self._awaited.wait(30)
            yield max(0.0, self._arrived[-1] - committed)
            time.sleep(0.06)

    def _bare(self) -> Iterator[float]:
        """The same for a loop that listens, and selects what is new."""
        stop = threading.Event()

        def listen() -> None:
            with (
                psycopg.connect(self._dsn, autocommit=True) as ears,
                psycopg.connect(self._dsn, autocommit=True) as eyes,
            ):
                ears.execute("listen bench")
                self._awaited.set()
                while not stop.is_set():
                    for _ in ears.notifies(timeout=0.2, stop_after=1):
                        eyes.execute("select * from bench_bare order by id desc limit 1").fetchall()
                        self._arrived.append(time.perf_counter())
                        self._awaited.set()

        self._awaited.clear()
        thread = threading.Thread(target=listen)
        thread.start()
        self._awaited.wait(10)
        try:
            yield from self._pinged(self._bare_ping)
        finally:
            stop.set()
            thread.join()

    @contextmanager
    def _listening(self, name: str) -> Iterator[None]:
        """A listener in a thread of its own, asleep."""
        app = _only(self._app, name)
        with connections.connect(self._dsn) as admin:
            listener = Listener(app, self._dsn, tables.subjects(admin, app))
        loops: list[asyncio.AbstractEventLoop] = []

        async def run() -> None:
            loops.append(asyncio.get_running_loop())
            await listener.run()

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        self._await_sleep()
        try:
            yield
        finally:
            loops[0].call_soon_threadsafe(listener.stop)
            thread.join()

    def _await_sleep(self) -> None:
        while self._connection.execute(_PIECES["asleep"]).fetchone() != (True,):
            time.sleep(0.01)

    def _lag(self) -> None:
        """Writers flat out, and a listener that delivers: how far it is behind when they end, and until it has caught up."""
        self._report(f"{_WRITERS} writers flat out")
        script = Path(tempfile.gettempdir()) / f"rowcall_bench_{os.getpid()}.sql"
        script.write_text(f"{_PIECES['write']};\n")
        try:
            for _ in range(self._rounds):
                self._lag_once(script)
        finally:
            script.unlink()

    def _lag_once(self, script: Path) -> None:
        seconds = 5
        self._connection.execute(_PIECES["forward"], {"name": "batches"})
        with self._listening("batches"):
            before = self._count()
            lags: list[float] = []
            command = pgbench_command(self._server, script, _WRITERS, "--time", seconds)
            writing = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            while writing.poll() is None:
                lags.append(self._behind())
                time.sleep(0.1)
            assert writing.returncode == 0
            written = self._count() - before
        self.results.add(f"{_WRITERS} writers, events/s", "rowcall", written / seconds)
        self.results.add(f"{_WRITERS} writers, lag p50, ms", "rowcall", statistics.median(lags) * 1000)
        self.results.add(f"{_WRITERS} writers, lag max, ms", "rowcall", max(lags) * 1000)

    def _behind(self) -> float:
        """How old the oldest event is that is not delivered, in seconds."""
        row = self._connection.execute(_PIECES["behind"], {"name": "batches"}).fetchone()
        assert row is not None
        return float(row[0])

    def _count(self) -> int:
        row = self._connection.execute("select last_value from rowcall.event_seq").fetchone()
        assert row is not None
        return int(row[0])

    def _memory(self) -> None:
        """The most memory that a process has, that drains the backlog."""
        self._report("memory")
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "bench_app.py").write_text(_APP)
            self._rewind("batches", 0)
            started = self._delivered("batches")
            command = rowcall_command("listen", "bench_app:app", "--drain", "--dsn", self._dsn)
            process = subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        self.results.add("drained by one process", "rowcall", float(self._delivered("batches") - started))
        self.results.add("its memory, MB", "rowcall", used.ru_maxrss / 1024)

    def _delivered(self, name: str) -> int:
        row = self._connection.execute(_PIECES["delivered"], {"name": name}).fetchone()
        assert row is not None
        return int(row[0])
