"""The demo: what a users table, three handlers and some writers do to each other."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from rowcall import embedded
from rowcall.audit import history
from rowcall.audit.rejections import Filter, rejections
from rowcall.demo import place
from rowcall.demo.screen import Claim, Screen
from rowcall.demo.stage import Stage
from rowcall.demo.writer import Writer
from rowcall.event import Event

TARGET = "rowcall.demo.app:app"

#: Prints the history of a row.
ShowHistory = Callable[[Console, Sequence[Event]], None]

_CROWD = 1000
_BUSY_WRITERS = 4
_BUSY_WRITES = 100
_VISIT = "update users set visits = visits + 1 where id = %s"


def tell(keep: Path | None, show_history: ShowHistory) -> None:
    """Run the demo.

    :param keep: a fresh directory to keep the database in.
    :raises Undeliverable: if what was changed, logged and handled disagree.
    """
    screen = Screen()
    with place.cleaning_up(), ExitStack() as opened:
        server = place.server(keep)
        screen.headline("Rowcall: PostgreSQL triggers, handled in Python", keep)
        opened.enter_context(server)
        dsn = place.install(server)
        observer = opened.enter_context(psycopg.connect(dsn, autocommit=True))
        observer.execute((files("rowcall.demo") / "users.sql").read_bytes())
        stage = opened.enter_context(Stage(screen, TARGET, dsn, "rowcall_users"))
        story = _Story(screen, stage, observer, dsn, opened)
        story.begin(server)
        story.middle()
        story.end(show_history)
        screen.end()
        if keep is not None:
            place.say_where(screen, keep, dsn)


class _Story:
    def __init__(
        self, screen: Screen, stage: Stage, observer: psycopg.Connection[Any], dsn: str, opened: ExitStack
    ) -> None:
        self._screen = screen
        self._stage = stage
        self._observer = observer
        self._dsn = dsn
        self._opened = opened
        self._writers: list[Writer] = []
        self._web = self._writer("web")
        self._support = self._writer("support")
        self._job = self._writer("job")

    def _writer(self, name: str) -> Writer:
        writer = self._opened.enter_context(Writer(name, self._dsn, self._screen))
        self._writers.append(writer)
        return writer

    def _ask(self, query: str) -> Any:
        row = self._observer.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def _arrived(self) -> bool:
        """Whether every event is handled and every NOTIFY heard."""
        logged, handled = self._ask("select count(*) from rowcall.event"), self._ask("select count(*) from handled")
        return logged == handled and self._stage.heard == self._statements

    @property
    def _statements(self) -> int:
        return sum(writer.statements for writer in self._writers)

    def _settle(self) -> None:
        self._stage.wait_until(self._arrived)

    def begin(self, server: embedded.Server) -> None:
        """What a user does once."""
        self._screen.chapter("Install")
        version = embedded.version(server.bin_directory)
        self._screen.say("server", f"PostgreSQL {version}, with a table users and Rowcall's schema")
        self._screen.say("app", str(files("rowcall.demo") / "app.py"))
        self._stage.sync()
        self._stage.listen()

    def middle(self) -> None:
        """What writers do all day."""
        self._sign_up()
        self._validate()
        self._crowd()
        self._rush()
        self._leave()

    def _sign_up(self) -> None:
        self._screen.chapter("Two people sign up")
        self._web.write(
            "insert into users (name, email, age) values ('Ada', 'ada@example.org', 36), ('Bob', 'bob@example.org', 51)"
        )
        self._settle()

    def _validate(self) -> None:
        self._screen.chapter("Python has a say before the row is written")
        self._web.write("update users set email = 'ada.example.org' where id = 1")
        self._web.write("update users set email = 'Ada@Lovelace.EXAMPLE' where id = 1")
        self._settle()
        self._screen.chapter("A rule is checked inside PostgreSQL")
        self._support.write("insert into users (name, email, age) values ('Cy', 'cy@example.org', 12)")
        self._settle()

    def _crowd(self) -> None:
        self._screen.chapter("Many rows at once")
        rows = [f"Guest {number},guest{number}@example.org,{20 + number % 60}" for number in range(_CROWD)]
        self._job.copy("copy users (name, email, age) from stdin (format csv)", rows)
        self._settle()
        self._job.write("update users set visits = visits + 1")
        self._settle()

    def _rush(self) -> None:
        self._screen.chapter("Rush hour, and the listener is killed")
        many = _BUSY_WRITERS * _BUSY_WRITES
        self._screen.say("guests", f"{many} transactions through {_BUSY_WRITERS} connections, each one of")
        self._screen.say("", _VISIT.replace("%s", "…"))
        heard, calls, self._stage.quiet = self._stage.heard, self._stage.calls, True
        with ThreadPoolExecutor(_BUSY_WRITERS) as pool:
            done = [pool.submit(self._visit, number) for number in range(_BUSY_WRITERS)]
            self._stage.wait_until(lambda: self._stage.heard - heard > many // 4)
            self._stage.kill_listener()
            self._stage.listen()
        for future in done:
            future.result()
        self._settle()
        self._stage.quiet = False
        self._screen.say("handler", f"{self._stage.calls - calls} calls, by both listeners")
        self._screen.say("LISTEN", f"{self._stage.heard - heard} NOTIFYs on rowcall_users, one a statement")

    def _visit(self, number: int) -> None:
        guests = random.Random(number).choices(range(3, _CROWD), k=_BUSY_WRITES)
        self._writer(f"guests {number}").write_often(_VISIT, guests)

    def _leave(self) -> None:
        self._screen.chapter("Ada leaves")
        self._support.write("delete from users where id = 1")
        self._settle()

    def end(self, show_history: ShowHistory) -> None:
        """What the log knows, and whether it is all."""
        self._screen.chapter("What the log knows")
        self._screen.say("$", "rowcall audit row users 1", "bold")
        show_history(self._screen.console, history.row(self._observer, "users", "1"))
        self._screen.say("$", "rowcall audit rejections", "bold")
        for refused in rejections(self._observer, Filter()):
            judge = f"rule {refused['rule']}" if refused["rule"] else refused["handler"]
            self._screen.say("refused", f"{refused['operation']} by {refused['actor']}: {judge}: {refused['message']}")
        self._screen.chapter("Nothing was lost")
        self._screen.prove(self._claims())

    def _claims(self) -> list[Claim]:
        changed = sum(writer.changed for writer in self._writers)
        refused = sum(writer.refused for writer in self._writers)
        logged = self._ask("select count(*) from rowcall.event")
        handled = self._ask("select count(*) from rowcall.event join handled using (seq)")
        return [
            Claim([(refused, "writes refused"), (self._ask("select count(*) from rowcall.rejection"), "recorded")]),
            Claim([(self._statements, "statements"), (self._stage.heard, "NOTIFYs heard")]),
            Claim([(changed, "rows changed"), (logged, "events logged"), (handled, "events handled")]),
        ]
