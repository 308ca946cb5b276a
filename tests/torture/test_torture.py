"""Delivery under everything at once: many writers, and listeners, sessions and the server that die or freeze at random.

ROWCALL_TORTURE_SECONDS=1200 has the faults rage so long; ROWCALL_TORTURE_SEED repeats a schedule.
"""

import os
import random
import secrets
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

import psycopg
import pytest

from rowcall.embedded import Server
from rowcall.migrate import upgrade
from tests.command import fine
from tests.conftest import new_server
from tests.torture import check, tables
from tests.torture.conftest import Say
from tests.torture.crew import TARGET, crew
from tests.torture.faults import Fault, Faults, schedule
from tests.torture.report import Report, report
from tests.torture.writers import writing
from tests.waiting import eventually

_SECONDS = float(os.environ.get("ROWCALL_TORTURE_SECONDS", "10"))
_SEED = os.environ.get("ROWCALL_TORTURE_SEED") or secrets.token_hex(4)
#: Seconds that the listeners have for what is left when the faults end.
_DRAIN = 60 + _SECONDS


@pytest.fixture
def server() -> Iterator[Server]:
    """A cluster of this test's own, as its crashes would end everybody's sessions."""
    with new_server() as started:
        with psycopg.connect(started.dsn(), autocommit=True) as connection:
            connection.execute("create database torture")
            connection.execute("create database elsewhere")
        yield started


@pytest.fixture
def dsn(server: Server) -> str:
    """The database that is tortured, with the tables and the app in place."""
    dsn = server.dsn("torture")
    upgrade(dsn, None)
    with psycopg.connect(dsn, autocommit=True) as connection:
        tables.create(connection)
    fine("sync", TARGET, "--dsn", dsn)
    return dsn


@pytest.mark.timeout(_SECONDS + _DRAIN + 120)
def test_every_change_is_applied_once_and_in_order(server: Server, dsn: str, tmp_path: Path, say: Say) -> None:
    chance = random.Random(_SEED)
    with crew(tmp_path, dsn, random.Random(f"{_SEED} crew")) as listeners:
        faults = Faults(server, dsn, listeners, chance)
        with writing(dsn, server.dsn("elsewhere"), _SEED) as tally:
            faults.rage(_SECONDS)
        listeners.recover()
        started = time.monotonic()
        with psycopg.connect(dsn, autocommit=True) as database:
            found = list(_drained(database))
            drained_after = time.monotonic() - started
            eventually(listeners.is_complete)
            found += _ended(listeners.dismiss())
            found += [*listeners.failures, *map(repr, tally.failures), *check.problems(database)]
            result = report(
                database,
                seed=_SEED,
                seconds=_SECONDS,
                drained_after=drained_after,
                faults=faults,
                crew=listeners,
                tally=tally,
            )
    say(result)
    assert not found, "\n".join([*found, str(result), f"the listeners' logs are in {tmp_path}"])
    _assert_that_it_was_torture(result)


def _drained(database: psycopg.Connection[object]) -> Iterator[str]:
    """What is still to be applied when there was time enough."""
    try:
        eventually(lambda: check.is_delivered(database), _DRAIN)
    except AssertionError as error:
        yield f"delivery does not end: {error}"


def _ended(codes: list[int]) -> Iterator[str]:
    if any(codes):
        yield f"listeners that were told to end did so with {codes}"


def _assert_that_it_was_torture(result: Report) -> None:
    """A run without one of these would have proved less than it says."""
    assert set(result.faults) == set(get_args(Fault)), result
    operations = {name.split()[1] for name in result.events}
    assert operations == {"insert", "update", "delete", "truncate"}, result
    assert {"item update of the key", "stock update of the key"} <= set(result.events), result
    assert set(result.late) == set(check.SUBSCRIPTIONS), result
    assert result.logged["parked"], result
    done = {"committed", "rolled back", "long committed", "truncate committed", "elsewhere committed"}
    assert done <= set(result.transactions), result


def test_a_seed_repeats_its_schedule() -> None:
    one, same, other = (list(islice(schedule(random.Random(seed)), 100)) for seed in ("a", "a", "b"))
    assert one == same != other
    assert {fault for _, fault in one[:15]} == set(get_args(Fault))
