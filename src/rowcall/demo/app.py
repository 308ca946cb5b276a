"""The app that `rowcall demo` runs: what a user of Rowcall writes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg

from rowcall import Event, Reject, Rowcall

app = Rowcall()

app.watch("users", exclude=["password_hash"], notify=True)

app.rule("users", "adult", "new.age >= 18", message="must be an adult")


# A machine that is busy with a demo may be slow to answer, hence more than the 250 ms of the default.
@app.before("users", on="update", columns=["email"], timeout=5)
def check_user(event: Event) -> dict[str, Any]:
    """Asked by PostgreSQL, inside the writer's transaction, before the row is written."""
    assert event.new is not None
    if "@" not in event.new["email"]:
        raise Reject("email must contain '@'", column="email")
    return {"email": event.new["email"].lower()}


@app.after("users", on="update", columns=["email"])
async def log_user_update(event: Event, conn: psycopg.AsyncConnection[Any]) -> None:
    """Called once the change is committed. What it writes through ``conn`` takes effect exactly once."""
    assert event.old is not None
    assert event.new is not None
    await conn.execute(
        "insert into email_history values (%s, %s, %s)",
        (event.key["id"], event.old["email"], event.new["email"]),
    )
    # With its end in one piece, because handlers print from several threads.
    print(f"log_user_update: {event.old['email']} became {event.new['email']}\n", end="")


@app.after("users", batch=500)
def keep_count(events: list[Event], conn: psycopg.Connection[Any]) -> None:
    """Takes many events at a time. Were one of them delivered twice, the table's primary key would say so."""
    conn.cursor().executemany("insert into handled values (%s)", [(event.seq,) for event in events])
    kinds = Counter(event.operation for event in events)
    print(f"keep_count: {', '.join(f'{number} × {kind}' for kind, number in kinds.items())}")
