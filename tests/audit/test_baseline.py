"""A baseline has each row once, in its place among what happens meanwhile."""

import threading
from typing import Any

import psycopg
import pytest

from rowcall import errors
from rowcall.audit import baseline, check
from rowcall.postgres import connection as connections
from rowcall.postgres.tables import Table
from tests.command import fine, rowcall
from tests.conftest import Connect
from tests.waiting import eventually
from tests.writers import KINDS, fill_table, writing

Database = psycopg.Connection[Any]


@pytest.fixture
def table(connect: Connect) -> Database:
    connection = connect(autocommit=True)
    connection.execute("create table t (id int primary key, v numeric, w text)")
    return connection


def snapshots(database: Database) -> list[Any]:
    query = "select (new ->> 'id')::int from rowcall.event where operation = 'snapshot' order by seq"
    return [number for (number,) in database.execute(query).fetchall()]


def differences(dsn: str) -> list[check.Difference]:
    with connections.connect(dsn) as connection:
        return list(check.check(connection, "t"))


def test_each_row_once(dsn: str, table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "CHUNK", 7)
    table.execute("insert into t select n, n, 'x' from generate_series(1, 40) as n")
    said = fine("watch", "t", "--baseline", "--dsn", dsn)
    assert said.out.splitlines() == ["watch public.t: created", "baseline public.t: 40 rows"]
    assert sorted(snapshots(table)) == list(range(1, 41))
    assert differences(dsn) == []


def test_an_app_that_asks_for_it(dsn: str, table: Database, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "based.py").write_text("from rowcall import Rowcall\napp = Rowcall()\napp.watch('t', baseline=True)\n")
    table.execute("insert into t values (1, 1, 'x')")
    assert "baseline public.t: 1 row\n" in fine("sync", "based:app", "--dsn", dsn).out
    assert "baseline" not in fine("sync", "based:app", "--dsn", dsn).out
    fine("unwatch", "t", "--dsn", dsn)
    table.execute("insert into t values (2, 1, 'x')")
    fine("sync", "based:app", "--dsn", dsn)
    assert differences(dsn) == []


def test_it_goes_on_after_a_crash(dsn: str, table: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "CHUNK", 5)
    table.execute("insert into t select n, n, 'x' from generate_series(1, 40) as n")
    steps: list[int] = []

    def die(rows: int) -> None:
        steps.append(rows)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with connections.connect(dsn) as connection:
        fine("watch", "t", "--dsn", dsn)
        baseline.begin(connection, Table("public", "t"), again=False)
        [pending] = baseline.pending(connection, ["public.t"])
        with pytest.raises(KeyboardInterrupt):
            baseline.run(connection, pending, die)
        assert 0 < len(snapshots(table)) < 40
        [pending] = baseline.pending(connection, ["public.t"])
        assert baseline.run(connection, pending) == 40
    assert sorted(snapshots(table)) == list(range(1, 41))


def test_a_row_that_a_writer_holds_comes_later(
    dsn: str, table: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.execute("insert into t select n, n, 'x' from generate_series(1, 10) as n")
    fine("watch", "t", "--dsn", dsn)
    with connections.connect(dsn) as connection:
        baseline.begin(connection, Table("public", "t"), again=True)
    writer, other = connect(), connect()
    writer.execute("update t set v = 0 where id = 3")
    other.execute("update t set v = 0 where id = 4")
    done: list[int] = []

    def run() -> None:
        with connections.connect(dsn) as connection:
            [pending] = baseline.pending(connection, ["public.t"])
            done.append(baseline.run(connection, pending))

    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: len(snapshots(table)) == 8)
    writer.rollback()
    eventually(lambda: len(snapshots(table)) == 9)
    other.commit()
    thread.join()
    assert done == [9]
    assert 4 not in snapshots(table)
    assert differences(dsn) == []


def test_a_row_that_is_held_for_ever(
    dsn: str, table: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "LONGEST", 0.1)
    table.execute("insert into t values (1, 1, 'x')")
    fine("watch", "t", "--dsn", dsn)
    writer = connect()
    writer.execute("update t set v = 0")
    assert "end them, and run the same command again" in refused_after(dsn)
    writer.rollback()
    monkeypatch.setattr(baseline, "LONGEST", 60.0)
    assert "baseline public.t: 1 row\n" in fine("watch", "t", "--baseline", "--dsn", dsn).out


def refused_after(dsn: str) -> str:
    said = rowcall("watch", "t", "--baseline", "--dsn", dsn)
    assert said.code == errors.NotFilled.exit_code
    return said.err


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_writers_all_the_while(dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(baseline, "CHUNK", 9)
    monkeypatch.setattr(baseline, "LARGEST", 9)
    database = connect(autocommit=True)
    fill_table(database, kind)
    with writing(dsn):
        fine("watch", "t", "--baseline", "--dsn", dsn)
    assert differences(dsn) == []
