"""A connection on which one statement is sent again and again, by callbacks of the event loop instead of tasks.

Somebody's transaction waits meanwhile, and psycopg's asynchronous calls take several times as long as the server. Here
notifications cannot be missed either, whatever else the connection is doing when they come.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import pq, sql

from rowcall import errors
from rowcall.postgres import connection as connections

_NAME = b"rowcall"

#: What came of a statement: its only value, or the error.
Answer = bytes | psycopg.Error


class Line:
    """An open line: until it is closed, its connection is for nothing else.

    :param statement: with parameters as ``$1``, giving one row of one value.
    :param heard: called whenever somebody notified.
    :ivar broken: fails with what made the connection useless.
    :ivar lock: held by whoever uses it. Statements may be sent from any thread, what comes is read on the loop.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], statement: str, heard: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.broken: asyncio.Future[None] = self._loop.create_future()
        self.lock = threading.RLock()
        self._connection = connection
        self._line = connection.pgconn
        # A connection that is lost does not know its socket any more.
        self._socket = self._line.socket
        self._heard = heard
        self._line.nonblocking = 1
        self._result: pq.abc.PGresult | None = None
        self._answered: Callable[[Answer], None] | None = self._prepared
        self._loop.add_reader(self._socket, self._readable)
        self._line.send_prepare(_NAME, statement.encode())
        self._flush()

    @classmethod
    async def open(
        cls, dsn: str, *, statement: str, channel: str, heard: Callable[[], None], application_name: str
    ) -> Line:
        """Connect and LISTEN.

        :raises UsageError: if it leads to a pooler.
        """
        connection = await connections.connect_async(dsn, application_name=application_name)
        try:
            await _check_session(connection)
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            # What is answered is read by a session that waits for it now; losing it in a crash costs nothing.
            await connection.execute("set synchronous_commit = off")
            # Turns of two listeners are to wait for each other, if anything, and not to fail.
            await connection.execute("set default_transaction_isolation = 'read committed'")
            return cls(connection, statement, heard)
        except BaseException:
            await connection.close()
            raise

    async def close(self) -> None:
        """Disconnect, whatever is under way."""
        self._let_go()
        if not self.broken.cancel():
            self.broken.exception()
        await self._connection.close()

    @property
    def pid(self) -> int:
        """The server's process at the other end."""
        return self._connection.info.backend_pid

    @property
    def is_free(self) -> bool:
        """Whether it is open, and nothing was asked that is not answered yet."""
        return self._answered is None and not self.broken.done()

    def ask(self, parameters: Sequence[bytes | None], answered: Callable[[Answer], None]) -> None:
        """Send the statement; only on a free line, and under its lock."""
        assert self._answered is None
        self._answered = answered
        try:
            self._line.send_query_prepared(_NAME, parameters)
            self._flush()
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody would hear of it in another thread
            self._loop.call_soon_threadsafe(self.give_up, error)

    def _flush(self) -> None:
        """Send what the socket takes now, and the rest as it takes more: a server that is slow must not stop the loop."""
        if self._line.flush():
            self._loop.call_soon_threadsafe(self._await_room)

    def _await_room(self) -> None:
        if not self.broken.done():
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            with self.lock:
                if not self._line.flush():
                    self._loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self.give_up(error)

    def _prepared(self, answer: Answer) -> None:
        if isinstance(answer, psycopg.Error):
            self.give_up(answer)
        else:
            self._heard()

    def _readable(self) -> None:
        try:
            with self.lock:
                self._read()
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody would hear of it, and the line be deaf
            self.give_up(error)

    def _read(self) -> None:
        self._line.consume_input()
        answer = self._take_answer()
        heard = False
        # Last, since reading an answer to its end may bring in what was notified meanwhile.
        while self._line.notifies() is not None:
            heard = True
        if answer is not None:
            answered, self._answered = self._answered, None
            assert answered is not None
            answered(answer)
        if heard:
            self._heard()

    def _take_answer(self) -> Answer | None:
        """The answer, once it has come to its end."""
        while self._answered is not None and not self._line.is_busy():
            result = self._line.get_result()
            if result is None:
                # The line is free again.
                result, self._result = self._result, None
                assert result is not None
                if result.status == pq.ExecStatus.FATAL_ERROR:
                    return psycopg.errors.error_from_result(result)
                return (result.get_value(0, 0) if result.ntuples else None) or b""
            self._result = result
        return None

    def give_up(self, error: BaseException) -> None:
        """The connection is of no use any more."""
        self._let_go()
        if not self.broken.done():
            self.broken.set_exception(error)

    def _let_go(self) -> None:
        """Leave the socket alone."""
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)


async def _check_session(connection: psycopg.AsyncConnection[Any]) -> None:
    """A pooler makes up the process that a client is told it talks to, since it may be another for each transaction."""
    [pid] = await (await connection.execute("select pg_backend_pid()")).fetchone() or [None]
    if pid != connection.info.backend_pid:
        raise errors.UsageError(
            "Before-handlers are asked by NOTIFY, which does not get through a pooler: give --listen-dsn, which leads to"
            " PostgreSQL directly."
        )
