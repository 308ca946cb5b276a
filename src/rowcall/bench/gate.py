"""What asking Python before a write costs the writer, beside the same write ungated."""

from __future__ import annotations

import secrets
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from rowcall import embedded, errors
from rowcall.app import Rowcall
from rowcall.bench.programs import pgbench_command, rowcall_command
from rowcall.bench.results import Results
from rowcall.migrate import upgrade
from rowcall.postgres import connection as connections
from rowcall.postgres import declarations

#: The same write without validation, with a rule, and with a handler that is sync or async and does nothing.
CONTENDERS = ("ungated", "rule", "sync", "async")
#: Clients of a turn.
CLIENTS = (1, 8)
_ROWS = 10_000
#: Of the transactions of a turn, the first so many are not counted: their sessions connect to the gate.
_WARMING = 20
_DEADLINE = 0.25
_CUTS = 5

_APP = f"""
from datetime import datetime, timezone

from rowcall import Rowcall

app = Rowcall("bench")
app.rule("gated_rule", "positive", "new.amount >= 0")


@app.before("gated_sync", on="update", timeout={_DEADLINE})
def check(event): ...


@app.before("gated_async", on="update", timeout={_DEADLINE})
async def check_async(event): ...


@app.before("gated_split", on="update", timeout={_DEADLINE})
async def split(event):
    return {{"asked": event.at, "heard": datetime.now(timezone.utc)}}
"""
#: Where a gated write spends its time: the handler notes when the writer asked and when it heard.
_SPLIT_TABLE = """
create table gated_split (id int primary key, n int not null, asked timestamptz, heard timestamptz);
insert into gated_split values (1, 0)
"""
_SPLIT = """
update gated_split set n = n + 1 where id = 1
returning extract(epoch from heard - asked) * 1000, extract(epoch from clock_timestamp() - heard) * 1000
"""
#: A round trip over the connection that the gate keeps, by the bench's superuser.
_ROUND_TRIP = "select * from rowcall.dblink('rowcall', 'select 1') as r (one int)"
_SAMPLES = 300
#: A statement over many rows asks for one after the other.
_BULK = 1000
_TABLE = """
create table {table} (id int primary key, name text not null, email text not null, amount numeric not null, at timestamptz);
insert into {table} select n, 'Customer number ' || n, 'user' || n || '@example.org', n, now() from generate_series(1, {rows}) as n;
vacuum (freeze, analyze) {table}
"""
_WRITE = r"""\set id random(1, {rows})
update {table} set amount = amount + 1, at = now() where id = :id;
"""


class GateBench:
    """One server, one table a contender, one listener in a process of its own.

    :param rounds: how often each contender has its turn.
    :param seconds: how long a turn lasts.
    """

    def __init__(self, server: embedded.Server, *, rounds: int, seconds: int, report: Callable[[str], None]) -> None:
        self._server = server
        self._directory = Path(server.log).parent
        self._dsn = server.dsn("postgres")
        self._rounds = rounds
        self._seconds = seconds
        self._report = report
        self.results = Results()

    def run(self) -> Results:
        """Measure everything."""
        self._set_up()
        with self._listener() as listener:
            for clients in CLIENTS:
                self._report(f"{clients} {'client' if clients == 1 else 'clients'}")
                for _ in range(self._rounds):
                    for contender in CONTENDERS:
                        self._turn(contender, clients)
            self._report("where the time goes")
            self._split()
            self._report(f"{_BULK:,} rows in one statement")
            self._in_bulk()
            self._report("a listener that is frozen")
            listener.send_signal(signal.SIGSTOP)
            self._cut("frozen: after the deadline, ms")
            listener.send_signal(signal.SIGCONT)
        self._report("no listener")
        self._cut("missing: after the deadline, ms")
        return self.results

    def _set_up(self) -> None:
        role = embedded.GATE_ROLES[0]
        upgrade(self._dsn, self._server.dsn("postgres", user=role, password=secrets.token_hex(8)))
        with connections.connect(self._dsn) as connection:
            connection.execute(_SPLIT_TABLE)
            for contender in CONTENDERS:
                for statement in _TABLE.split(";"):
                    table = sql.Identifier(f"gated_{contender}")
                    connection.execute(sql.SQL(statement).format(table=table, rows=sql.Literal(_ROWS)))
        namespace: dict[str, Any] = {}
        exec(compile(_APP, "bench_gate.py", "exec"), namespace)
        app: Rowcall = namespace["app"]
        with connections.connect(self._dsn, autocommit=False) as admin:
            declarations.synchronise(admin, app, "bench")

    @contextmanager
    def _listener(self) -> Iterator[subprocess.Popen[bytes]]:
        """A listener, once it answers."""
        (self._directory / "bench_gate.py").write_text(_APP)
        command = rowcall_command("listen", "bench_gate:app", "--dsn", self._dsn)
        with subprocess.Popen(command, cwd=self._directory, stderr=subprocess.DEVNULL) as listener:
            try:
                self._wait_for_answer(listener)
                yield listener
            finally:
                listener.send_signal(signal.SIGCONT)
                listener.terminate()

    def _wait_for_answer(self, listener: subprocess.Popen[bytes]) -> None:
        with connections.connect(self._dsn) as writer:
            while listener.poll() is None:
                try:
                    writer.execute("update gated_sync set amount = amount where id = 1")
                except psycopg.errors.CheckViolation:
                    continue
                return
        raise errors.RowcallError("The listener of the benchmark ended by itself.")

    def _turn(self, contender: str, clients: int) -> None:
        milliseconds, rate = self._pgbench(contender, clients)
        name = f"@{clients}"
        self.results.add(f"{name} p50, ms", contender, statistics.median(milliseconds))
        self.results.add(f"{name} p99, ms", contender, statistics.quantiles(milliseconds, n=100)[98])
        self.results.add(f"{name} writes/s", contender, rate)

    def _pgbench(self, contender: str, clients: int) -> tuple[list[float], float]:
        """How long each write took, and how many there were a second."""
        script = self._directory / f"{contender}.pgbench"
        script.write_text(_WRITE.format(table=f"gated_{contender}", rows=_ROWS))
        logs = self._directory / f"{contender}-{clients}"
        length = ("-M", "prepared", "-l", "--log-prefix", logs, "-T", self._seconds)
        command = pgbench_command(self._server, script, clients, *length)
        subprocess.run(command, capture_output=True, text=True, check=True)
        written: list[float] = []
        for log in self._directory.glob(f"{logs.name}.*"):
            for line in log.read_text().splitlines():
                _, number, microseconds, *_ = line.split()
                if int(number) > _WARMING:
                    written.append(int(microseconds) / 1000)
            log.unlink()
        return written, len(written) / self._seconds

    def _split(self) -> None:
        with connections.connect(self._dsn) as writer, connections.connect(self._dsn) as ears:
            ears.execute("listen bench")
            for _ in range(_SAMPLES):
                row = writer.execute(_SPLIT).fetchone()
                assert row is not None
                self.results.add("asked to handler, ms", "async", float(row[0]))
                self.results.add("handler to written, ms", "async", float(row[1]))
                started = time.perf_counter()
                writer.execute(_ROUND_TRIP)
                self.results.add("bare dblink, ms", "bare", (time.perf_counter() - started) * 1000)
                started = time.perf_counter()
                writer.execute("notify bench")
                next(ears.notifies(timeout=1, stop_after=1))
                self.results.add("bare NOTIFY, ms", "bare", (time.perf_counter() - started) * 1000)

    def _in_bulk(self) -> None:
        with connections.connect(self._dsn) as writer:
            for _ in range(self._rounds):
                for contender in CONTENDERS:
                    query = sql.SQL("update {} set amount = amount + 1 where id <= %s")
                    started = time.perf_counter()
                    writer.execute(query.format(sql.Identifier(f"gated_{contender}")), (_BULK,))
                    self.results.add("a row of many, ms", contender, (time.perf_counter() - started) / _BULK * 1000)

    def _cut(self, workload: str) -> None:
        with connections.connect(self._dsn) as writer:
            for _ in range(_CUTS):
                started = time.perf_counter()
                try:
                    writer.execute("update gated_sync set amount = amount where id = 1")
                except psycopg.errors.CheckViolation:
                    self.results.add(workload, "gate", (time.perf_counter() - started - _DEADLINE) * 1000)
