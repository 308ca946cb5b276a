"""A business day of the shop: the same one for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg

from rowcall import acting

#: When the shop is open.
HOURS = range(9, 18)

_WAVES = 4  # of sales an hour, in each of which every till makes one
_GIVEN_UP = 0.15  # of the sales
_PLACES = (
    ("Lisbon", None, "Portugal"),
    ("Kraków", None, "Poland"),
    ("Porto Alegre", "RS", "Brazil"),
    ("Reykjavík", None, "Iceland"),
    ("Montréal", "QC", "Canada"),
)
_NAMES = (("Zoë", "Ångström"), ("Łukasz", "Ćwikła"), ("Núria", "O'Neill"), ("Nil", "Null"))


class Day:
    """What happens in the shop, hour by hour.

    :param tills: connections that sell at the same time; the first one does everything else.
    """

    def __init__(self, tills: Sequence[psycopg.Connection[Any]], seed: int = 1) -> None:
        self._tills = tills
        self._office = tills[0]
        self._random = random.Random(seed)
        self._tracks: list[int] = self._column("select track_id from track order by 1")
        self._albums: list[int] = self._column("select album_id from album order by 1")
        self._customers: list[int] = self._column("select customer_id from customer order by 1")
        self._invoice = self._newest("invoice")
        self._line = self._newest("invoice_line")
        self._hour = 0
        self._given_up = 0

    def _column(self, query: str, *parameters: Any) -> list[Any]:
        return [row[0] for row in self._office.execute(query.encode(), parameters).fetchall()]

    def _newest(self, table: str) -> int:
        [newest] = self._column(f"select max({table}_id) from {table}")
        return int(newest)

    def hour(self, hour: int) -> str:
        """Let an hour pass; what happened in it."""
        self._hour = hour
        self._given_up = 0
        for _ in range(_WAVES):
            self._sell()
        sold = f"{_WAVES * len(self._tills) - self._given_up} sales, {self._given_up} given up"
        return ", ".join([sold, *(happen() for happen in self._happenings())])

    def _happenings(self) -> Iterator[Callable[[], str]]:
        """Two kinds of things an hour, so that each has its turn."""
        happenings = (
            self._customer_comes,
            self._prices_change,
            self._customer_moves,
            self._playlist_is_rebuilt,
            self._sale_is_corrected,
            self._track_is_replaced,
            self._customer_leaves,
        )
        for place in (2 * self._hour, 2 * self._hour + 1):
            yield happenings[place % len(happenings)]

    def _acting(self, connection: psycopg.Connection[Any], actor: str) -> acting:
        return acting(connection, actor=actor, hour=self._hour)

    def _sell(self) -> None:
        """A sale at every till at once. They commit in another order than they began."""
        sales = [self._sale(till, number) for number, till in enumerate(self._tills)]
        while sales:
            sale = self._random.choice(sales)
            if not next(sale, False):
                sales.remove(sale)

    def _sale(self, till: psycopg.Connection[Any], number: int) -> Iterator[bool]:
        customer = self._random.choice(self._customers)
        given_up = self._random.random() < _GIVEN_UP
        self._given_up += given_up
        self._invoice += 1
        invoice = self._invoice
        with till.transaction(force_rollback=given_up), self._acting(till, f"till {number}"):
            till.execute(
                "insert into invoice select %s, customer_id, %s, address, city, state, country, postal_code, 0"
                " from customer where customer_id = %s",
                (invoice, f"2026-01-05 {self._hour:02}:{self._random.randrange(60):02}", customer),
            )
            yield True
            for track in self._random.sample(self._tracks, self._random.randint(1, 8)):
                self._line += 1
                till.execute(
                    "insert into invoice_line select %s, %s, track_id, unit_price, %s from track where track_id = %s",
                    (self._line, invoice, self._random.choice((1, 1, 1, 2)), track),
                )
                yield True
            self._add_up(till, invoice)

    def _add_up(self, connection: psycopg.Connection[Any], invoice: int) -> None:
        connection.execute(
            "update invoice set total = coalesce("
            "(select sum(unit_price * quantity) from invoice_line where invoice_id = %(invoice)s), 0)"
            " where invoice_id = %(invoice)s",
            {"invoice": invoice},
        )

    def _customer_comes(self) -> str:
        customer = max(self._customers) + 1
        first, last = self._random.choice(_NAMES)
        city, state, country = self._random.choice(_PLACES)
        with self._acting(self._office, "web"):
            self._office.execute(
                "insert into customer (customer_id, first_name, last_name, city, state, country, email, support_rep_id)"
                " values (%s, %s, %s, %s, %s, %s, %s, 3)",
                (customer, first, last, city, state, country, f"customer{customer}@example.org"),
            )
        self._customers.append(customer)
        return "a customer signed up"

    def _prices_change(self) -> str:
        factor = self._random.choice(("0.85", "1.10", "1.25"))
        with self._acting(self._office, "purchasing"):
            changed = self._office.execute(
                "update track set unit_price = round(unit_price * %s::numeric, 2) where album_id = any(%s)",
                (factor, self._random.sample(self._albums, 5)),
            ).rowcount
        return f"{changed} prices changed"

    def _customer_moves(self) -> str:
        customer = self._random.choice(self._customers)
        city, state, country = self._random.choice(_PLACES)
        with self._acting(self._office, "support"):
            self._office.execute(
                "update customer set city = %s, state = %s, country = %s, postal_code = null where customer_id = %s",
                (city, state, country, customer),
            )
            # What was bought this year is billed to the new address, and counts for the new country.
            self._office.execute(
                "update invoice set billing_city = %s, billing_state = %s, billing_country = %s"
                " where customer_id = %s and invoice_date >= '2025-01-01'",
                (city, state, country, customer),
            )
        return f"a customer moved to {city}"

    def _customer_leaves(self) -> str:
        customer = self._random.choice(self._customers)
        self._customers.remove(customer)
        with self._acting(self._office, "support"):
            self._office.execute("delete from customer where customer_id = %s", (customer,))
        return "a customer left"

    def _playlist_is_rebuilt(self) -> str:
        [playlist] = self._random.sample(self._column("select distinct playlist_id from playlist_track order by 1"), 1)
        tracks = self._random.sample(self._tracks, 200)
        with self._acting(self._office, "editor"):
            self._office.execute("delete from playlist_track where playlist_id = %s", (playlist,))
            self._office.execute(
                "insert into playlist_track select %s, unnest(%s::integer[])", (playlist, sorted(tracks))
            )
        return "a playlist rebuilt"

    def _track_is_replaced(self) -> str:
        """The key of its rows in the playlists changes."""
        old, new = self._random.sample(self._tracks, 2)
        with self._acting(self._office, "editor"):
            self._office.execute(
                "update playlist_track as p set track_id = %(new)s where track_id = %(old)s and not exists"
                " (select from playlist_track where playlist_id = p.playlist_id and track_id = %(new)s)",
                {"old": old, "new": new},
            )
        return "a track replaced in playlists"

    def _sale_is_corrected(self) -> str:
        """One line is given back, and another belongs to another invoice."""
        back, wrong = self._random.sample(self._column("select invoice_line_id from invoice_line order by 1"), 2)
        [other] = self._random.sample(self._column("select invoice_id from invoice order by 1"), 1)
        with self._acting(self._office, "support"):
            touched = self._column(
                "select invoice_id from invoice_line where invoice_line_id = any(%s) union select %s order by 1",
                [back, wrong],
                other,
            )
            self._office.execute("delete from invoice_line where invoice_line_id = %s", (back,))
            self._office.execute("update invoice_line set invoice_id = %s where invoice_line_id = %s", (other, wrong))
            for invoice in touched:
                self._add_up(self._office, invoice)
        return "sales corrected"
