"""Whoever may do anything in the database alters the log: each time it is found, and named."""

import threading
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from rowcall import Rowcall
from rowcall.audit import anchor_file, sealing, signing, verify
from rowcall.audit import seal as seals
from tests.audit.sealed import Database, check, seal, seqs, tamper, three_seals, watched, write
from tests.command import fine, refused, rowcall
from tests.conftest import Connect
from tests.listeners import drain


@pytest.fixture
def database(connect: Connect, dsn: str) -> Database:
    return watched(connect, dsn)


@pytest.fixture
def sealed(database: Database) -> list[int]:
    places = three_seals(database)
    assert check(database) == []
    return places


@pytest.mark.parametrize(
    "change",
    [
        """new = replace(new::text, 'user 7', 'user 8')::json""",
        """key = '{"id": 70}'""",
        """next_key = '{"id": 70}'""",
        """old = '{}'""",
        """actor = 'mallory'""",
        """context = '{"request_id": "r-1"}'""",
        """operation = 'snapshot'""",
        """at = at + interval '1 microsecond'""",
        """db_user = 'mallory'""",
        """db_role = 'mallory'""",
        """application_name = 'mallory'""",
        """xid = (xid::text::bigint - 1)::text::xid8""",
        """relation = relation + 1""",
    ],
)
def test_an_altered_event(database: Database, sealed: list[int], change: str) -> None:
    tamper(database, f"update rowcall.event set {change} where seq = {sealed[6]}")
    assert check(database) == [("altered", 2, sealed[6])]


def test_another_place_for_an_event(database: Database, sealed: list[int]) -> None:
    tamper(database, f"update rowcall.event set seq = 1000000 where seq = {sealed[6]}")
    assert check(database) == [("missing", 2, sealed[6]), ("added", None, 1000000)]


def test_a_missing_event(database: Database, sealed: list[int]) -> None:
    tamper(database, f"delete from rowcall.event where seq = {sealed[3]}")
    assert check(database) == [("missing", 1, sealed[3])]


def test_several_at_once_are_named_in_order(database: Database, sealed: list[int]) -> None:
    tamper(
        database,
        f"delete from rowcall.event where seq = {sealed[12]}",
        f"update rowcall.event set actor = 'mallory' where seq = {sealed[1]}",
    )
    assert check(database) == [("altered", 1, sealed[1]), ("missing", 3, sealed[12])]


COPY = """insert into rowcall.event (seq, xid, at, relation, operation, key, new, db_user)
    select {seq}, {xid}, at, relation, operation, key, new, db_user from rowcall.event where seq = {like}"""


def test_an_event_put_in_with_an_old_transaction(database: Database, sealed: list[int]) -> None:
    forged = database.execute("select nextval('rowcall.event_seq')").fetchone()
    assert forged
    tamper(database, COPY.format(seq=forged[0], xid="xid", like=sealed[4]))
    assert check(database) == [("added", None, forged[0])]
    # A sealer that goes on does not make it part of the log.
    seal(database)
    assert check(database) == [("added", None, forged[0])]


def test_an_event_put_in_at_an_old_place(database: Database, connect: Connect) -> None:
    write(database, 1, 2)
    database.execute("select nextval('rowcall.event_seq')")
    write(database, 3, 4)
    seal(database)
    places = seqs(database)
    tamper(database, COPY.format(seq=places[1] + 1, xid="xid", like=places[0]))
    assert check(database) == [("added", None, places[1] + 1)]


def test_an_event_put_in_at_an_old_place_by_a_new_transaction(database: Database) -> None:
    write(database, 1, 2)
    database.execute("select nextval('rowcall.event_seq')")
    write(database, 3, 4)
    seal(database)
    places = seqs(database)
    tamper(database, COPY.format(seq=places[1] + 1, xid="pg_current_xact_id()", like=places[0]))
    seal(database)
    assert check(database) == [("added", 2, places[1] + 1)]


def test_an_event_of_a_transaction_that_has_not_been(database: Database, sealed: list[int]) -> None:
    tamper(database, COPY.format(seq=10**9, xid="'1000000000'::xid8", like=sealed[0]))
    assert check(database) == [("added", None, 10**9)]


def test_a_second_event_in_one_place(database: Database, sealed: list[int]) -> None:
    tamper(database, COPY.format(seq=sealed[0], xid="xid", like=sealed[2]))
    assert check(database) == [("added", 1, sealed[0])]


def test_two_events_exchanged(database: Database, sealed: list[int]) -> None:
    one, other = sealed[6], sealed[8]
    tamper(database, f"update rowcall.event set seq = {one} + {other} - seq where seq in ({one}, {other})")
    assert check(database) == [("reordered", 2, one), ("reordered", 2, other)]


def test_a_truncated_partition(database: Database, sealed: list[int]) -> None:
    [(partition,)] = database.execute("select distinct tableoid::regclass::text from rowcall.event").fetchall()
    tamper(
        database,
        f"alter table {partition} disable trigger all",
        f"truncate {partition}",
        f"alter table {partition} enable trigger all",
    )
    found = check(database)
    assert found == [("missing", 1 + index // 5, seq) for index, seq in enumerate(sealed)]


def test_a_rewritten_seal(database: Database, sealed: list[int]) -> None:
    tamper(database, "update rowcall.seal set sealed_at = sealed_at - interval '1 s' where number = 2")
    assert check(database) == [("seal", 2, None)]


def test_a_seal_with_another_root(database: Database, sealed: list[int]) -> None:
    tamper(database, "update rowcall.seal set root = sha256(root) where number = 2")
    assert check(database) == [("seal", 2, None), ("seal", 2, None)]


def test_a_seal_that_is_gone(database: Database, sealed: list[int]) -> None:
    tamper(database, "delete from rowcall.seal where number = 2")
    assert ("chain", 2, None) in check(database)


def test_leaves_of_others(database: Database, sealed: list[int]) -> None:
    tamper(database, "update rowcall.leaf set hashes = overlay(hashes placing sha256('x') from 33) where seal = 1")
    assert check(database)[0] == ("seal", 1, None)


def remake(database: Database, first: int, *, sign: signing.Signer | None = None) -> None:
    """Make all seals anew from one on, with everything that hangs together with them."""
    tamper(
        database,
        f"delete from rowcall.seal where number >= {first}",
        f"delete from rowcall.leaf where seal >= {first}",
        f"delete from rowcall.salt where seal >= {first}",
    )
    seal(database, sign)


def test_a_chain_made_anew_is_found_by_the_anchor_alone(database: Database, sealed: list[int], tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.jsonl"
    assert anchor_file.catch_up(anchor, database) == 3
    tamper(database, f"update rowcall.event set actor = 'mallory' where seq = {sealed[6]}")
    remake(database, 2)
    report = verify.verify(database)
    assert report.findings == []
    assert "write all of it anew" in report.unproven[0]
    assert check(database, anchor=anchor)[0] == ("anchor", 2, None)
    with pytest.raises(anchor_file.Disagreement, match="anchored in"):
        anchor_file.catch_up(anchor, database)


def test_a_chain_made_anew_is_found_by_signatures(database: Database, tmp_path: Path) -> None:
    signing.generate(tmp_path / "key")
    signing.generate(tmp_path / "forged")
    signer, forger = signing.Signer.load(tmp_path / "key"), signing.Signer.load(tmp_path / "forged")
    keys = [signing.Verifier.load(tmp_path / "key.pub")]
    for first in (1, 6, 11):
        write(database, first, first + 4)
        seal(database, signer)
    assert check(database, keys) == []
    tamper(database, f"update rowcall.event set actor = 'mallory' where seq = {seqs(database)[6]}")
    remake(database, 2)
    assert check(database) == []
    assert check(database, keys) == [("signature", 2, None)]
    remake(database, 2, sign=forger)
    assert check(database, keys) == [("signature", 2, None)]
    tamper(database, f"update rowcall.seal set key_id = '{signer.key_id}' where number = 2")
    assert ("signature", 2, None) in check(database, keys)


def test_a_log_cut_off_is_found_by_the_anchor(database: Database, sealed: list[int], tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.jsonl"
    anchor_file.catch_up(anchor, database)
    tamper(
        database,
        "delete from rowcall.seal where number = 3",
        "delete from rowcall.leaf where seal = 3",
        f"delete from rowcall.event where seq >= {sealed[10]}",
    )
    assert check(database) == []
    assert check(database, anchor=anchor) == [("anchor", 3, None)]


def test_no_seals_where_there_were(database: Database, sealed: list[int], tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.jsonl"
    anchor_file.catch_up(anchor, database)
    tamper(database, "delete from rowcall.seal", "delete from rowcall.leaf")
    assert check(database, anchor=anchor) == [("anchor", 1, None)]


def test_a_clock_that_went_back_between_seals(
    database: Database, sealed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sealing.Sealer._moment

    def earlier(self: sealing.Sealer) -> sealing.Moment:
        moment = real(self)
        return sealing.Moment(
            moment.installation,
            moment.epoch,
            moment.floor,
            moment.anchor,
            moment.mark,
            moment.erasures,
            moment.erasure_head,
            moment.now - 3600 * 10**6,
        )

    monkeypatch.setattr(sealing.Sealer, "_moment", earlier)
    write(database, 16, 17)
    seal(database)
    found = check(database)
    assert ("clock", 4, None) in found
    assert ("clock", 4, seqs(database)[-2]) in found


def test_a_clock_that_went_back_between_events(database: Database, sealed: list[int]) -> None:
    tamper(
        database,
        COPY.format(seq="nextval('rowcall.event_seq')", xid="pg_current_xact_id()", like=sealed[0])
        .replace(" at,", " at - interval '1 hour',", 2)
        .replace("xid, at - interval '1 hour',", "xid, at,", 1),
    )
    seal(database)
    assert check(database) == [("clock", 4, seqs(database)[-1])]


def test_layouts_and_names(database: Database, sealed: list[int]) -> None:
    tamper(database, """update rowcall.layout set key = '{name}'""")
    assert check(database) == [("catalog", None, None)]
    # A sealer takes the altered one for new, and that shows as well.
    seal(database)
    write(database, 16, 16)
    seal(database)
    assert ("catalog", 4, None) in check(database)


def test_a_renamed_table_is_no_tampering(database: Database, sealed: list[int]) -> None:
    database.execute("alter table users rename to people")
    assert check(database) == []
    assert "public.users is called public.people now" in verify.verify(database).unproven[-1]
    seal(database)
    assert "public.users is called public.people since seal 4." in verify.verify(database).unproven


def test_a_window_left_out_of_a_chain_made_anew(database: Database, sealed: list[int]) -> None:
    """Who makes the chain anew without an event that is still there, and hides it between two windows."""
    [one, two, three] = _all(database)
    skipped = seals.Seal(
        **{name: getattr(three, name) for name in seals.Seal.__slots__}
        | {"number": 2, "previous": one.head, "head": b""}
    )
    row = database.execute("select id::text from rowcall.installation").fetchone()
    assert row
    head = sha256(skipped.text(row[0])).digest()
    tamper(
        database,
        "delete from rowcall.seal where number = 2",
        "delete from rowcall.leaf where seal = 2",
        "update rowcall.leaf set seal = 2 where seal = 3",
        f"update rowcall.seal set number = 2, previous = '\\x{one.head.hex()}', head = '\\x{head.hex()}' where number = 3",
    )
    found = check(database)
    assert ("chain", 2, None) in found
    assert [seq for kind, _, seq in found if kind == "added"] == sealed[5:10]
    assert two.number == 2


def _all(database: Database) -> list[seals.Seal]:
    with database.transaction():
        return list(seals.seals(database))


def test_late_commits_are_sealed_once(database: Database, connect: Connect) -> None:
    late = connect(autocommit=False)
    late.execute("insert into users values (100)")
    write(database, 1, 3)
    assert seal(database) == 3
    late.commit()
    write(database, 4, 6)
    assert seal(database, limit=2) == 4
    assert seal(database) == 0
    assert check(database) == []
    sealed = [seq for (found,) in database.execute("select seqs from rowcall.leaf") for seq in found]
    assert sorted(sealed) == seqs(database)


def test_part_of_the_seals(database: Database, sealed: list[int]) -> None:
    tamper(database, f"update rowcall.event set actor = 'mallory' where seq = {sealed[1]}")
    assert check(database, first=2) == []
    assert check(database, last=1) == [("altered", 1, sealed[1])]
    assert check(database, first=2, last=2) == []


def test_writers_race_with_the_sealer(database: Database, dsn: str, connect: Connect) -> None:
    """Every event is in one seal, whatever commits in whichever order, and whoever seals."""
    connections = [connect(autocommit=True) for _ in range(6)]
    done = threading.Event()

    def work(number: int, connection: Database) -> None:
        for index in range(60):
            with connection.transaction():
                connection.execute("insert into users values (%s)", (1000 * number + index,))

    def keep_sealing(connection: Database) -> None:
        while not done.is_set():
            seal(connection, limit=7)

    writers = [threading.Thread(target=work, args=(n, connections[n])) for n in range(4)]
    sealers = [threading.Thread(target=keep_sealing, args=(connections[n],)) for n in (4, 5)]
    for thread in (*writers, *sealers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in sealers:
        thread.join()
    seal(database)
    sealed = [seq for (found,) in database.execute("select seqs from rowcall.leaf order by seal") for seq in found]
    assert sorted(sealed) == seqs(database)
    assert check(database) == []


def test_the_seals_are_guarded(database: Database, sealed: list[int]) -> None:
    for statement in (
        "update rowcall.seal set events = 0",
        "delete from rowcall.seal",
        "truncate rowcall.seal",
        "update rowcall.leaf set hashes = ''",
        "delete from rowcall.erasure",
        f"update rowcall.event set actor = 'x' where seq = {sealed[0]}",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            database.execute(statement)


def test_the_command_says_so(database: Database, sealed: list[int], dsn: str) -> None:
    said = fine("audit", "verify", "--dsn", dsn, "--format", "table")
    assert "15 events in 3 seals: as they were sealed." in said.out
    assert "not proven" in said.out
    tamper(database, f"update rowcall.event set actor = 'mallory' where seq = {sealed[6]}")
    told = rowcall("audit", "verify", "--dsn", dsn)
    assert told.code == 1
    [line] = told.lines
    assert (line["kind"], line["seal"], line["seq"]) == ("altered", 2, sealed[6])
    assert "insert of public.users" in line["finding"]
    assert "There is no seal 9" in refused(2, "audit", "verify", "--dsn", dsn, "--from", "9")
    assert "comes after" in refused(2, "audit", "verify", "--dsn", dsn, "--from", "3", "--to", "1")
    assert [line["events"] for line in fine("audit", "seals", "--dsn", dsn).lines] == [5, 5, 5]


def test_a_drain_seals(database: Database, dsn: str) -> None:
    write(database)
    drain(Rowcall(), dsn)
    assert check(database) == []
    assert database.execute("select sum(events) from rowcall.seal").fetchone() == (5,)
