"""What capture costs the writer, against no trigger and what else people use."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from rowcall import embedded, resources
from rowcall.bench.programs import pgbench_command, rowcall_command
from rowcall.bench.results import Results
from rowcall.migrate import upgrade
from rowcall.postgres import declarations
from rowcall.watch import Watch

_PIECES = resources.named("bench/capture.sql")

#: The yardsticks and contenders, in the order they take turns.
CONTENDERS = ("none", "noop", "images", "generic", "notify", "unindexed", "rowcall")
#: What a listener is attached to: capture as it is, and without its doorbell.
LISTENED = ("silent", "rowcall")
#: Single-row transactions by clients, also with a listener that drains, and statements of 100,000 rows.
WORKLOADS = (
    "update@1", "update@8", "insert@1", "insert@8", "delete@1", "delete@8", "wide update@1", "wide update@8",
    "update@8 listening", "bulk update", "bulk insert", "bulk copy", "bulk delete",
)  # fmt: skip
_LOGS = {
    "images": "bench_images_log",
    "generic": "bench_generic_log",
    "unindexed": "rowcall.bench_event",
    "rowcall": "rowcall.event",
    "silent": "rowcall.event",
}
_ROWS = 100_000
#: The app a listener runs here: its handler takes events in batches and does nothing.
_LISTENED_APP = """
from rowcall import Rowcall

app = Rowcall("bench")


@app.after("bench_*", batch=1000)
def drain(events): ...
"""
_DOORBELL = re.compile(r"  -- The doorbell.*?  end if;\n", re.DOTALL)
_LOG = re.compile(r"insert into rowcall\.event \(")

_SINGLE = {
    "update": r"""\set id random(1, 100000)
update {table} set amount = amount + 1, status = 'paid', updated_at = now() where id = :id;
""",
    "insert": r"""\set n random(1, 1000000)
insert into {table} (email, name, status, amount, quantity, active, created_at, updated_at, address, notes)
values ('user' || :n || '@example.org', 'Customer number ' || :n, 'open', :n, 1, true, now(), now(),
  repeat('street ', 12) || :n, repeat('note ', 30) || :n);
""",
    "delete": r"""\set id random(1, 100000)
delete from {table} where id = :id;
""",
    "wide update": r"""\set id random(1, 10000)
update {table} set c1 = 'changed ' || :id, c2 = now(), c4 = c4 + 1 where id = :id;
""",
}


class CaptureBench:
    """One server, one database, one table a contender; every workload goes round the contenders in turn.

    :param rounds: how often each contender has its turn.
    :param seconds: how long a turn of single-row transactions lasts.
    """

    def __init__(
        self,
        server: embedded.Server,
        *,
        rounds: int,
        seconds: int,
        contenders: Sequence[str] = CONTENDERS,
        report: Callable[[str], None],
    ) -> None:
        self._server = server
        self._rounds = rounds
        self._seconds = seconds
        self._contenders = contenders
        self._report = report
        self._dsn = server.dsn("postgres")
        self._connection = psycopg.connect(self._dsn, autocommit=True)
        self._copy_data = b""
        self.results = Results()

    def run(self, workloads: Sequence[str]) -> Results:
        """Measure the named workloads: single-row ones as ``update@8``, bulk ones as ``bulk update``."""
        with self._connection:
            self._set_up(workloads)
            for workload in workloads:
                self._report(workload)
                with self._listening() if workload.endswith("listening") else nullcontext():
                    self._rounds_of(workload)
        return self.results

    def _rounds_of(self, workload: str) -> None:
        contenders = LISTENED if workload.endswith("listening") else self._contenders
        kind, _, clients = workload.removesuffix(" listening").partition("@")
        # As many transactions for each: who is slower would else pay for more full-page images a transaction.
        each = 0 if workload.startswith("bulk") else self._transactions(kind, int(clients))
        for _ in range(self._rounds):
            for contender in contenders:
                self._clear(contender)
                if workload.startswith("bulk"):
                    self.results.add(workload, contender, self._bulk(workload.removeprefix("bulk "), contender))
                else:
                    self._single(workload, kind, contender, int(clients), each)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """A listener in a process of its own, attached to all that is captured here."""
        directory = Path(self._server.log).parent
        (directory / "bench_app.py").write_text(_LISTENED_APP)
        command = rowcall_command("listen", "bench_app:app", "--dsn", self._dsn)
        with subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL) as listener:
            try:
                yield
            finally:
                listener.terminate()

    def _set_up(self, workloads: Sequence[str]) -> None:
        upgrade(self._dsn)
        listened = LISTENED if any(workload.endswith("listening") for workload in workloads) else ()
        wide = ("wide",) if any(workload.startswith("wide") for workload in workloads) else ()
        for contender in dict.fromkeys((*self._contenders, *listened)):
            for prefix in ("bench", *wide):
                self._create(prefix, contender)
        if "bulk copy" in workloads:
            query = _text("copy_data", f"bench_{self._contenders[0]}").as_string()
            with self._connection.cursor().copy(query) as copy:
                self._copy_data = b"".join(bytes(block) for block in copy)

    def _create(self, prefix: str, contender: str) -> None:
        table = f"{prefix}_{contender}"
        if prefix == "bench":
            self._connection.execute(_text("table", table))
            self._connection.execute(_text("fill", table), {"first": 1, "last": _ROWS})
            self._connection.execute(
                sql.SQL("alter table {} alter id restart with {}").format(sql.Identifier(table), _ROWS + 1)
            )
        else:
            for name in ("wide_table", "wide_fill"):
                row = self._connection.execute(_text(name, table), {"table": table}).fetchone()
                assert row is not None
                self._connection.execute(row[0])
        self._install(prefix, contender, table)
        self._connection.execute(sql.SQL("vacuum (freeze, analyze) {}").format(sql.Identifier(table)))

    def _install(self, prefix: str, contender: str, table: str) -> None:
        if contender in ("unindexed", *LISTENED):
            declarations.watch(self._connection, Watch.of(table), "bench")
            if contender == "silent":
                self._alter(table, "capture", _DOORBELL, "")
            elif contender == "unindexed":
                self._divert(table)
        elif contender != "none":
            statements = _text(contender, table).as_string(self._connection)
            wanted = statements if prefix == "bench" else "create trigger" + statements.split("create trigger")[1]
            self._connection.execute(wanted)

    def _divert(self, table: str) -> None:
        """Have a table's changes written to a log that lacks the indexes which only the audit's questions need."""
        self._connection.execute(_PIECES["log"])
        for function in ("capture", "capture_bulk"):
            self._alter(table, function, _LOG, "insert into rowcall.bench_event (")

    def _alter(self, table: str, function: str, pattern: re.Pattern[str], replacement: str) -> None:
        """Make one of a table's capture functions differ, to see what that costs."""
        query = """select pg_get_functiondef(('rowcall.' || %s::text || '_' || id)::regproc) from rowcall.relation
            where table_name = %s"""
        row = self._connection.execute(query, (function, table)).fetchone()
        assert row is not None
        altered, found = pattern.subn(replacement, row[0])
        assert found > 0
        self._connection.execute(altered)

    def _clear(self, contender: str) -> None:
        """An empty log and no dead rows, so that turns do not pay for earlier ones."""
        if contender in _LOGS:
            # The log refuses TRUNCATE to everybody; this connection's triggers sleep.
            self._connection.execute("set session_replication_role = replica")
            self._connection.execute(f"truncate {_LOGS[contender]}")
            self._connection.execute("set session_replication_role = origin")
        self._connection.execute("checkpoint")

    def _transactions(self, kind: str, clients: int) -> int:
        """How many transactions a client makes in about the time of a turn."""
        script = self._script(kind, self._contenders[0])
        if kind == "delete":
            self._refill(f"bench_{self._contenders[0]}")
        _, rate = self._pgbench(script, clients, ["-T", "1"])
        most = _ROWS // 4 if kind == "delete" else rate * self._seconds
        return max(int(min(most, rate * self._seconds) / clients), 1)

    def _script(self, kind: str, contender: str) -> Path:
        table = f"{'wide' if kind == 'wide update' else 'bench'}_{contender}"
        script = Path(self._server.log).parent / f"{contender}.pgbench"
        script.write_text(_SINGLE[kind].replace("{table}", table))
        script.chmod(0o644)
        return script

    def _single(self, workload: str, kind: str, contender: str, clients: int, each: int) -> None:
        table = f"{'wide' if kind == 'wide update' else 'bench'}_{contender}"
        if kind == "delete":
            self._refill(table)
        script = self._script(kind, contender)
        # The first change of a page after a checkpoint writes the whole page to the WAL: not what is compared here.
        self._pgbench(script, clients, ["-t", str(max(each // 2, 1))])
        logged = contender in _LOGS and kind != "delete"
        wal, log = self._wal(), self._log_size(contender) if logged else 0
        done, rate = self._pgbench(script, clients, ["-t", str(each)])
        self.results.add(workload, contender, rate)
        self.results.add(f"{workload} WAL B", contender, (self._wal() - wal) / done)
        if logged:
            self.results.add(f"{workload} log B", contender, (self._log_size(contender) - log) / done)
        self._connection.execute(sql.SQL("vacuum {}").format(sql.Identifier(table)))

    def _pgbench(self, script: Path, clients: int, length: list[str]) -> tuple[int, float]:
        options = ("--protocol", "prepared", "--jobs", min(clients, 2), *length)
        command = pgbench_command(self._server, script, clients, *options)
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        figures = dict(line.split(" = ", 1) for line in said.splitlines() if " = " in line)
        done = next(line for line in said.splitlines() if line.startswith("number of transactions actually"))
        return int(done.split(": ")[1].split("/")[0]), float(figures["tps"].split(" ", maxsplit=1)[0])

    def _bulk(self, kind: str, contender: str) -> float:
        """Seconds for 100,000 rows in one statement, rolled back; the table stays as it was."""
        table = f"bench_{contender}"
        statements: dict[str, Callable[[psycopg.Connection[Any]], None]] = {
            "update": lambda c: _execute(
                c, "update {} set amount = amount + 1, status = 'paid', updated_at = now() where id <= 100000", table
            ),
            "insert": lambda c: _fill(c, table),
            "delete": lambda c: _execute(c, "delete from {} where id <= 100000", table),
            "copy": lambda c: self._copy(c, table),
        }
        if kind == "delete":
            self._refill(table)
        with self._connection.transaction(force_rollback=True):
            started = time.perf_counter()
            statements[kind](self._connection)
            elapsed = time.perf_counter() - started
        self._connection.execute(sql.SQL("vacuum {}").format(sql.Identifier(table)))
        return elapsed

    def _copy(self, connection: psycopg.Connection[Any], table: str) -> None:
        with connection.cursor().copy(sql.SQL("copy {} from stdin").format(sql.Identifier(table))) as copy:
            copy.write(self._copy_data)

    def _refill(self, table: str) -> None:
        self._connection.execute("set session_replication_role = replica")
        self._connection.execute(sql.SQL("truncate {}").format(sql.Identifier(table)))
        self._connection.execute(_text("fill", table), {"first": 1, "last": _ROWS})
        self._connection.execute("set session_replication_role = origin")
        self._connection.execute(sql.SQL("vacuum (freeze, analyze) {}").format(sql.Identifier(table)))

    def _wal(self) -> int:
        row = self._connection.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])

    def _log_size(self, contender: str) -> int:
        """Bytes of the log with its indexes."""
        query = """select coalesce((select sum(pg_total_relation_size(relid)) from pg_partition_tree(%(log)s::regclass)
            where isleaf), pg_total_relation_size(%(log)s::regclass))"""
        row = self._connection.execute(query, {"log": _LOGS[contender]}).fetchone()
        assert row is not None
        return int(row[0])


def _execute(connection: psycopg.Connection[Any], statement: str, table: str) -> None:
    connection.execute(sql.SQL(statement).format(sql.Identifier(table)))


def _fill(connection: psycopg.Connection[Any], table: str) -> None:
    connection.execute(_text("fill", table), {"first": 10_000_001, "last": 10_000_000 + _ROWS})


def _text(name: str, table: str) -> sql.Composed:
    """A piece of the bench's file with the table's name put in."""
    parts = [sql.SQL(part) for part in _PIECES[name].split("{table}")]
    # A table's name is made here from the contenders' names, never by a user.
    return sql.SQL(table).join(parts)
