"""Sessions that work inside a transaction Rowcall opened on a psycopg connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

#: The look-up of hstore's type would insist on a psycopg connection, not one that stands in for it.
_ENGINE_OPTIONS: dict[str, Any] = {"poolclass": StaticPool, "use_native_hstore": False}


class _Joined:
    """A psycopg connection whose transaction is somebody else's: SQLAlchemy may neither commit nor close it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        """Nothing: the delivery commits."""

    def rollback(self) -> None:
        """Nothing: the session rolls back to its savepoint, the delivery everything."""

    def close(self) -> None:
        """Nothing: the connection stays the delivery's."""


class _AsyncJoined(_Joined):
    async def commit(self) -> None:  # type: ignore[override]
        """Nothing: the delivery commits."""

    async def rollback(self) -> None:  # type: ignore[override]
        """Nothing: the session rolls back to its savepoint, the delivery everything."""

    async def close(self) -> None:  # type: ignore[override]
        """Nothing: the connection stays the delivery's."""


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Raise the driver's own errors, by which a listener knows an outage, where SQLAlchemy wraps them."""
    try:
        yield
    except DBAPIError as error:
        raise error.orig or error from None


class SessionMaker:
    """Makes sessions over one psycopg connection; built while no transaction is open on it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._engine = create_engine("postgresql+psycopg://", creator=lambda: _Joined(connection), **_ENGINE_OPTIONS)
        # The dialect looks around on its first connection; better here than inside a handler's transaction.
        with _unwrapped():
            self._engine.connect().close()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session in the connection's open transaction. Its commit and rollback are a savepoint's."""
        with self._engine.connect() as connection:
            connection.begin()
            with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
                yield session
                session.commit()


class AsyncSessionMaker:
    """Makes async sessions over one psycopg connection; prepared while no transaction is open on it."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        async def joined() -> Any:
            return _AsyncJoined(connection)

        self._engine = create_async_engine("postgresql+psycopg://", async_creator=joined, **_ENGINE_OPTIONS)

    async def prepare(self) -> None:
        """Let the dialect look around on its first connection."""
        with _unwrapped():
            async with self._engine.connect():
                pass

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session in the connection's open transaction. Its commit and rollback are a savepoint's."""
        async with self._engine.connect() as connection:
            await connection.begin()
            async with AsyncSession(bind=connection, join_transaction_mode="create_savepoint") as session:
                yield session
                await session.commit()
