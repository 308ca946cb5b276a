"""A superuser who knows how seals are made, and alters what surrounds them."""

import hmac
from pathlib import Path

import pytest

from rowcall import errors
from rowcall.audit import anchor_file, erasures, signing, verify
from rowcall.audit import seal as seals
from tests.audit.sealed import Database, check, seal, seqs, tamper, three_seals, watched, write
from tests.audit.test_tampering import COPY
from tests.command import fine
from tests.conftest import Connect


@pytest.fixture
def database(connect: Connect, dsn: str) -> Database:
    return watched(connect, dsn)


@pytest.fixture
def sealed(database: Database) -> list[int]:
    return three_seals(database)


def forged(database: Database, like: int, seq: str = "nextval('rowcall.event_seq')", xid: str = "xid") -> int:
    """An event put in, a copy of another."""
    tamper(database, COPY.format(seq=seq, xid=xid, like=like))
    [(place,)] = database.execute("select seq from rowcall.event order by ctid desc limit 1").fetchall()
    return int(place)


@pytest.mark.parametrize("number", [-1, 0, 999])
def test_leaves_of_a_seal_that_is_none(database: Database, sealed: list[int], number: int) -> None:
    place = forged(database, sealed[4])
    tamper(database, f"insert into rowcall.leaf values ({number}, '{{{place}}}', decode(repeat('00', 32), 'hex'))")
    assert check(database) == [("added", None, place)]


@pytest.mark.parametrize("operation", ["truncate", "snapshot"])
def test_an_event_put_in_at_an_old_place_by_a_new_transaction(database: Database, operation: str) -> None:
    write(database, 1, 2)
    database.execute("select nextval('rowcall.event_seq')")
    write(database, 3, 4)
    seal(database)
    places = seqs(database)
    statement = COPY.format(seq=places[1] + 1, xid="pg_current_xact_id()", like=places[0])
    tamper(
        database, statement.replace(" operation,", f" '{operation}',", 2).replace(f"'{operation}',", "operation,", 1)
    )
    seal(database)
    assert check(database) == [("added", 2, places[1] + 1)]


def test_a_layout_put_in_for_events_that_are_sealed(
    database: Database, sealed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_SETTLED", 0)
    layout = f"""insert into rowcall.layout select relation, {sealed[3]}, replace(columns::text, '"email"', '"mail"')::jsonb, key
        from rowcall.layout"""
    tamper(database, layout)
    assert check(database) == [("catalog", None, None)]
    seal(database)
    assert check(database) == [("catalog", 4, None)]


def test_a_renamed_relation_is_told_of_ever_after(database: Database, sealed: list[int]) -> None:
    tamper(database, "update rowcall.relation set table_name = 'salaries'")
    assert "public.users is called public.salaries now" in str(verify.verify(database).unproven)
    seal(database)
    assert "public.users is called public.salaries since seal 4" in str(verify.verify(database).unproven)


def test_a_restore_that_was_none(database: Database, sealed: list[int]) -> None:
    """Events of transactions that nobody can judge any more."""
    place = forged(database, sealed[4])
    tamper(
        database,
        "update rowcall.installation set epoch = epoch + 1, floor_seq = (select max(seq) from rowcall.event),"
        " anchor = pg_current_snapshot()",
    )
    seal(database)
    report = verify.verify(database)
    assert place in [found.seq for found in report.findings] or "1 event came with a dump" in str(report.unproven)


def prune_record(database: Database, seq: int, *paths: str) -> None:
    with database.transaction():
        erasures.record(
            database,
            "prune",
            relation=None,
            paths=dict.fromkeys(paths, f"{{[{seq},{seq + 1})}}"),
            seqs=f"{{[{seq},{seq + 1})}}",
            events=1,
        )


def test_an_altered_event_that_is_said_to_be_a_stand_in(database: Database, sealed: list[int]) -> None:
    """Retention leaves these for tables without a key alone."""
    prune_record(database, sealed[6], erasures.STAND_INS + "00" * 32)
    tamper(database, f"update rowcall.event set new = '{{\"id\": 66}}' where seq = {sealed[6]}")
    run = verify.verify(database)
    # Whoever knows the hash of the forged event writes that.
    assert run.findings


def test_an_anchor_with_a_second_line_for_a_seal(database: Database, sealed: list[int], tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.jsonl"
    anchor_file.catch_up(anchor, database)
    tamper(
        database,
        f"update rowcall.event set actor = 'mallory' where seq = {sealed[6]}",
        "delete from rowcall.seal where number >= 2",
        "delete from rowcall.leaf where seal >= 2",
        "delete from rowcall.salt where seal >= 2",
    )
    seal(database)
    with anchor.open("a") as file, database.transaction():
        for one in seals.seals(database, 2):
            file.write(anchor_file._line(one).decode())
    assert ("anchor", 2, None) in check(database, anchor=anchor)


def test_an_anchor_that_ends_early(database: Database, sealed: list[int], tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.jsonl"
    anchor.touch()
    assert "None of the seals is in the anchor" in str(verify.verify(database, anchor=anchor).unproven)
    anchor_file.catch_up(anchor, database)
    assert "anchor" not in str(verify.verify(database, anchor=anchor).unproven)
    write(database, 16, 16)
    seal(database)
    assert "Seals after 3 are not in the anchor yet" in str(verify.verify(database, anchor=anchor).unproven)


def test_a_part_that_is_not_signed(database: Database, sealed: list[int], tmp_path: Path) -> None:
    signing.generate(tmp_path / "key")
    keys = [signing.Verifier.load(tmp_path / "key.pub")]
    write(database, 16, 16)
    seal(database, signing.Signer.load(tmp_path / "key"))
    assert check(database, keys) == []
    report = verify.verify(database, public_keys=keys, last=2)
    assert "No seal from 1 to 2 is signed with a key given" in str(report.unproven)


def test_names_that_hide_the_server_s_own(database: Database, sealed: list[int]) -> None:
    """Functions that show the log as it was."""
    tamper(
        database,
        "create schema evil",
        """create function evil.convert_to(value text, name name) returns bytea language sql
           return pg_catalog.convert_to(pg_catalog.replace(value, 'mallory', 'user 7'), name)""",
        f"update rowcall.event set new = replace(new::text, 'user 7', 'mallory')::json where seq = {sealed[6]}",
    )
    database.execute("set search_path = evil, pg_catalog, public")
    assert check(database) == [("altered", 2, sealed[6])]


def test_values_erased_under_the_record_of_another_erasure(connect: Connect, dsn: str) -> None:
    """What one event of an erasure lost, another may not lose by the same record."""
    database = watched(connect, dsn, erasable=["email"])
    with database.transaction():
        database.execute("select rowcall.act('ada@example.org')")
        database.execute("insert into users values (1, 'Ada', 'ada@example.org')")
    with database.transaction():
        database.execute("select rowcall.act('mallory')")
        database.execute("update users set email = 'ada@lovelace.example'")
    seal(database)
    fine("audit", "erase", "users", "1", "--yes", "--dsn", dsn)
    seal(database)
    assert check(database) == []
    other = seqs(database)[1]
    [(kept,)] = database.execute(
        "select salt from rowcall.erased where seq = %s and path = 'actor'", (other,)
    ).fetchall()
    commitment = hmac.digest(kept, b"mallory", "sha256").hex()
    tamper(
        database,
        f"update rowcall.erased set salt = null, commitment = '\\x{commitment}' where seq = {other} and path = 'actor'",
        f"update rowcall.event set actor = 'erased:1' where seq = {other}",
    )
    assert check(database) == [("erasure", 1, other)]


def test_what_is_not_proven_any_more_is_told_apart(connect: Connect, dsn: str) -> None:
    database = watched(connect, dsn)
    write(database, 1, 2)
    seal(database)
    fine("audit", "erase", "users", "2", "--columns", "email", "--forgo-proof", "--yes", "--dsn", dsn)
    seal(database)
    said = fine("audit", "verify", "--format", "table", "--dsn", dsn).out
    assert "1 not proven any more" in said


def test_an_event_in_another_partition(database: Database, sealed: list[int]) -> None:
    """Where questions about its time do not find it."""
    [(home, other)] = database.execute(
        "select min(name) filter (where upper > now() and coalesce(lower, '-infinity') <= now()), max(name) filter (where lower > now() and upper is null)"
        " from rowcall.log_partitions_v1()"
    ).fetchall()
    [(bounds,)] = database.execute(
        "select pg_get_expr(relpartbound, oid) from pg_class where oid = %s::regclass", (f"rowcall.{other}",)
    ).fetchall()
    tamper(
        database,
        f"alter table rowcall.event detach partition rowcall.{other}",
        f"insert into rowcall.{other} select * from rowcall.event where seq = {sealed[6]}",
        f"delete from rowcall.{home} where seq = {sealed[6]}",
        f"alter table rowcall.{other} add constraint lie check (at is not null and at >= '{bounds.split(chr(39))[1]}') not valid",
        "update pg_constraint set convalidated = true where conname = 'lie'",
        f"alter table rowcall.event attach partition rowcall.{other} {bounds}",
        f"alter table rowcall.{other} drop constraint lie",
    )
    assert database.execute(
        "select count(*) from rowcall.event where seq = %s and at < now()", (sealed[6],)
    ).fetchone() == (0,)
    assert check(database) == [("reordered", None, sealed[6])]


def test_a_dump_that_nobody_has_come_to_yet(database: Database, sealed: list[int]) -> None:
    """In its new cluster, the transactions of events that were not sealed are of the future."""
    write(database, 16, 16)
    tamper(
        database,
        "update rowcall.event set xid = '900000'::xid8 where seq = (select max(seq) from rowcall.event)",
        "update rowcall.installation set system = 1, mark = gen_random_uuid()",
    )
    with pytest.raises(errors.HeldBack, match="restored"):
        check(database)


def test_transactions_that_overtake_each_other(database: Database, connect: Connect) -> None:
    """The one that begins later writes earlier, and commits later: no forgery."""
    one, other = connect(autocommit=False), connect(autocommit=False)
    one.execute("select pg_current_xact_id()")
    other.execute("select pg_current_xact_id()")
    other.execute("insert into users values (1)")
    one.execute("insert into users values (2)")
    one.commit()
    seal(database)
    other.commit()
    seal(database)
    assert check(database) == []


def test_what_a_prune_took_is_told_of(database: Database, sealed: list[int]) -> None:
    """Whoever drops an event in the name of retention leaves a record of that, and the report says of what."""
    prune_record(database, sealed[6])
    tamper(database, f"delete from rowcall.event where seq = {sealed[6]}")
    seal(database)
    [said] = [one for one in verify.verify(database).unproven if "--archive" in one]
    assert said.startswith("What postgres dropped from the log as retention, 1 event at ")
    assert said.endswith(f"seq {sealed[6]} to {sealed[6]}: --archive DIR verifies it.")
