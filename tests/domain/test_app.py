"""Declaring watches, rules and handlers: what cannot be is said at once, with the cure."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rowcall import Event, Rowcall, errors


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    __table_args__ = ({"schema": "shop"},)
    id: Mapped[int] = mapped_column(primary_key=True)


def nothing(event: Event) -> None: ...


def test_names_of_handlers_default_to_where_they_are() -> None:
    app = Rowcall()

    @app.before("users")
    def check(event: Event) -> None: ...

    @app.after("users")
    async def follow(event: Event) -> None: ...

    assert app.before_handlers[0].name == "check"
    assert app.after_handlers[0].name == f"{__name__}.{follow.__qualname__}"
    assert app.after_handlers[0].is_async


def test_where_a_subscription_begins() -> None:
    app = Rowcall()
    app.after("users")(nothing)
    app.after("users", name="all", start="beginning")(nothing)
    app.after("users", name="rows", start="backfill", on=["insert", "snapshot"])(nothing)
    assert [handler.start for handler in app.after_handlers] == ["now", "beginning", "backfill"]
    start: Any = "yesterday"
    with pytest.raises(errors.HandlerError, match="start='yesterday' must be one of now, beginning, backfill."):
        app.after("users", name="other", start=start)(nothing)
    with pytest.raises(errors.HandlerError, match='as snapshot events: add "snapshot" to on=.'):
        app.after("users", name="other", start="backfill", on="insert")(nothing)


def test_a_model_is_a_table() -> None:
    app = Rowcall()
    app.watch(User)
    app.after(User)(nothing)
    app.rule(User.__table__, "positive", "new.id > 0")
    assert app.watches[0].table == app.after_handlers[0].selector.subject == app.rules[0].table == '"shop"."users"'


class Caller:
    def __call__(self, event: Event) -> None: ...


class AsyncCaller:
    async def __call__(self, event: Event) -> None: ...


def test_callables_that_are_no_functions_can_be_handlers_too() -> None:
    app = Rowcall()
    app.after("users")(Caller())
    app.after("users")(AsyncCaller())
    app.after("users", name="partial")(functools.partial(nothing))
    app.before("users")(Caller())
    names = [handler.name for handler in app.after_handlers]
    assert names == [f"{__name__}.Caller", f"{__name__}.AsyncCaller", "partial"]
    assert [handler.is_async for handler in app.after_handlers] == [False, True, False]
    assert app.before_handlers[0].name == "Caller"


def test_everything_a_handler_asks_for_by_name_is_noted() -> None:
    app = Rowcall()

    def handler(events: list[Event], conn: Any, session: Any, extra: int = 1, *rest: Any, **more: Any) -> None: ...

    app.after("users")(handler)
    assert app.after_handlers[0].parameters == ("events", "conn", "session")
    assert app.after_handlers[0].batch == 100


def unknown(event: Event, request: Any) -> None: ...
def both(event: Event, events: list[Event]) -> None: ...
def positional(event: Event, /) -> None: ...
def with_conn(event: Event, conn: Any) -> None: ...
def generator(event: Event) -> Iterator[None]:
    yield


async def async_generator(event: Event) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (unknown, {}, "'request', which nobody can supply: name its parameters event, events, conn, session"),
        (positional, {}, "'event', which nobody can supply"),
        (both, {}, "asks for event and events: ask for one of them"),
        (nothing, {"batch": 5}, "needs a parameter named events"),
        (nothing, {"on": "upsert"}, "choose from insert, update, delete"),
        (nothing, {"subject": "a b"}, "is not the name of a table"),
        (generator, {}, "is a generator, which would never run: return instead of yield"),
        (async_generator, {}, "is a generator, which would never run"),
        (3, {}, "3 cannot be called: register a function"),
        (dict, {}, "signature cannot be read"),
    ],
)
def test_after_handlers_that_cannot_be(function: Any, options: dict[str, Any], sentence: str) -> None:
    app = Rowcall()
    with pytest.raises(errors.UsageError, match=sentence):
        app.after(options.pop("subject", "users"), **options)(function)
    assert not app.after_handlers


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (with_conn, {}, "'conn', which nobody can supply: name its parameters event"),
        (nothing, {"timeout": 0}, r"timeout=0 must be from 0\.001 to 60 seconds"),
        (nothing, {"timeout": -1}, "must be from"),
        (nothing, {"timeout": float("nan")}, "must be from"),
        (nothing, {"timeout": float("inf")}, "must be from"),
        (nothing, {"timeout": 1e9}, "must be from"),
        (nothing, {"on_unavailable": "maybe"}, '"reject" or "accept"'),
        (nothing, {"on": "truncate"}, "choose from insert, update, delete"),
        (nothing, {"subject": "shop.*"}, "is a pattern; name one table"),
        (generator, {}, "is a generator"),
    ],
)
def test_before_handlers_that_cannot_be(function: Any, options: dict[str, Any], sentence: str) -> None:
    app = Rowcall()
    with pytest.raises(errors.UsageError, match=sentence):
        app.before(options.pop("subject", "users"), **options)(function)
    assert not app.before_handlers


@pytest.mark.parametrize(
    ("expression", "on", "operations"),
    [
        ("new.age >= 18", None, ("insert", "update")),
        ("new.age >= old.age", None, ("update",)),
        ("old.locked is not true", None, ("update", "delete")),
        ("NEW . age > 0", "insert", ("insert",)),
        ("new.note <> 'old.'", None, ("insert", "update")),
    ],
)
def test_a_rule_is_checked_where_the_rows_it_speaks_of_exist(
    expression: str, on: str | None, operations: tuple[str, ...]
) -> None:
    app = Rowcall()
    app.rule("users", "r", expression, on=on)
    assert app.rules[0].operations == operations


@pytest.mark.parametrize(
    ("name", "expression", "on", "sentence"),
    [
        ("r", "age > 18", None, "mentions neither old nor new: write for example 'new.age >= 18'"),
        ("r", "golden.age > 18", None, "mentions neither"),
        ("r", "'new.age' = 'x'", None, "mentions neither"),
        ("r", "old.age > 18", "insert", "not possible here: choose from update, delete"),
        ("r", 42, None, "int is no condition: write SQL text such as"),
        ("", "new.age > 18", None, "a rule needs a name"),
        ("a\0b", "new.age > 18", None, "a rule needs a name"),
    ],
)
def test_rules_that_cannot_be(name: str, expression: Any, on: str | None, sentence: str) -> None:
    with pytest.raises(errors.UsageError, match=sentence):
        Rowcall().rule("users", name, expression, on=on)


def twice(declare: Callable[[Rowcall], Any]) -> None:
    app = Rowcall()
    declare(app)
    declare(app)


@pytest.mark.parametrize(
    "declare",
    [
        lambda app: app.watch("users"),
        lambda app: app.rule("users", "r", "new.a > 1"),
        lambda app: app.before("users")(nothing),
        lambda app: app.after("users")(nothing),
    ],
)
def test_the_same_declared_twice_is_refused(declare: Callable[[Rowcall], Any]) -> None:
    with pytest.raises(errors.UsageError, match="of this app already: declare it once, or name it differently"):
        twice(declare)


def test_a_column_cannot_be_excluded_and_redacted() -> None:
    with pytest.raises(errors.UsageError, match="ssn cannot be excluded and redacted at once"):
        Rowcall().watch("users", exclude=["ssn", "x"], redact="ssn")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"truncate": "never"}, "truncate='never' is not possible: choose from event, rows, forbid."),
        ({"truncate": None}, "truncate=None is not possible: choose from event, rows, forbid."),
        (
            {"operations": "upsert"},
            "operations='upsert' is not possible here: choose from insert, update, delete, truncate.",
        ),
        (
            {"operations": ["insert", "INSERT"]},
            "operations=['insert', 'INSERT'] is not possible here: choose from insert, update, delete, truncate.",
        ),
        ({"operations": []}, "operations=[] is not possible here: choose from insert, update, delete, truncate."),
    ],
)
def test_options_of_a_watch_that_cannot_be(options: dict[str, Any], sentence: str) -> None:
    app = Rowcall()
    with pytest.raises(errors.UsageError) as caught:
        app.watch("users", **options)
    assert str(caught.value) == sentence
    assert not app.watches


@pytest.mark.parametrize("module", ["rowcall", "rowcall.cli.main"])
def test_importing_rowcall_loads_neither_sqlalchemy_nor_alembic(module: str) -> None:
    import subprocess
    import sys

    code = f"import sys, {module}; sys.exit(bool({{'sqlalchemy', 'alembic'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
