"""Merkle trees, canonical bytes and proofs, compared with a second implementation that shares no code with the first.

:class:`Independent` is written by SEALS.md alone: what it finds in the database has to be what was sealed.
"""

import hashlib
import hmac
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcall import errors
from rowcall.audit import anchor_file, merkle, proof, seal, signing
from rowcall.audit import canonical as canonicals
from rowcall.audit.catalog import Relation
from tests.audit.sealed import Database, check, seqs, tamper, watched, write
from tests.audit.sealed import seal as seal_all
from tests.command import fine, refused, rowcall
from tests.conftest import Connect

SEALS = Path(__file__).parents[2] / "src" / "rowcall" / "audit" / "SEALS.md"

LEAVES = st.lists(st.binary(min_size=32, max_size=32), max_size=70)


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it stands there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:])).digest()


def audit_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*audit_path(index, leaves[:split]), tree(leaves[split:])]
    return [*audit_path(index - split, leaves[split:]), tree(leaves[:split])]


@given(LEAVES)
def test_roots_and_paths_are_those_of_the_rfc(leaves: list[bytes]) -> None:
    root = merkle.root(leaves)
    assert root == tree(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        assert path == audit_path(index, leaves)
        assert merkle.root_from(leaf, index, len(leaves), path) == root


@given(LEAVES.filter(bool), st.data())
def test_a_path_leads_from_its_own_leaf_alone(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = merkle.path(leaves, index)
    wrong = hashlib.sha256(leaves[index]).digest()
    assert merkle.root_from(wrong, index, len(leaves), path) != merkle.root(leaves)
    assert merkle.root_from(leaves[index], index, len(leaves), [*path, wrong]) is None
    assert merkle.root_from(leaves[index], len(leaves), len(leaves), path) is None
    if path:
        assert merkle.root_from(leaves[index], index, len(leaves), path[:-1]) is None


class Independent:
    """Recomputes seals from rows of the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        [(self.installation,)] = database.execute("select id::text from rowcall.installation").fetchall()
        self.layouts: dict[int, list[tuple[int, set[str]]]] = {}
        self.names: dict[int, Any] = {}

    def check(self) -> int:
        """How many events it found to be as they were sealed."""
        head = "0" * 64
        count = 0
        with self.database.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            found = cursor.execute(
                "select *, xid::text as xid, lower::text as lower, upper::text as upper, (extract(epoch from sealed_at) * 1000000)::bigint as us"
                " from rowcall.seal order by number"
            ).fetchall()
        for row in found:
            if row["catalog"]:
                self.names |= {one["id"]: one for one in json.loads(row["catalog"])["relations"]}
                for layout in json.loads(row["catalog"])["layouts"]:
                    columns = {one["name"] for one in json.loads(layout["columns"]) if one.get("erasable")}
                    self.layouts.setdefault(layout["relation"], []).append((layout["since"], columns))
            assert row["previous"].hex() == head
            assert row["relations"] == tree([named(one) for _, one in sorted(self.names.items())])
            leaves = self.leaves(row["number"])
            assert len(leaves) == row["events"]
            assert tree(leaves) == row["root"]
            head = hashlib.sha256(self.text(row).encode()).hexdigest()
            assert head == row["head"].hex()
            count += len(leaves)
        return count

    def text(self, row: dict[str, Any]) -> str:
        catalog = "-" if row["catalog"] is None else hashlib.sha256(row["catalog"].encode()).hexdigest()
        none = {name: "-" if row[name] is None else row[name] for name in ("first_seq", "last_seq", "key_id")}
        return (
            f"rowcall-seal-1\ninstallation {self.installation}\nnumber {row['number']}\nepoch {row['epoch']}\n"
            f"lower {row['lower']}\nupper {row['upper']}\nafter {row['after_seq']}\ncomplete {int(row['complete'])}\n"
            f"events {row['events']}\nfirst {none['first_seq']}\nlast {none['last_seq']}\nroot {row['root'].hex()}\n"
            f"erasures {row['erasures']}\nerasure-head {row['erasure_head'].hex()}\ncatalog {catalog}\n"
            f"relations {row['relations'].hex()}\nxid {row['xid']}\nsealed-at {row['us']}\nkey {none['key_id']}\nprevious {row['previous'].hex()}\n"
        )

    def leaves(self, number: int) -> list[bytes]:
        [(places, salts)] = self.database.execute(
            "select seqs, salts from rowcall.leaf left join rowcall.salt using (seal) where seal = %s", (number,)
        ).fetchall()
        found = []
        for index, seq in enumerate(places):
            salt = salts[16 * index : 16 * index + 16] if salts else b""
            found.append(hashlib.sha256(b"\0" + self.event(seq, salt)).digest())
        return found

    def event(self, seq: int, salt: bytes) -> bytes:
        [row] = self.database.execute(
            "select seq, xid::text, (extract(epoch from at) * 1000000)::bigint, relation, operation::text, key::text, next_key::text,"
            " old::text, new::text, db_user, db_role, application_name, actor, context::text from rowcall.event where seq = %s",
            (seq,),
        ).fetchall()
        head, images, facts, actor, context = " ".join(map(str, row[:5])), row[5:9], row[9:12], row[12], row[13]
        since = [columns for place, columns in sorted(self.layouts[row[3]]) if place <= seq]
        erasable = since[-1] if since else set()
        committed: list[tuple[str, bytes]] = []
        if erasable:
            text = f"rowcall-event-1-apart {head} {self.lengths(facts)}\n".encode() + self.joined(facts)
            for name, image in zip(("key", "next_key", "old", "new"), images, strict=True):
                text += b"\n" + self.apart(name, image, erasable, committed)
        else:
            text = f"rowcall-event-1 {head} {self.lengths(images + facts)}\n".encode() + self.joined(images + facts)
        if actor is not None:
            committed.append(("actor", actor.encode()))
        if context is not None:
            found = [(f"context.{name}", value.encode()) for name, value in members(context)]
            committed += found or [("context", context.encode())]
        kept = {
            path: (commitment, own)
            for path, commitment, own in self.database.execute(
                "select path, commitment, salt from rowcall.erased where seq = %s", (seq,)
            )
        }
        for path, value in committed:
            commitment, own = kept.get(path, (None, hashlib.sha256(path.encode() + b"\0" + salt).digest()))
            made = commitment or hmac.new(own, value, hashlib.sha256).digest()
            text += f"\n{len(path.encode())}:{path} {made.hex()}".encode()
        return text

    @staticmethod
    def lengths(values: Any) -> str:
        return " ".join("-" if value is None else str(len(value.encode())) for value in values)

    @staticmethod
    def joined(values: Any) -> bytes:
        return "".join(value or "" for value in values).encode()

    def apart(self, part: str, image: str | None, erasable: set[str], committed: list[tuple[str, bytes]]) -> bytes:
        if image is None:
            return b"-"
        found = dict(members(image))
        notes = {kind: dict(members(texts)) for kind, texts in members(found.get("", "{}"))}
        kept: list[tuple[str, bytes]] = []
        for name, value in found.items():
            if name == "":
                rest = [
                    (kind, strings([(of, text.encode()) for of, text in texts.items() if of not in erasable]))
                    for kind, texts in notes.items()
                ]
                kept.append(("", strings(rest)))
            elif name in erasable:
                beside = "".join(
                    f"\0{kind}\0{notes[kind][name]}" for kind in ("exact", "omitted") if name in notes.get(kind, {})
                )
                committed.append((f"{part}.{name}", (value + beside).encode()))
            else:
                kept.append((name, value.encode()))
        return strings(kept)


def named(relation: Any) -> bytes:
    schema, table = relation["schema"].encode(), relation["table"].encode()
    text = b"rowcall-relation-1 %d %d:%b%d:%b" % (relation["id"], len(schema), schema, len(table), table)
    return hashlib.sha256(b"\0" + text).digest()


def strings(pairs: list[tuple[str, bytes]]) -> bytes:
    return b"%d;" % len(pairs) + b"".join(
        b"%d:%b%d:%b" % (len(name.encode()), name.encode(), len(value), value) for name, value in pairs
    )


def members(text: str) -> list[tuple[str, str]]:
    """The members of a JSON object, each value as it is written there."""
    decoder = json.JSONDecoder()
    space = re.compile(r"[ \t\n\r]*")
    found = []
    place = space.match(text, 1).end()  # type: ignore[union-attr]
    while text[place] != "}":
        name, place = decoder.raw_decode(text, place)
        start = space.match(text, space.match(text, place).end() + 1).end()  # type: ignore[union-attr]
        _, place = decoder.raw_decode(text, start)
        found.append((name, text[start:place]))
        place = space.match(text, place).end()  # type: ignore[union-attr]
        if text[place] == ",":
            place = space.match(text, place + 1).end()  # type: ignore[union-attr]
    return found


def odd_events(database: Database) -> None:
    """Events with what is hard to write twice in the same way."""
    database.execute(
        'create table "ödd, \'table\'" ("k:1" text, k2 numeric, v jsonb, n float8[], primary key ("k:1", k2))'
    )
    fine(
        "watch",
        "\"ödd, 'table'\"",
        "--erasable",
        "v",
        "--erasable",
        "k:1",
        "--erasable",
        "n",
        "--dsn",
        dsn_of(database),
    )
    with database.transaction():
        database.execute(
            """select rowcall.act('al"ice', '{"request id": "r-1", "deep": {"a": [1, null, "ü"]}, "n": 1.50}')"""
        )
        database.execute("set local application_name = 'line\nbreak'")
        values = """('a "quoted" \\ ümlaut', 1.50, '{"b": 1, "a": [1.0, "x"]}', '{1,NaN,-0}')"""
        database.execute(f"""insert into "ödd, 'table'" values {values}, ('', 0, null, null)""")
    database.execute("""update "ödd, 'table'" set k2 = 7, v = 'null' where k2 = 0""")
    database.execute("""update "ödd, 'table'" set n = '{Infinity}', "k:1" = 'b' where k2 = 1.5""")
    database.execute("""delete from "ödd, 'table'" where k2 = 7""")
    database.execute("""truncate "ödd, 'table'" """)


def dsn_of(database: Database) -> str:
    return database.info.dsn


@pytest.fixture
def database(connect: Connect, dsn: str) -> Database:
    return watched(connect, dsn)


def test_another_implementation_finds_the_same(database: Database) -> None:
    write(database)
    odd_events(database)
    database.execute("update users set name = name || ' the great', email = null where id < 3")
    seal_all(database, limit=4)
    assert Independent(database).check() == len(seqs(database))
    assert check(database) == []


def test_another_implementation_finds_the_same_after_an_erasure(database: Database, dsn: str) -> None:
    odd_events(database)
    seal_all(database)
    fine("audit", "erase", "\"ödd, 'table'\"", '{"k:1": "b", "k2": 1.50}', "--yes", "--dsn", dsn)
    fine("audit", "erase", "\"ödd, 'table'\"", "k:1=,k2=7", "--columns", "v", "--yes", "--dsn", dsn)
    seal_all(database)
    assert Independent(database).check() == len(seqs(database))
    assert check(database) == []


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
VALUES = st.one_of(st.none(), st.integers(-5, 5), TEXTS, st.lists(TEXTS, max_size=2))
IMAGES = st.none() | st.dictionaries(TEXTS.filter(bool), VALUES, max_size=4)


def encoded(image: Any) -> bytes | None:
    return None if image is None else json.dumps(image, ensure_ascii=False).encode()


def row(seq: int, key: Any, new: Any, context: Any) -> canonicals.Row:
    images = (encoded(key), None, None, encoded(new))
    return canonicals.Row(seq, 1, 2, 3, None, None, encoded(context), b"insert", *images, b"me", None, None)


EVENTS = st.builds(row, st.integers(1, 99), IMAGES, IMAGES, IMAGES)


@given(EVENTS, EVENTS, st.sets(TEXTS))
def test_different_events_have_different_bytes(one: canonicals.Row, other: canonicals.Row, names: set[str]) -> None:
    columns = frozenset(names)
    salt = bytes(16)
    same = canonicals.canonical(one, columns, salt)[0] == canonicals.canonical(other, columns, salt)[0]
    assert same == (one == other)


def vectors() -> list[tuple[str, str]]:
    return re.findall(r"^```vector (\S+)\n(.*?)^```$", SEALS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_specification_has_the_vectors_that_it_speaks_of() -> None:
    found = dict(vectors())
    plain = found["event"].rstrip("\n").encode()
    assert found["event-leaf"].strip() == hashlib.sha256(b"\0" + plain).hexdigest()
    apart = canonicals.canonical(
        row(7, {"id": 1}, {"id": 1, "email": "ada@example.org"}, {"request_id": "r-41"}),
        frozenset({"email"}),
        bytes(range(16)),
    )[0]
    assert found["apart"].rstrip("\n").encode() == apart
    assert found["apart-leaf"].strip() == hashlib.sha256(b"\0" + apart).hexdigest()
    assert found["seal-head"].strip() == hashlib.sha256(found["seal"].encode()).hexdigest()
    assert found["erasure-head"].strip() == hashlib.sha256(found["erasure"].encode()).hexdigest()
    relation = named({"id": 1, "schema": "public", "table": "users"})
    assert relation == hashlib.sha256(b"\0" + found["relation"].rstrip("\n").encode()).digest()
    assert relation == Relation(1, "public", "users").leaf
    assert f"relations {relation.hex()}\n" in found["seal"]
    leaves = [hashlib.sha256(b"\0" + bytes([n])).digest() for n in range(5)]
    assert found["root"].strip() == tree(leaves).hex() == merkle.root(leaves).hex()


def test_a_proof_convinces_whoever_trusts_a_head(database: Database, dsn: str, tmp_path: Path) -> None:
    for first in (1, 6):
        write(database, first, first + 4)
        seal_all(database)
    with database.transaction():
        one, two = seal.seals(database)
    file = tmp_path / "proof.json"
    place = seqs(database)[3]
    fine("audit", "prove", str(place), "--dsn", dsn, "-o", str(file))
    said = fine("audit", "check-proof", str(file), "--root", one.head.hex())
    [(log,)] = database.execute("select id::text from rowcall.installation").fetchall()
    assert said.out == f"Event {place} of public.users is in seal 1 of log {log}, as it was when it was sealed.\n"
    said = fine("audit", "check-proof", str(file), "--root", one.root.hex().upper())
    assert said.out == f"Event {place} is under that root, as it was when it was sealed.\n"
    assert "another head" in refused(1, "audit", "check-proof", str(file), "--root", two.head.hex())
    assert "what you trust" in refused(2, "audit", "check-proof", str(file))
    fine("audit", "prove", str(place), "--dsn", dsn, "-o", str(file), "--to", "2")
    fine("audit", "check-proof", str(file), "--root", two.head.hex())
    anchor = tmp_path / "anchor.jsonl"
    anchor_file.catch_up(anchor, database)
    fine("audit", "check-proof", str(file), "--anchor", str(anchor))
    assert "is not sealed" in refused(2, "audit", "prove", "999999", "--dsn", dsn)
    assert "does not come after" in refused(2, "audit", "prove", str(place), "--to", "9", "--dsn", dsn)


def statement(document: dict[str, Any], head: str) -> list[tuple[str, str]]:
    """What a proof says of an event's table and values, checked by SEALS.md alone."""
    event = document["event"].encode()
    seals = [dict(line.split(" ", 1) for line in text.splitlines()[1:]) for text in document["seals"]]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in document["seals"]]
    assert hashes[-1] == head
    assert [one["previous"] for one in seals[1:]] == hashes[:-1]
    assert up(b"\0" + event, document["index"], int(seals[0]["events"]), document["path"]) == seals[0]["root"]
    name = document["name"]
    schema, table = name["schema"].encode(), name["table"].encode()
    relation = b"rowcall-relation-1 %b %d:%b%d:%b" % (event.split()[4], len(schema), schema, len(table), table)
    assert up(b"\0" + relation, name["index"], name["size"], name["path"]) == seals[0]["relations"]
    said = [("table", f"{name['schema']}.{name['table']}")]
    for one in document["openings"]:
        made = hmac.new(bytes.fromhex(one["salt"]), one["value"].encode(), hashlib.sha256).hexdigest()
        assert event.decode().count(f"\n{len(one['path'].encode())}:{one['path']} {made}") == 1
        said.append((one["path"], one["value"]))
    return said


def up(data: bytes, index: int, size: int, path: list[str]) -> str:
    """RFC 9162, section 2.1.3.2."""
    node, last = hashlib.sha256(data).digest(), size - 1
    for sibling in map(bytes.fromhex, path):
        assert last > 0
        if index % 2 or index == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        index, last = index // 2, last // 2
    assert last == 0
    return node.hex()


def test_another_implementation_checks_a_proof(database: Database, dsn: str) -> None:
    odd_events(database)
    write(database)
    seal_all(database, limit=5)
    [(head,)] = database.execute("select encode(head, 'hex') from rowcall.seal where number = 2").fetchall()
    for place in seqs(database)[:5]:
        document = json.loads(proof.write(proof.prove(database, place, last=2)))
        assert statement(document, head)[0] == ("table", "public.ödd, 'table'")
        assert f"Event {place} of public.ödd, 'table'" in proof.check(proof.prove(database, place, last=2), root=head)
    assert ("actor", 'al"ice') in statement(
        json.loads(proof.write(proof.prove(database, seqs(database)[0], last=2))), head
    )


def altered(change: Callable[[dict[str, Any]], None], file: Path) -> Path:
    document = json.loads(file.read_text())
    change(document)
    file.with_suffix(".altered").write_text(json.dumps(document))
    return file.with_suffix(".altered")


def test_an_altered_proof_convinces_nobody(database: Database, dsn: str, tmp_path: Path) -> None:
    with database.transaction():
        database.execute("select rowcall.act('alice')")
        write(database)
    seal_all(database)
    [(head,)] = database.execute("select encode(head, 'hex') from rowcall.seal").fetchall()
    file = tmp_path / "proof.json"
    file.write_text(fine("audit", "prove", str(seqs(database)[2]), "--dsn", dsn).out)
    fine("audit", "check-proof", str(file), "--root", head)

    def flip(name: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
        def change(document: dict[str, Any]) -> None:
            document[name] = json.loads(json.dumps(document[name]).replace(old, new))

        return change

    changes: list[Callable[[dict[str, Any]], None]] = [
        flip("event", "user 3", "user 4"),
        flip("name", "users", "salaries"),
        flip("name", '"size": 1', '"size": 2'),
        flip("seals", "rowcall-seal-1", "rowcall-seal-2"),
        lambda document: document.update(seals=[""]),
        lambda document: document.update(event=document["event"].partition("\n")[0]),
        lambda document: document.update(path=["x"]),
        lambda document: document["openings"][0].update(salt="x"),
        flip("openings", "alice", "mallory"),
        lambda document: document.update(index=1),
        lambda document: document.update(seq=1),
        lambda document: document.update(path=document["path"][1:]),
        flip("seals", "epoch 1", "epoch 2"),
        lambda document: document.update(seals=[]),
    ]
    for change in changes:
        refused(1, "audit", "check-proof", str(altered(change, file)), "--root", head)
    # Under the root alone, what the seal says is anybody's word.
    [(root,)] = database.execute("select encode(root, 'hex') from rowcall.seal").fetchall()
    renamed = altered(flip("seals", "number 1", "number 9"), file)
    assert "seal" not in fine("audit", "check-proof", str(renamed), "--root", root).out.replace("sealed", "")
    file.write_bytes(b'{"format": "\xff"}')
    assert "is no proof" in refused(2, "audit", "check-proof", str(file), "--root", head)
    file.write_text("{}")
    assert "is no proof" in refused(2, "audit", "check-proof", str(file), "--root", head)


def test_what_looks_like_a_commitment_is_none(database: Database, dsn: str, tmp_path: Path) -> None:
    """A writer may choose the names in its context."""
    forged = hmac.digest(bytes(32), b"bob", "sha256").hex()
    name = json.dumps(f"x\n5:actor {forged}")
    with database.transaction():
        database.execute("select rowcall.act('mallory', %s)", (f'{{{name}: 1, "y": 2}}',))
        write(database, 1, 1)
    seal_all(database)
    [(head,)] = database.execute("select encode(head, 'hex') from rowcall.seal").fetchall()
    made = proof.prove(database, seqs(database)[0])
    assert {one.path for one in made.openings} == {"actor", f"context.x\n5:actor {forged}", "context.y"}
    assert proof.check(made, root=head)
    lie = msgspec.structs.replace(made, openings=[proof.Opening("actor", "00" * 32, "bob")])
    with pytest.raises(proof.NotProven, match="The value of actor"):
        proof.check(lie, root=head)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5) | st.just("00" * 32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
GOOD: dict[str, Any] = {
    "format": "rowcall-proof-1",
    "seq": 1,
    "name": {"schema": "s", "table": "t", "index": 0, "size": 1, "path": []},
    "event": "rowcall-event-1 1 2 3 4 insert 0 - - 0 1 - -\nx",
    "openings": [{"path": "actor", "salt": "00", "value": ""}],
    "index": 0,
    "path": [],
    "seals": ["rowcall-seal-1\nnumber 1\nevents 1\n"],
    "signature": {"key": "", "signature": ""},
}


@given(st.sampled_from(sorted(GOOD)), ANYTHING, st.booleans())
def test_no_proof_takes_anybody_by_surprise(name: str, value: Any, whole: bool) -> None:
    inside = isinstance(GOOD[name], dict) and not whole
    document = GOOD | {name: GOOD[name] | {"path": value} if inside else value}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "proof.json")
        file.write_text(json.dumps(document))
        with pytest.raises((proof.NotProven, errors.UsageError)):
            proof.check(proof.read(file), root="00" * 32)


def test_a_proof_of_an_altered_event_is_refused(database: Database, dsn: str) -> None:
    write(database)
    seal_all(database)
    place = seqs(database)[2]
    tamper(database, f"update rowcall.event set actor = 'mallory' where seq = {place}")
    assert "not as it was sealed" in refused(1, "audit", "prove", str(place), "--dsn", dsn)


def test_keys_sign_and_their_public_halves_check(database: Database, dsn: str, tmp_path: Path) -> None:
    key = tmp_path / "seal.key"
    assert str(key) in fine("audit", "keygen", str(key)).out
    assert key.stat().st_mode & 0o777 == 0o600
    assert "is there already" in refused(2, "audit", "keygen", str(key))
    assert "cannot be made" in refused(2, "audit", "keygen", str(tmp_path / "nowhere" / "key"))
    write(database)
    seal_all(database)
    write(database, 6, 7)
    seal_all(database, signing.Signer.load(key))
    fine("audit", "verify", "--public-key", f"{key}.pub", "--dsn", dsn)
    fine("audit", "keygen", str(tmp_path / "other"))
    assert rowcall("audit", "verify", "--public-key", f"{tmp_path}/other.pub", "--dsn", dsn).code == 1
    # The proof of an event in an unsigned seal leads to the next signed one.
    proven = proof.prove(database, seqs(database)[0])
    assert len(proven.seals) == 2
    keys = [signing.Verifier.load(Path(f"{key}.pub"))]
    assert "in seal 1" in proof.check(proven, public_keys=keys)
    with pytest.raises(proof.NotProven, match="not signed"):
        proof.check(proven, public_keys=[signing.Verifier.load(tmp_path / "other.pub")])
    assert "no public Ed25519 key" in refused(2, "audit", "verify", "--public-key", str(key), "--dsn", dsn)
    assert "no private key" in refused(2, "listen", "a:b", "--seal-key", f"{key}.pub")


def test_an_anchor_torn_by_a_crash_is_mended(database: Database, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.jsonl"
    write(database, 1, 2)
    seal_all(database)
    assert anchor_file.catch_up(anchor, database) == 1
    write(database, 3, 4)
    seal_all(database)
    with anchor.open("a") as file:
        file.write('{"seal":2,"he')
    assert check(database, anchor=anchor) == []
    assert anchor_file.catch_up(anchor, database) == 1
    assert [line.seal for line in anchor_file.read(anchor)] == [1, 2]
    assert anchor_file.catch_up(anchor, database) == 0
    assert check(database, anchor=anchor) == []
