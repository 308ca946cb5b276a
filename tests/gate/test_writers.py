"""Writers with drivers of every kind are asked alike, and understand the refusal."""

import asyncio
import subprocess
from collections.abc import Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from rowcall import Event, Reject, Rowcall, embedded
from tests.listeners import listening, sync

Database = psycopg.Connection[Any]
#: What a write came to: nothing, or the constraint it broke.
Write = Callable[[int, str], str | None]


def guarded() -> Rowcall:
    app = Rowcall()
    app.rule("users", "adult", "new.age >= 18")

    @app.before("users", timeout=10.0)
    def check(event: Event) -> dict[str, Any]:
        if event.new and event.new["name"] == "bad":
            raise Reject("bad")
        return {"email": "seen"}

    return app


def by_psycopg(dsn: str, cluster: embedded.Server) -> Write:
    def write(key: int, name: str) -> str | None:
        with psycopg.connect(dsn) as connection:
            try:
                connection.execute("insert into users values (%s, %s, 20)", (key, name))
            except psycopg.errors.CheckViolation as error:
                return error.diag.constraint_name
        return None

    return write


def by_asyncpg(dsn: str, cluster: embedded.Server) -> Write:
    async def insert(key: int, name: str) -> str | None:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
        connection = await asyncpg.connect(
            host=parts["host"], port=parts["port"], user=parts["user"], database=parts["dbname"]
        )
        try:
            await connection.execute("insert into users values ($1, $2, 20)", key, name)
        except asyncpg.CheckViolationError as error:
            return str(error.constraint_name)
        finally:
            await connection.close()
        return None

    return lambda key, name: asyncio.run(insert(key, name))


def by_sqlalchemy(dsn: str, cluster: embedded.Server) -> Write:
    async def insert(key: int, name: str) -> str | None:
        engine = create_async_engine(
            "postgresql+psycopg://", async_creator=lambda: psycopg.AsyncConnection.connect(dsn)
        )
        query = sqlalchemy.text("insert into users values (:key, :name, 20)")
        try:
            async with engine.begin() as connection:
                await connection.execute(query, {"key": key, "name": name})
        except IntegrityError as error:
            return error.orig.diag.constraint_name if isinstance(error.orig, psycopg.errors.CheckViolation) else "?"
        finally:
            await engine.dispose()
        return None

    return lambda key, name: asyncio.run(insert(key, name))


def by_psql(dsn: str, cluster: embedded.Server) -> Write:
    command = [str(cluster.bin_directory / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", dsn]

    def write(key: int, name: str) -> str | None:
        statement = f"insert into users values ({key}, '{name}', 20)"
        ran = subprocess.run([*command, "-c", statement], capture_output=True, text=True, check=False)
        if ran.returncode == 0:
            return None
        assert "23514" in ran.stderr
        return str(ran.stderr.split("CONSTRAINT NAME:")[1].split()[0])

    return write


@pytest.mark.parametrize("driver", [by_psycopg, by_asyncpg, by_sqlalchemy, by_psql])
def test_each_driver_is_asked_and_told(
    dsn: str, database: Database, cluster: embedded.Server, driver: Callable[[str, embedded.Server], Write]
) -> None:
    app = guarded()
    sync(app, dsn)
    write = driver(dsn, cluster)
    with listening(app, dsn):
        assert write(1, "fine") is None
        assert write(2, "bad") == "check"
    assert database.execute("select id, name, email from users").fetchall() == [(1, "fine", "seen")]
    rejected = database.execute("select key, handler from rowcall.rejection").fetchall()
    assert rejected == [({"id": 2}, "check")]
