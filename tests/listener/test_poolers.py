"""Listeners that poll, and listeners behind a transaction pooler."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rowcall import embedded
from tests.command import fine, refused
from tests.conftest import Connect, Database
from tests.listeners import Program, program, synchronised
from tests.users import seen_by, write
from tests.waiting import eventually

APP = """
from rowcall import Rowcall

app = Rowcall("pooled")
app.watch("users")

@app.after("users", name="sync")
def with_conn(event, conn):
    conn.execute("insert into seen (what) values (%s)", (f"sync {event.key['id']}",))

@app.after("users", name="async", batch=10)
async def with_async_conn(events, conn):
    for event in events:
        await conn.execute("insert into seen (what) values (%s)", (f"async {event.key['id']}",))
"""


@pytest.fixture
def shop(tmp_path: Path, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a synchronised app."""
    del database
    return synchronised(tmp_path, dsn, monkeypatch, "pooled", APP)


@pytest.fixture
def pooled_dsn(tmp_path: Path, dsn: str, cluster: embedded.Server) -> Iterator[str]:
    """The database behind PgBouncer, which gives each transaction whatever session is free."""
    bouncer = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if bouncer is None:
        pytest.skip("PgBouncer is not installed")
    dbname = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    directory = cluster.socket_directory.parent / f"bouncer_{os.urandom(4).hex()}"
    directory.mkdir()
    directory.chmod(0o777)
    config = directory / "pgbouncer.ini"
    config.write_text(f"""
[databases]
{dbname} = host={cluster.socket_directory} port={embedded.PORT} user=postgres dbname={dbname}
[pgbouncer]
listen_addr =
unix_socket_dir = {directory}
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = 4
logfile = {directory}/log
""")
    # It refuses root.
    user = cluster.socket_directory.stat().st_uid if os.geteuid() == 0 else None
    process = subprocess.Popen([bouncer, "--quiet", str(config)], stderr=subprocess.DEVNULL, user=user)
    try:
        eventually(lambda: (directory / ".s.PGSQL.6432").exists())
        yield f"postgresql://postgres@/{dbname}?host={directory}&port=6432"
    finally:
        process.terminate()
        process.wait(10)


def check_deliveries(database: Database, last: int) -> None:
    everything = list(range(1, last + 1))
    eventually(lambda: sorted(seen_by(database, "sync")) == sorted(seen_by(database, "async")) == everything)


def listens(database: Database) -> bool:
    query = "select count(*) from pg_stat_activity where application_name = 'rowcall doorbell'"
    return database.execute(query).fetchone() != (0,)


def test_who_polls_does_not_listen(dsn: str, database: Database, shop: Path) -> None:
    with program(shop, "pooled:app", dsn, "--poll") as running:
        for turn in range(3):
            write(database, 10 * turn + 1, 10 * turn + 10)
            check_deliveries(database, 10 * turn + 10)
        assert not listens(database)
        running.process.terminate()
        assert running.ended() == 0


def test_a_poller_has_its_subscriptions_in_use(dsn: str, database: Database, shop: Path) -> None:
    with program(shop, "pooled:app", dsn, "--poll"):
        eventually(lambda: database.execute("select count(*) from rowcall.worker").fetchone() == (2,))
        said = refused(1, "subscriptions", "drop", "sync", "--yes", "--dsn", dsn)
        assert "sync is in use by process" in said
        assert all(line["listening"] for line in fine("status", "--dsn", dsn).lines)


@pytest.mark.timeout(60)
def test_two_listeners_behind_a_pooler(
    dsn: str, database: Database, shop: Path, pooled_dsn: str, connect: Connect
) -> None:
    late = connect()
    with program(shop, "pooled:app", pooled_dsn, "--poll") as one, program(shop, "pooled:app", pooled_dsn, "--poll"):
        write(database, 1, 300)
        late.execute("insert into users values (301, 'x', 1)")
        check_deliveries(database, 300)
        late.commit()
        check_deliveries(database, 301)
        one.process.kill()
        one.process.wait()
        write(database, 302, 400)
        eventually(lambda: len(seen_by(database, "sync")) == len(seen_by(database, "async")) == 400, timeout=20)
    assert sorted(seen_by(database, "sync")) == sorted(seen_by(database, "async")) == list(range(1, 401))
    del dsn


def test_it_listens_around_the_pooler(dsn: str, database: Database, shop: Path, pooled_dsn: str) -> None:
    with program(shop, "pooled:app", pooled_dsn, "--listen-dsn", dsn):
        write(database, 1, 50)
        check_deliveries(database, 50)
        assert listens(database)


def test_to_poll_and_to_listen_exclude_each_other(shop: Path, dsn: str) -> None:
    assert "exclude each other" in refused(2, "listen", "pooled:app", "--poll", "--listen-dsn", dsn, "--dsn", dsn)
    del shop


def test_a_drain_behind_a_pooler(dsn: str, database: Database, shop: Path, pooled_dsn: str) -> None:
    del dsn
    write(database, 1, 50)
    draining = Program(shop, "pooled:app", pooled_dsn, "--drain", "--poll")
    assert draining.ended(15) == 0
    assert seen_by(database, "sync") == seen_by(database, "async") == list(range(1, 51))


def test_before_handlers_behind_a_pooler_need_a_way_to_listen(
    dsn: str, pooled_dsn: str, gate: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del gate
    (tmp_path / "guards.py").write_text("""
from rowcall import Rowcall

app = Rowcall("guards")
app.before("users", timeout=5, name="check")(lambda event: {"name": "asked"})
""")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    fine("sync", "guards:app", "--dsn", dsn)
    assert "give --listen-dsn" in refused(2, "listen", "guards:app", "--poll", "--dsn", pooled_dsn)
    with program(tmp_path, "guards:app", pooled_dsn, "--listen-dsn", dsn):
        write(database, 1, 2)
    assert database.execute("select distinct name from users").fetchall() == [("asked",)]
