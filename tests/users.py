"""The table that most tests of the listener watch, and the one where handlers note what they saw: `database` has both."""

from tests.conftest import Database


def write(database: Database, first: int, last: int, name: str = "x") -> None:
    """One statement's worth of users."""
    database.execute(
        "insert into users select n, %s, n from generate_series(%s::int, %s::int) as n", (name, first, last)
    )


def seen(database: Database) -> list[str]:
    """What handlers noted, in order; what was rolled back does not count."""
    return [what for (what,) in database.execute("select what from seen order by place").fetchall()]


def seen_by(database: Database, who: str) -> list[int]:
    """The users that one of several handlers noted, as `who id`."""
    rows = database.execute("select what from seen where what like %s order by place", (f"{who} %",)).fetchall()
    return [int(what.split()[1]) for (what,) in rows]
