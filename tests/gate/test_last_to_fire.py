"""What handlers and rules judged is what is written, whatever other triggers there are and whenever they came."""

import shlex
from contextlib import suppress
from itertools import count
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import errors as pg
from psycopg import sql

from rowcall import Event, Reject, Rowcall
from tests.command import fine, rowcall
from tests.conftest import Connect
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
LONG = 10.0
SPOIL = """
    create function spoil() returns trigger language plpgsql as
      $$ begin new.name := new.name || ' spoilt'; return new; end $$
"""
MAXIMUM = chr(0x10FFFF)
#: Each sorts after the one before it.
NAMES = ["a", "zz_rowcall_0", "zzz", "~", "~~x", "ÿ", "обновить", "😀"]


def judging(seen: list[str], *, on: Any = ("insert", "update"), **options: Any) -> Rowcall:
    app = Rowcall()

    @app.before("users", on=list(on), name="check", timeout=LONG, **options)
    def check(event: Event) -> dict[str, str] | None:
        assert event.new
        seen.append(event.new["name"])
        if event.new["name"] == "bad spoilt":
            raise Reject("bad")
        return {"email": f"{event.new['name']}@example.org"}

    return app


def spoil(database: Database, name: str, table: str = "users", operations: str = "insert or update") -> None:
    quoted = name.replace('"', '""')
    database.execute(f'create trigger "{quoted}" before {operations} on {table} for each row execute function spoil()')


def guards(database: Database) -> list[str]:
    query = """
        select tgname from pg_trigger as t join pg_proc as p on p.oid = tgfoid
        where tgrelid = 'users'::regclass and pronamespace = 'rowcall'::regnamespace and not tgisinternal order by 1"""
    return [row[0] for row in database.execute(query).fetchall()]


def told(dsn: str) -> list[Any]:
    lines = fine("doctor", "--format", "jsonl", "--dsn", dsn).lines
    return [(line["severity"], line["subject"], line["cure"]) for line in lines if line["check"] == "guards_last"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_trigger_that_sorts_late_is_outrun(
    dsn: str, database: Database, writer: Database, name: str, moment: str
) -> None:
    """Also one that comes when nobody synchronises."""
    database.execute(SPOIL)
    seen: list[str] = []
    app = judging(seen)
    app.rule("users", "short", "length(new.name) < 20")
    if moment == "before":
        spoil(database, name)
    sync(app, dsn)
    if moment == "after":
        spoil(database, name)
    with listening(app, dsn):
        writer.execute("insert into users (id, name) values (1, 'ok')")
        with pytest.raises(pg.CheckViolation, match="rejected by check: bad"):
            writer.execute("insert into users (id, name) values (2, 'bad')")
        with pytest.raises(pg.CheckViolation, match="rejected by check: bad"):
            writer.execute("insert into users (id, name) values (1, 'x') on conflict (id) do update set name = 'bad'")
    assert seen[0] == "ok spoilt"
    assert database.execute("select name, email from users").fetchall() == [("ok spoilt", "ok spoilt@example.org")]
    assert sync(app, dsn) == ["validation public.users unchanged"]
    assert told(dsn) == []


def test_names_change_no_more_than_they_have_to(dsn: str, database: Database) -> None:
    database.execute(SPOIL)
    app = judging([])
    app.rule("users", "short", "length(new.name) < 20")
    sync(app, dsn)
    usual = guards(database)
    assert usual
    assert all(name.startswith("zz_rowcall_") for name in usual)
    spoil(database, "zzz")
    assert guards(database) == [name.replace("zz_", "~") for name in usual]
    database.execute('alter trigger zzz on users rename to "~z"')
    assert guards(database) == [name.replace("zz_", "~~") for name in usual]
    assert sync(app, dsn) == ["validation public.users unchanged"]
    database.execute('drop trigger "~z" on users')
    assert sync(app, dsn) == ["validation public.users unchanged"]
    database.execute(f'alter trigger "{guards(database)[0]}" on users rename to "zz_rowcall_1_by_somebody"')
    assert sync(app, dsn) == ["validation public.users changed"]
    assert guards(database) == usual
    assert sync(Rowcall(), dsn) == ["validation public.users removed"]
    assert guards(database) == []


def test_rules_may_have_any_name(dsn: str, database: Database) -> None:
    """Long ones that differ in their last byte, one that reads as what Rowcall calls its own, one in another script."""
    database.execute(SPOIL)
    app = judging([])
    names = ["r" * 31 + "a", "r" * 31 + "b", "r" * 43 + "a", "r" * 43 + "b", "r" * 90, "rowcall_0_moved", "ж" * 25]
    for name in names:
        app.rule("users", name, "length(new.name) < 20")
    sync(app, dsn)
    usual = guards(database)
    assert len(usual) == 4 + 2 * len(names)
    assert sync(app, dsn) == ["validation public.users unchanged"]
    spoil(database, "😀")
    assert [name.removeprefix(MAXIMUM) for name in guards(database)] == [name.removeprefix("zz_") for name in usual]
    assert sync(app, dsn) == ["validation public.users unchanged"]


def test_where_no_event_trigger_sees_it_synchronising_does(dsn: str, database: Database) -> None:
    database.execute(SPOIL)
    database.execute("alter event trigger rowcall_follow_ddl disable")
    app = judging([])
    sync(app, dsn)
    spoil(database, "zzz")
    lines = rowcall("doctor", "--format", "jsonl", "--dsn", dsn).lines
    assert ("guard_current", "public.users") in {(line["check"], line["subject"]) for line in lines}
    assert sync(app, dsn) == ["validation public.users changed"]
    assert all(name.startswith("~rowcall_") for name in guards(database))


def test_who_will_not_wait_for_readers_is_told_that_his_trigger_is_last(
    dsn: str, database: Database, connect: Connect
) -> None:
    database.execute(SPOIL)
    app = judging([])
    sync(app, dsn)
    reader = connect()
    reader.execute("select from users")
    warnings: list[str | None] = []
    database.add_notice_handler(lambda notice: warnings.append(notice.message_hint))
    database.execute("set lock_timeout = '100ms'")
    spoil(database, "zzz")
    assert warnings == ['Run "rowcall sync"; until then it goes on with the triggers it has.']
    assert not are_last(database)
    lines = rowcall("doctor", "--format", "jsonl", "--dsn", dsn).lines
    assert ("guard_current", "public.users") in {(line["check"], line["subject"]) for line in lines}
    reader.rollback()
    assert sync(app, dsn) == ["validation public.users changed"]
    assert are_last(database)


def test_a_name_that_nothing_sorts_after_is_told(dsn: str, database: Database) -> None:
    database.execute(SPOIL)
    app = judging([])
    sync(app, dsn)
    spoil(database, MAXIMUM * 2)
    database.execute(f'create trigger "{MAXIMUM * 3}" after insert on users for each row execute function spoil()')
    [(severity, subject, cure)] = told(dsn)
    assert (severity, subject) == ("risk", "users")
    statement: Any = shlex.split(cure.partition("psql -c ")[2].removesuffix("."))[0]
    database.execute(statement)
    assert told(dsn) == []


@pytest.fixture
def parts(database: Database) -> Database:
    """A partitioned table in the place of the plain one."""
    database.execute("drop table users")
    make_parts(database)
    return database


def make_parts(database: Database) -> None:
    """The partitioned table, whose second partition has its columns in another order."""
    database.execute("""
        create table users (id int, name text, email text, note json, region int not null) partition by list (region);
        create table users_1 partition of users for values in (1);
        create table users_2 (region int not null, note json, dropped int, email text, name text, id int);
        alter table users_2 drop column dropped;
        alter table users attach partition users_2 for values in (2);
        create table users_3 partition of users for values in (3) partition by range (id);
        create table users_3_1 partition of users_3 for values from (0) to (100)""")
    database.execute(SPOIL)


def test_a_trigger_of_a_partition_is_outrun_too(dsn: str, parts: Database, writer: Database) -> None:
    seen: list[str] = []
    app = judging(seen)
    sync(app, dsn)
    spoil(parts, "zzz", "users_3_1")
    parts.execute("create table users_4 (like users); create table users_5 (like users)")
    spoil(parts, "~", "users_4")
    parts.execute("alter table users attach partition users_4 for values in (4)")
    with listening(app, dsn):
        for region in (1, 3, 4):
            writer.execute("insert into users (id, name, region) values (1, 'x', %s)", (region,))
    assert seen == ["x", "x spoilt", "x spoilt"]
    assert sync(app, dsn) == ["validation public.users unchanged"]


def are_last(database: Database) -> bool:
    """Whether ours come after all others that fire before a row is written, at every table."""
    query = """
        select bool_and(ours >= lag) from (
          select ours, lag(ours, 1, false) over (partition by tgrelid order by tgname) from (
            select tgrelid, tgname, pronamespace = 'rowcall'::regnamespace as ours
            from pg_trigger join pg_proc as p on p.oid = tgfoid
            where not tgisinternal and tgtype & 67 = 3 and tgrelid::regclass::text ~ '^users'
          ) as triggers
        ) as neighbours
    """
    return database.execute(query).fetchone() == (True,)


LATE = [
    "a",
    "zz_rowcall_",
    "zz_rowcall_9",
    "z" * 63,
    "~",
    "~~",
    "~~~~",
    "~" * 63,
    "~rowcall_",
    "~~~rowcall_9",
    "ÿ" * 31,
    "😀",
    "%s'\"",
]
NUMBERS = count(10)
#: A trigger is made of one name at one table, or takes another name, or goes; or a table that has it becomes a partition.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["make", "make", "rename", "drop", "attach"]),
        st.sampled_from(LATE),
        st.sampled_from(LATE),
        st.sampled_from(["users", "users_1", "users_2", "users_3", "users_3_1"]),
    ),
    min_size=5,
    max_size=15,
)


@pytest.mark.timeout(60)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(steps=[("make", "a", "a", "users"), ("drop", "a", "a", "users_1")])
def test_whatever_comes_and_goes(dsn: str, database: Database, steps: list[tuple[str, str, str, str]]) -> None:
    database.execute("drop table users cascade; drop function if exists spoil cascade")
    make_parts(database)
    app = judging([], on=["update"])
    app.rule("users", "short", "length(new.name) < 20")
    sync(app, dsn)
    for number, (what, name, other, table) in enumerate(steps):
        names = {"name": sql.Identifier(name), "other": sql.Identifier(other), "table": sql.Identifier(table)}
        # What PostgreSQL refuses by itself; the last is for a partition's copy of its parent's trigger.
        with suppress(pg.DuplicateObject, pg.UndefinedObject, pg.FeatureNotSupported, pg.DependentObjectsStillExist):
            if what == "make":
                spoil(database, name, table)
            elif what == "attach":
                region = next(NUMBERS)
                database.execute(f"create table users_{region} (like users)")
                spoil(database, name, f"users_{region}")
                database.execute(f"alter table users attach partition users_{region} for values in ({region})")
            else:
                statement: LiteralString = {
                    "rename": "alter trigger {name} on {table} rename to {other}",
                    "drop": "drop trigger {name} on {table}",
                }[what]
                database.execute(sql.SQL(statement).format(**names))
        assert are_last(database), (number, what, name, table)
    # Nothing follows a trigger that is dropped, so those about moved rows may be left over.
    sync(app, dsn)
    assert are_last(database)
    assert sync(app, dsn) == ["validation public.users unchanged"]


@pytest.mark.parametrize("partition_first", [True, False])
def test_a_partition_may_have_validation_of_its_own(
    dsn: str, parts: Database, writer: Database, partition_first: bool
) -> None:
    """By the same names, of another app: both judge, and what both amend is written."""
    whole, part = Rowcall(), Rowcall()
    for app, table, column in ((whole, "users", "email"), (part, "users_2", "note")):
        app.rule(table, "short", "length(new.name) < 9")

        @app.before(table, on=["insert", "update"], name="check", timeout=LONG)
        def check(event: Event, column: str = column) -> dict[str, str]:
            assert event.new
            return {column: event.new["name"]}

    both = [(part, "part"), (whole, "whole")]
    for app, name in both if partition_first else reversed(both):
        assert all(line.endswith(" created") for line in sync(app, dsn, name))
    spoil(parts, "zzz", "users_2")
    assert [sync(app, dsn, name)[0].split()[-1] for app, name in both] == ["unchanged"] * 2
    with listening(whole, dsn), listening(part, dsn):
        writer.execute("insert into users (id, name, region) values (1, 'x', 1), (2, 'y', 2)")
        with pytest.raises(pg.CheckViolation, match="short"):
            writer.execute("insert into users (id, name, region) values (3, 'long', 2)")
        writer.execute("update users set region = 2 where id = 1")
    assert parts.execute("select name, email, note from users order by id").fetchall() == [
        ("x spoilt", "x spoilt", "x spoilt"),
        ("y spoilt", "y spoilt", "y spoilt"),
    ]


def test_a_row_that_other_triggers_change_on_its_way_to_another_partition(
    dsn: str, parts: Database, writer: Database
) -> None:
    seen: list[str] = []
    app = judging(seen, on=["update"], columns=["name", "region"])
    sync(app, dsn)
    spoil(parts, "a", "users_2", "insert")
    parts.execute(r"""insert into users values (1, 'x', null, '{"a": "\u0000"}', 1), (2, 'y', null, null, 1)""")
    with listening(app, dsn):
        writer.execute("update users set region = 3")
        for statement in (
            "update users set region = 2 where id = 1",
            "with gone as (delete from users where id = 2) update users set region = 2 where id = 1",
        ):
            with pytest.raises(pg.CheckViolation) as caught:
                writer.execute(statement)
            diag = caught.value.diag
            assert diag.message_primary == (
                "insert of public.users_2 was rejected by check: a trigger changed the row on its way to this partition,"
                " after it was judged"
            )
            assert diag.message_hint
            assert diag.message_hint.startswith("It was one of these, which fire for inserts: a.")
            assert (diag.constraint_name, diag.table_name) == ("check", "users_2")
        with writer.transaction():
            with pytest.raises(pg.CheckViolation), writer.transaction():
                writer.execute("update users set region = 2 where id = 1")
            # What was no move is none of its business: another row, a row judged and not moved, a row nobody was asked about.
            writer.execute("insert into users values (3, 'new', null, null, 2)")
            writer.execute("update users set name = 'z' where id = 2; delete from users where id = 2")
            writer.execute("insert into users values (2, 'y', null, null, 2)")
        writer.execute("alter table users_2 disable trigger a")
        writer.execute("update users set region = 2 where id = 1")
    assert parts.execute("select id, name, region from users order by id").fetchall() == [
        (1, "x", 2),
        (2, "y spoilt", 2),
        (3, "new spoilt", 2),
    ]
    refused = parts.execute("select handler, operation, new ->> 'name' from rowcall.rejection").fetchall()
    assert refused == [("check", "insert", "x spoilt")] * 3


def test_a_handler_that_is_for_inserts_too_judges_a_moved_row_again(
    dsn: str, parts: Database, writer: Database
) -> None:
    seen: list[str] = []
    app = judging(seen)
    sync(app, dsn)
    spoil(parts, "a", "users_2", "insert")
    parts.execute("alter table users disable trigger user")
    parts.execute("insert into users values (1, 'x', null, null, 1)")
    parts.execute("alter table users enable trigger user")
    assert not any("moved" in name for name in guards(parts))
    with listening(app, dsn):
        writer.execute("update users set region = 2")
    assert seen == ["x", "x spoilt"]
    assert parts.execute("select name, email from users").fetchall() == [("x spoilt", "x spoilt@example.org")]


def test_a_move_is_told_from_what_triggers_within_do(dsn: str, parts: Database, writer: Database) -> None:
    """A statement in a trigger of the user's, between one step of a move and the next, neither hides the move nor is taken for it."""
    seen: list[str] = []
    app = judging(seen, on=["update"], columns=["name", "region"])
    sync(app, dsn)
    parts.execute("""
        create table log (like users);
        insert into users values (1, 'x', null, null, 1), (9, 'nine', null, null, 3);
        create function within() returns trigger language plpgsql as $$
        begin
          if pg_trigger_depth() = 1 then
            update users set name = name || '!' where id = 9;
            insert into users values (99, 'within', null, null, 1);
            delete from users where name = 'within';
          end if;
          if tg_op = 'INSERT' and new.name = 'bad' then new.name := 'changed'; end if;
          return case tg_op when 'DELETE' then old else new end;
        end $$;
        create trigger a before insert or delete on users_2 for each row execute function within();
        create trigger zzz before delete on users_1 for each row execute function within()""")
    with listening(app, dsn):
        writer.execute("update users set region = 2 where id = 1")
        writer.execute("update users set region = 1 where id = 1")
        with pytest.raises(pg.CheckViolation, match="on its way to this partition"):
            writer.execute("update users set region = 2, name = 'bad' where id = 1")
    assert parts.execute("select id, name, region from users order by id").fetchall() == [
        (1, "x", 1),
        (9, "nine!!!", 3),
    ]


def test_merge_moves_and_inserts(dsn: str, parts: Database, writer: Database, connect: Connect) -> None:
    seen: list[str] = []
    app = judging(seen, on=["update"], columns=["name", "region"])
    sync(app, dsn)
    parts.execute(
        """insert into users values (1, 'x', null, null, 1), (2, 'y', null, null, 1), (3, 'z', null, null, 1)"""
    )
    parts.execute("""
        create function noted() returns trigger language plpgsql as $$ begin new.note := '1'; return new; end $$;
        create trigger a before insert on users_2 for each row execute function noted()""")
    merge = """
        merge into users as u using (values (1, {}), (2, 1), (3, 1), (4, 2)) as n (id, region) on u.id = n.id
        when matched and u.id = 3 then delete
        when matched then update set name = u.name || '!', region = n.region
        when not matched then insert (id, name, region) values (n.id, 'new', n.region)"""
    with listening(app, dsn):
        with pytest.raises(pg.CheckViolation, match="on its way to this partition"):
            writer.execute(merge.format(2))
        writer.execute(merge.format(3))
    assert parts.execute("select id, name, region from users order by id").fetchall() == [
        (1, "x!", 3),
        (2, "y!", 1),
        (4, "new", 2),
    ]
