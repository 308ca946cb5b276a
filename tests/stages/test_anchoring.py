"""Databases dumped and restored into another cluster: capture goes on, and cursors know what was delivered."""

from collections.abc import Iterator
from typing import Any

import pytest

from rowcall import embedded, resources
from rowcall.migrate import upgrade
from rowcall.postgres import anchor, backfill, connection
from rowcall.postgres.claims import Claim
from tests.command import fine, rowcall
from tests.conftest import Connect, Database, new_server
from tests.listeners import sync
from tests.stages.restoring import restored
from tests.stages.test_filling import app_for, fill

ALL_CURSORS = resources.queries("claims")["all"]
CURSOR = """select stage::text, stage_seq, stage_until, restored_seq, restored_until, lower::text
    from rowcall.cursor order by id"""


@pytest.fixture(scope="module")
def other() -> Iterator[embedded.Server]:
    """Another cluster, younger in transactions than the one the tests use."""
    with new_server() as server:
        yield server


def end_stage(database: Database) -> None:
    """What a listener does once it has delivered a stage."""
    claim = Claim.of(
        connection.raw_cursor(database)
        .execute(ALL_CURSORS, {"subscription": one(database, "select id from rowcall.subscription")})
        .fetchone(),
        1,
    )
    after = claim.cursor.finished(one(database, "select anchor::text from rowcall.installation"))
    database.execute(resources.queries("delivery")["advance"], claim.position(after, 0))


def one(database: Database, query: str) -> Any:
    row = database.execute(query).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def test_where_nothing_was_restored(dsn: str, database: Database) -> None:
    with connection.connect(dsn) as admin:
        assert not anchor.reanchor(admin)
        # Somebody refreshes every view there is.
        database.execute("refresh materialized view rowcall.cluster")
        assert not anchor.reanchor(admin)
    assert one(
        database, "select epoch, floor_seq, i.mark = c.mark from rowcall.installation as i, rowcall.cluster as c"
    ) == (
        1,
        0,
        True,
    )


def test_a_restore(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect
) -> None:
    database.execute("create type mood as enum ('sad', 'ok'); alter table users add column mood mood")
    fine("watch", "users", "--dsn", dsn)
    app = app_for("users")
    sync(app, dsn, "cli")
    database.execute("insert into users values (1, 'a', 1, 'ok')")
    database.execute("insert into rowcall.subscription (name, declared_by) values ('plain', 'x')")
    database.execute(
        "insert into rowcall.cursor (subscription, lanes, lower) select max(id), '{0}', pg_current_snapshot()"
        " from rowcall.subscription"
    )
    database.execute("insert into users values (2, 'b', 2, 'sad')")
    end = one(database, "select last_value from rowcall.event_seq")
    lower = one(database, "select lower::text from rowcall.cursor order by id desc limit 1")
    new_dsn = restored(cluster, dsn, other)
    new = connect(new_dsn, autocommit=True)
    assert {line["check"] for line in rowcall("doctor", "--dsn", new_dsn).lines} >= {"anchored"}

    # Capture goes on, before anybody did anything.
    new.execute("insert into users values (3, 'c', 3, 'ok'); update users set age = 9 where id = 1")
    events = new.execute("select operation::text, key ->> 'id' from rowcall.event order by seq").fetchall()
    assert events == [("insert", "1"), ("insert", "2"), ("insert", "3"), ("update", "1")]

    said = fine("migrate", "--dsn", new_dsn).out
    assert "The database was restored from a dump: its subscriptions go on from there.\n" in said
    assert fine("migrate", "--dsn", new_dsn).out.count("\n") == 1
    assert not [line for line in rowcall("doctor", "--dsn", new_dsn).lines if line["check"] == "anchored"]
    assert new.execute(CURSOR).fetchall()[-1] == ("restored", 0, end, 0, 0, lower)
    epoch, floor, anchored = one(new, "select epoch, floor_seq, anchor::text from rowcall.installation")
    assert (epoch, floor) == (2, end)
    later = "select array_agg(key ->> 'id' order by seq) from rowcall.event where seq > %s and not pg_visible_in_snapshot(xid, %s)"
    assert new.execute(later, (floor, anchored)).fetchone() == (["3", "1"],)
    # Relations mean the tables that they meant.
    assert one(new, "select oid = 'users'::regclass from rowcall.relation")
    assert [line["current"] for line in fine("watches", "--dsn", new_dsn).lines] == [True]
    # The backfill, which was not complete, begins anew.
    with connection.connect(new_dsn) as admin:
        [pending] = backfill.pending(admin, "cli")
        assert backfill.run(admin, pending) == 3


def test_a_restore_in_the_middle_of_a_stage(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect
) -> None:
    database.execute("insert into users values (1)")
    sync(app_for("users"), dsn)
    fill(dsn)
    database.execute("insert into users values (2)")
    [(_, seq, until, _, _, lower)] = database.execute(CURSOR).fetchall()
    end = one(database, "select last_value from rowcall.event_seq")
    new = connect(restored(cluster, dsn, other), autocommit=True)
    upgrade(new.info.dsn)
    assert new.execute(CURSOR).fetchall() == [("backfill", seq, until, 0, end, lower)]
    end_stage(new)
    assert new.execute(CURSOR).fetchall() == [("restored", 0, end, 0, 0, lower)]
    end_stage(new)
    anchored = one(new, "select anchor::text from rowcall.installation")
    assert new.execute(CURSOR).fetchall() == [(None, 0, 0, 0, 0, anchored)]


def test_two_restores(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect
) -> None:
    database.execute("insert into users values (1)")
    sync(app_for("users"), dsn)
    fill(dsn)
    database.execute("update rowcall.cursor set stage = null")
    lower = one(database, "select lower::text from rowcall.cursor")
    first = restored(cluster, dsn, other)
    upgrade(first)
    one_end = one(connect(first), "select floor_seq from rowcall.installation")
    new = connect(first, autocommit=True)
    new.execute("insert into users values (2)")
    end = one(new, "select last_value from rowcall.event_seq")
    assert end > one_end
    with new_server() as third:
        again = connect(restored(other, first, third), autocommit=True)
        upgrade(again.info.dsn)
        assert again.execute(CURSOR).fetchall() == [("restored", 0, one_end, one_end, end, lower)]
        end_stage(again)
        assert again.execute(CURSOR).fetchall() == [("restored", one_end, end, 0, 0, "1:1:")]
        again.close()


def test_a_subscription_made_after_a_restore(
    cluster: embedded.Server, other: embedded.Server, dsn: str, database: Database, connect: Connect
) -> None:
    fine("watch", "users", "--dsn", dsn)
    database.execute("insert into users values (1), (2)")
    new_dsn = restored(cluster, dsn, other)
    upgrade(new_dsn)
    new = connect(new_dsn, autocommit=True)
    app = app_for("users")
    app.after("users", name="all", start="beginning")(print)
    sync(app, new_dsn, "cli")
    new.execute("delete from users where id = 1")
    # Transaction ids of the old cluster are larger than all of this one.
    with connection.connect(new_dsn) as admin:
        assert [backfill.run(admin, pending) for pending in backfill.pending(admin, "cli")] == [2]
    stage = "select stage::text, stage_seq, stage_until from rowcall.cursor as c join rowcall.subscription as s on s.id = subscription where name = 'all'"
    assert new.execute(stage).fetchall() == [("restored", 0, one(new, "select floor_seq from rowcall.installation"))]
