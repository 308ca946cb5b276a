"""What the log is worth: a table made anew from its events, compared with the table itself."""

import json
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

# As images are made and have to be read, see row_expression_v1.
_SETTINGS = "set intervalstyle = postgres; set lc_monetary = 'C'; set array_nulls = on; set xmloption = content"

_EVENTS = """
select seq, operation::text, key::text, next_key::text, new::text, rowcall.old_image_v1(old, new)::text
from rowcall.event where relation = (select id from rowcall.relation where oid = %s::regclass and dropped_at is null)
order by seq
"""

_KEY = """
select key from rowcall.layout join rowcall.relation on id = relation where oid = %s::regclass and dropped_at is null
order by since desc limit 1
"""

# Bags of rows by their binary images: sorted by image, row against row.
_DIFFERENCES = """
with live as (
  select whole_row, row_number() over (order by whole_row using operator(pg_catalog.*<)) as n
  from (select row({columns}) as whole_row from {table}) as rows
), made as (
  select whole_row, row_number() over (order by whole_row using operator(pg_catalog.*<)) as n
  from (select row({columns}) as whole_row from replica) as rows
)
select live.whole_row::text, made.whole_row::text from live full join made using (n)
where live.n is null or made.n is null or not live.whole_row operator(pg_catalog.*=) made.whole_row
"""


def _parsed(image: str | None) -> Any:
    """JSON with its numbers as they are written, but for exponents: a float would not tell 1.0 from 1.00."""
    return None if image is None else json.loads(image, parse_float=_digits, parse_int=_digits)


def _digits(number: str) -> str:
    """A number as jsonb writes it, where json has what the type's output function prints."""
    return f"{abs(value) if (value := Decimal(number)) == 0 else value:f}"


class Replica:
    """A table as its events say it is; every step is checked against the rows that are there by then."""

    def __init__(self, connection: psycopg.Connection[Any], table: str) -> None:
        self._connection = connection
        self._table = sql.SQL(table)
        self._name = table
        connection.execute(_SETTINGS)
        connection.execute("drop table if exists pg_temp.replica")
        connection.execute(sql.SQL("create temp table replica as select * from {} with no data").format(self._table))
        row = self._value("select rowcall.row_expression_v1(%s::regclass, 'the image')", table)
        self._row = row.replace("%", "%%").replace("the image", "%s::jsonb")
        self._key = self._value(_KEY, table)

    def _value(self, query: str, *parameters: Any) -> Any:
        row = self._connection.execute(query, parameters).fetchone()
        assert row is not None
        return row[0]

    def replay(self) -> int:
        """Apply every event in order; how many there were."""
        events = self._connection.execute(_EVENTS, [self._name]).fetchall()
        for seq, operation, key, next_key, new, old in events:
            try:
                self._apply(operation, old, new)
                self._check_key(operation, *map(_parsed, (key, next_key, old, new)))
            except AssertionError as error:
                raise AssertionError(f"event {seq}, {operation} of {key} to {new}: {error}") from None
        return len(events)

    def _apply(self, operation: str, old: Any, new: Any) -> None:
        if operation == "truncate":
            self._connection.execute("delete from replica")
        if old is not None:
            gone = self._connection.execute(self._deletion(), [old]).rowcount
            assert gone == 1, f"no row is like {old}"
        if new is not None:
            self._connection.execute(self._insertion(), [new])

    def _deletion(self) -> str:
        return (
            "delete from replica where ctid = (select r.ctid from replica as r,"
            f" (select {self._row} as row offset 0) as was where row(r.*) operator(pg_catalog.*=) was.row limit 1)"
        )

    def _insertion(self) -> str:
        return f"insert into replica select (made.row).* from (select {self._row} as row offset 0) as made"

    def _check_key(self, operation: str, key: Any, next_key: Any, old: Any, new: Any) -> None:
        if operation == "truncate":
            assert (key, next_key, old, new) == (None, None, None, None)
            return
        before = self._key_of(old if old is not None else new)
        assert key == before, f"the key should be {before}"
        after = self._key_of(new) if operation == "update" else before
        assert next_key in (None, after), f"the next key should be {after}"
        assert next_key is not None or after == before or not self._key, f"the next key {after} is missing"

    def _key_of(self, image: Any) -> Any:
        if not self._key:
            return image
        key = {name: image[name] for name in self._key}
        exact = {
            name: text
            for name, text in image.get("", {}).get("exact", {}).items()
            if name in key and isinstance(key[name], list)
        }
        return key | ({"": {"exact": exact}} if exact else {})

    def differences(self) -> list[Any]:
        """Rows that are in only one of the two, or not the same to the last bit."""
        columns = self._value(
            "select array_agg(attname::text order by attnum) from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated <> 'v'",
            self._name,
        )
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        query = sql.SQL(_DIFFERENCES).format(columns=names, table=self._table)
        return self._connection.execute(query).fetchall()


def assert_replayed(connection: psycopg.Connection[Any], table: str) -> int:
    """Check that the log of a table says exactly what the table is; how many events that took.

    :param table: its name as SQL writes it.
    """
    replica = Replica(connection, table)
    events = replica.replay()
    differences = replica.differences()
    assert not differences, f"(in the table, by the log): {differences}"
    return events
