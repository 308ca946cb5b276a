"""`rowcall prune` takes old rejections too, whether or not the log has a partition that is old enough."""

from typing import Any

import psycopg
import pytest

from tests.command import fine, refused
from tests.conftest import Connect

Database = psycopg.Connection[Any]
_KEEP = ("prune", "--keep", "45 days")


@pytest.fixture
def database(connect: Connect) -> Database:
    """A table of which three writes were refused long ago, five more counted, and others are new."""
    database = connect(autocommit=True)
    database.execute("create table t (id int primary key)")
    database.execute("select rowcall.relation_id_v1('t'::regclass)")
    for days, number in ((50, 3), (1, 2)):
        database.execute(
            """
            insert into rowcall.rejection (at, relation, operation, rule, message)
            select now() - make_interval(days => %s), r.id, 'insert', 'adult', 'no' from rowcall.relation as r, generate_series(1, %s)""",
            (days, number),
        )
        database.execute(
            """
            insert into rowcall.rejection_tally (minute, relation, rule, outcome, db_user, shard, suppressed, last_at)
            select t.at, r.id, 'adult', 'refused', 'x', 0, 5, t.at
            from rowcall.relation as r, (select now() - make_interval(days => %s)) as t (at)""",
            (days,),
        )
    return database


def left(database: Database) -> Any:
    query = "select (select count(*) from rowcall.rejection), (select count(*) from rowcall.rejection_tally)"
    return database.execute(query).fetchone()


def test_rejections_of_a_young_log(dsn: str, database: Database) -> None:
    nothing = "Nothing is older than 45 days by a whole partition.\n"
    assert fine(*_KEEP, "--dry-run", "--dsn", dsn).out == "8 rejections would go.\n" + nothing
    assert "pass --yes" in refused(2, *_KEEP, "--dsn", dsn)
    assert left(database) == (5, 2)
    assert fine(*_KEEP, "--yes", "--dsn", dsn).out == "8 rejections dropped.\n" + nothing
    assert left(database) == (2, 1)
    assert fine(*_KEEP, "--dsn", dsn).out == nothing


def test_rejections_beside_partitions(dsn: str, database: Database) -> None:
    database.execute("""do $$
        begin
          drop table rowcall.event_first;
          perform rowcall.create_partition_v1('minvalue', (date_trunc('month', now()) - interval '4 months')::text);
          perform rowcall.create_partition_v1((date_trunc('month', now()) - interval '4 months')::text, date_trunc('month', now())::text);
        end $$""")
    said = fine(*_KEEP, "--yes", "--dsn", dsn).out
    assert said.startswith("8 rejections dropped.\n")
    assert "the log begins at" in said
    assert left(database) == (2, 1)
