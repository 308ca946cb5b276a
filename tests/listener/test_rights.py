"""A listener whose login has the rights that the README names, and no other."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Connect, Database
from tests.listeners import Program, synchronised
from tests.users import seen, write
from tests.waiting import eventually

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

APP = """
from rowcall import Reject, Rowcall

app = Rowcall("rights")
app.watch("users")
failed = set()

@app.before("users")
def check(event):
    if event.new["name"] == "wrong":
        raise Reject("it is wrong")
    return {"name": "checked"}

@app.after("users", name="first")
def first(event, conn):
    if event.key["id"] % 10 == 3 and event.seq not in failed:
        failed.add(event.seq)
        raise ValueError("at first")
    conn.execute("insert into seen (what) values (%s)", (f"first {event.key['id']}",))

@app.after("users", name="second", batch=10)
async def second(events, conn):
    for event in events:
        await conn.execute("insert into seen (what) values (%s)", (f"second {event.key['id']}",))
"""


@pytest.fixture
def courier_dsn(dsn: str, database: Database, connect: Connect) -> Iterator[str]:
    """The DSN of a login with those rights, and to do what the handlers do."""
    [grants] = re.findall(r"```sql\n-- listener_rights.sql\n(.*?)```", README, re.DOTALL)
    database.execute("create role courier login")
    database.execute(grants.replace("to listener", "to courier"))
    database.execute("grant insert on seen to courier; grant usage on sequence seen_place_seq to courier")
    yield dsn.replace("postgres@", "courier@")
    connect(autocommit=True).execute("drop owned by courier; drop role courier")


def all_seen(database: Database, last: int) -> bool:
    return sorted(seen(database)) == sorted(f"{who} {n}" for who in ("first", "second") for n in range(1, last + 1))


@pytest.mark.usefixtures("gate")
@pytest.mark.timeout(60)
def test_it_delivers_retries_judges_and_is_replaced(
    dsn: str, database: Database, courier_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = synchronised(tmp_path, dsn, monkeypatch, "rights", APP)
    crew = [Program(shop, "rights:app", courier_dsn) for _ in range(2)]
    try:
        for one in crew:
            one.wait_until_listening()
        owners = "select count(distinct owner) from rowcall.cursor where subscription = 1"
        eventually(lambda: database.execute(owners).fetchone() == (2,))
        write(database, 1, 10)
        assert database.execute("select distinct name from users").fetchall() == [("checked",)]
        with pytest.raises(psycopg.errors.CheckViolation, match="it is wrong"):
            write(database, 11, 11, "wrong")
        eventually(lambda: all_seen(database, 10))
        # Killed, and stopped, which splits lanes and puts them together again.
        crew[0].signal(signal.SIGKILL)
        write(database, 11, 20)
        database.execute("truncate users")
        eventually(lambda: database.execute(owners).fetchone() == (1,))
        database.execute("update rowcall.parked set due_at = now()")
        eventually(lambda: all_seen(database, 20))
        crew[1].signal(signal.SIGTERM)
        assert crew[1].ended() == 0
        assert "permission denied" not in crew[1].log.read_text().replace(
            "denied for function extend_partitions_v1", ""
        )
    finally:
        for one in crew:
            one.process.kill()
            one.process.wait()
