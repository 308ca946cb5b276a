"""Types of columns and what can be in them: as SQL to make the types with, and as text that their input functions read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from hypothesis import strategies as st

Literals = st.SearchStrategy[str]

SCHEMA = """
create schema kinds;
create extension citext schema kinds;
create extension hstore schema kinds;
create extension ltree schema kinds;
create extension cube schema kinds;
create type kinds.mood as enum ('sad', 'ok', 'Very "happy"', 'null');
create type kinds.inner_pair as (a double precision, b text);
create type kinds.pair as (a integer, b text, c timestamptz, d kinds.mood, e integer[], f kinds.inner_pair, g jsonb);
create type kinds.floatrange as range (subtype = double precision);
create type kinds.moodrange as range (subtype = kinds.mood);
create domain kinds.positive as integer check (value > 0);
create domain kinds.more_positive as kinds.positive check (value < 1000);
create domain kinds.score as double precision;
create domain kinds.document as jsonb;
create domain kinds.source as json;
create domain kinds.numbers as integer[] check (value is null or array_length(value, 1) is distinct from 7);
create domain kinds.documents as jsonb[];
create domain kinds.address as kinds.citext;
create domain kinds.couple as kinds.pair;
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of columns.

    :ivar literals: texts that its input function reads, and of some of them refuses.
    :ivar ordered: whether it can be (part of) a primary key.
    """

    type: str
    literals: Literals
    ordered: bool = True


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Make the types that are not built in."""
    connection.execute(SCHEMA)


def _some(*literals: str) -> Literals:
    return st.sampled_from(literals)


_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = _some(
    "", " ", "a", "A", "null", "NULL", "-0", "{}", "[1]", '"', "\\", "'", "a,b", "(x)", "\x01\x7f", "ä\u0301", "\u202e", "🐘\U0010ffff",
    "\\u0000", "\ufffe", "line\nbreak\r\t",
) | st.text(_characters, max_size=12)  # fmt: skip

_ints = _some("0", "1", "-1", "7", "32767", "-32768")
_floats = _some(
    "0", "-0", "0.1", "0.30000000000000004", "1e-30", "1.5", "NaN", "Infinity", "-Infinity", "1e20", "-3.4028235e38"
)
_doubles = _floats | _some("5e-324", "1.7976931348623157e308", "2.2250738585072014e-308") | st.floats().map(repr)
_numerics = _some(
    "0", "0.00", "-0.0", "1", "1.0", "1.00", "-1.10", "NaN", "Infinity", "-Infinity", "1e100", "1e-100",
    "123456789012345678901234567890.123456789012345678901234567890",
) | st.decimals(allow_nan=False, allow_infinity=False).map(str)  # fmt: skip
_dates = _some("2026-11-22", "0044-03-15 BC", "infinity", "-infinity", "5874897-12-31", "4713-01-01 BC", "1582-10-15")
_timestamps = _some(
    "2026-11-22 10:00:00.123456", "2026-03-29 02:30:00", "infinity", "-infinity", "0044-03-15 12:00:00 BC",
    "294276-12-31 23:59:59.999999", "1883-11-18 12:03:57", "2026-10-25 02:30:00+01", "2026-06-01 00:00:00+05:30",
)  # fmt: skip
_intervals = _some(
    "0", "1 day", "24:00:00", "-1 mon +1 day -00:00:01", "1 year 2 mons 3 days 04:05:06.789", "-178000000 years", "1 day -1 hour",
)  # fmt: skip
_times = _some("00:00:00", "24:00:00", "23:59:59.999999")
_offset_times = _some("00:00:00+00", "24:00:00-15:59:59", "10:00:00+05:30", "10:00:00.5-02")
_json_texts = _some(
    "null", ' {"a" : 1,  "a": 2} ', '"\\u0000"', "1e9999", '{"\\u0000": [null, "\\ud83d"]}', "[1, [2, {}], []]", '"x"', "-0",
    "[]", "{}", "1.0", "1.00", "true", ' "null" ', '{"": null, "exact": 1}',
)  # fmt: skip
_jsonb_texts = _some(
    "null", '{"a": 1, "b": null}', '"null"', '"x, \\"[y"', "1.0", "1.00", "-0", "1e100", "[1, [2, {}], []]", "[]", "{}", "[null]", "true",
    '{"": {"exact": {"": "x"}}}', '"{1,2}"', '"[0:1]={1,2}"',
)  # fmt: skip
_bytes = st.binary(max_size=20).map(lambda raw: "\\x" + raw.hex())
_points = _some("(0,0)", "(-0,1e-30)", "(NaN,Infinity)", "(0.1,0.30000000000000004)")


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def arrays(draw: st.DrawFn, elements: Literals, delimiter: str = ",") -> str:
    """Arrays of one or two dimensions, some of them not beginning at 1."""
    rows, columns = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    start = draw(_some("1", "1", "1", "0", "-2", "5"))
    element = st.none() | elements

    def row() -> str:
        found = draw(st.lists(element, min_size=columns, max_size=columns))
        return "{" + delimiter.join("NULL" if text is None else quoted(text) for text in found) + "}"

    if rows == 0:
        return draw(st.just("{}")) if start == "1" else row()
    if rows == 1:
        bounds = "" if start == "1" else f"[{start}:{int(start) + columns - 1}]="
        return bounds + row()
    second = draw(_some("1", "0"))
    bounds = f"[{start}:{int(start) + 1}][{second}:{int(second) + columns - 1}]="
    plain = (start, second) == ("1", "1")
    return ("" if plain else bounds) + "{" + row() + delimiter + row() + "}"


def ranges(*literals: str) -> Literals:
    return _some("empty", "(,)", *literals)


def _multiranges(of: Literals) -> Literals:
    return st.lists(of, max_size=2).map(lambda found: "{" + ",".join(found) + "}")


def _record(*fields: Literals) -> Literals:
    field = [
        st.just("") | values.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '""') + '"')
        for values in fields
    ]
    return st.tuples(*field).map(lambda found: "(" + ",".join(found) + ")")


_moods = _some("sad", "ok", 'Very "happy"', "null")
_inner_pairs = _record(_doubles, texts)
_pairs = _record(_ints, texts, _timestamps, _moods, arrays(_ints), _inner_pairs, _jsonb_texts)
_int_ranges = ranges("[1,5)", "(,3]", "[2,2]", "[7,)")
_date_ranges = ranges("[2026-01-01,2026-02-01)", "[,infinity)", "(0044-03-15 BC,2026-01-01]")
_timestamp_ranges = ranges(
    '["2026-01-01 10:00:00.5","2026-02-01 00:00:00")', '["0044-03-15 12:00:00 BC",infinity]', "[-infinity,]"
)

_BUILT_IN: Sequence[tuple[str, Literals]] = (
    ("boolean", _some("t", "f")),
    ("smallint", _ints),
    ("integer", _ints | _some("2147483647", "-2147483648")),
    ("bigint", _ints | _some("9223372036854775807", "-9223372036854775808")),
    ("oid", _some("0", "4294967295")),
    ("xid8", _some("0", "18446744073709551615")),
    ("numeric", _numerics),
    ("numeric(20,4)", _numerics),
    ("numeric(3,-2)", _some("12345", "0", "-99900")),
    ("real", _floats),
    ("double precision", _doubles),
    ("money", _some("0", "-1234567.89", "92233720368547758.07")),
    ("text", texts),
    ("character varying(8)", texts),
    ("character(4)", texts),
    ("name", texts),
    ('"char"', _some("", "a", "\\200", "\\377", "\\\\")),
    ("bytea", _bytes),
    ("date", _dates),
    ("timestamp without time zone", _timestamps),
    ("timestamp with time zone", _timestamps),
    # The last moment would be rounded up to one that PostgreSQL itself cannot read back.
    ("timestamp(2) with time zone", _timestamps.filter(lambda text: not text.startswith("294276"))),
    ("time without time zone", _times),
    ("time with time zone", _offset_times),
    ("interval", _intervals),
    ("interval day to second", _intervals),
    ("uuid", st.uuids().map(str)),
    ("inet", _some("10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::/32")),
    ("cidr", _some("10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0")),
    ("macaddr", _some("08:00:2b:01:02:03")),
    ("macaddr8", _some("08:00:2b:01:02:03:04:05")),
    ("bit(3)", _some("101", "000")),
    ("bit varying", _some("", "1", "10101010101")),
    ("jsonb", _jsonb_texts),
    ("tsvector", _some("", "'a':1A,2 'b c'", "'\\\\x' 'it''s':3")),
    ("pg_lsn", _some("0/0", "16/B374D848")),
    ("integer[]", arrays(_ints)),
    ("text[]", arrays(texts)),
    ("numeric[]", arrays(_numerics)),
    ("real[]", arrays(_floats)),
    ("double precision[]", arrays(_doubles)),
    ("boolean[]", arrays(_some("t", "f"))),
    ("bytea[]", arrays(_bytes)),
    ("date[]", arrays(_dates)),
    ("timestamp with time zone[]", arrays(_timestamps)),
    ("interval[]", arrays(_intervals)),
    ("uuid[]", arrays(st.uuids().map(str))),
    ("jsonb[]", arrays(_jsonb_texts)),
    ("money[]", arrays(_some("0", "-1234567.89"))),
    ("int4range", _int_ranges),
    ("numrange", ranges("[1.0,1.00]", "[1,2.50)", "[NaN,NaN]")),
    ("daterange", _date_ranges),
    ("tsrange", _timestamp_ranges),
    ("tstzrange", _timestamp_ranges),
    ("int4range[]", arrays(_int_ranges)),
    ("int4multirange", _multiranges(_int_ranges)),
    ("tstzmultirange", _multiranges(_timestamp_ranges)),
)

_BUILT_IN_UNORDERED: Sequence[tuple[str, Literals]] = (
    ("json", _json_texts),
    ("json[]", arrays(_json_texts)),
    ("jsonpath", _some("$.a[*] ? (@ > 1)", 'strict $."x y"')),
    ("xid", _some("0", "4294967295")),
    ("pg_snapshot", _some("10:20:10,14,15", "1:1:")),
    ("int2vector", _some("", "1 2 3")),
    ("oidvector", _some("", "1 2 3")),
    ("regclass", _some("pg_class", "0", "99999999", "pg_catalog.pg_type")),
    ("regtype", _some("integer", "character varying", "kinds.mood")),
    ("regclass[]", arrays(_some("pg_class", "0"))),
    ("point", _points),
    ("lseg", _some("[(0,-0),(1,1e-300)]")),
    ("line", _some("{1,-1,0.1}")),
    ("box", _some("(1,1),(-0,0)", "(0.1,0.30000000000000004),(-1,-1)")),
    ("path", _some("[(0,0),(1,-0)]", "((0,0),(1,1),(2,0.1))")),
    ("polygon", _some("((0,0),(1,1),(2,0.1))")),
    ("circle", _some("<(0.1,-0),1e-30>")),
    ("point[]", arrays(_points)),
    ("box[]", arrays(_some("(1,1),(-0,0)"), ";")),
)

_USERS: Sequence[tuple[str, Literals, bool]] = (
    ("kinds.mood", _moods, True),
    ("kinds.mood[]", arrays(_moods), True),
    ("kinds.positive", _some("1", "7", "32767"), True),
    ("kinds.more_positive", _some("1", "7"), True),
    ("kinds.score", _doubles, True),
    ("kinds.score[]", arrays(_doubles), True),
    ("kinds.document", _jsonb_texts, True),
    ("kinds.document[]", arrays(_jsonb_texts), True),
    ("kinds.source", _json_texts, False),
    ("kinds.source[]", arrays(_json_texts), False),
    ("kinds.numbers", arrays(_ints), True),
    ("kinds.numbers[]", arrays(arrays(_ints)), True),
    ("kinds.documents", arrays(_jsonb_texts), True),
    ("kinds.address", texts, True),
    ("kinds.couple", _pairs, True),
    ("kinds.inner_pair", _inner_pairs, True),
    ("kinds.inner_pair[]", arrays(_inner_pairs), True),
    ("kinds.pair", _pairs, True),
    ("kinds.pair[]", arrays(_pairs), True),
    ("kinds.floatrange", ranges("[-0,0]", "[0.1,0.30000000000000004)", "[NaN,NaN]"), True),
    ("kinds.floatrange[]", arrays(ranges("[-0,0]", "[0.1,1)")), True),
    ("kinds.moodrange", ranges("[sad,ok]"), True),
    ("kinds.citext", texts, True),
    ("kinds.citext[]", arrays(texts), True),
    ("kinds.hstore", _some("", "a=>1", '"a b"=>NULL, c=>"\\""', "A=>NULL"), True),
    ("kinds.ltree", _some("a.b.c", ""), True),
    ("kinds.cube", _some("(0.1,-0)", "(1),(2)"), True),
)

_XML: Sequence[tuple[str, Literals]] = (
    (
        "xml",
        _some(
            "<a/>", "text", '<?xml version="1.0" encoding="UTF-8"?><a  b="1"/>', '<?xml version="1.1"?><a/>', "", "&lt;"
        ),
    ),
    ("xml[]", arrays(_some("<a/>", '<?xml version="1.0" encoding="UTF-8"?><a>"</a>'))),
)

KINDS: Sequence[Kind] = (
    *(Kind(name, literals) for name, literals in _BUILT_IN),
    *(Kind(name, literals, ordered=False) for name, literals in _BUILT_IN_UNORDERED),
    *(Kind(name, literals, ordered=ordered) for name, literals, ordered in _USERS),
)

# Not every server is built with libxml.
XML_KINDS: Sequence[Kind] = tuple(Kind(name, literals, ordered=False) for name, literals in _XML)


def available(connection: psycopg.Connection[Any]) -> Sequence[Kind]:
    """The kinds this server has."""
    try:
        connection.execute("select '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return KINDS
    return (*KINDS, *XML_KINDS)
