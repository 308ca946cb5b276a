"""The listener seals the log: soon, once, by one process at a time, whatever happens to it."""

import asyncio
import signal
import stat
import threading
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import Event, Rowcall
from rowcall.audit import anchor_file, sealing, signing
from rowcall.audit import seal as seals
from rowcall.listener import sealer
from rowcall.listener.sealer import Seals
from rowcall.listener.sleep import Sleep
from tests.audit.sealed import check, seqs, tamper
from tests.command import fine, refused
from tests.conftest import Connect
from tests.listeners import drain, listener_for, listening, program, sync
from tests.waiting import eventually

Database = psycopg.Connection[Any]

APP = """
from rowcall import Rowcall
app = Rowcall()
app.watch("users")
"""


@pytest.fixture
def app(database: Database, dsn: str) -> Rowcall:
    del database
    app = Rowcall()
    app.watch("users")
    sync(app, dsn)
    return app


def sealed(database: Database) -> list[int]:
    """The places of sealed events, as the seals have them."""
    return [seq for (found,) in database.execute("select seqs from rowcall.leaf order by seal") for seq in found]


def write(database: Database, first: int, last: int) -> None:
    database.execute("insert into users select n, 'x', 1 from generate_series(%s::int, %s::int) as n", (first, last))


def test_events_are_sealed_soon_where_there_are_no_handlers(database: Database, dsn: str, app: Rowcall) -> None:
    with listening(app, dsn):
        for number in range(3):
            database.execute("insert into users values (%s)", (number,))
            eventually(lambda: sealed(database) == seqs(database), timeout=3)
    lags = database.execute(
        "select extract(epoch from s.sealed_at - e.at) from rowcall.event e join rowcall.leaf l on e.seq = any (l.seqs)"
        " join rowcall.seal s on s.number = l.seal"
    ).fetchall()
    assert max(lag for (lag,) in lags) < 2.0


def test_events_are_sealed_soon_while_the_listener_sleeps(database: Database, dsn: str, app: Rowcall) -> None:
    app.after("users", name="reader")(lambda event: None)
    sync(app, dsn)
    with listening(app, dsn):
        for number in range(2):
            eventually(lambda: _sleeps(database))
            database.execute("insert into users values (%s)", (number,))
            eventually(lambda: sealed(database) == seqs(database), timeout=3)


def _sleeps(database: Database) -> bool:
    row = database.execute(
        "select exists (select from pg_locks where locktype = 'advisory' and classid = 1383036771 and objid = 0"
        " and mode = 'ExclusiveLock' and granted)"
    ).fetchone()
    return bool(row and row[0])


def test_nothing_is_asked_while_nothing_happens(
    database: Database, dsn: str, app: Rowcall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the sealer looks: only when somebody had a reason to read."""
    monkeypatch.setattr(sealer, "EVERY", 0.001)
    asked, sleeps = [], []
    real_init, real_ask = Sleep.__init__, sealing.Sealer.is_pending

    def init(self: Sleep, *args: Any) -> None:
        real_init(self, *args)
        sleeps.append(self)

    def ask(self: sealing.Sealer) -> bool:
        asked.append(1)
        return real_ask(self)

    monkeypatch.setattr(Sleep, "__init__", init)
    monkeypatch.setattr(sealing.Sealer, "is_pending", ask)
    app.after("users", name="reader")(lambda event: None)
    sync(app, dsn)
    with listening(app, dsn):
        write(database, 1, 3)
        eventually(lambda: sealed(database) == seqs(database))
        eventually(lambda: _sleeps(database))
        made = seals.newest(database)
        assert made
        # A seal takes two questions more: whether there is more.
        assert len(asked) <= sum(one.stirs for one in sleeps) + 2 * made.number + 2


def test_a_drain_ends_when_all_is_sealed(database: Database, dsn: str, app: Rowcall) -> None:
    seen: list[Event] = []

    @app.after("users", name="reader")
    def read(event: Event) -> None:
        seen.append(event)

    sync(app, dsn)
    write(database, 1, 200)
    drain(app, dsn)
    assert len(seen) == 200
    assert sealed(database) == seqs(database)
    assert check(database) == []


def test_a_drain_of_nothing_ends(database: Database, dsn: str) -> None:
    drain(Rowcall(), dsn)
    assert database.execute("select count(*) from rowcall.seal").fetchone() == (0,)


def test_a_drain_waits_for_another_process_that_seals(
    database: Database, dsn: str, app: Rowcall, connect: Connect
) -> None:
    write(database, 1, 5)
    other = connect(autocommit=False)
    other.execute("select pg_advisory_xact_lock(1383036771, 104)")
    thread = threading.Thread(target=drain, args=(app, dsn))
    thread.start()
    waits = "select count(*) from pg_stat_activity where application_name = 'rowcall sealer' and query like '%rowcall.seal%'"
    eventually(lambda: database.execute(waits).fetchone() == (1,))
    assert thread.is_alive()
    assert sealed(database) == []
    other.rollback()
    thread.join(10)
    assert sealed(database) == seqs(database)


@pytest.mark.timeout(60)  # it starts five programs
def test_others_take_over_at_once_from_a_sealer_that_is_killed(database: Database, dsn: str, tmp_path: Path) -> None:
    """Killed in the middle, again and again: every event is in one seal, and the chain goes on."""
    (tmp_path / "mine.py").write_text(APP)
    fine("watch", "users", "--dsn", dsn)
    made = 0
    for turn in range(3):
        write(database, 12_000 * turn, 12_000 * turn + 11_999)
        with program(tmp_path, "mine:app", dsn) as running:
            eventually(partial(_has_more_seals, database, made))
            running.signal(signal.SIGKILL)
            running.ended()
        made = _seals(database)
    with program(tmp_path, "mine:app", dsn), program(tmp_path, "mine:app", dsn):
        write(database, 100_000, 100_050)
        eventually(lambda: len(sealed(database)) == 36_051)
    assert sorted(sealed(database)) == seqs(database)
    assert check(database) == []


def _has_more_seals(database: Database, than: int) -> bool:
    return _seals(database) > than


def _seals(database: Database) -> int:
    newest = seals.newest(database)
    return 0 if newest is None else newest.number


def test_the_anchor_gets_what_a_crash_kept_from_it(database: Database, dsn: str, app: Rowcall, tmp_path: Path) -> None:
    """Seals that were committed when their maker died before it had written their lines, and those of other processes."""
    write(database, 1, 5)
    sealing.seal_pending(database, limit=2)
    anchor = tmp_path / "anchor.jsonl"
    (tmp_path / "mine.py").write_text(APP)
    fine("audit", "keygen", str(tmp_path / "key"))
    options = ("--anchor", str(anchor), "--seal-key", str(tmp_path / "key"))
    with program(tmp_path, "mine:app", dsn, *options):
        write(database, 6, 9)
        eventually(lambda: _anchored(anchor) and sealed(database) == seqs(database))
        newest = seals.newest(database)
        assert newest
        eventually(lambda: _anchored(anchor) == newest.number)
    assert [line.seal for line in anchor_file.read(anchor)] == list(range(1, newest.number + 1))
    keys = [signing.Verifier.load(tmp_path / "key.pub")]
    assert check(database, keys, anchor) == []
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def _anchored(anchor: Path) -> int:
    return len(anchor.read_text().splitlines()) if anchor.exists() else 0


def test_an_anchor_that_disagrees_is_told_and_left(database: Database, dsn: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(APP)
    fine("watch", "users", "--dsn", dsn)
    write(database, 1, 5)
    sealing.seal_pending(database)
    anchor = tmp_path / "anchor.jsonl"
    anchor_file.catch_up(anchor, database)
    tamper(
        database, "delete from rowcall.seal", "delete from rowcall.leaf", "update rowcall.event set actor = 'mallory'"
    )
    before = anchor.read_text()
    with program(tmp_path, "mine:app", dsn, "--anchor", str(anchor)) as running:
        eventually(lambda: running.logged("the seals were altered"))
    assert anchor.read_text() == before


def test_delivery_goes_on_where_sealing_cannot(database: Database, dsn: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        APP + "@app.after('users', start='beginning')\ndef see(event, conn):\n"
        "    conn.execute('insert into seen (what) values (%s)', (str(event.key['id']),))\n"
    )
    database.execute("create function fail() returns trigger language plpgsql as 'begin raise ''no''; end'")
    database.execute("create trigger fail before insert on rowcall.seal execute function fail()")
    fine("watch", "users", "--dsn", dsn)
    with program(tmp_path, "mine:app", dsn) as running:
        eventually(lambda: running.logged("the log cannot be sealed"))
        write(database, 1, 3)
        eventually(lambda: database.execute("select count(*) from seen").fetchone() == (3,))


def test_sealing_can_be_left_to_others(database: Database, dsn: str, app: Rowcall) -> None:
    app.after("users", name="reader")(lambda event: None)
    sync(app, dsn)
    write(database, 1, 3)
    listener = listener_for(app, dsn, drain=True)
    listener._seals = None
    asyncio.run(listener.run())
    assert sealed(database) == []
    assert "--no-seal excludes" in refused(2, "listen", "a:b", "--no-seal", "--anchor", "x")
    assert Seals() == Seals(None, None)


def test_a_restored_log_is_sealed_on(database: Database, dsn: str, app: Rowcall) -> None:
    """As the anchoring after a restore leaves it: another epoch, transaction ids of another cluster below the floor."""
    write(database, 1, 4)
    sealing.seal_pending(database, limit=3)
    write(database, 5, 8)
    tamper(
        database,
        "update rowcall.event set xid = (xid::text::bigint + 1000000)::text::xid8 where seq > (select max(last_seq) from rowcall.seal)",
    )
    database.execute(
        "update rowcall.installation set epoch = 2, floor_seq = (select max(seq) from rowcall.event), anchor = pg_current_snapshot()"
    )
    write(database, 9, 12)
    sealing.seal_pending(database, limit=3)
    # And once more: the log was dumped from that cluster, and restored in a third.
    database.execute(
        "update rowcall.installation set epoch = 3, floor_seq = (select max(seq) from rowcall.event), anchor = pg_current_snapshot()"
    )
    write(database, 13, 14)
    sealing.seal_pending(database, limit=3)
    assert sealed(database) == seqs(database)
    assert check(database) == []
    tamper(database, f"delete from rowcall.event where seq = {seqs(database)[6]}")
    assert [kind for kind, _, _ in check(database)] == ["missing"]
