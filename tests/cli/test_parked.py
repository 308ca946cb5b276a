"""`rowcall parked`, `retry` and `skip`: what failed, and what a person does about it."""

import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from rowcall import Event, Retry, Rowcall, resources
from rowcall.cli import parked as command
from rowcall.listener import daemon, sleep
from rowcall.listener.parked import Parked, ParkedKeys
from rowcall.postgres import connection as connections
from rowcall.postgres.parked import Lines
from tests.command import fine, refused, rowcall, typed
from tests.listeners import drain, is_asleep, listening, sync
from tests.waiting import eventually

Database = psycopg.Connection[Any]

REFUSE_TO_PARK = """
create function refuse() returns trigger language plpgsql as $$ begin raise 'parked'; end $$;
create trigger refuse before insert on rowcall.parked for each row execute function refuse();
"""

#: Long before a sleeper looks by itself, let alone before the next attempt.
SOON = sleep.BACKSTOP / 3


class Handler:
    """Notes the ages it sees; fails for those over its limit, to be tried again in an hour."""

    def __init__(self) -> None:
        self.ages: list[int] = []
        self.limit = 10

    def __call__(self, event: Event) -> None:
        age = event.new["age"] if event.new else 0
        if age > self.limit:
            raise Retry(f"{age} is too old", delay=3600)
        self.ages.append(age)


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def app(dsn: str, database: Database, handler: Handler, monkeypatch: pytest.MonkeyPatch) -> Rowcall:
    monkeypatch.setattr(daemon, "DRAIN_PATIENCE", 0.0)
    made = Rowcall()
    made.watch("users")
    made.after("users", name="reader")(handler)
    sync(made, dsn)
    return made


def write(database: Database, *rows: tuple[int, int]) -> list[int]:
    """Give users an age, and say where in the log that is."""
    statement = "insert into users values (%s, 'x', %s) on conflict (id) do update set age = excluded.age"
    for row in rows:
        database.execute(statement, row)
    found = database.execute("select seq from rowcall.event order by seq desc limit %s", (len(rows),)).fetchall()
    return sorted(seq for (seq,) in found)


def parked(dsn: str, *arguments: str) -> list[dict[str, Any]]:
    return fine("parked", *arguments, "--dsn", dsn).lines


def seqs(lines: list[dict[str, Any]]) -> list[int]:
    return [line["seq"] for line in lines]


def bury(database: Database, seq: int) -> None:
    database.execute("update rowcall.parked set dead = true, attempts = 10 where seq = %s", (seq,))


def rest(database: Database) -> list[tuple[int, int, bool, bool]]:
    """Seq, attempts, death, and whether it is due, of what is parked."""
    return database.execute("select seq, attempts, dead, due_at <= now() from rowcall.parked order by seq").fetchall()


def test_what_is_set_aside(dsn: str, database: Database, app: Rowcall) -> None:
    assert parked(dsn) == []
    before = datetime.now(UTC)
    first, _, second, *_ = write(database, (1, 11), (2, 2), (3, 13), (3, 3), (3, 4))
    drain(app, dsn)
    [one, other] = parked(dsn)
    assert tuple(one) == command.PARKED_COLUMNS
    assert one == {
        "subscription": "reader",
        "seq": first,
        "table": "public.users",
        "operation": "insert",
        "key": {"id": 1},
        "attempts": 1,
        "next_attempt": one["next_attempt"],
        "dead": False,
        "error": "Retry: 11 is too old",
        "since": one["since"],
        "behind": 0,
    }
    assert (other["seq"], other["behind"]) == (second, 2)
    since, due = datetime.fromisoformat(one["since"]), datetime.fromisoformat(one["next_attempt"])
    assert before < since < datetime.now(UTC)
    assert timedelta(minutes=59) < due - since < timedelta(minutes=61)
    bury(database, second)
    [dead] = parked(dsn, "reader", "--dead")
    assert (dead["seq"], dead["dead"], dead["next_attempt"], dead["attempts"]) == (second, True, None, 10)
    assert seqs(parked(dsn, "--waiting")) == [first]
    assert seqs(parked(dsn, "reader")) == [first, second]


def test_of_one_subscription_or_all(dsn: str, database: Database, app: Rowcall) -> None:
    app.after("users", name="another")(Handler())
    sync(app, dsn)
    [seq] = write(database, (1, 11))
    drain(app, dsn)
    assert [(line["subscription"], line["seq"]) for line in parked(dsn)] == [("another", seq), ("reader", seq)]
    assert [line["subscription"] for line in parked(dsn, "reader")] == ["reader"]
    assert fine("skip", "another", "--seq", str(seq), "--yes", "--dsn", dsn).out
    assert [line["subscription"] for line in parked(dsn)] == ["reader"]
    assert parked(dsn, "reader", "--skipped") == []
    assert [line["subscription"] for line in parked(dsn, "another", "--skipped")] == ["another"]


def test_the_table(dsn: str, database: Database, app: Rowcall) -> None:
    assert fine("parked", "--format", "table", "--dsn", dsn).out == "nothing\n"
    database.execute("update rowcall.subscription set name = 'some.rather.long.module.name.of_a_handler'")
    app.after_handlers.clear()
    app.after("users", name="some.rather.long.module.name.of_a_handler")(Handler())
    first, second, _ = write(database, (1, 11), (2, 12), (2, 13))
    drain(app, dsn)
    bury(database, second)
    out = fine("parked", "--format", "table", "--dsn", dsn, COLUMNS="80").out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert out.split()[:7] == ["subscription", "seq", "event", "tried", "next", "behind", "error"]
    name = "some.rather.long.module.name.of_a_handler"
    out = fine("parked", name, "--format", "table", "--dsn", dsn, COLUMNS="80").out
    assert [line.split() for line in out.splitlines()] == [
        ["seq", "event", "tried", "next", "behind", "error"],
        [str(first), "insert", "users", "1", "1", "60", "min", "Retry:", "11", "is", "too", "old"],
        [str(second), "insert", "users", "2", "10", "dead", "1", "Retry:", "12", "is", "too", "old"],
    ]
    fine("skip", name, "--seq", str(second), "--yes", "--dsn", dsn)
    out = fine("parked", name, "--skipped", "--format", "table", "--dsn", dsn, COLUMNS="80").out
    assert out.split()[:5] == ["seq", "event", "skipped", "by", "error"]
    assert f"{second}  insert users 2  0 s ago  postgres  Retry: 12 is too old" in " ".join(out.splitlines())
    for form in ("json", "csv"):
        assert len(fine("parked", "--format", form, "--dsn", dsn).out.splitlines()) == 2 + (form == "csv")


def test_a_long_table_ends(dsn: str, database: Database, app: Rowcall) -> None:
    write(database, *[(key, 11) for key in range(60)])
    drain(app, dsn)
    said = fine("parked", "--format", "table", "--dsn", dsn, COLUMNS="100")
    assert said.out.count("insert users") == 50
    assert said.err == "The first 50 of 60; --format jsonl shows all.\n"


def test_retry_makes_due_what_it_names(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    one, two, three = write(database, (1, 11), (2, 12), (3, 13))
    drain(app, dsn)
    bury(database, two)
    said = fine("retry", "reader", "--seq", str(two), "--yes", "--dsn", dsn)
    assert said.out == (
        "1 event of reader is due now.\nNo listener has it at this moment: rowcall listen does the rest.\n"
    )
    # A dead letter starts anew; what waits goes on with the attempts it has.
    assert rest(database) == [(one, 1, False, False), (two, 0, False, True), (three, 1, False, False)]
    fine("retry", "reader", "--seq", str(one), "--seq", str(three), "--yes", "--dsn", dsn)
    assert rest(database) == [(one, 1, False, True), (two, 0, False, True), (three, 1, False, True)]
    handler.limit = 99
    drain(app, dsn)
    assert handler.ages == [11, 12, 13]


def test_retry_by_key(dsn: str, database: Database, app: Rowcall) -> None:
    one, two = write(database, (1, 11), (2, 12))
    database.execute("update users set id = 3, age = 9 where id = 2")
    database.execute("update users set age = 8 where id = 3")
    drain(app, dsn)
    # The row is held up by what it was under its former key.
    for key in ("2", "id=3", '{"id": 3}'):
        database.execute("update rowcall.parked set due_at = now() + interval '1 hour' where attempts > 0")
        said = fine("retry", "reader", "--key", key, "--table", "users", "--yes", "--dsn", dsn)
        assert said.out.startswith("1 event of reader is due now.")
        assert [(seq, due) for seq, _, _, due in rest(database)][:2] == [(one, False), (two, True)]
    assert parked(dsn)[1]["behind"] == 2
    arguments = ("retry", "reader", "--key", "4", "--table", "users", "--yes", "--dsn", dsn)
    assert refused(1, *arguments) == (
        'Nothing with the key {"id":4} is set aside by reader: "rowcall parked" lists what is.'
    )


def test_retry_all(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    _, two, *_ = write(database, (1, 11), (2, 12), (1, 1), (2, 2))
    drain(app, dsn)
    bury(database, two)
    said = fine("retry", "reader", "--all", "--yes", "--dsn", dsn)
    assert said.out.startswith("2 events of reader are due now.")
    handler.limit = 99
    drain(app, dsn)
    # Each of their rows in order.
    assert sorted(handler.ages) == [1, 2, 11, 12]
    assert handler.ages.index(11) < handler.ages.index(1)
    assert handler.ages.index(12) < handler.ages.index(2)
    arguments = ("retry", "reader", "--all", "--yes", "--dsn", dsn)
    assert refused(1, *arguments) == 'Nothing is set aside by reader: "rowcall parked" lists what is.'


def test_skip_lets_later_events_of_the_row_go(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    one, two, _ = write(database, (1, 11), (2, 12), (2, 2))
    drain(app, dsn)
    assert handler.ages == []
    said = fine("skip", "reader", "--seq", str(two), "--yes", "--dsn", dsn)
    assert said.out == "reader skipped 1 event: rowcall parked --skipped keeps the record.\n"
    drain(app, dsn)
    assert handler.ages == [2]
    assert seqs(parked(dsn)) == [one]
    [skipped] = parked(dsn, "--skipped")
    assert tuple(skipped) == command.SKIPPED_COLUMNS
    assert skipped | {"since": None, "skipped_at": None} == {
        "subscription": "reader",
        "seq": two,
        "table": "public.users",
        "operation": "insert",
        "key": {"id": 2},
        "attempts": 1,
        "error": "Retry: 12 is too old",
        "since": None,
        "skipped_by": "postgres",
        "skipped_at": None,
    }
    assert datetime.fromisoformat(skipped["skipped_at"]) > datetime.fromisoformat(skipped["since"])


def test_a_truncate_that_waits_and_is_skipped(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    [first] = write(database, (1, 11))
    database.execute("truncate users")
    write(database, (2, 2))
    drain(app, dsn)
    assert [(line["seq"], line["behind"]) for line in parked(dsn)] == [(first, 2)]
    fine("skip", "reader", "--seq", str(first + 1), "--yes", "--dsn", dsn)
    [skipped] = parked(dsn, "--skipped")
    assert (skipped["operation"], skipped["key"], skipped["attempts"], skipped["error"]) == ("truncate", None, 0, None)
    drain(app, dsn)
    assert handler.ages == [2]


def test_what_is_not_there_is_neither_tried_nor_skipped(dsn: str, database: Database, app: Rowcall) -> None:
    one, later = write(database, (1, 11), (1, 1))
    drain(app, dsn)
    before = rest(database)
    for name in ("retry", "skip"):
        arguments = (name, "reader", "--yes", "--dsn", dsn, "--seq", str(one))
        said = refused(1, *arguments, "--seq", "998")
        assert said == 'Event 998 is not set aside by reader: "rowcall parked" lists what is.'
        assert refused(1, *arguments, "--seq", "998", "--seq", "999").startswith("Events 998, 999 are not set aside")
    assert refused(1, "retry", "reader", "--seq", str(later), "--yes", "--dsn", dsn) == (
        f"Event {later} of reader waits behind event {one} and was not tried yet: retry or skip that one."
    )
    assert rest(database) == before
    assert parked(dsn, "--skipped") == []


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["parked", "nobody"], 'There is no subscription nobody: "rowcall subscriptions" lists them.'),
        (["retry", "nobody", "--all"], 'There is no subscription nobody: "rowcall subscriptions" lists them.'),
        (["skip", "nobody", "--seq", "1"], 'There is no subscription nobody: "rowcall subscriptions" lists them.'),
        (["parked", "--dead", "--waiting"], "list different events: give one of them."),
        (["parked", "--dead", "--skipped"], "list different events: give one of them."),
        (["retry", "reader"], "Say what to retry, in one way: --seq N, --key K --table T, or --all."),
        (["retry", "reader", "--all", "--seq", "1"], "Say what to retry, in one way"),
        (["retry", "reader", "--key", "1"], "--key and --table go together"),
        (["retry", "reader", "--all", "--table", "users"], "--key and --table go together"),
        (["retry", "reader", "--key", "x", "--table", "users"], "'x' is no integer, which id of the table's key is."),
        (["retry", "reader", "--key", "1", "--table", "nothing"], "The log knows no table nothing"),
        (["skip", "reader"], "Missing option '--seq': \"rowcall skip --help\" shows what it takes."),
        (["skip", "reader", "--seq", "0"], '"rowcall skip --help" shows what it takes.'),
        (["skip", "reader", "--seq", str(2**63)], '"rowcall skip --help" shows what it takes.'),
    ],
)
def test_wrong_arguments(dsn: str, arguments: list[str], sentence: str) -> None:
    yes = ["--yes"] if arguments[0] != "parked" else []
    assert sentence in refused(2, *arguments, *yes, "--dsn", dsn)


def test_they_ask_first(dsn: str, database: Database, app: Rowcall) -> None:
    seq = str(write(database, (1, 11))[0])
    drain(app, dsn)
    questions = {
        ("retry", "reader", "--all"): "1 event of reader will be handled again.",
        ("skip", "reader", "--seq", seq): "reader will never handle 1 event.",
    }
    before = rest(database)
    for arguments, question in questions.items():
        said = refused(2, *arguments, "--dsn", dsn)
        assert said == f"{question} Nobody is here to answer: pass --yes if you mean it."
        at_terminal = typed("n\n", *arguments, "--dsn", dsn)
        assert at_terminal.code == 1
        assert question in at_terminal.out
        assert rest(database) == before
    for arguments in questions:
        assert typed("y\n", *arguments, "--dsn", dsn).code == 0
    assert rest(database) == []


def test_a_listener_notices_a_retry_at_once(dsn: str, database: Database, app: Rowcall, handler: Handler) -> None:
    with capture_logs(), listening(app, dsn):
        one, two = write(database, (1, 11), (2, 12))
        eventually(lambda: len(rest(database)) == 2)
        bury(database, two)
        handler.limit = 99
        said = fine("retry", "reader", "--all", "--yes", "--dsn", dsn)
        assert said.out == "2 events of reader are due now.\n"
        eventually(lambda: sorted(handler.ages) == [11, 12], SOON)
        eventually(lambda: rest(database) == [])
    assert one < two


def test_a_sleeping_listener_notices_a_skip_at_once(
    dsn: str, database: Database, app: Rowcall, handler: Handler
) -> None:
    with capture_logs(), listening(app, dsn):
        one, _, _ = write(database, (1, 11), (1, 2), (1, 3))
        eventually(lambda: len(rest(database)) == 3)
        eventually(lambda: is_asleep(database))
        fine("skip", "reader", "--seq", str(one), "--yes", "--dsn", dsn)
        eventually(lambda: handler.ages == [2, 3], SOON)
        [other] = write(database, (2, 12))
        eventually(lambda: [row[0] for row in rest(database)] == [other])
        fine("skip", "reader", "--seq", str(other), "--yes", "--dsn", dsn)
        # Nothing waits there any more, so what comes next is not set aside.
        database.execute(REFUSE_TO_PARK)
        write(database, (2, 4))
        eventually(lambda: handler.ages == [2, 3, 4], SOON)
    assert rest(database) == []


def test_an_event_that_is_skipped_while_it_is_tried(dsn: str, database: Database) -> None:
    """The record is right: what it wrote is rolled back, and the listener goes on."""
    at_work, go_on = threading.Event(), threading.Event()
    attempts: list[int] = []
    database.execute("create table seen (age int)")
    app = Rowcall()
    app.watch("users")

    @app.after("users", name="reader")
    def slow(event: Event, conn: Database) -> None:
        assert event.new
        conn.execute("insert into seen values (%s)", (event.new["age"],))
        if event.new["age"] > 10:
            attempts.append(event.new["age"])
            if len(attempts) == 1:
                raise Retry(delay=0)
            at_work.set()
            assert go_on.wait(10)

    sync(app, dsn)
    with capture_logs() as logs, listening(app, dsn):
        one, _ = write(database, (1, 11), (1, 2))
        assert at_work.wait(10)
        fine("skip", "reader", "--seq", str(one), "--yes", "--dsn", dsn)
        go_on.set()
        eventually(lambda: database.execute("select age from seen").fetchall() == [(2,)], SOON)
    assert "skipped or taken over while it was tried, so rolled back" in [log["event"] for log in logs]
    assert seqs(parked(dsn, "--skipped")) == [one]
    assert rest(database) == []


def test_they_agree_with_the_listener_about_what_is_next(dsn: str, database: Database, app: Rowcall) -> None:
    """Whatever is parked: the heads are those that the listener tries, and all others wait behind some of them."""
    del app
    chance = random.Random(4)
    row = database.execute("select id from rowcall.subscription").fetchone()
    assert row
    for _ in range(50):
        database.execute("truncate rowcall.parked")
        lines = Lines()
        for seq in range(1, chance.randint(2, 12)):
            key = chance.choice([None, *[f'{{"id": {number}}}' for number in range(4)] * 2])
            next_key = f'{{"id": {chance.randint(0, 3)}}}' if key and chance.random() < 0.3 else None
            relation = chance.randint(1, 2)
            lines.add(seq, relation, key.encode() if key else None, next_key.encode() if next_key else None)
            database.execute(
                "insert into rowcall.parked (subscription, seq, relation, key, next_key) values (%s, %s, %s, %s, %s)",
                (*row, seq, relation, key, next_key),
            )
        everything: dict[str, Any] = {"subscription": row[0], "lanes": list(range(16)), "after": 0}
        queries = resources.queries("delivery")
        behind_others, heads = ParkedKeys(), []
        for one in connections.raw_cursor(database).execute(queries["parked"], everything).fetchall():
            place = Parked(*one)
            heads += [] if behind_others.block(place) else [place.seq]
            behind_others.add(place)
        # Of heads that are not due yet, the listener waits for the soonest; what is behind one does not count.
        database.execute("update rowcall.parked set due_at = now() + (100 - seq) * interval '1 hour'")
        seconds = database.execute(queries["next_retry"], everything).fetchone()
        if heads:
            assert seconds
            assert round(100 - seconds[0] / 3600) == heads[-1]
        assert lines.all_heads() == heads
        behind = lines.behind()
        assert sorted(behind) == heads
        waiting = database.execute("select count(*) from rowcall.parked").fetchone()
        assert waiting
        assert sum(behind.values()) >= waiting[0] - len(heads)


def test_help_shows_an_example() -> None:
    for name in ("parked", "retry", "skip"):
        assert f"Example: rowcall {name} shop.events.project" in fine(name, "--help").out
    assert rowcall("skip").code == 2


@pytest.mark.parametrize("other", [b'{"id": 1.0}', b'{"id": 1.00}'])
def test_keys_that_are_equal_are_one_line(other: bytes) -> None:
    lines = Lines()
    lines.add(1, 7, b'{"id": 1}', None)
    lines.add(2, 7, other, None)
    lines.add(3, 7, b'{"id": 10}', other)
    lines.add(4, 7, b'{"id": 10}', None)
    assert lines.all_heads() == [1]
    assert lines.behind() == {1: 3}
