"""The app whose delivery is tortured: each kind of handler copies what it is told into one table."""

import os
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from rowcall import Event, Retry, Rowcall

app = Rowcall("torture")
app.watch("item")
app.watch("stock")

_COPY = "insert into copies (subscription, seq, stamp, pid) values (%s, %s, %s, %s)"
_COPY_ALL = """
    insert into copies (subscription, seq, stamp, pid)
    select 'batch', seq, stamp, %s from unnest(%s::bigint[], %s::bigint[]) with ordinality as t (seq, stamp, n) order by n
"""
_COPY_BY_NAME = text("insert into copies (subscription, seq, stamp, pid) values ('session', :seq, :stamp, :pid)")

#: What this process failed for, by subscription and seq.
_failed: set[tuple[str, int | None]] = set()


def _stamp(event: Event) -> int | None:
    row = event.new or event.old
    return row["stamp"] if row else None


def _fail(subscription: str, events: list[Event]) -> None:
    """Fail for what is marked so, alone only once: it is set aside, and the later events of its keys behind it."""
    for event in events:
        row = event.new or event.old
        place = (subscription, event.seq)
        if row and row["note"] == "fail" and place not in _failed:
            if len(events) == 1:
                _failed.add(place)
            raise Retry(delay=0.2)


@app.after("public.*", name="each")
def each(event: Event, conn: psycopg.Connection[Any]) -> None:
    """One event at a time."""
    _fail("each", [event])
    conn.execute(_COPY, ("each", event.seq, _stamp(event), os.getpid()))


@app.after("public.*", name="batch", batch=50)
async def batch(events: list[Event], conn: psycopg.AsyncConnection[Any]) -> None:
    """Many at a time; after a failure each of them is tried alone, so that one fails there too."""
    _fail("batch", events)
    stamps = [_stamp(event) for event in events]
    await conn.execute(_COPY_ALL, (os.getpid(), [event.seq for event in events], stamps))


@app.after("item", name="session", batch=10)
def session(events: list[Event], session: Session) -> None:
    """Through SQLAlchemy."""
    for event in events:
        session.execute(_COPY_BY_NAME, {"seq": event.seq, "stamp": _stamp(event), "pid": os.getpid()})


@app.after("item", on=["insert", "update"], columns=["price"], name="selection")
async def selection(event: Event, conn: psycopg.AsyncConnection[Any]) -> None:
    """Some events only."""
    await conn.execute(_COPY, ("selection", event.seq, _stamp(event), os.getpid()))
