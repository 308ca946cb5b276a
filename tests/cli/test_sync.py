"""`rowcall sync`: the database as the app declares it, in one transaction, touching nobody else's."""

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rowcall import embedded
from tests.catalog import picture
from tests.cli.conftest import WriteApp, a_capture_trigger, a_rule_trigger, triggers, watched
from tests.command import fine, refused

Database = psycopg.Connection[Any]

EVERYTHING = """
app.watch("users", exclude=["name"])
app.watch("shop.orders")
app.rule("users", "adult", "new.age >= 18")

@app.before("shop.orders", on="update", columns=["total"])
def check(event): ...

@app.after("shop.*", name="orders")
def follow(event): ...

@app.after("users", name="users")
async def greet(event, conn): ...
"""


def subscriptions(database: Database) -> list[tuple[str, str]]:
    return database.execute("select name, declared_by from rowcall.subscription order by 1").fetchall()


def test_everything_is_made_once(dsn: str, gate: str, database: Database, write_app: WriteApp) -> None:
    target = write_app(EVERYTHING)
    said = fine("sync", target, "--dsn", dsn)
    assert said.out.splitlines() == [
        "watch public.users: created",
        "watch shop.orders: created",
        "validation public.users: created",
        "validation shop.orders: created",
        "subscription orders: created",
        "subscription users: created",
    ]
    before = triggers(database)
    again = fine("sync", target, "--dsn", dsn).out
    assert {line.partition(": ")[2] for line in again.splitlines()} == {"unchanged"}
    assert triggers(database) == before
    assert fine("sync", target, "--check", "--dsn", dsn).out == "The database matches the app.\n"
    assert watched(database) == [("public.users", "mine"), ("shop.orders", "mine")]
    assert subscriptions(database) == [("orders", "mine"), ("users", "mine")]


def test_check_finds_every_drift_and_changes_nothing(
    dsn: str, gate: str, database: Database, write_app: WriteApp, cluster: embedded.Server
) -> None:
    target = write_app(EVERYTHING)
    empty = picture(cluster, dsn)
    sentence = refused(1, "sync", target, "--check", "--dsn", dsn)
    assert sentence == (
        "The database differs from the app: watch public.users, watch shop.orders, validation public.users,"
        ' validation shop.orders, subscription orders, subscription users. Run "rowcall sync" without --check.'
    )
    assert picture(cluster, dsn) == empty
    assert subscriptions(database) == []
    fine("sync", target, "--dsn", dsn)
    for harm, named in {
        "delete from rowcall.subscription where name = 'users'": "subscription users",
        f"drop trigger {a_capture_trigger(database, 'users')} on users": "watch public.users",
        "alter table shop.orders disable trigger all": "watch shop.orders, validation shop.orders",
        f"drop trigger {a_rule_trigger(database, 'users')} on users": "validation public.users",
        "update rowcall.watch set options = '{}' where options ? 'exclude'": "watch public.users",
    }.items():
        database.execute(harm)
        # Nothing but this: what was harmed before is mended.
        assert refused(1, "sync", target, "--check", "--dsn", dsn) == (
            f'The database differs from the app: {named}. Run "rowcall sync" without --check.'
        )
        fine("sync", target, "--dsn", dsn)
    fine("sync", target, "--check", "--dsn", dsn)


def test_what_the_app_no_longer_declares_goes(dsn: str, gate: str, database: Database, write_app: WriteApp) -> None:
    fine("sync", write_app(EVERYTHING), "--dsn", dsn)
    less = write_app('app.watch("shop.orders")\n')
    assert "watch public.users" in refused(1, "sync", less, "--check", "--dsn", dsn)
    assert fine("sync", less, "--dsn", dsn).out.splitlines() == [
        "watch public.users: removed",
        "watch shop.orders: unchanged",
        "validation public.users: removed",
        "validation shop.orders: removed",
    ]
    assert watched(database) == [("shop.orders", "mine")]
    assert [name for name in triggers(database) if name.startswith("users")] == []
    # A subscription is somebody's place in the log: it goes when a person says so.
    assert len(subscriptions(database)) == 2
    fine("sync", write_app(""), "--dsn", dsn)
    assert triggers(database) == []


def test_one_rule_of_two_goes_and_the_other_stays(dsn: str, database: Database, write_app: WriteApp) -> None:
    fine(
        "sync", write_app('app.rule("users", "a", "new.age > 0")\napp.rule("users", "b", "new.age > 1")'), "--dsn", dsn
    )
    fine("sync", write_app('app.rule("users", "b", "new.age > 2")'), "--dsn", dsn)
    assert triggers(database) == ["users zz_rowcall_3_rule_1_b", "users zz_rowcall_4_again_1_b"]
    with pytest.raises(psycopg.errors.CheckViolation, match=r"new\.age > 2 is false"):
        database.execute("insert into users values (1, 'x', 2)")


def test_what_happens_to_validation_is_said_of_this_app(dsn: str, database: Database, write_app: WriteApp) -> None:
    rule = 'app.rule("users", "{}", "new.age > 0")\n'
    other = write_app('app.name = "other"\n' + rule.format("theirs"))
    for target, outcome in (
        (other, "created"),
        (write_app(rule.format("a")), "created"),
        (write_app(rule.format("a") + rule.format("b")), "changed (rule b: created)"),
        (write_app(rule.format("b")), "changed (rule a: removed)"),
        (write_app(""), "removed"),
        (other, "unchanged"),
        (write_app(rule.format("a")), "created"),
    ):
        assert fine("sync", target, "--dsn", dsn).out == f"validation public.users: {outcome}\n"


def test_only_what_this_app_declared_is_touched(dsn: str, database: Database, write_app: WriteApp) -> None:
    database.execute("create table third (id int primary key)")
    fine("watch", "users", "--dsn", dsn)
    other = write_app('app.name = "other"\napp.watch("shop.orders")\napp.rule("third", "r", "new.id > 0")')
    fine("sync", other, "--dsn", dsn)
    fine("sync", write_app('app.watch("third")\napp.rule("third", "s", "new.id > 1")'), "--dsn", dsn)
    fine("sync", write_app(""), "--dsn", dsn)
    assert watched(database) == [("public.users", "cli"), ("shop.orders", "other")]
    assert [name for name in triggers(database) if name.startswith("third")] == [
        "third zz_rowcall_3_rule_3_r",
        "third zz_rowcall_4_again_3_r",
    ]


def test_conflicts_name_both_sides(dsn: str, database: Database, write_app: WriteApp) -> None:
    other = write_app(
        'app.name = "other"\napp.watch("users", exclude="age")\napp.rule("users", "r", "new.age > 0")\n'
        'app.after("users", name="s")(lambda event: None)'
    )
    fine("sync", other, "--dsn", dsn)
    sentence = refused(2, "sync", write_app('app.watch("users")'), "--dsn", dsn)
    assert "users is already watched by other with other options." in sentence
    assert "Make the options the same, or" in sentence
    sentence = refused(2, "sync", write_app('app.rule("users", "r", "new.age > 0")'), "--dsn", dsn)
    assert "A rule named r of" in sentence
    assert "users is declared by other already. Give one of the two another name." in sentence
    sentence = refused(2, "sync", write_app('app.after("users", name="s")(lambda event: None)'), "--dsn", dsn)
    assert sentence == (
        "A subscription named s is declared by other already: name one of the two differently, or if this app was renamed,"
        " keep its name with Rowcall('other')."
    )
    sentence = refused(2, "watch", "users", "--dsn", dsn)
    assert "already watched by other" in sentence
    assert watched(database) == [("public.users", "other")]


CANNOT: list[tuple[str, str]] = [
    ('app.watch("users")\napp.watch("nothing")', "There is no table nothing in database"),
    ('app.watch("users")\napp.watch("shop.orders", exclude="nope")', "has no column nope"),
    (
        'app.watch("users")\napp.rule("users", "r", "new.nope > 1")',
        "The rule r of users cannot be used: column new.nope does not exist",
    ),
    ('app.watch("users")\napp.rule("users", "r", "new.age >")', "The rule r of users cannot be used: syntax error"),
    (
        'app.watch("users")\napp.watch("public.users")',
        "public.users and users are both public.users: watch it once",
    ),
    (
        'app.watch("users")\napp.after("shop.orders", name="s")(lambda event: None)',
        "s wants changes of shop.orders, which is not watched: add app.watch('shop.orders').",
    ),
    (
        'app.watch("users")\napp.before("users")(lambda event: None)',
        "before-handler <lambda> needs the gate, which is not configured",
    ),
    (
        'app.rule("users", "r", "new.age > 0")\napp.rule("public.users", "r", "new.age > 0")',
        "public.users has 2 rules named r: give each a name of its own.",
    ),
]


def test_what_cannot_be_leaves_nothing_half_installed(dsn: str, database: Database, write_app: WriteApp) -> None:
    for declarations, sentence in CANNOT:
        target = write_app(declarations)
        assert sentence in refused(2, "sync", target, "--dsn", dsn)
        assert sentence in refused(2, "sync", target, "--check", "--dsn", dsn)
        assert (triggers(database), watched(database), subscriptions(database)) == ([], [], [])
    assert database.execute("select count(*) from rowcall.relation").fetchone() == (0,)


def test_before_handlers_name_columns_that_exist_and_show(
    dsn: str, gate: str, database: Database, write_app: WriteApp
) -> None:
    target = write_app('app.before("users", columns=["nope"], name="check")(lambda event: None)')
    assert "users has no column nope, which the before-handler check watches." in refused(
        2, "sync", target, "--dsn", dsn
    )
    target = write_app(
        'app.watch("users", exclude="age")\napp.before("users", columns="age", name="check")(lambda event: None)'
    )
    sentence = refused(2, "sync", target, "--dsn", dsn)
    assert (
        "users.age is excluded from everything Rowcall sees, so the before-handler check cannot watch it." in sentence
    )
    assert triggers(database) == []


@pytest.mark.usefixtures("gate")
def test_the_printed_sql_does_the_same(
    dsn: str, database: Database, write_app: WriteApp, cluster: embedded.Server, tmp_path: Path
) -> None:
    target = write_app(EVERYTHING)
    fine("watch", "users", "--dsn", dsn)
    fine("unwatch", "users", "--dsn", dsn)
    before = picture(cluster, dsn)
    script = tmp_path / "sync.sql"
    script.write_text(fine("sync", target, "--sql", "--dsn", dsn).out)
    assert picture(cluster, dsn) == before
    psql = [
        str(cluster.bin_directory / "psql"),
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--file={script}",
        dsn,
    ]
    done = subprocess.run(psql, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert fine("sync", target, "--check", "--dsn", dsn).out == "The database matches the app.\n"
    assert subscriptions(database) == [("orders", "mine"), ("users", "mine")]


def test_a_model_is_a_table(dsn: str, database: Database, write_app: WriteApp) -> None:
    target = write_app("""
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase): ...

class Order(Base):
    __tablename__ = "orders"
    __table_args__ = {"schema": "shop"}
    id: Mapped[int] = mapped_column(primary_key=True)

app.watch(Order)
app.rule(Order, "positive", "new.total > 0")
app.after(Order, name="orders")(lambda event: None)
""")
    assert fine("sync", target, "--dsn", dsn).out.splitlines() == [
        "watch shop.orders: created",
        "validation shop.orders: created",
        "subscription orders: created",
    ]
    database.execute("insert into shop.orders values (1, 2)")
    fine("listen", target, "--drain", "--dsn", dsn)
    assert database.execute("select delivered from rowcall.cursor").fetchone() == (1,)


def test_listening_without_it_says_so(dsn: str, gate: str, database: Database, write_app: WriteApp) -> None:
    target = write_app(EVERYTHING)
    said = fine("listen", target, "--drain", "--dsn", dsn).err
    assert "declared, but not in place in the database: run rowcall sync" in said
    assert '["public.users", "shop.orders"]' in said
    fine("sync", target, "--dsn", dsn)
    assert "not in place" not in fine("listen", target, "--drain", "--dsn", dsn).err
    database.execute(f"drop trigger {a_rule_trigger(database, 'users')} on users")
    assert '["public.users"]' in fine("listen", target, "--drain", "--dsn", dsn).err
