"""Retention takes out whole partitions, archived, when nobody needs them, and can be killed at any step."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from rowcall import Rowcall, errors
from rowcall.audit import archive, prune, turn, verify
from rowcall.audit.check import Difference
from rowcall.audit.check import check as check_table
from rowcall.postgres import connection as connections
from tests.audit.sealed import check, seal, tamper
from tests.command import PROGRAM, fine, refused, rowcall
from tests.conftest import Connect
from tests.listeners import drain, sync

Database = psycopg.Connection[Any]

#: A log of four months in as many partitions, whose first ends three months ago.
_PARTITIONS = """do $$
declare
  v_month timestamptz := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC';
begin
  drop table rowcall.event_first;
  perform rowcall.create_partition_v1('minvalue', (v_month - interval '3 months')::text);
  for i in 1..4 loop
    perform rowcall.create_partition_v1((v_month - (4 - i) * interval '1 month')::text, (v_month - (3 - i) * interval '1 month')::text);
  end loop;
end $$"""
_KEEP = ("--keep", "45 days")


def age(database: Database, condition: str, months: int) -> None:
    """Let events have happened earlier."""
    database.execute("set session_replication_role = replica")
    database.execute(f"update rowcall.event set at = at - interval '1 month' * {months} where {condition}")
    database.execute("set session_replication_role = origin")


@pytest.fixture
def old(dsn: str, connect: Connect) -> Database:
    """A log whose first events are four and three months old, and one of now."""
    database = connect(autocommit=True)
    database.execute("set timezone = 'UTC'")
    database.execute(_PARTITIONS)
    database.execute("create table t (id int primary key, v text); create table bag (v text)")
    fine("watch", "t", "bag", "--dsn", dsn)
    database.execute(
        "insert into t select n, 'a' from generate_series(1, 6) as n; insert into bag values ('x'), ('x'), ('y')"
    )
    age(database, "true", 4)
    database.execute("update t set v = 'b' || chr(9) || chr(92) where id in (1, 2); delete from t where id = 3")
    database.execute("update t set id = 40 where id = 4; update bag set v = 'z' where v = 'y'")
    database.execute("delete from bag where ctid = (select min(ctid) from bag where v = 'x')")
    age(database, "at > now() - interval '1 day'", 3)
    database.execute("update t set v = 'c' where id = 2; delete from t where id = 5")
    return database


def events(database: Database) -> list[Any]:
    return database.execute("select seq, operation::text, key, new::text from rowcall.event order by seq").fetchall()


def differences(dsn: str) -> list[Difference]:
    with connections.connect(dsn) as connection:
        return [one for table in ("t", "bag") for one in check_table(connection, table)]


def test_what_is_old_goes_and_what_it_says_of_rows_stays(dsn: str, old: Database, tmp_path: Path) -> None:
    before = events(old)
    assert differences(dsn) == []
    said = fine("prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    assert "the log begins at" in said.out
    assert differences(dsn) == []
    left = events(old)
    keyed = {row for row in map(str, left) if "'snapshot'" not in row}
    assert keyed <= set(map(str, before))
    # 1, 2, 4 (now 40), 5 and 6 were there then; of the bag, x and z; and what happened since.
    assert len(left) == 5 + 2 + 2
    archived = list(archive.archived(tmp_path))
    assert sum(manifest.events for _, manifest in archived) == len(before) - 2
    seqs = [int(row[0] or b"") for path, _ in archived for row in archive.rows(path)]
    assert seqs == [row[0] for row in before[:-2]]


def test_the_archive_has_every_column_verbatim(dsn: str, old: Database, tmp_path: Path) -> None:
    query = "select {} from rowcall.event as e where at < now() - interval '45 days' order by e.seq"
    columns = (
        "seq, xid, at, relation, operation, key, next_key, old, new, actor, context, db_user, db_role, application_name"
    )
    wanted = old.execute(query.format(", ".join(f"{column.strip()}::text" for column in columns.split(",")))).fetchall()
    fine("prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    archived = list(archive.archived(tmp_path))
    assert archived[0][1].columns == columns.split(", ")
    rows = [tuple(value and value.decode() for value in row) for path, _ in archived for row in archive.rows(path)]
    assert rows == wanted


def test_a_second_time(dsn: str, old: Database, tmp_path: Path) -> None:
    fine("prune", "--keep", "100 days", "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    fine("prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    assert differences(dsn) == []
    assert fine("prune", *_KEEP, "--yes", "--dsn", dsn).out.startswith("Nothing is older than 45 days")
    assert len({path for path, _ in archive.archived(tmp_path)}) >= 3


def test_the_log_stays_append_only_and_whole(dsn: str, old: Database) -> None:
    fine("prune", *_KEEP, "--yes", "--dsn", dsn)
    for statement in (
        "delete from rowcall.event",
        "truncate rowcall.event_first",
        "update rowcall.event_first set seq = 0",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            old.execute(statement)
    [(lower,)] = old.execute(
        "select lower from rowcall.log_partitions_v1() order by upper nulls last limit 1"
    ).fetchall()
    assert lower is None
    assert [line for line in rowcall("doctor", "--dsn", dsn).lines if line["severity"] == "problem"] == []


def test_a_dry_run_changes_nothing(dsn: str, old: Database) -> None:
    before = events(old)
    assert "event_first" in fine("prune", *_KEEP, "--dry-run", "--dsn", dsn).out
    assert "pass --yes" in refused(2, "prune", *_KEEP, "--dsn", dsn)
    assert events(old) == before
    assert "is no interval" in refused(2, "prune", "--keep", "soon", "--yes", "--dsn", dsn)
    assert "keeps nothing" in refused(2, "prune", "--keep", "0 days", "--yes", "--dsn", dsn)


def test_what_somebody_needs_stays(dsn: str, old: Database) -> None:
    app = Rowcall()
    failing = [True]

    def handle(event: Any) -> None:
        if failing and event.key == {"id": 1}:
            raise ValueError("not yet")

    app.after("t", name="reader", start="beginning")(handle)
    sync(app, dsn)
    before = events(old)
    told = refused(1, "prune", *_KEEP, "--yes", "--dsn", dsn)
    assert "Subscription reader has yet to read them" in told
    assert "rowcall subscriptions drop reader" in told
    drain(app, dsn)
    told = refused(1, "prune", *_KEEP, "--yes", "--dsn", dsn)
    assert "events of subscription reader are set aside" in told
    assert events(old) == before
    failing.clear()
    old.execute("delete from rowcall.parked")
    fine("prune", *_KEEP, "--yes", "--dsn", dsn)


def test_what_is_not_sealed_stays(dsn: str, old: Database) -> None:
    assert seal(old)
    old.execute("insert into t values (7, 'late')")
    age(old, "new ->> 'v' = 'late'", 3)
    assert "not sealed yet" in refused(1, "prune", *_KEEP, "--yes", "--dsn", dsn)
    seal(old)
    fine("prune", *_KEEP, "--yes", "--dsn", dsn)


def test_seals_hold(dsn: str, old: Database, tmp_path: Path) -> None:
    before = len(events(old))
    seal(old)
    fine("prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    report = verify.verify(old)
    # All but those that stay as they are: 1, 2, 40, 6, two of now, x of the bag; in its place z.
    verbatim = len(events(old)) - 1
    assert (report.findings, report.pruned) == ([], before - verbatim)
    seal(old)
    assert check(old) == []
    said = fine("audit", "verify", "--format", "table", "--dsn", dsn).out
    assert f"{before - verbatim} dropped by retention" in said
    assert differences(dsn) == []


def test_a_second_prune_of_sealed_events(dsn: str, old: Database, tmp_path: Path) -> None:
    seal(old)
    fine("prune", "--keep", "100 days", "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    assert check(old) == []
    fine("prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    seal(old)
    assert check(old) == []
    old.execute("delete from t; delete from bag")
    age(old, "at > now() - interval '1 day'", 2)
    seal(old)
    fine("prune", "--keep", "15 days", "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    assert check(old) == []
    assert events(old) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("delete from rowcall.event where seq = (select max(seq) from rowcall.event)", "missing"),
        ("delete from rowcall.event where key = '{\"id\": 6}'", "missing"),
        ("""update rowcall.event set new = '{"id": 6, "v": "false"}' where key = '{"id": 6}'""", "altered"),
        ("""update rowcall.event set new = '{"v": "w"}', key = '{"v": "w"}' where operation = 'snapshot'""", "altered"),
        ("delete from rowcall.event where operation = 'snapshot'", "altered"),
        ("update rowcall.event set seq = 2 where key = '{\"id\": 6}'", "missing"),
    ],
)
def test_what_stays_is_verified(dsn: str, old: Database, statement: str, found: str) -> None:
    seal(old)
    fine("prune", *_KEEP, "--yes", "--dsn", dsn)
    assert check(old) == []
    tamper(old, statement)
    assert found in {kind for kind, _, _ in check(old)}


def test_verifying_waits_for_the_end(dsn: str, old: Database) -> None:
    seal(old)
    asked: list[str] = []

    def ask(name: str) -> None:
        if name == "detached":
            asked.append(refused(1, "audit", "verify", "--dsn", dsn))

    with connections.connect(dsn) as connection:
        prune.prune(connection, prune.candidates(connection, "45 days"), None, step=ask)
    assert asked
    assert "under way" in asked[0]
    assert check(old) == []


def test_a_baseline_stays_balanced(dsn: str, old: Database) -> None:
    old.execute("create table heap (v text); insert into heap values ('x'), ('x'), ('y')")
    fine("watch", "heap", "--dsn", dsn)
    old.execute("delete from heap where ctid = '(0,1)'")
    old.execute("update heap set v = 'z' where v = 'y'")
    age(old, "at > now() - interval '1 day'", 3)
    fine("watch", "heap", "--baseline", "--dsn", dsn)
    seal(old)
    with connections.connect(dsn) as connection:
        assert list(check_table(connection, "heap")) == []
    assert heap(dsn) == ["x", "z"]
    fine("prune", *_KEEP, "--yes", "--dsn", dsn)
    with connections.connect(dsn) as connection:
        assert list(check_table(connection, "heap")) == []
    assert heap(dsn) == ["x", "z"]
    assert check(old) == []


def heap(dsn: str) -> list[str]:
    lines = fine("audit", "as-of", "heap", "--at", "infinity", "--format", "jsonl", "--dsn", dsn).lines
    return sorted(line["row"]["v"] for line in lines)


def test_no_writer_waits(dsn: str, old: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "TRIES", 2)
    reader, writer = connect(), connect(autocommit=True)
    reader.execute("select count(*) from rowcall.event")
    writer.execute("set lock_timeout = '500ms'")

    def write(name: str) -> None:
        writer.execute("update t set v = v || '.' where id = 1")

    with connections.connect(dsn) as connection:
        partitions = prune.candidates(connection, "45 days")
        with pytest.raises(errors.HeldBack, match="is open for long"):
            prune.prune(connection, partitions, None, step=write)
        writer.execute("update t set v = v || '.' where id = 1")
        reader.rollback()
        prune.prune(connection, prune.candidates(connection, "45 days"), None, step=write)
    assert differences(dsn) == []


_KILLED = """
import os, sys
from hashlib import sha256
from pathlib import Path
from rowcall.audit import prune
from rowcall.postgres import connection

steps = []

def die(name):
    steps.append(name)
    if len(steps) == int(sys.argv[2]):
        os.kill(os.getpid(), 9)

with connection.connect(sys.argv[1]) as opened:
    prune.prune(opened, prune.candidates(opened, "45 days"), Path(sys.argv[3]), step=die)
"""


@pytest.mark.timeout(90)
def test_killed_at_each_step(dsn: str, old: Database, tmp_path: Path) -> None:
    before = events(old)
    killed = 0
    for step in range(1, 12):
        ended = subprocess.run([sys.executable, "-c", _KILLED, dsn, str(step), str(tmp_path)], check=False).returncode
        if ended == 0:
            break
        killed += 1
        [(planned,)] = old.execute("select count(*) from rowcall.pruned where dropped_at is null").fetchall()
        if not planned:
            break
        # Nothing is lost yet: what is not in the log is beside it.
        names = [row[0] for row in old.execute("select name from rowcall.log_partitions_v1() where state = 'detached'")]
        apart = sum(len(old.execute(f"select from rowcall.{name}").fetchall()) for name in names)
        assert len(events(old)) + apart == len(before)
    assert killed >= 5
    assert differences(dsn) == []
    assert sum(manifest.events for _, manifest in archive.archived(tmp_path)) == len(before) - 2


def test_an_event_that_commits_late(dsn: str, old: Database, connect: Connect, tmp_path: Path) -> None:
    late: list[Callable[[], Any]] = [
        lambda: old.execute(
            """insert into rowcall.event select nextval('rowcall.event_seq'), pg_current_xact_id(), now() - interval '70 days', relation,
        'update', '{"id": 6}', null, '{"v": "a"}', '{"id": 6, "v": "late"}', null, null, 'x', null, null
        from rowcall.event where key = '{"id": 6}' limit 1"""
        )
    ]

    def commit(name: str) -> None:
        if name == "kept" and late:
            late.pop()()

    with connections.connect(dsn) as connection:
        done = prune.prune(connection, prune.candidates(connection, "45 days"), tmp_path, step=commit)
    assert sum(manifest.events for _, manifest in archive.archived(tmp_path)) == done.events
    [(image,)] = old.execute("""select new from rowcall.event where key = '{"id": 6}'""").fetchall()
    assert image["v"] == "late"


def test_a_damaged_archive(dsn: str, old: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(path: Path, manifest: archive.Manifest) -> None:
        raise errors.DamagedArchive(f"{path} cannot be read: restore it from a copy.")

    before = events(old)
    with monkeypatch.context() as patched:
        patched.setattr(archive, "check", damage)
        assert "cannot be read" in refused(1, "prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    assert events(old) == before
    (tmp_path / "file").write_text("")
    assert "name another directory" in refused(
        2, "prune", *_KEEP, "--archive", str(tmp_path / "file"), "--yes", "--dsn", dsn
    )
    fine("prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    path, manifest = next(archive.archived(tmp_path))
    archive.check(path, manifest)
    with pytest.raises(errors.DamagedArchive, match="is not what its manifest says"):
        archive.check(path, replace(manifest, sha256="0"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(errors.DamagedArchive, match="cannot be read"):
        archive.check(path, manifest)


def lines(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def rewrite(directory: Path, change: Callable[[bytes], bytes], *, skilfully: bool) -> None:
    """Change the archived file with the first events, with its manifest or without."""
    path, manifest = next(one for one in archive.archived(directory) if one[1].events)
    text = change(lines(path))
    path.write_bytes(gzip.compress(text))
    if skilfully:
        said = replace(manifest, sha256=sha256(text).hexdigest(), events=text.count(b"\n"))
        path.with_suffix("").with_suffix(".json").write_bytes(msgspec.json.encode(said))


def archived_findings(database: Database, directory: Path) -> set[tuple[str, int | None]]:
    findings = verify.verify(database, archive=directory).findings
    # The clock did go back: events were made older.
    return {(one.kind, one.seq) for one in findings if one.kind != "clock"}


@pytest.fixture
def pruned(dsn: str, old: Database, tmp_path: Path) -> Database:
    """A sealed log after two prunes, its archive in ``tmp_path / "archive"``."""
    seal(old)
    for keep in ("100 days", "45 days"):
        fine("prune", "--keep", keep, "--archive", str(tmp_path / "archive"), "--yes", "--dsn", dsn)
    seal(old)
    return old


def test_no_archive_takes_the_place_of_another(dsn: str, old: Database, tmp_path: Path) -> None:
    wanted = {row[0] for row in events(old)[:-2]}
    for keep in ("100 days", "45 days"):
        fine("prune", "--keep", keep, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    seqs = {int(row[0] or b"") for path, _ in archive.archived(tmp_path) for row in archive.rows(path)}
    assert seqs == wanted
    assert len([path for path, manifest in archive.archived(tmp_path) if manifest.partition == "event_first"]) == 2


def test_archives_are_verified(dsn: str, pruned: Database, tmp_path: Path) -> None:
    directory = tmp_path / "archive"
    report = verify.verify(pruned, archive=directory)
    assert report.findings == []
    assert report.archived == report.pruned > 0
    said = fine("audit", "verify", "--archive", str(directory), "--format", "table", "--dsn", dsn).out
    assert f"{report.pruned} of them archived as they were" in said
    assert "--archive DIR verifies it" in fine("audit", "verify", "--format", "table", "--dsn", dsn).out
    assert "There is no directory" in refused(2, "audit", "verify", "--archive", str(tmp_path / "no"), "--dsn", dsn)
    assert verify.verify(pruned, archive=directory, first=1, last=1).findings == []


def test_a_changed_archive_is_found(dsn: str, pruned: Database, tmp_path: Path) -> None:
    directory = tmp_path / "archive"
    path, manifest = next(one for one in archive.archived(directory) if one[1].events)
    kept = path.read_bytes()
    rewrite(directory, lambda text: text.replace(b'"v":"a"', b'"v":"o"', 1), skilfully=False)
    found = verify.verify(pruned, archive=directory).findings
    assert [one.kind for one in found] == ["archive", "altered"]
    assert all(path.name in one.finding for one in found)
    path.write_bytes(kept)
    rewrite(directory, lambda text: text.replace(b'"v":"a"', b'"v":"o"', 1), skilfully=True)
    assert archived_findings(pruned, directory) == {("archive", None), ("altered", manifest.first_seq)}
    told = rowcall("audit", "verify", "--archive", str(directory), "--dsn", dsn)
    assert (told.code, path.name in told.out) == (1, True)


def test_archived_events_that_are_missing_or_put_there(pruned: Database, tmp_path: Path) -> None:
    directory = tmp_path / "archive"
    path, manifest = next(one for one in archive.archived(directory) if b"\tdelete\t" in lines(one[0]))
    [line] = [line for line in lines(path).splitlines(keepends=True) if b"\tdelete\t" in line and b'"id":3' in line]
    seq = line[: line.index(b"\t")]
    text = lines(path).replace(line, b"999" + line.removeprefix(seq))
    path.write_bytes(gzip.compress(text))
    made = replace(manifest, sha256=sha256(text).hexdigest())
    path.with_suffix("").with_suffix(".json").write_bytes(msgspec.json.encode(made))
    assert archived_findings(pruned, directory) == {("archive", None), ("missing", int(seq)), ("added", 999)}


def test_an_archive_that_cannot_be_read(pruned: Database, tmp_path: Path) -> None:
    directory = tmp_path / "archive"
    path, _ = next(one for one in archive.archived(directory) if one[1].events)
    kept = path.read_bytes()
    rewrite(directory, lambda text: text.replace(b"{", b"<"), skilfully=True)
    assert {kind for kind, _ in archived_findings(pruned, directory)} == {"archive"}
    path.write_bytes(kept[:40])
    assert {kind for kind, _ in archived_findings(pruned, directory)} == {"archive"}
    path.unlink()
    path.with_suffix("").with_suffix(".json").unlink()
    [one] = verify.verify(pruned, archive=directory).findings
    assert (one.kind, path.name in one.finding) == ("archive", True)


def test_what_was_never_archived_is_not_proven(dsn: str, old: Database, tmp_path: Path) -> None:
    seal(old)
    fine("prune", *_KEEP, "--yes", "--dsn", dsn)
    report = verify.verify(old, archive=tmp_path)
    assert report.findings == []
    assert any("they are in no archive" in sentence for sentence in report.unproven)


def test_questions_of_the_time_before(dsn: str, old: Database, tmp_path: Path) -> None:
    [(before, snapshot)] = old.execute(
        "select (min(at) + interval '1 hour')::text, min(xid)::text from rowcall.event"
    ).fetchall()
    early = f"{snapshot}:{snapshot}:"
    whole = fine("audit", "as-of", "t", "--at", before, "--dsn", dsn)
    fine("prune", *_KEEP, "--yes", "--dsn", dsn)
    now = ("--snapshot", str(old.execute("select pg_current_snapshot()").fetchall()[0][0]))
    for moment in (("--at", before), ("--snapshot", early)):
        said = rowcall("audit", "as-of", "t", *moment, "--dsn", dsn)
        assert "The log begins at" in said.err
        assert all(line in whole.lines for line in said.lines)
        said = rowcall("audit", "as-of", "t", "3", *moment, "--dsn", dsn)
        assert (said.code, "does not say whether public.t" in said.err) == (1, True)
    for moment in (("--at", "now"), now):
        assert "The log begins" not in fine("audit", "as-of", "t", *moment, "--dsn", dsn).err
    assert "compare moments from then on" in refused(1, "audit", "diff", "t", "--from", before, "--dsn", dsn)
    arguments = ("--from-snapshot", early, "--to-snapshot", now[1])
    assert "compare moments from then on" in refused(1, "audit", "diff", "t", *arguments, "--dsn", dsn)
    assert len(fine("audit", "diff", "t", "--from", "now", "--dsn", dsn).lines) == 0
    told = rowcall("audit", "row", "t", "1", "--dsn", dsn)
    assert (len(told.lines), "The log begins at" in told.err) == (1, True)
    origins = {line["column"]: line["seq"] for line in fine("audit", "blame", "t", "1", "--dsn", dsn).lines}
    assert origins["id"] is None
    assert origins["v"] is not None


_QUESTIONS = [("as-of", "t", "--at", "now"), ("diff", "t", "--from", "now"), ("row", "t", "1"), ("blame", "t", "1")]


def test_no_question_is_answered_while_a_part_is_away(dsn: str, old: Database) -> None:
    asked: list[str] = []

    def ask(name: str) -> None:
        if name == "detached":
            asked.extend(refused(1, "audit", *question, "--dsn", dsn) for question in _QUESTIONS)

    with connections.connect(dsn) as connection:
        prune.prune(connection, prune.candidates(connection, "45 days"), None, step=ask)
    assert len(asked) >= 4
    assert all("under way" in told for told in asked)


def test_a_bag_as_of_after_its_baseline(dsn: str, database: Database) -> None:
    database.execute("create table heap (v text); insert into heap values ('x'), ('x'), ('x'), ('y')")
    fine("watch", "heap", "--dsn", dsn)
    database.execute(
        "delete from heap where ctid = '(0,1)'; insert into heap values ('z'); update heap set v = 'w' where v = 'y'"
    )
    assert "before it was watched" in rowcall("audit", "as-of", "heap", "--at", "infinity", "--dsn", dsn).err
    fine("watch", "heap", "--baseline", "--dsn", dsn)
    moment = str(database.execute("select clock_timestamp()").fetchall()[0][0])
    database.execute("delete from heap where v = 'w'; insert into heap values ('x')")
    for at, rows in ((moment, ["w", "x", "x", "z"]), ("infinity", ["x", "x", "x", "z"])):
        said = fine("audit", "as-of", "heap", "--at", at, "--format", "jsonl", "--dsn", dsn)
        assert (sorted(line["row"]["v"] for line in said.lines), said.err) == (rows, "")


_OF_PEOPLE = """at > now() - interval '1 day'
    and relation = (select id from rowcall.relation where table_name = 'people')"""


@pytest.fixture
def people(dsn: str, old: Database, tmp_path: Path) -> Database:
    """A sealed log with a person in it, most of whose history is in ``tmp_path / "archive"`` alone."""
    old.execute("create table people (id int primary key, email text, name text)")
    fine("watch", "people", "--erasable", "email", "--dsn", dsn)
    with old.transaction():
        old.execute("select rowcall.act('ada@example.org', '{\"mail\": \"ada@example.org\"}')")
        old.execute("insert into people values (1, 'ada@example.org', 'back\\slash\ttab')")
    old.execute("insert into people values (2, 'bob@example.org', 'Bob')")
    age(old, _OF_PEOPLE, 4)
    old.execute("update people set name = 'A\\B' where id = 1")
    old.execute("update people set email = 'ada@lovelace.example', id = 7 where id = 1")
    old.execute("update people set name = 'Robert' where id = 2")
    age(old, _OF_PEOPLE, 3)
    seal(old)
    for keep in ("100 days", "45 days"):
        fine("prune", "--keep", keep, "--archive", str(tmp_path / "archive"), "--yes", "--dsn", dsn)
    seal(old)
    return old


def archived_text(directory: Path) -> str:
    return b"".join(lines(path) for path, _ in archive.archived(directory)).decode()


def test_erasing_from_archives(dsn: str, people: Database, tmp_path: Path) -> None:
    directory = tmp_path / "archive"
    before = archived_text(directory)
    assert "ada@" in before
    said = fine("audit", "erase", "people", "7", "--archive", str(directory), "--yes", "--dsn", dsn)
    assert f"wrote {directory}" in said.out
    assert "erased email from 3 events" in said.out
    after = archived_text(directory)
    assert ("ada@" in after, after.count("\n")) == (False, before.count("\n"))
    assert "bob@example.org" in after
    report = verify.verify(people, archive=directory)
    assert report.archived == report.pruned
    seal(people)
    assert archived_findings(people, directory) == set()
    for path, manifest in archive.archived(directory):
        archive.check(path, manifest)
    assert list(directory.glob("*.part")) == []
    told = refused(1, "audit", "erase", "people", "7", "--archive", str(directory), "--yes", "--dsn", dsn)
    assert "is left to erase" in told
    untouched = [line for line in before.splitlines() if "ada@" not in line]
    assert set(untouched) <= set(after.splitlines())


def test_erasing_that_ends_before_the_files_are_in_place(
    dsn: str, people: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "archive"

    def die(path: Path, manifest: archive.Manifest) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(archive, "exchange", die)
        rowcall("audit", "erase", "people", "7", "--archive", str(directory), "--yes", "--dsn", dsn)
    assert "ada@" in archived_text(directory)
    assert archived_findings(people, directory) != set()
    fine("audit", "erase", "people", "7", "--archive", str(directory), "--yes", "--dsn", dsn)
    assert "ada@" not in archived_text(directory)
    assert archived_findings(people, directory) == set()


def test_erasing_says_that_there_is_an_archive(dsn: str, people: Database, tmp_path: Path) -> None:
    told = fine("audit", "erase", "people", "7", "--yes", "--dsn", dsn)
    assert "--archive DIR erases there too" in told.err
    fine("audit", "erase", "people", "7", "--archive", str(tmp_path / "archive"), "--yes", "--dsn", dsn)
    assert "ada@" not in archived_text(tmp_path / "archive")
    assert archived_findings(people, tmp_path / "archive") == set()


def test_nothing_is_erased_while_a_prune_has_copies(
    dsn: str, people: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "PATIENCE", 0.0)
    people.execute("update people set email = 'ada@example.org' where id = 7")
    age(people, _OF_PEOPLE, 1)
    seal(people)
    told = []

    def ask(step: str) -> None:
        told.append(refused(1, "audit", "erase", "people", "7", "--yes", "--dsn", dsn))
        if step == "kept":
            raise KeyboardInterrupt

    with connections.connect(dsn) as connection, pytest.raises(KeyboardInterrupt):
        prune.prune(connection, prune.candidates(connection, "1 day"), tmp_path / "archive", step=ask)
    assert {one.split(":")[0] for one in told} == {"Another rowcall prune or audit erase is running"}
    assert "run rowcall prune again" in refused(1, "audit", "erase", "people", "7", "--yes", "--dsn", dsn)
    directory = str(tmp_path / "archive")
    fine("prune", *_KEEP, "--archive", directory, "--yes", "--dsn", dsn)
    fine("audit", "erase", "people", "7", "--archive", directory, "--yes", "--dsn", dsn)
    assert "ada@" not in archived_text(tmp_path / "archive") + str(people.execute("table rowcall.event").fetchall())
    assert archived_findings(people, tmp_path / "archive") == set()


def test_two_erasures_from_one_archive(dsn: str, people: Database, tmp_path: Path) -> None:
    directory = tmp_path / "archive"
    command = (*PROGRAM, "audit", "erase", "people")
    rest = ("--archive", str(directory), "--yes", "--dsn", dsn)
    running = [subprocess.Popen([*command, key, *rest]) for key in ("7", "2")]
    assert [one.wait() for one in running] == [0, 0]
    assert "example" not in archived_text(directory)
    assert archived_findings(people, directory) == set()


def test_no_archive_of_another_log_is_overwritten(dsn: str, old: Database, tmp_path: Path) -> None:
    fine("prune", "--keep", "100 days", "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    [manifest] = tmp_path.glob("*.json")
    kept = manifest.read_text()
    # What a log of another database would write has the same name.
    [(first,)] = old.execute(
        "select name from rowcall.log_partitions_v1() where upper < now() and name <> 'event_first'"
    ).fetchmany(1)
    [(upper,)] = old.execute("select upper from rowcall.log_partitions_v1() where name = %s", (first,)).fetchall()
    other = tmp_path / f"{first}_until_{upper:%Y%m%d}.json"
    [(log,)] = old.execute("select id::text from rowcall.installation").fetchall()
    other.write_text(kept.replace(log, "another"))
    told = refused(2, "prune", *_KEEP, "--archive", str(tmp_path), "--yes", "--dsn", dsn)
    assert "holds the archive of another log" in told
    fine("prune", *_KEEP, "--archive", str(tmp_path / "own"), "--yes", "--dsn", dsn)
    assert other.read_text() == kept.replace(log, "another")


def test_a_partition_that_leaves_while_the_log_is_verified(
    dsn: str, old: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at whether all of it is there, and the first one at its events."""
    seal(old)
    real = prune.check_whole

    def leave(connection: Database) -> None:
        real(connection)
        with connections.connect(dsn) as other, suppress(psycopg.errors.LockNotAvailable):
            other.execute("set lock_timeout = '300ms'")
            other.execute("alter table rowcall.event detach partition rowcall.event_first concurrently")

    monkeypatch.setattr(verify, "check_whole", leave)
    assert check(old) == []
