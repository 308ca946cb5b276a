"""People who write to a table while its rows are read."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.conftest import Database

KINDS = {
    "keyed": "create table t (id int primary key, v numeric, w text)",
    "deferrable": "create table t (id int primary key deferrable initially deferred, v numeric, w text)",
    "composite": "create table t (v numeric, w text, id int, b text default 'b', primary key (b, id))",
    "replica identity": "create table t (id int not null, v numeric, w text); create unique index u on t (id);"
    " alter table t replica identity using index u",
    "keyless": "create table t (id int, v numeric, w text)",
    "partitioned": "create table t (id int primary key, v numeric, w text) partition by range (id);"
    " create table t1 partition of t for values from (minvalue) to (20);"
    " create table t2 partition of t for values from (20) to (maxvalue)",
}

STATEMENTS = (
    "insert into t (id, v, w) values ({a}, {v}, 'i')",
    "insert into t (id, v, w) select n, n, 'x' from generate_series({a}, {a} + 2) as n",
    "update t set v = {v} where id = {a}",
    "update t set v = {v}, w = w || '.' where id between {a} and {b}",
    "update t set id = {b} where id = {a}",
    "update t set id = {a} + {b} - id where id in ({a}, {b})",
    "update t set id = id + 100 where id = {a}",
    "update t set id = id - 100 where id > 100",
    "delete from t where id = {a}",
    "with gone as (delete from t where id = {a} returning *) insert into t select * from gone",
    "delete from t where id = {a}; insert into t (id, v, w) values ({a}, {v}, 'again')",
    "insert into t (id, v, w) values ({a}, {v}, 'dup'); delete from t where id = {a} and w <> 'dup'",
    "insert into t (id, v, w) values ({a}, {v}, 'u') on conflict do nothing",
    "begin; savepoint s; update t set v = {v} where id = {a}; rollback to s; delete from t where id = {b}; commit",
    "update t set v = v::text::numeric * 1.0 where id = {a}",
)


def fill_table(database: Database, kind: str) -> None:
    """Make the table, with forty rows."""
    database.execute(KINDS[kind])
    database.execute("insert into t (id, v, w) select n, n, 'x' from generate_series(1, 40) as n")


def write(writer: Database, chance: random.Random, times: int) -> None:
    """Change the table so many times at random."""
    for _ in range(times):
        statement = chance.choice(STATEMENTS).format(
            a=chance.randint(1, 40), b=chance.randint(1, 40), v=chance.choice(["1.0", "1.00", "2", "null"])
        )
        try:
            writer.execute(statement)
        except (psycopg.IntegrityError, psycopg.errors.ObjectNotInPrerequisiteState):
            writer.execute("rollback")


@contextmanager
def writing(dsn: str) -> Iterator[None]:
    """Three writers all the while."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        chance = random.Random(seed)
        with psycopg.connect(dsn, autocommit=True) as writer:
            while not stop.is_set():
                try:
                    write(writer, chance, 1)
                except psycopg.OperationalError:  # deadlocks
                    writer.execute("rollback")
                except BaseException as error:  # noqa: BLE001 - told by the test's thread
                    failures.append(error)
                    return

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
