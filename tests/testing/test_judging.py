"""Before-handlers asked without a gate."""

import asyncio
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from rowcall import Event, Reject, Rowcall, errors
from rowcall.testing import judge, judge_async
from tests.conftest import Connect


@pytest.fixture
def app() -> Rowcall:
    app = Rowcall()

    @app.before("users")
    def lower(event: Event) -> dict[str, Any] | None:
        assert (event.seq, event.xid) == (None, None)
        return {"email": event.new["email"].lower()} if event.new else None

    @app.before("public.users", on="update", columns=["email"])
    async def check(event: Event) -> None:
        await asyncio.sleep(0)
        if event.new and "@" not in event.new["email"]:
            raise Reject(f"{event.new['email']} lacks an @", column="email")

    @app.before("users", on="delete")
    def keep(event: Event) -> None:
        if event.actor != "admin":
            raise Reject(f"{event.actor} may not, {event.context['why']}")

    return app


ROW = {"id": 1, "email": "ADA@EXAMPLE.ORG", "balance": Decimal("1.50")}


def test_the_row_as_the_handlers_amended_it(app: Rowcall) -> None:
    assert judge(app, "users", "insert", new=ROW) == ROW | {"email": "ada@example.org"}
    assert judge(app, "users", "update", old=ROW, new={"email": "Ada@Example.org"}) == ROW | {
        "email": "ada@example.org"
    }
    assert judge(app, "users", "delete", old=ROW, actor="admin") is None
    assert ROW["email"] == "ADA@EXAMPLE.ORG"


def test_a_later_handler_sees_what_the_ones_before_made_of_the_row(app: Rowcall) -> None:
    with pytest.raises(Reject, match="ada lacks an @") as caught:
        judge(app, "users", "update", old=ROW, new={"email": "ADA"})
    assert caught.value.column == "email"


def test_only_those_are_asked_who_want_the_event(app: Rowcall) -> None:
    row = {"id": 1, "email": "ada"}
    assert judge(app, "users", "insert", new=row) == row
    assert judge(app, "users", "update", old=row, new={"age": 3}) == row | {"age": 3}


def test_what_an_earlier_handler_amends_counts_as_changed(app: Rowcall) -> None:
    row = {"id": 1, "email": "ADA"}
    with pytest.raises(Reject, match="ada lacks an @"):
        judge(app, "users", "update", old={"age": 3}, new=row | {"age": 4})


def test_who_acts_and_why(app: Rowcall) -> None:
    with pytest.raises(Reject, match="bob may not, because"):
        judge(app, "users", "delete", old=ROW, actor="bob", context={"why": "because"})


def test_values_stay_what_the_handlers_made_them() -> None:
    app = Rowcall()
    app.before("t", name="first")(lambda event: {"amount": Decimal("2.50"), "note": None})
    app.before("t", name="second")(lambda event: event.new | {"tags": ["a"]})
    row = judge(app, "t", "insert", new={"amount": None, "note": "x", "tags": []})
    assert repr(row) == "{'amount': Decimal('2.50'), 'note': None, 'tags': ['a']}"


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ({"nothing": 1}, ValueError, r"there is no column nothing to amend in public\.t"),
        (7, TypeError, "a before-handler returns None or a mapping of columns, not int"),
        ({"a": object()}, errors.UsageError, "is not a value that a column can have"),
    ],
)
def test_an_answer_that_is_none(answer: Any, kind: type[Exception], said: str) -> None:
    app = Rowcall()
    app.before("t", name="handler")(lambda: answer)
    with pytest.raises(kind, match=said):
        judge(app, "t", "insert", new={"a": 1})


def test_a_handlers_own_exception_comes_through_however_late() -> None:
    app = Rowcall()

    @app.before("t", timeout=0.001, on_unavailable="accept")
    async def slow(event: Event) -> None:
        await asyncio.sleep(0.01)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        judge(app, "t", "insert", new={"a": 1})


def test_in_async_tests(app: Rowcall) -> None:
    async def test() -> None:
        assert await judge_async(app, "users", "insert", new=ROW) == ROW | {"email": "ada@example.org"}
        with pytest.raises(errors.UsageError, match="await judge_async"):
            judge(app, "users", "insert", new=ROW)

    asyncio.run(test())


@pytest.mark.parametrize("table", ["user", "other.users"])
def test_a_table_without_before_handlers_is_a_mistake(table: str) -> None:
    app = Rowcall()
    app.before("public.users", name="handler")(lambda: None)
    with pytest.raises(errors.UsageError, match=rf"no before-handler for {table}: it has some for public\.users"):
        judge(app, table, "insert", new={})
    with pytest.raises(errors.UsageError, match="it has some for no table at all"):
        judge(Rowcall(), table, "insert", new={})


def conditional(*conditions: str) -> Rowcall:
    app = Rowcall()
    for number, condition in enumerate(conditions):
        app.before("users", name=f"h{number}", on=["insert", "update"], when=condition)(
            lambda event, number=number: {"name": f"{event.new['name']}{number}"}
        )
    return app


CONDITIONS = ("new.age > 17", "new.name like '%0' and lower(new.name) <> '{}'", "new.name = 'nobody' -- really")


@pytest.mark.usefixtures("tables")
def test_conditions_are_asked_of_the_database(connect: Connect) -> None:
    app, connection = conditional(*CONDITIONS), connect(autocommit=True)

    def name(operation: Any, **write: Any) -> Any:
        row = judge(app, "users", operation, connection=connection, **write)
        return row and row["name"]

    assert name("insert", new={"id": 1, "name": "x", "age": 18}) == "x01"
    assert name("insert", new={"id": 1, "name": "x", "age": 17}) == "x"
    assert name("insert", new={"id": 1, "name": "x"}) == "x"
    assert name("update", old={"id": 1, "name": "x", "age": 1}, new={"name": "nobody"}) == "nobody2"
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection)
    with Session(engine) as session:
        assert judge(app, "users", "insert", new={"name": "x", "age": 18}, connection=session) == {
            "name": "x01",
            "age": 18,
        }


@pytest.mark.usefixtures("tables")
def test_conditions_in_async_tests(dsn: str) -> None:
    async def test() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            row = {"name": "x", "age": 18}
            app = conditional(*CONDITIONS)
            assert await judge_async(app, "public.users", "insert", new=row, connection=connection) == row | {
                "name": "x01"
            }

    asyncio.run(test())


def test_a_condition_needs_a_connection() -> None:
    with pytest.raises(
        errors.UsageError, match=r"h0 has when='new\.age > 17', which PostgreSQL evaluates: pass connection=…"
    ):
        judge(conditional("new.age > 17"), "users", "insert", new={"name": "x"})
    assert judge(conditional("new.age > 17"), "users", "delete", old={"name": "x"}) is None
