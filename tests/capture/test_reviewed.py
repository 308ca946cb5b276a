"""Writes that capture once failed, events that it lost or put in the wrong order, and values it noted as they were not."""

import psycopg
import pytest

from tests.capture.conftest import Place, takes_long

# The deepest value that can be made, found by halves.
_DEEPEST = """
do $$ declare least integer := 100; most integer := 6000; middle integer;
begin
  while most - least > 1 loop
    middle := (least + most) / 2;
    begin insert into deep values (middle, nest(middle)); least := middle; exception when statement_too_complex then most := middle; end;
  end loop;
end $$
"""


def test_a_value_as_deep_as_it_can_be_made(place: Place) -> None:
    """To be read as JSON it takes more of the stack than to be put together, and in a trigger there is less of it."""
    place.run(
        "set max_stack_depth = '300kB'",
        "create table deep (id integer primary key, j jsonb)",
        "create function nest(depth integer) returns jsonb language plpgsql as $$ declare nested jsonb := '1';"
        " begin for i in 1..depth loop nested := jsonb_build_array(nested); end loop; return nested; end $$",
        _DEEPEST,
    )
    place.table("id integer primary key, j jsonb")
    place.run(
        "insert into t select * from deep order by id desc limit 3",
        "insert into t select * from deep order by id limit 1",
        "update t set j = '1'",
        "update t set j = (select j from deep order by id desc limit 1)",
        "delete from t",
    )
    assert [event.operation for event in place.events()] == ["insert"] * 4 + ["update"] * 8 + ["delete"] * 4


_LONG = "array_fill(1e131071::numeric, array[8300])"


@takes_long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize(("kind", "value"), [("numeric[]", _LONG), ("jsonb", f"to_jsonb({_LONG})")])
def test_a_small_value_whose_text_is_longer_than_a_gigabyte(
    place: Place, kind: str, value: str, partitioned: bool
) -> None:
    definition = f"id integer primary key, x {kind}, v text"
    if partitioned:
        place.run(f"create table t ({definition}) partition by range (id)", "create table leaf partition of t default")
        place.watch("t")
    else:
        place.table(definition)
    place.run("insert into t values (1, null, 'a')", f"update t set x = {value}", "delete from t")
    image = {"id": 1, "x": None, "v": "a", "": {"omitted": {"x": "too long"}}}
    assert [(operation, old, new) for operation, _, _, old, new in place.stored()[1:]] == [
        ("update", {"x": None}, image),
        ("delete", image, None),
    ]


@takes_long
@pytest.mark.timeout(300)
def test_two_images_that_are_too_big_for_one_event(place: Place) -> None:
    """Either fits in a gigabyte, the most that a row of the log can have, but not both of them."""
    place.table("id integer primary key, a text, v text")
    place.run(
        "insert into t values (1, '', 'v')",
        # As JSON each of these is six characters.
        "update t set a = repeat(chr(1), 100000000)",
        "update t set a = repeat(chr(2), 100000000)",
    )
    digests = place.rows(
        "select 'sha256:' || encode(sha256(convert_to(repeat(chr(c), 100000000), 'UTF8')), 'hex') from (values (1), (2)) as v (c)"
    )
    (one,), (two,) = digests
    _, _, (_, key, _, old, new) = place.stored()
    assert key == {"id": 1}
    assert old == {"a": None, "": {"omitted": {"a": one}}}
    assert new == {"id": 1, "a": None, "v": "v", "": {"omitted": {"a": two}}}


@pytest.mark.parametrize(
    ("old", "new", "differing"),
    [
        ('{"a": null, "": {"omitted": {"a": "1"}}}', '{"a": null, "": {"omitted": {"a": "2"}}}', '{"a": null, "": {"omitted": {"a": "1"}}}'),
        ('{"a": null, "": {"omitted": {"a": "1"}}}', '{"a": null, "": {"omitted": {"a": "1"}}}', "{}"),
        ('{"a": null}', '{"a": null, "": {"omitted": {"a": "2"}}}', '{"a": null}'),
        ('{"a": null, "": {"omitted": {"a": "too long"}}}', '{"a": null, "": {"omitted": {"a": "too long"}}}',
         '{"a": null, "": {"omitted": {"a": "too long"}}}'),
        ('{"a": 1, "b": 0, "": {"exact": {"b": "-0"}}}', '{"a": 1, "b": 0}', '{"b": 0, "": {"exact": {"b": "-0"}}}'),
    ],
)  # fmt: skip
def test_what_there_is_no_room_for_differs_by_its_hash(place: Place, old: str, new: str, differing: str) -> None:
    """Or an update from one such value to another would be no event."""
    assert place.value("select rowcall.differing_v1(%s, %s) = %s", old, new, differing)


@pytest.mark.parametrize(
    ("columns", "sound"),
    [
        ("id integer primary key, n numeric, v text, at timestamptz, j json, tags text[], r int4range", True),
        ("id integer primary key, j jsonb", False),
        ("id integer primary key, n numeric[]", False),
        ("id integer primary key, r numrange[]", False),
        ("id integer primary key, r nummultirange", False),
        ("id integer primary key, q tsquery", False),
    ],
)
def test_which_types_need_no_block_that_catches_errors(place: Place, columns: str, sound: bool) -> None:
    place.run(f"create table t ({columns})")
    assert place.value("select rowcall.is_sound_v1('t'::regclass, '{}')") is sound


def test_dates_do_not_depend_on_the_sessions_settings(place: Place) -> None:
    """Where they are noted as text, or hashed."""
    place.run("create domain days as date[]")
    place.table("id integer primary key, ds date[], dr date, tr timestamp, lists days[]", redact=["dr", "tr"])
    for id_, style in enumerate(("ISO, MDY", "SQL, DMY", "German")):
        # Written in a form that every setting reads the same.
        place.run(
            f"set datestyle = '{style}'",
            f"insert into t values ({id_}, '[0:0]={{2024-02-01}}', '2024-02-01', '2024-02-01 10:00', array['{{2024-02-01}}']::days[])",
            f"update t set ds = null, dr = null, lists = null where id = {id_}",
        )
    inserts = [event.new or {} for event in place.events() if event.operation == "insert"]
    assert len({str(new | {"id": None}) for new in inserts}) == 1
    olds = place.rows("select old::text from rowcall.event where operation = 'update' and relation ="
                      " (select id from rowcall.relation where oid = 't'::regclass)")  # fmt: skip
    assert len(set(olds)) == 1


def test_nor_do_columns_that_code_was_not_generated_for(place: Place) -> None:
    place.table("id integer primary key", truncate="rows", notify=True)
    place.run("alter event trigger rowcall_follow_ddl disable")
    try:
        place.run("alter table t add f float8, add i interval, add b bytea, add ds date[]")
    finally:
        place.run("alter event trigger rowcall_follow_ddl enable always")
    place.run(
        "set extra_float_digits = -15",
        "set intervalstyle = sql_standard",
        "set bytea_output = escape",
        "set datestyle = 'SQL, DMY'",
        "insert into t values (1, 0.1::float8 + 0.2::float8, interval '-1 day' + interval '2 hours', '\\x00ff', '[0:0]={2024-02-01}')",
        "truncate t",
    )
    (_, _, inserted), (_, deleted, _) = place.log()
    assert inserted == deleted
    assert str(inserted["f"]) == "0.30000000000000004"
    assert (inserted["i"], inserted["b"]) == ("-1 days +02:00:00", "\\x00ff")
    assert place.stored()[0][-1][""] == {"exact": {"ds": "[0:0]={2024-02-01}"}}


_DROPS = {
    "type": ("create type mood as enum ('a', 'b')", "m mood", "drop type mood cascade"),
    "domain": ("create domain mood as text", "m mood", "drop domain mood cascade"),
    "schema": ("create schema {0}_moods; create type {0}_moods.mood as enum ('a', 'b')", "m {0}_moods.mood", "drop schema {0}_moods cascade"),
    "attribute": ("create type rows as (id integer, v text, m text)", None, "alter type rows drop attribute m cascade"),
}  # fmt: skip


@pytest.mark.parametrize("drop", _DROPS)
def test_what_a_cascade_takes_of_ours_is_made_anew(place: Place, drop: str) -> None:
    """The trigger of a watch with "columns" depends on each of them, and goes with it."""
    before, column, after = _DROPS[drop]
    place.run(before.format(place.schema))
    if column is None:
        place.run("create table t of rows (primary key (id))")
    else:
        place.run(f"create table t (id integer primary key, v text, {column.format(place.schema)})")
    place.watch("t", columns=["v", "m"])
    place.run("insert into t values (1, 'a', 'a')", after.format(place.schema), "update t set v = 'b'", "delete from t")
    assert place.log() == [
        ("insert", None, {"id": 1, "v": "a", "m": "a"}),
        ("update", {"id": 1, "v": "a"}, {"id": 1, "v": "b"}),
        ("delete", {"id": 1, "v": "b"}, None),
    ]
    assert place.value("select rowcall.capture_is_current_v1(id) from rowcall.relation where oid = 't'::regclass")


def test_a_function_that_a_condition_calls_is_not_dropped_unnoticed(place: Place) -> None:
    place.run("create function wanted(integer) returns boolean immutable language sql as 'select true'")
    place.table("id integer primary key", when=f'"{place.schema}".wanted(new.id)')
    notices: list[str] = []
    place.connection.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
    place.run("drop function wanted cascade")
    assert any("the capture of t was not generated anew" in notice for notice in notices)


@pytest.mark.parametrize("trigger", ["before", "after"])
def test_rows_that_one_statement_inserts_and_its_other_triggers_change(place: Place, trigger: str) -> None:
    made = "create trigger add_up after insert on items for each row execute function add_up()"
    place.run(
        "create table orders (id integer primary key, total integer not null default 0)",
        "create table items (id integer primary key, of integer references orders, price integer)",
        "create function add_up() returns trigger language plpgsql as $$"
        " begin update orders set total = total + new.price where id = new.of; return null; end $$",
        *([made] if trigger == "before" else []),
    )
    place.watch("orders")
    place.run(
        *([made] if trigger == "after" else []),
        "with o as (insert into orders values (1), (2) returning id) insert into items select id, id, 10 from o",
    )
    assert [event.operation for event in place.events("orders")] == ["insert", "update"] * 2
    place.assert_replayed("orders")


@pytest.mark.parametrize("option", ["exclude", "redact"])
def test_no_value_is_committed_in_the_clear_once_it_is_declared_secret(place: Place, option: str) -> None:
    place.table("id integer primary key, ssn text")
    with psycopg.connect(place.dsn, options=f"-c search_path={place.schema}") as writer:
        writer.execute("insert into t values (1, 'secret')")
        with pytest.raises(psycopg.errors.LockNotAvailable), place.connection.transaction():
            place.run("set local lock_timeout = '50ms'")
            place.watch("t", **{option: ["ssn"]})
    place.watch("t", **{option: ["ssn"]})
    place.watch("t", **{option: ["ssn"]})
