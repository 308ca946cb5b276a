"""Many listeners of one subscription: who has which lanes, and the order of what concerns several."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rowcall import Event, Rowcall
from rowcall.listener import worker
from tests.command import fine, rowcall
from tests.conftest import Connect, Database
from tests.listeners import Program, drain, enlist, program, sync, synchronised
from tests.users import write
from tests.waiting import eventually

#: An app that copies what it is told, and waits for a lock in the middle of it where a row says so.
COPIES = """
import os
from rowcall import Rowcall

app = Rowcall("copies")
app.watch("users")

@app.after("users", name="copies")
def copy(event, conn):
    row = event.new or event.old or {}
    if row.get("name") == "wait":
        conn.execute("select pg_advisory_xact_lock_shared(42)")
    conn.execute("insert into copies (seq, what, who) values (%s, %s, %s)",
        (event.seq, f"{event.operation} {event.key.get('id')} {row.get('id')}", os.getpid()))
"""


SEEN = "select seen_at from rowcall.worker"


@pytest.fixture
def shop(tmp_path: Path, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a synchronised app."""
    database.execute("create table copies (place bigserial, seq bigint, what text, who int)")
    return synchronised(tmp_path, dsn, monkeypatch, "lanes", COPIES)


@contextmanager
def programs(shop: Path, dsn: str, count: int, *options: str) -> Iterator[list[Program]]:
    """So many listeners, who share the lanes."""
    with ExitStack() as stack:
        started = [stack.enter_context(program(shop, "lanes:app", dsn, *options)) for _ in range(count)]
        yield started


def owners(database: Database) -> dict[str, int]:
    """How many lanes each process has, by its pid; those that nobody has by "nobody"."""
    query = """
        select coalesce(split_part(w.process, ' ', 2), 'nobody'), sum(cardinality(c.lanes))::int
        from rowcall.cursor as c left join rowcall.worker as w on w.id = c.owner group by 1
    """
    return dict(database.execute(query).fetchall())


def spread(database: Database) -> list[int]:
    return sorted(owners(database).values())


def copied(database: Database) -> int:
    row = database.execute("select count(*) from copies").fetchone()
    assert row
    return int(row[0])


def check_copies(database: Database) -> None:
    """Every event of the log exactly once, and those of each key in their order."""
    log = database.execute("select seq, key ->> 'id', next_key ->> 'id', operation::text from rowcall.event").fetchall()
    seqs = [seq for (seq,) in database.execute("select seq from copies order by place").fetchall()]
    assert Counter(seqs) == Counter(seq for seq, *_ in log)
    keys: dict[str, list[int]] = {}
    place = {seq: number for number, seq in enumerate(seqs)}
    for seq, key, next_key, _ in sorted(log):
        # A truncate is of every key.
        for own in {key, next_key} - {None} if key is not None else list(keys):
            keys.setdefault(own, []).append(seq)
    for line in keys.values():
        assert [place[seq] for seq in line] == sorted(place[seq] for seq in line)


def test_lanes_spread_evenly_and_come_back(dsn: str, database: Database, shop: Path) -> None:
    with programs(shop, dsn, 1) as [first]:
        eventually(lambda: owners(database) == {str(first.process.pid): 16})
        with programs(shop, dsn, 2) as [second, third]:
            eventually(lambda: spread(database) == [5, 5, 6])
            write(database, 1, 300)
            eventually(lambda: copied(database) == 300)
            rows = database.execute("select who, count(*) from copies group by who").fetchall()
            assert {who for who, _ in rows} == {one.process.pid for one in (first, second, third)}
            second.signal(signal.SIGTERM)
            assert second.ended() == 0
            eventually(lambda: spread(database) == [8, 8])
        # The third was killed.
        eventually(lambda: owners(database) == {str(first.process.pid): 16})
        # Together again, they are one row, and nobody walks behind anybody.
        eventually(lambda: database.execute("select count(*) from rowcall.cursor").fetchone() == (1,))
        assert database.execute("select count(*) from rowcall.window").fetchone() == (0,)
    check_copies(database)


def test_a_process_takes_no_more_than_its_limit(dsn: str, database: Database, shop: Path) -> None:
    with programs(shop, dsn, 1, "--lanes", "3") as [limited]:
        eventually(lambda: owners(database) == {str(limited.process.pid): 3, "nobody": 13})
        write(database, 1, 100)
        with programs(shop, dsn, 1) as [other]:
            eventually(lambda: owners(database) == {str(limited.process.pid): 3, str(other.process.pid): 13})
            eventually(lambda: copied(database) == 100)
    check_copies(database)


def test_lanes_of_one_that_is_killed_are_taken_over_in_under_a_second(dsn: str, database: Database, shop: Path) -> None:
    with programs(shop, dsn, 2) as [one, two]:
        eventually(lambda: spread(database) == [8, 8])
        one.signal(signal.SIGKILL)
        one.ended()
        killed = time.monotonic()
        eventually(lambda: owners(database) == {str(two.process.pid): 16})
        assert time.monotonic() - killed < 1.0


def test_a_frozen_one_is_replaced_and_commits_nothing_when_it_wakes(
    dsn: str, database: Database, shop: Path, connect: Connect
) -> None:
    gatekeeper = connect(autocommit=True)
    gatekeeper.execute("select pg_advisory_lock(42)")
    with programs(shop, dsn, 2) as [one, two]:
        eventually(lambda: spread(database) == [8, 8])
        # Each of them is in the middle of a slice, holding a row that both would lock.
        database.execute("insert into users select n, 'wait', n from generate_series(1, 50) as n")
        waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'advisory' and application_name <> 'rowcall peers'"
        eventually(lambda: database.execute(waiting).fetchone() == (2,))
        one.signal(signal.SIGSTOP)
        gatekeeper.execute("select pg_advisory_unlock(42)")
        eventually(lambda: owners(database) == {str(two.process.pid): 16}, timeout=15)
        eventually(lambda: copied(database) == 50)
        one.signal(signal.SIGCONT)
        eventually(lambda: spread(database) == [8, 8])
        write(database, 51, 100)
        eventually(lambda: copied(database) == 100)
        check_copies(database)
        assert one.process.poll() is None
    assert {who for (who,) in database.execute("select distinct who from copies where seq <= 50").fetchall()} == {
        two.process.pid
    }


def test_what_concerns_several_lanes_keeps_its_place_in_all_of_them(dsn: str, database: Database, shop: Path) -> None:
    with programs(shop, dsn, 3):
        eventually(lambda: spread(database) == [5, 5, 6])
        write(database, 1, 30)
        for turn in range(1, 6):
            for key in range(1, 31):
                old, new = key + 100 * (turn - 1), key + 100 * turn
                database.execute("update users set id = %s where id = %s", (new, old))
                database.execute("update users set age = age + 1 where id = %s", (new,))
        database.execute("truncate users")
        write(database, 1, 30)
        database.execute(
            "begin; update users set id = -id where id <= 10; update users set id = -id where id < 0; commit"
        )
        database.execute("truncate users")
        count = database.execute("select count(*) from rowcall.event").fetchone()
        eventually(lambda: (copied(database),) == count)
    check_copies(database)


def test_lanes_that_are_apart_do_not_wait_for_each_other_in_a_circle(
    dsn: str, database: Database, connect: Connect
) -> None:
    """Two windows show two events, each of two lanes, in opposite order to those who read them apart."""
    app = Rowcall()
    app.watch("users")
    seen: list[int] = []

    @app.after("users", name="reader")
    def reader(event: Event) -> None:
        assert event.seq is not None
        seen.append(event.seq)

    sync(app, dsn)
    lane = (
        "select n from generate_series(1, 1000) as n where rowcall.lane_v1(1, jsonb_build_object('id', n)) = %s limit 4"
    )
    near, far = ([key for (key,) in database.execute(lane, (number,)).fetchall()] for number in (0, 15))
    for key in (near[0], far[1], near[2]):
        write(database, key, key)
    slow = connect()
    # First in order, last to be seen: a change of far[1], then of near[0] to a key of the other lane.
    slow.execute("update users set age = 7 where id = %s", (far[1],))
    slow.execute("update users set id = %s where id = %s", (far[0], near[0]))
    database.execute("update users set id = %s where id = %s", (far[2], near[2]))
    # One half of the lanes has opened a window that does not show the slow one.
    database.execute("select rowcall.split_v1(id, 8) from rowcall.cursor")
    database.execute("insert into rowcall.window select id, 1, pg_current_snapshot() from rowcall.subscription")
    database.execute(
        "update rowcall.cursor set number = 1, upper = w.upper from rowcall.window as w where 0 = any (lanes)"
    )
    slow.commit()
    drain(app, dsn)
    order = database.execute("select seq from rowcall.event order by seq").fetchall()
    assert Counter(seen) == Counter(seq for (seq,) in order)
    assert seen[-1] != order[-1][0]


def test_one_that_was_taken_for_dead_joins_again(dsn: str, database: Database, shop: Path) -> None:
    with programs(shop, dsn, 1) as [only]:
        eventually(lambda: owners(database) == {str(only.process.pid): 16})
        database.execute("delete from rowcall.worker")
        write(database, 1, 10)
        eventually(lambda: copied(database) == 10)
        eventually(lambda: owners(database) == {str(only.process.pid): 16})
        assert only.process.poll() is None


def test_a_zombie_is_fenced_off_by_its_epoch(dsn: str, database: Database, connect: Connect) -> None:
    """Even where its session could not be ended, what it does later does not count."""
    other = connect(autocommit=True)
    calls: list[int] = []

    def handler(event: Event, conn: Database) -> None:
        calls.append(event.key["id"])
        conn.execute("insert into seen (what) values (%s)", (f"{event.key['id']}",))
        if len(calls) == 1:
            # In the middle of its transaction the lanes change hands, and back.
            database.execute("update rowcall.cursor set epoch = epoch + 2")

    app = Rowcall()
    app.watch("users")
    app.after("users", name="reader")(handler)
    sync(app, dsn)
    write(other, 1, 3)
    drain(app, dsn)
    assert calls == [1, 2, 3, 1, 2, 3]
    assert database.execute("select what from seen order by place").fetchall() == [("1",), ("2",), ("3",)]


def test_a_long_read_does_not_stop_the_heart(dsn: str, database: Database, shop: Path, connect: Connect) -> None:
    blocker = connect()
    with programs(shop, dsn, 1):
        eventually(lambda: spread(database) == [16])
        # Whoever reads the log has to wait.
        blocker.execute("lock table rowcall.layout in access exclusive mode")
        write(database, 1, 1)
        seen_at = database.execute(SEEN).fetchone()
        for _ in range(2):
            eventually(lambda before=seen_at: database.execute(SEEN).fetchone() != before)  # type: ignore[misc]
            seen_at = database.execute(SEEN).fetchone()
        assert copied(database) == 0
        blocker.rollback()
        eventually(lambda: copied(database) == 1)


def test_what_another_left_in_good_order_is_taken_at_once(dsn: str, database: Database, connect: Connect) -> None:
    app = Rowcall()
    app.watch("users")
    seen: list[Any] = []
    app.after("users", name="reader")(lambda event: seen.append(event.key["id"]))
    sync(app, dsn)
    holder = connect(autocommit=True)
    worker = enlist(holder, "reader", process=f"elsewhere {os.getpid()} x")
    holder.execute("select rowcall.claim_v1(%s, 16)", (worker,))
    write(database, 1, 5)
    holder.execute("select rowcall.release_v1(%s, 0)", (worker,))
    drain(app, dsn)
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "statement", ["insert into users select n, 'x', n from generate_series(1, 50) as n", "truncate users"]
)
def test_a_drain_does_not_wait_for_lanes_that_nobody_has(
    dsn: str, database: Database, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A truncate concerns all lanes: with none of them may it be delivered before the others are there."""
    monkeypatch.setattr(worker, "ABANDONED", 0.2)
    database.execute(statement)
    said = rowcall("listen", "lanes:app", "--drain", "--lanes", "4", "--dsn", dsn)
    assert said.code == 1
    assert "rowcall: Nobody has lanes 4 to 15 of copies, so that not everything was delivered:" in said.err
    fine("listen", "lanes:app", "--drain", "--dsn", dsn)
    left = "select count(*) from rowcall.event as e where not exists (select from copies as c where c.seq = e.seq)"
    assert database.execute(left).fetchone() == (0,)


@pytest.mark.usefixtures("shop")
def test_a_drain_ends_well_if_there_is_nothing_in_lanes_that_nobody_has(dsn: str, database: Database) -> None:
    fine("listen", "lanes:app", "--drain", "--lanes", "4", "--dsn", dsn)
    del database


def test_windows_that_lanes_have_yet_to_read_are_no_more_than_events(dsn: str, database: Database, shop: Path) -> None:
    windows, handled = "select count(*) from rowcall.window", "select count(*) from copies"

    def count(query: str) -> int:
        row = database.execute(query).fetchone()
        assert row
        return int(row[0])

    own = "select count(*) from rowcall.event where rowcall.in_lanes_v1(relation, key, next_key, '{0,1,2,3}')"
    with program(shop, "lanes:app", dsn, "--lanes", "4"):
        for number in range(1, 61):
            write(database, number, number)
            database.execute("create table if not exists other (id int); insert into other values (1)")
        eventually(lambda: count(handled) == count(own))
        assert 0 < count(windows) <= count(handled) < 60
    # They go when all lanes have come to one place, which need not be before the drain ends.
    fine("listen", "lanes:app", "--drain", "--dsn", dsn)
    assert count(windows) <= count(handled) == 60
    assert count(handled) == 60
