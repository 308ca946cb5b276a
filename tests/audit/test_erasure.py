"""Values are taken out of the log for good; its seals and proofs stay."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import Event, Rowcall, errors
from rowcall.audit import erasures, proof, retold, verify
from tests.audit.sealed import Database, check, seal, seqs, tamper, watched
from tests.command import fine, refused, rowcall, typed
from tests.conftest import Connect
from tests.listeners import drain, sync

SECRETS = ("ada@", "Ada", "lovelace")


@pytest.fixture
def database(connect: Connect, dsn: str) -> Database:
    return watched(connect, dsn, erasable=["email", "name"])


def history(database: Database) -> None:
    """A row's history, with its values in many places, and another's."""
    with database.transaction():
        database.execute(
            """select rowcall.act('ada@example.org', '{"mail": ["ada@example.org"], "request_id": "r-1"}')"""
        )
        database.execute("insert into users values (1, 'Ada', 'ada@example.org')")
    database.execute("insert into users values (2, 'Bob', 'bob@example.org')")
    with database.transaction():
        database.execute("""select rowcall.act('bob', '{"request_id": "r-2"}')""")
        database.execute("update users set email = 'ada@lovelace.example' where id = 1")
    database.execute("update users set id = 10 where id = 1")
    database.execute("delete from users where id = 10")


def dump(database: Database) -> str:
    """Everything in Rowcall's tables, as text."""
    tables = database.execute(
        "select c.relname from pg_class c where c.relnamespace = 'rowcall'::regnamespace and c.relkind in ('r', 'p')"
    ).fetchall()
    return "\n".join(
        str(row) for (table,) in tables for row in database.execute(f'select t::text from rowcall."{table}" as t')
    )


def test_nothing_is_left_and_everything_is_proven(database: Database, dsn: str) -> None:
    history(database)
    seal(database, limit=2)
    said = fine("audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    assert said.out == "erased email, name from 4 events of public.users 10: erasure 1\n"
    left = dump(database)
    assert [secret for secret in SECRETS if secret in left] == []
    assert "bob@example.org" in left
    assert check(database) == []
    assert seal(database) == 0
    assert check(database) == []
    assert database.execute("select erasures from rowcall.seal order by number desc").fetchone() == (1,)
    lines = fine("audit", "row", "users", "10", "--dsn", dsn).lines
    assert [line["operation"] for line in lines] == ["insert", "update", "update", "delete"]
    assert lines[0]["new"] == {"id": 1, "name": None, "email": None}
    assert lines[0]["actor"] == "erased:1"
    assert lines[0]["context"] == {"mail": None, "request_id": "r-1"}
    assert lines[1]["changed"] == ["email"] or lines[1]["old"]["email"] is None
    assert lines[1]["actor"] == "bob"


def test_the_first_key_of_a_row_leads_to_all_of_it(database: Database, dsn: str) -> None:
    history(database)
    seal(database)
    assert "from 4 events" in fine("audit", "erase", "users", "1", "--yes", "--dsn", dsn).out
    assert check(database) == []


def test_part_by_part(database: Database, dsn: str) -> None:
    history(database)
    seal(database)
    fine("audit", "erase", "users", "10", "--columns", "email", "--yes", "--dsn", dsn)
    assert check(database) == []
    assert "Ada" in dump(database)
    fine("audit", "erase", "users", "10", "--context", "request_id", "--actor", "--yes", "--dsn", dsn)
    assert check(database) == []
    left = dump(database)
    assert [secret for secret in SECRETS if secret in left] == []
    [(first,)] = database.execute("select context::text from rowcall.event order by seq limit 1").fetchall()
    assert "r-1" not in first
    assert "left to erase" in refused(
        1, "audit", "erase", "users", "10", "--context", "request_id", "--yes", "--dsn", dsn
    )


def test_what_is_not_sealed_yet(database: Database, dsn: str) -> None:
    history(database)
    fine("audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    assert not any(secret in dump(database) for secret in SECRETS)
    seal(database)
    assert check(database) == []


def test_what_an_erasure_leaves_can_be_proven(database: Database, dsn: str) -> None:
    history(database)
    seal(database)
    first = seqs(database)[0]
    before = proof.prove(database, first)
    fine("audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    seal(database)
    after = proof.prove(database, first)
    assert (after.event, after.seals[0]) == (before.event, before.seals[0])
    [(head,)] = database.execute("select encode(head, 'hex') from rowcall.seal where number = 1").fetchall()
    assert "seal 1" in proof.check(after, root=head)
    assert {one.path for one in before.openings} - {one.path for one in after.openings} == {
        "new.email",
        "new.name",
        "actor",
        "context.mail",
    }


def test_an_erased_value_cannot_be_guessed(database: Database, dsn: str) -> None:
    """Nothing that is kept gives the commitment of the right value."""
    history(database)
    seal(database)
    place = seqs(database)[0]
    fine("audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    [(salts,)] = database.execute("select salts from rowcall.salt").fetchall()
    assert salts[:16] == bytes(16)
    kept = database.execute("select path from rowcall.erased where seq = %s and salt is not null", (place,)).fetchall()
    assert kept == [("context.request_id",)]


def test_what_was_not_erasable_needs_its_proof_given_up(connect: Connect, dsn: str) -> None:
    database = watched(connect, dsn)
    history(database)
    seal(database)
    told = refused(2, "audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    assert "has no erasable columns: declare them" in told
    app = Rowcall()
    app.watch("users", erasable="email")
    sync(app, dsn)
    database.execute("insert into users values (10, 'Ada', 'ada@example.org')")
    seal(database)
    told = refused(2, "audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    assert "4 of 5 events of public.users 10 were sealed when email was not declared erasable" in told
    assert "Ada" in dump(database)
    fine(
        "audit",
        "erase",
        "users",
        "10",
        "--columns",
        "email",
        "--columns",
        "name",
        "--forgo-proof",
        "--yes",
        "--dsn",
        dsn,
    )
    assert not any(secret in dump(database) for secret in SECRETS)
    assert check(database) == []
    seal(database)
    assert check(database) == []
    assert "nothing of it is proven" in refused(2, "audit", "prove", str(seqs(database)[0]), "--dsn", dsn)


def test_erasable_keys_keep_rows_apart(connect: Connect, dsn: str) -> None:
    database: Database = connect(autocommit=True)
    database.execute("create table people (email text primary key, age int)")
    app = Rowcall()
    app.watch("people", erasable=["email"])
    sync(app, dsn)
    database.execute("insert into people values ('ada@example.org', 36), ('bob@example.org', 40)")
    database.execute("update people set age = 37")
    seal(database)
    fine("audit", "erase", "people", "ada@example.org", "--yes", "--dsn", dsn)
    fine("audit", "erase", "people", "bob@example.org", "--yes", "--dsn", dsn)
    assert "example.org" not in dump(database)
    assert check(database) == []
    history = fine("audit", "row", "people", "erased:1", "--dsn", dsn).lines
    assert [line["new"] for line in history] == [{"email": None, "age": 36}, {"email": None, "age": 37}]


def test_what_else_holds_the_values(database: Database, connect: Connect, dsn: str) -> None:
    app = Rowcall()
    app.watch("users", erasable=["email", "name"])
    app.rule("users", "named", "new.name <> 'nobody'")

    @app.after("users", on="insert", name="failing", start="beginning")
    def fail(event: Event) -> None:
        raise ValueError(f"cannot mail to {event.new}")

    sync(app, dsn)
    history(database)
    drain(app, dsn)
    assert "cannot mail to" in dump(database)
    database.execute(
        "insert into rowcall.rejection (relation, operation, key, new, handler, message, actor, context)"
        """ select id, 'insert', '{"id": 10}', '{"id": 10, "name": "Ada", "email": "ada@example.org"}', 'check',"""
        """ 'ada@example.org is no address', 'ada@example.org', '{"mail": "ada@example.org"}' from rowcall.relation"""
    )
    database.execute(
        "insert into rowcall.request (id, ticket, turn, relation, handlers, body, expires_at)"
        """ select 1, 1, 1, id, '[]', '{"new": {"name": "Ada"}}', now() - interval '1 s' from rowcall.relation"""
    )
    said = fine("audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    assert "1 refused write" in said.out
    assert not any(secret in dump(database) for secret in SECRETS)
    [line] = fine("audit", "rejections", "--dsn", dsn).lines
    assert (line["message"], line["actor"], line["handler"]) == ("erased", "erased:1", "check")


def test_values_that_json_does_not_hold(connect: Connect, dsn: str) -> None:
    """An image says beside a number what JSON cannot: that is erased too."""
    database: Database = connect(autocommit=True)
    database.execute("create table bodies (id int primary key, weight numeric, height float8)")
    app = Rowcall()
    app.watch("bodies", erasable="weight")
    sync(app, dsn)
    database.execute("insert into bodies values (1, 'NaN', '-0'), (2, 'Infinity', 1)")
    seal(database)
    assert check(database) == []
    fine("audit", "erase", "bodies", "1", "--yes", "--dsn", dsn)
    assert check(database) == []
    [(new,)] = database.execute("select new::text from rowcall.event order by seq limit 1").fetchall()
    assert "NaN" not in new
    assert "height" in new


def test_later_events_are_sealed_and_delivered_as_ever(database: Database, dsn: str) -> None:
    seen: list[Any] = []
    app = Rowcall()
    app.watch("users", erasable=["email", "name"])

    @app.after("users", name="reader", start="beginning")
    def read(event: Event) -> None:
        seen.append(event.new and event.new["email"])

    sync(app, dsn)
    database.execute("insert into users values (1, 'Ada', 'ada@example.org')")
    seal(database)
    fine("audit", "erase", "users", "1", "--yes", "--dsn", dsn)
    database.execute("update users set email = 'new@example.org'")
    drain(app, dsn)
    # Values that are erased before they are delivered are null; what is written afterwards is there.
    assert seen == [None, "new@example.org"]
    assert check(database) == []


def test_a_hidden_erasure_is_found(database: Database, dsn: str) -> None:
    """Whoever takes values out without a record, or puts others in their place."""
    history(database)
    seal(database)
    fine("audit", "erase", "users", "2", "--yes", "--dsn", dsn)
    seal(database)
    erased, other = seqs(database)[1], seqs(database)[0]
    tamper(database, f"""update rowcall.event set new = '{{"id":2,"name":"Eve","email":null}}' where seq = {erased}""")
    assert check(database) == [("altered", 1, erased)]
    tamper(
        database,
        f"""update rowcall.event set new = '{{"id":2,"name":null,"email":null}}' where seq = {erased}""",
        f"insert into rowcall.erased (seq, path, erasure, commitment) values ({other}, '*', 1, (select substring(hashes for 32)"
        " from rowcall.leaf where seal = 1))",
        f"""update rowcall.event set new = '{{"id":1,"name":"Eve"}}' where seq = {other}""",
    )
    assert check(database) == [("erasure", 1, other)]


def test_a_record_of_an_erasure_cannot_be_altered(database: Database, dsn: str) -> None:
    history(database)
    seal(database)
    fine("audit", "erase", "users", "2", "--yes", "--dsn", dsn)
    seal(database)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute("update rowcall.erasure set erased_by = 'nobody'")
    tamper(database, "update rowcall.erasure set erased_by = 'nobody'")
    assert check(database) == [("erasure", None, None)]
    tamper(
        database,
        "update rowcall.erased set erasure = 1",
        "alter table rowcall.erased drop constraint erased_erasure_fkey",
    )
    tamper(database, "delete from rowcall.erasure")
    assert ("erasure", 2, None) in check(database)


def test_it_asks(database: Database, dsn: str) -> None:
    history(database)
    seal(database)
    told = refused(2, "audit", "erase", "users", "10", "--dsn", dsn)
    assert "Erase email, name from 4 events of public.users 10, for good?" in told
    assert typed("n\n", "audit", "erase", "users", "10", "--dsn", dsn).code == 1
    assert "Ada" in dump(database)
    assert typed("y\n", "audit", "erase", "users", "10", "--dsn", dsn).code == 0
    assert "Ada" not in dump(database)
    assert "no event of public.users 99" in refused(1, "audit", "erase", "users", "99", "--yes", "--dsn", dsn)
    assert "never had a column age" in refused(
        2, "audit", "erase", "users", "10", "--columns", "age", "--yes", "--dsn", dsn
    )


def test_a_failure_leaves_nothing_half_erased(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history(database)
    seal(database)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retold, "erase", fail)
    assert rowcall("audit", "erase", "users", "10", "--yes", "--dsn", dsn).code == 130
    assert "Ada" in dump(database)
    assert database.execute("select count(*) from rowcall.erasure").fetchone() == (0,)
    assert check(database) == []


def test_a_renamed_column_stays_erasable(database: Database, dsn: str) -> None:
    database.execute("insert into users values (1, 'Ada', 'ada@example.org')")
    database.execute("alter table users rename email to mail")
    database.execute("update users set mail = 'ada@lovelace.example'")
    seal(database)
    fine("audit", "erase", "users", "1", "--yes", "--dsn", dsn)
    assert not any(secret in dump(database) for secret in SECRETS)
    assert check(database) == []


def test_what_cannot_be_declared(database: Database, dsn: str, tmp_path: Path) -> None:
    assert "users has no column age" in refused(2, "watch", "users", "--erasable", "age", "--dsn", dsn)
    told = refused(2, "watch", "users", "--erasable", "name", "--exclude", "name", "--dsn", dsn)
    assert "name cannot be excluded and erasable at once" in told
    layout = database.execute("select columns::text from rowcall.layout").fetchone()
    assert layout
    assert [column["name"] for column in json.loads(layout[0]) if column.get("erasable")] == ["name", "email"]


def test_what_retention_drops_is_on_record(database: Database, connect: Connect) -> None:
    history(database)
    seal(database)
    [(partition,)] = database.execute("select distinct tableoid::regclass::text from rowcall.event").fetchall()
    name = partition.removeprefix("rowcall.")
    database.execute("insert into users values (3)")
    with pytest.raises(errors.UsageError, match="1 events of .* are not sealed yet"), database.transaction():
        erasures.record_prune(database, [name])
    seal(database)
    count = len(seqs(database))
    with database.transaction():
        record = erasures.record_prune(database, [name])
        database.execute(f"drop table {partition}")
    assert record
    assert record.events == count
    report = verify.verify(database)
    assert (report.findings, report.pruned) == ([], count)
    seal(database)
    assert check(database) == []
    tamper(database, "delete from rowcall.erasure")
    assert ("missing", 1) in [(kind, number) for kind, number, _ in check(database)]


def test_without_seals_there_is_nothing_to_record(database: Database) -> None:
    history(database)
    assert erasures.record_prune(database, ["event_first"]) is None


def test_a_table_without_a_key(connect: Connect, dsn: str) -> None:
    """Whose rows are their own keys."""
    database: Database = connect(autocommit=True)
    database.execute("create table bag (name text, email text)")
    app = Rowcall()
    app.watch("bag", erasable=["name", "email"])
    sync(app, dsn)
    database.execute("insert into bag values ('Ada', 'ada@example.org'), ('Bob', 'bob@example.org')")
    database.execute("update bag set email = 'ada@lovelace.example' where name = 'Ada'")
    seal(database)
    row = '{"name": "Ada", "email": "ada@lovelace.example"}'
    fine("audit", "erase", "bag", row, "--yes", "--dsn", dsn)
    assert not any(secret in dump(database) for secret in SECRETS)
    assert "bob@example.org" in dump(database)
    assert check(database) == []


def test_a_composite_key_of_a_partitioned_table(connect: Connect, dsn: str) -> None:
    database: Database = connect(autocommit=True)
    database.execute(
        "create table people (region text, email text, name text, primary key (region, email)) partition by list (region)"
    )
    database.execute("create table people_eu partition of people for values in ('eu')")
    database.execute("create table people_us partition of people for values in ('us')")
    app = Rowcall()
    app.watch("people", erasable=["email", "name"])
    sync(app, dsn)
    database.execute("insert into people values ('eu', 'ada@example.org', 'Ada')")
    database.execute("update people set region = 'us', email = 'ada@lovelace.example'")
    seal(database)
    fine("audit", "erase", "people", "region=us,email=ada@lovelace.example", "--yes", "--dsn", dsn)
    assert not any(secret in dump(database) for secret in SECRETS)
    assert check(database) == []


def test_values_inside_of_others(connect: Connect, dsn: str) -> None:
    """In the members of a document, in the middle of a text, in names of members."""
    database: Database = connect(autocommit=True)
    database.execute("create table users (id int primary key, profile jsonb)")
    app = Rowcall()
    app.watch("users", erasable=["profile"])
    sync(app, dsn)
    with database.transaction():
        database.execute(
            """select rowcall.act('user:ada@example.org', '{"note": "mail <ada@example.org>", "by": {"ada@example.org": 1},
               "of": "ada@example.orgs", "request_id": "r-1"}')"""
        )
        database.execute("""insert into users values (1, '{"mails": [{"at": "ada@example.org"}]}')""")
    seal(database)
    fine("audit", "erase", "users", "1", "--yes", "--dsn", dsn)
    [line] = fine("audit", "row", "users", "1", "--dsn", dsn).lines
    assert line["context"] == {"note": None, "by": None, "of": "ada@example.orgs", "request_id": "r-1"}
    assert line["actor"] == "erased:1"
    assert check(database) == []


def test_refused_writes_of_a_row_that_never_came_to_be(database: Database, dsn: str) -> None:
    """A refused insert has used up its number; the row comes with the next one."""
    history(database)
    for key, mail in ((9, "ada@example.org"), (2, "ada@example.org"), (11, "eve@example.org")):
        database.execute(
            "insert into rowcall.rejection (relation, operation, key, new, rule, message)"
            " select id, 'insert', jsonb_build_object('id', %s::int), jsonb_build_object('id', %s::int, 'email', %s::text), 'r', 'no'"
            " from rowcall.relation",
            (key, key, mail),
        )
    fine("audit", "erase", "users", "10", "--yes", "--dsn", dsn)
    left = database.execute("select key ->> 'id', new ->> 'email' from rowcall.rejection order by id").fetchall()
    # What was refused to a row that is there is that row's.
    assert left == [("9", None), ("2", "ada@example.org"), ("11", "eve@example.org")]


def test_where_a_baseline_was(connect: Connect, dsn: str) -> None:
    database: Database = connect(autocommit=True)
    database.execute("create table people (email text primary key)")
    database.execute("insert into people values ('ada@example.org')")
    fine("watch", "people", "--erasable", "email", "--baseline", "--dsn", dsn)
    seal(database)
    fine("audit", "erase", "people", "ada@example.org", "--yes", "--dsn", dsn)
    assert "ada@" not in dump(database)
    assert check(database) == []


def test_a_column_by_its_new_name_alone(database: Database, dsn: str) -> None:
    database.execute("insert into users values (1, 'Ada', 'ada@example.org')")
    database.execute("alter table users rename email to mail")
    database.execute("update users set mail = 'ada@lovelace.example'")
    seal(database)
    said = fine("audit", "erase", "users", "1", "--columns", "mail", "--yes", "--dsn", dsn)
    assert "example" not in dump(database)
    assert "erased email, mail" in said.out
    assert check(database) == []
