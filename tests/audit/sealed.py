"""A log with seals over it, for tests that look at these."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from rowcall import Rowcall
from rowcall.audit import sealing, verify
from rowcall.audit.signing import Signer, Verifier
from tests.listeners import sync

Database = psycopg.Connection[Any]


def watched(connect: Any, dsn: str, **options: Any) -> Database:
    """The test's database with a watched table."""
    database: Database = connect(autocommit=True)
    database.execute("create table users (id int primary key, name text, email text)")
    app = Rowcall()
    app.watch("users", **options)
    sync(app, dsn)
    return database


def write(database: Database, first: int = 1, last: int = 5) -> None:
    """One event for each user."""
    database.execute(
        "insert into users select n, 'user ' || n, n || '@example.org' from generate_series(%s::int, %s::int) as n",
        (first, last),
    )


def seal(database: Database, signer: Signer | None = None, *, limit: int = sealing.EVENTS) -> int:
    return sealing.seal_pending(database, signer, limit=limit)


def check(
    database: Database, keys: Sequence[Verifier] = (), anchor: Path | None = None, **options: Any
) -> list[tuple[str, int | None, int | None]]:
    """What verifying finds: kind, seal, event."""
    report = verify.verify(database, public_keys=keys, anchor=anchor, **options)
    return [(found.kind, found.seal, found.seq) for found in report.findings]


def seqs(database: Database) -> list[int]:
    return [seq for (seq,) in database.execute("select seq from rowcall.event order by seq")]


def tamper(database: Database, *statements: str) -> None:
    """Do as a superuser can: without triggers."""
    with database.transaction():
        database.execute("set local session_replication_role = replica")
        for statement in statements:
            database.execute(statement)


def three_seals(database: Database) -> list[int]:
    """Three seals over five events each; the events' places."""
    for first in (1, 6, 11):
        write(database, first, first + 4)
        seal(database)
    return seqs(database)
