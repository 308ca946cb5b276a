"""Where new subscriptions begin, from the command line."""

from typing import Any

import psycopg
import pytest
from rich.console import Console

from rowcall import errors
from rowcall.postgres import backfill
from tests.cli.conftest import WriteApp
from tests.command import fine, rowcall, typed

Database = psycopg.Connection[Any]

APP = """
app.watch("users")
app.after("users", name="reader", start="backfill")(lambda event: None)
"""


@pytest.fixture(autouse=True)
def rows(database: Database) -> None:
    database.execute("insert into users select n from generate_series(1, 20) as n")


def broken(*arguments: object) -> int:
    raise errors.NotFilled("It cannot be completed, because: drop it.")


def test_sync_fills(dsn: str, write_app: WriteApp) -> None:
    target = write_app(APP)
    said = fine("sync", target, "--dsn", dsn)
    assert said.out.splitlines() == [
        "watch public.users: created",
        "subscription reader: created",
        "backfill reader: 20 rows",
    ]
    assert said.err == ""
    assert fine("sync", target, "--dsn", dsn).out == "watch public.users: unchanged\n"


def test_a_bar_on_a_terminal(dsn: str, write_app: WriteApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "is_dumb_terminal", False)
    said = typed("", "sync", write_app(APP), "--dsn", dsn)
    assert said.code == 0
    assert "20/20" in said.out
    assert "backfill reader: 20 rows" in said.out


def test_sync_goes_on_with_one_that_was_left(
    dsn: str, write_app: WriteApp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write_app(APP)
    with monkeypatch.context() as patched:
        patched.setattr(backfill, "run", broken)
        assert rowcall("sync", target, "--dsn", dsn).err == "rowcall: It cannot be completed, because: drop it.\n"
    [finding] = [line for line in rowcall("doctor", "--dsn", dsn).lines if line["check"] == "backfills_complete"]
    assert (finding["severity"], finding["subject"]) == ("risk", "reader")
    fine("sync", target, "--check", "--dsn", dsn)
    assert database.execute("select ready from rowcall.subscription").fetchone() == (False,)
    assert "backfill reader: 20 rows" in fine("sync", target, "--dsn", dsn).out
    assert not [line for line in rowcall("doctor", "--dsn", dsn).lines if line["check"] == "backfills_complete"]


def test_the_printed_statements_make_it_too(dsn: str, write_app: WriteApp, database: Database) -> None:
    target = write_app(APP)
    for statement in fine("sync", target, "--sql", "--dsn", dsn).out.split(";\n"):
        if statement.strip():
            database.execute(statement.replace("%", "%%"))
    assert "backfill reader: 20 rows" in fine("sync", target, "--dsn", dsn).out


def test_a_login_that_may_not(dsn: str, write_app: WriteApp, database: Database) -> None:
    target = write_app(APP)
    fine("sync", write_app('app.watch("users")'), "--dsn", dsn)
    database.execute("create role clerk login; grant usage on schema rowcall to clerk")
    database.execute("grant select, insert on all tables in schema rowcall to clerk")
    database.execute("revoke insert on rowcall.event from clerk")
    try:
        said = rowcall("listen", target, "--drain", "--dsn", dsn.replace("postgres@", "clerk@"))
        assert said.code == 2
        assert "rowcall: This login lacks a right: permission denied for function backfill_chunk_v1." in said.err
    finally:
        database.execute("drop owned by clerk; drop role clerk")
