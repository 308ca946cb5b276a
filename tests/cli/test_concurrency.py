"""Several people and programs declare at once."""

import threading

from tests.cli.conftest import WriteApp
from tests.command import fine
from tests.conftest import Connect, Database
from tests.waiting import eventually


def test_tables_are_watched_side_by_side(dsn: str, connect: Connect) -> None:
    admin = connect(autocommit=True)
    admin.execute("create table one (id int primary key); create table two (id int primary key)")
    first, second = connect(), connect()
    first.execute("select rowcall.watch_v1('one', '{}', 'first')")
    second.execute("set lock_timeout = '3s'")
    second.execute("select rowcall.watch_v1('two', '{}', 'second')")
    second.commit()
    first.commit()
    current = "select bool_and(rowcall.capture_is_current_v1(id)), count(*) from rowcall.relation"
    assert admin.execute(current).fetchone() == (True, 2)


def test_logins_that_are_no_superusers_wait_for_each_other(dsn: str, connect: Connect) -> None:
    admin = connect(autocommit=True)
    admin.execute("create role deputy in role rowcall_capture, rowcall_gate")
    admin.execute("grant all on schema rowcall to deputy with grant option; grant create on schema public to deputy")
    admin.execute(
        "grant all on all tables in schema rowcall to deputy; grant all on all sequences in schema rowcall to deputy"
    )
    admin.execute("grant execute on all functions in schema rowcall to deputy")
    try:
        connections = [connect() for _ in range(3)]
        for number, connection in enumerate(connections):
            connection.execute("set role deputy")
            connection.execute(f"create table t{number} (id int primary key)")
        threads = [
            threading.Thread(
                target=lambda c=connection, n=number: (
                    c.execute(f"select rowcall.watch_v1('t{n}', '{{}}', 'x')"),
                    c.commit(),
                )
            )
            for number, connection in enumerate(connections)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        current = "select bool_and(rowcall.capture_is_current_v1(id)), count(*) from rowcall.relation"
        assert admin.execute(current).fetchone() == (True, 3)
    finally:
        for connection in connections:
            connection.rollback()
        admin.execute("drop owned by deputy cascade; drop role deputy")


def test_what_is_committed_while_it_waits_is_seen(
    dsn: str, database: Database, connect: Connect, write_app: WriteApp
) -> None:
    """Whatever isolation the database has for transactions that do not ask for one."""
    name = database.info.dbname
    database.execute(f"alter database {name} set default_transaction_isolation = 'repeatable read'")
    database.execute("create function late() returns trigger language plpgsql as $$ begin return new; end $$")
    other = connect()
    other.execute("create trigger zzz before insert on users for each row execute function late()")
    target = write_app("app.rule('users', 'adult', 'new.age >= 18')")
    synchronising = threading.Thread(target=lambda: fine("sync", target, "--dsn", dsn))
    synchronising.start()
    eventually(lambda: database.execute("select from pg_locks where not granted").fetchall())
    other.commit()
    synchronising.join(10)
    names = database.execute("select tgname from pg_trigger where tgrelid = 'users'::regclass order by 1").fetchall()
    assert names[0] == ("zzz",)
    assert len(names) == 3
