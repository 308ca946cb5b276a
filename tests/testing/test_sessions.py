"""Tests and handlers that work with SQLAlchemy."""

from collections.abc import Iterator

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from rowcall import Event, Rowcall, errors
from rowcall.testing import Delivery
from tests.conftest import Connect, Database
from tests.listeners import sync
from tests.testing.conftest import noted


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    age: Mapped[int | None]


@pytest.fixture
def engine(dsn: str) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(dsn.replace("postgresql:", "postgresql+psycopg:"))
    yield engine
    engine.dispose()


@pytest.fixture
def app(dsn: str, tables: None) -> Rowcall:
    app = Rowcall()
    app.watch(User)

    @app.after(User, on="insert", name="grow")
    def grow(event: Event, session: Session) -> None:
        user = session.get_one(User, event.key["id"])
        user.age = (user.age or 0) + 1
        session.execute(text("insert into notes (what) values (:what)"), {"what": user.name})
        session.commit()

    sync(app, dsn)
    return app


def test_a_session_that_joins_the_tests_transaction(app: Rowcall, engine: sqlalchemy.Engine, conn: Database) -> None:
    # As SQLAlchemy's documentation has it for test suites.
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            delivery = Delivery.over(app, session)
            user = User(id=1, name="Ada", age=36)
            session.add(user)
            # Not flushed yet.
            delivered = delivery.deliver()
            assert [event.key for event in delivered["grow"]] == [{"id": 1}]
            assert user.age == 37
            session.commit()
            assert delivery.deliver().calls == ()
            session.add(User(id=2, name="Grace", age=45))
            session.flush()
            session.rollback()
            assert delivery.deliver().calls == ()
        outer.rollback()
    assert noted(conn) == []


def test_an_engines_connection_rolls_back_what_handlers_wrote(app: Rowcall, engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        delivery = Delivery.over(app, connection)
        connection.execute(text("insert into users values (1, 'Ada', 36)"))
        assert len(delivery.deliver().calls) == 1
        assert connection.scalars(text("select what from notes")).all() == ["Ada"]
        connection.rollback()
        assert connection.scalars(text("select what from notes")).all() == []
        # What others committed is delivered in a transaction that SQLAlchemy knows of, too.
        connection.rollback()
        with engine.begin() as other:
            other.execute(text("insert into users values (2, 'Grace', 45)"))
        assert len(delivery.deliver().calls) == 1
        connection.rollback()
        assert connection.scalars(text("select what from notes")).all() == []


def test_a_session_as_a_handler_gets_it_over_a_plain_connection(app: Rowcall, conn: Database) -> None:
    delivery = Delivery.over(app, conn)
    conn.execute("insert into users values (1, 'Ada', 36), (2, 'Grace', 45)")
    delivery.deliver()
    assert noted(conn) == ["Ada", "Grace"]
    conn.rollback()
    assert noted(conn) == []


def test_a_scoped_session(app: Rowcall, engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        session = scoped_session(sessionmaker(connection))
        delivery = Delivery.over(app, session)
        session.add(User(id=1, name="Ada"))
        assert len(delivery.deliver().calls) == 1
        session.remove()


def test_a_session_that_changes_its_connection(app: Rowcall, dsn: str, connect: Connect) -> None:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connect(dsn), poolclass=sqlalchemy.NullPool
    )
    with Session(engine) as session:
        delivery = Delivery.over(app, session)
        session.commit()
        with pytest.raises(errors.UsageError, match="bind it to one connection for the whole test"):
            delivery.deliver()


def test_another_driver(app: Rowcall) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with (
        engine.connect() as connection,
        pytest.raises(errors.UsageError, match=r"sqlite3\.Connection is no connection"),
    ):
        Delivery.over(app, connection)
    engine.dispose()
