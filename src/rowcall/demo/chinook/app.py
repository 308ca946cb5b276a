"""The app of the Chinook demo: watches a music shop and keeps its revenue by country."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import psycopg

from rowcall import Event, Rowcall

#: The shop's tables, in an order in which they can be loaded.
TABLES = (
    "artist",
    "genre",
    "media_type",
    "playlist",
    "employee",
    "customer",
    "album",
    "track",
    "invoice",
    "invoice_line",
    "playlist_track",
)

#: The country of invoices that name none.
NOWHERE = "nowhere"

Earned = defaultdict[str, Decimal]

app = Rowcall()

for table in TABLES:
    app.watch(table)

app.rule("track", "price", "new.unit_price > 0", message="a track has its price")


@app.after("public.invoice*", batch=500)
def keep_revenue(events: list[Event], conn: psycopg.Connection[Any]) -> None:
    """Adds what every line earns to the country its invoice is billed to.

    It looks at nothing but the events and what it remembers of earlier ones. The shop's tables may be ahead of the event
    by now, so asking them would count some changes twice and miss others.
    """
    earned: Earned = defaultdict(Decimal)
    for event in events:
        if event.operation == "truncate":
            forget_all(event, conn)
            earned.clear()
        elif event.table == "public.invoice":
            bill(event, conn, earned)
        else:
            earn(event, conn, earned)
    conn.cursor().executemany(
        "insert into revenue values (%s, %s) on conflict (country) do update set amount = revenue.amount + excluded.amount",
        list(earned.items()),
    )


def bill(event: Event, conn: psycopg.Connection[Any], earned: Earned) -> None:
    """An invoice came, went, or is billed to another country: what its lines earned goes with it."""
    for sign, invoice in ((-1, event.old), (1, event.new)):
        if invoice is None:
            continue
        country = invoice["billing_country"] or NOWHERE
        row = conn.execute(
            "insert into sale (invoice_id, country) values (%s, %s)"
            " on conflict (invoice_id) do update set country = excluded.country returning amount",
            (invoice["invoice_id"], country if sign > 0 else None),
        ).fetchone()
        assert row is not None
        earned[country] += sign * row[0]


def earn(event: Event, conn: psycopg.Connection[Any], earned: Earned) -> None:
    """A line came, went or changed: take away what it earned, add what it earns."""
    for sign, line in ((-1, event.old), (1, event.new)):
        if line is None:
            continue
        amount = sign * line["unit_price"] * line["quantity"]
        row = conn.execute(
            "insert into sale (invoice_id, amount) values (%s, %s)"
            " on conflict (invoice_id) do update set amount = sale.amount + excluded.amount returning country",
            (line["invoice_id"], amount),
        ).fetchone()
        assert row is not None
        if row[0] is not None:  # else the amount waits in the sale until its invoice is known
            earned[row[0]] += amount


def forget_all(event: Event, conn: psycopg.Connection[Any]) -> None:
    """All invoices, or all lines, are gone at once."""
    conn.execute("delete from revenue")
    if event.table == "public.invoice":
        conn.execute("update sale set country = null")
    else:
        conn.execute("update sale set amount = 0")


@app.after("*", batch=500)
async def keep_tally(events: list[Event], conn: psycopg.AsyncConnection[Any]) -> None:
    """Counts what it is given, by table and operation."""
    kinds = Counter((event.table.partition(".")[2], event.operation) for event in events)
    await conn.cursor().executemany(
        "insert into tally values (%s, %s, %s)"
        " on conflict (table_name, operation) do update set events = tally.events + excluded.events",
        [(name, operation, number) for (name, operation), number in kinds.items()],
    )
