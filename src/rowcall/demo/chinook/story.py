"""The demo on real input: the shop is loaded, lives through a day, and is made anew from its log."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg

from rowcall.audit import Filter, history
from rowcall.demo import place
from rowcall.demo.chinook import loading, replay
from rowcall.demo.chinook.app import NOWHERE, TABLES
from rowcall.demo.chinook.day import HOURS, Day
from rowcall.demo.screen import Claim, Screen
from rowcall.demo.stage import Stage

TARGET = "rowcall.demo.chinook.app:app"

_TILLS = 3
_COPY = "replayed"
_BEST = 5

_BY_COUNTRY = f"""
select coalesce(billing_country, '{NOWHERE}') as country, sum(unit_price * quantity) as amount
from invoice join invoice_line using (invoice_id) group by 1
"""
_SUM = "select coalesce(sum(unit_price * quantity), 0) from invoice_line"


def tell(directory: Path, keep: Path | None) -> None:
    """Run the demo.

    :param directory: where the CSV files are.
    :param keep: a fresh directory to keep the database in.
    :raises Undeliverable: if the log, the revenue or the replayed tables differ from the tables.
    """
    loading.check(directory)
    screen = Screen()
    with place.cleaning_up(), ExitStack() as opened:
        server = place.server(keep)
        screen.headline("Rowcall: a day in the Chinook music shop", keep)
        opened.enter_context(server)
        dsn = place.install(server)
        connection = opened.enter_context(psycopg.connect(dsn, autocommit=True))
        connection.execute((files("rowcall.demo.chinook") / "tables.sql").read_bytes())
        stage = opened.enter_context(Stage(screen, TARGET, dsn))
        story = _Story(screen, stage, connection, dsn)
        story.begin()
        story.load(directory)
        story.day(opened)
        story.end()
        screen.end()
        if keep is not None:
            place.say_where(screen, keep, dsn)


class _Story:
    def __init__(self, screen: Screen, stage: Stage, connection: psycopg.Connection[Any], dsn: str) -> None:
        self._screen = screen
        self._stage = stage
        self._connection = connection
        self._dsn = dsn
        self._claims: list[Claim] = []

    def _ask(self, query: str) -> Any:
        row = self._connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def begin(self) -> None:
        """What a user does once."""
        self._screen.chapter("Install")
        self._stage.sync()
        self._stage.listen()

    def load(self, directory: Path) -> None:
        """The files, table by table."""
        self._screen.chapter("Load")
        rows = 0
        for table, number in loading.load(self._connection, directory):
            self._screen.say("copy", f"{number:6,} {table}")
            rows += number
            self._stage.show(0)
        inserts = self._ask("select count(*) from rowcall.event where operation = 'insert'")
        self._claims.append(Claim([(rows, "rows loaded"), (inserts, "insert events")]))
        self._stage.wait_until(self._caught_up)
        self._screen.say("handlers", self._progress())

    def _caught_up(self) -> bool:
        """Good enough to go on; whether nothing is missing is proved at the end."""
        return bool(self._ask("select coalesce(sum(amount), 0) from revenue") == self._ask(_SUM))

    def day(self, opened: ExitStack) -> None:
        """The day, and how far the handlers are after each hour."""
        self._screen.chapter("A business day")
        tills = [opened.enter_context(psycopg.connect(self._dsn, autocommit=True)) for _ in range(_TILLS)]
        day = Day(tills)
        for hour in HOURS:
            happened = day.hour(hour)
            self._stage.show(0)
            self._screen.say(f"{hour:02}:00", happened)
            self._screen.say("", self._progress(), "dim")

    def _progress(self) -> str:
        revenue = self._ask("select coalesce(sum(amount), 0) from revenue")
        handled = self._ask("select coalesce(sum(events), 0) from tally")
        logged = self._ask("select count(*) from rowcall.event")
        return f"revenue so far {revenue:,}; {handled:,} of {logged:,} events handled"

    def end(self) -> None:
        """What came of it, and whether it is right."""
        self._screen.chapter("Closing time")
        self._stage.stop_listener()
        self._stage.command("listen", TARGET, "--drain")
        self._show_revenue()
        self._replay()
        self._screen.chapter("Nothing was lost")
        self._screen.prove([*self._claims, self._handled(), *self._revenue(), self._same()])

    def _show_revenue(self) -> None:
        best = "select country, amount from revenue order by amount desc, country limit %s"
        for country, amount in self._connection.execute(best, (_BEST,)):
            self._screen.say("revenue", f"{amount:8,} {country}")

    def _handled(self) -> Claim:
        return Claim(
            [
                (self._ask("select count(*) from rowcall.event"), "events logged"),
                (int(self._ask("select sum(events) from tally")), "events handled"),
            ]
        )

    def _revenue(self) -> list[Claim]:
        countries = self._ask(f"select count(*) from ({_BY_COUNTRY}) as by_country")
        alike = self._ask(f"select count(*) from ({_BY_COUNTRY}) as by_country join revenue using (country, amount)")
        elsewhere = self._ask(
            f"select count(*) from revenue where amount <> 0 and country not in (select country from ({_BY_COUNTRY}) as c)"
        )
        kept = self._ask("select sum(amount) from revenue")
        return [
            Claim([(kept, "revenue kept by the handler"), (self._ask(_SUM), "summed by SQL")]),
            Claim([(countries, "countries"), (alike - elsewhere, "where they agree")]),
        ]

    def _replay(self) -> None:
        replay.empty_copies(self._connection, TABLES, _COPY)
        with psycopg.connect(self._dsn) as reading:
            events = history.log(reading, Filter())
            number = replay.replay(self._connection, events, _COPY)
        self._screen.say("replay", f"{number:,} events onto empty tables")

    def _same(self) -> Claim:
        rows = sum(self._ask(f"select count(*) from {table}") for table in TABLES)
        different = {table: replay.differences(self._connection, table, _COPY) for table in TABLES}
        same = sum(not number for number in different.values())
        return Claim([(len(TABLES), f"tables of {rows:,} rows"), (same, "made anew from the log")])
