"""Taking changes back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from rowcall import errors, resources
from rowcall.audit import images
from rowcall.audit.chains import Chain, chains
from rowcall.audit.conflicts import UNDOES, Conflict, Later, conflicts_of, no_rows, restorable
from rowcall.audit.connection import ask, opened
from rowcall.audit.filters import xid_text
from rowcall.audit.keys import load_layouts
from rowcall.audit.reversals import Literals, Step, Table, statement
from rowcall.event import Event
from rowcall.postgres.acting import acting
from rowcall.postgres.connection import one_line
from rowcall.postgres.layouts import Layouts

_QUERIES = resources.queries("undo")

#: Where rows take each other's values of a unique column, they can do so one by one only.
_ONE_BY_ONE = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)

#: What constraints, an identity that is always generated, views' conditions and people's own triggers say.
_REFUSALS = (
    psycopg.IntegrityError,
    psycopg.DataError,
    psycopg.errors.GeneratedAlways,
    psycopg.errors.RaiseException,
    psycopg.errors.WithCheckOptionViolation,
    psycopg.errors.TriggeredActionException,
    psycopg.errors.TriggeredDataChangeViolation,
)

#: Places in the log are a bigint.
_LAST_PLACE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Undoing:
    """What was undone, or is to be.

    :ivar events: the events that are taken back.
    :ivar conflicts: those that ``force`` overrode.
    :ivar statements: the SQL, with the transaction around it.
    :ivar transaction: the id of the transaction that did it; None if nothing was to do, or in a rehearsal.
    """

    events: Sequence[Event]
    conflicts: Sequence[Conflict]
    statements: Sequence[str]
    transaction: int | None


def undo(
    conn: Any,
    *,
    transaction: int | None = None,
    events: Sequence[int] = (),
    force: Collection[int] = (),
    actor: str | None = None,
    rehearse: bool = False,
) -> Undoing:
    """Take back a transaction, or some events, in one transaction of its own, or a savepoint of one that is open.

    Rows get back the values they had, to the last bit; the changes of one row are taken back together. That is itself logged, with
    what it undoes in its context: ``{"undoes": {"transaction": 781}}`` or ``{"undoes": {"events": [7]}}``. An undoing can
    be undone. Triggers and rules of the tables see it like any other change.

    :param conn: a psycopg connection, or SQLAlchemy's connection, session or engine, of a login that may read the log and write
        the tables.
    :param transaction: the id of the transaction to take back.
    :param events: or the places in the log of the events to take back.
    :param force: places in the log of events to undo in spite of conflicts, see :class:`Conflict`.
    :param actor: who does it; None keeps the actor of an ``acting`` block around it.
    :param rehearse: look for conflicts and say which statements it is, as found by doing it in a savepoint that is rolled back.
    :raises NotInLog: if there is nothing to undo.
    :raises UndoConflict: if something stands in the way.
    :raises UsageError: for a table that is gone or not watched any more.
    """
    if (transaction is None) == (not events):
        raise errors.UsageError("Say what to undo: a transaction or events, one of the two.")
    target = {"transaction": transaction} if transaction is not None else {"events": sorted(set(events))}
    with opened(conn) as connection:
        found = _events(connection, transaction, sorted(set(events)))
        with _refusals(), acting(connection, actor=actor, **{UNDOES: target}):
            plan = _Plan.of(connection, load_layouts(connection), found, set(force))
            with connection.transaction(force_rollback=rehearse):
                done = plan.execute(connection)
            [(xid,)] = ask(connection, _QUERIES["own_transaction"])
        return Undoing(found, plan.conflicts, _script(actor, target, done), xid if done and not rehearse else None)


def _events(connection: psycopg.Connection[Any], transaction: int | None, seqs: Sequence[int]) -> list[Event]:
    layouts = load_layouts(connection)
    places = [seq for seq in seqs if seq <= _LAST_PLACE]
    rows = ask(connection, _QUERIES["events"], {"transaction": xid_text(transaction), "seqs": places})
    found = [layouts.event(row) for row in rows]
    missing = sorted(set(seqs) - {event.seq for event in found})
    if missing or not found:
        what = f"event {missing[0]}" if missing else f"transaction {transaction}"
        raise errors.NotInLog(f'The log does not have {what}: "rowcall audit log" shows what it has.')
    changes = [event for event in found if event.operation != "snapshot"]
    if not changes:
        raise errors.NotInLog("There is nothing to undo: a snapshot is no change.")
    return changes


@contextmanager
def _refusals() -> Iterator[None]:
    """What the database refuses, as a conflict."""
    try:
        yield
    except psycopg.Error as error:
        if not _is_refusal(error):
            raise
        said = one_line(error)
        table = ".".join(filter(None, (error.diag.schema_name, error.diag.table_name)))
        conflict = Conflict(None, table, {}, "constraint", said, forceable=False)
        raise errors.UndoConflict(f"The database refuses it: {said}.", [conflict]) from error


def _is_refusal(error: psycopg.Error) -> bool:
    """Whether it is about the rows; an error that psycopg has no class for has a code of somebody's own."""
    return isinstance(error, _REFUSALS) or type(error) is psycopg.DatabaseError


@dataclass(slots=True)
class _Plan:
    """What is to be done, and what that overrides."""

    tables: dict[int, Table]
    changes: list[Event]
    steps: list[Step]
    conflicts: list[Conflict]

    @classmethod
    def of(
        cls, connection: psycopg.Connection[Any], layouts: Layouts, events: Sequence[Event], force: Collection[int]
    ) -> _Plan:
        tables = {event.relation: Table.of(connection, event.relation, event.table) for event in events}
        changes = [event for event in events if event.operation != "truncate"]
        conflicts = [no_rows(event) for event in events if event.operation == "truncate"]
        found = [chain for chain in chains(changes, together=True) if chain.kind != "nothing"]
        undone = {event.seq or 0 for event in events}
        steps: list[Step] = []
        for relation, table in tables.items():
            if of_table := [chain for chain in found if chain.relation == relation]:
                judged = _Judged(connection, table, of_table, Later(connection, layouts, of_table, undone))
                conflicts += judged.conflicts
                steps += judged.steps
        _check(conflicts, force)
        return cls(tables, changes, steps, conflicts)

    def execute(self, connection: psycopg.Connection[Any]) -> list[str]:
        """Do it; the statements that did."""
        if not self.steps:
            return []
        try:
            return _run(connection, [self.steps])
        except _ONE_BY_ONE:
            if self.conflicts or len(self.changes) < 2:
                raise
        return _run(connection, self._one_by_one(connection))

    def _one_by_one(self, connection: psycopg.Connection[Any]) -> list[list[Step]]:
        """Each event by itself, the last one first."""
        single = [chain for chain in chains(self.changes, together=False) if chain.kind != "nothing"]
        steps: dict[int, Step] = {}
        for relation, table in self.tables.items():
            of_table = [chain for chain in single if chain.relation == relation]
            for chain, before, after in zip(of_table, *_sides(connection, table, of_table), strict=True):
                if step := _step(chain, table, before, after, None):
                    steps[chain.last] = step
        return [[steps[seq]] for seq in sorted(steps, reverse=True)]


class _Judged:
    """The chains of one table: what takes them back, and what stands in the way."""

    def __init__(self, connection: psycopg.Connection[Any], table: Table, found: Sequence[Chain], later: Later) -> None:
        self.steps: list[Step] = []
        self.conflicts: list[Conflict] = []
        befores, afters = _sides(connection, table, found)
        lives = _live(connection, table, found, afters)
        left = _left(found)
        for chain, before, after, there in zip(found, befores, afters, lives, strict=True):
            live = None if chain.kind == "insert" and images.place(chain.before_key) in left else there
            self.conflicts += conflicts_of(chain, table, after, live, later)
            gone = live is None and chain.kind != "insert"
            if not gone and (step := _step(chain, table, before, after, live)):
                self.steps.append(step)


def _left(found: Sequence[Chain]) -> set[str]:
    """The keys that this itself takes from the rows that have them."""
    return {
        images.place(chain.after_key)
        for chain in found
        if chain.after is not None
        and (chain.before is None or images.place(chain.before_key) != images.place(chain.after_key))
    }


def _sides(
    connection: psycopg.Connection[Any], table: Table, found: Sequence[Chain]
) -> tuple[list[Literals | None], list[Literals | None]]:
    """Each chain's row before and after it."""
    hidden = [chain.redacted | {column.name for column in table.columns if column.redacted} for chain in found]
    return (
        _rows(connection, table, [chain.before for chain in found], hidden),
        _rows(connection, table, [chain.after for chain in found], hidden),
    )


def _rows(
    connection: psycopg.Connection[Any],
    table: Table,
    raw: Sequence[bytes | None],
    hidden: Sequence[Collection[str]],
) -> list[Literals | None]:
    shown = [
        None if image is None else images.without(image, images.omitted(image) | set(secret))
        for image, secret in zip(raw, hidden, strict=True)
    ]
    literals = iter(table.literals(connection, [image for image in shown if image is not None]))
    return [
        None if image is None else {name: text for name, text in next(literals).items() if name in images.names(image)}
        for image in shown
    ]


def _live(
    connection: psycopg.Connection[Any], table: Table, found: Sequence[Chain], afters: Sequence[Literals | None]
) -> list[Literals | None]:
    """The row that is there now for each chain: with the key it had, if it is gone, else with the key it has."""
    if not table.key:
        return [_one_alike(connection, table, after, afters[:number]) for number, after in enumerate(afters)]
    wanted = [(chain.before if chain.after is None else chain.after) or b"{}" for chain in found]
    hidden = {column.name for column in table.columns if column.redacted and column.key_position is None}
    rows = table.live(connection, [images.without(image, hidden) for image in wanted])
    return [rows.get(number) for number in range(len(found))]


def _one_alike(
    connection: psycopg.Connection[Any], table: Table, after: Literals | None, others: Sequence[Literals | None]
) -> Literals | None:
    """The row itself, if there are as many alike as are looked for."""
    if after is None:
        return None
    return after if table.alike(connection, after) > sum(other == after for other in others) else None


def _step(
    chain: Chain, table: Table, before: Literals | None, after: Literals | None, live: Literals | None
) -> Step | None:
    """What takes a chain back. What is gone is left out; what is there already gets its values."""
    kind = chain.kind
    names = restorable(chain, table)
    if kind == "insert" and before is not None:
        values = {name: text for name, text in before.items() if name in names}
        return Step(table, "insert", {}, values) if live is None else Step(table, "update", live, values)
    if kind == "delete" and after is not None:
        return Step(table, "delete", after, {})
    values = {name: text for name, text in (before or {}).items() if name in names & chain.columns}
    return Step(table, "update", after, values) if values and after is not None else None


def _check(conflicts: Sequence[Conflict], force: Collection[int]) -> None:
    """Refuse unless every conflict is overridden."""
    left = [conflict for conflict in conflicts if not (conflict.forceable and conflict.seq in force)]
    if not left:
        return
    first = left[0]
    key = ", ".join(f"{name}={value}" for name, value in first.key.items())
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    cure = f"--force {first.seq} overrides that" if first.forceable else "Undo a part of it by --event"
    raise errors.UndoConflict(
        f"Event {first.seq} cannot be undone{more}: {first.table} {key or 'as a whole'}: {first.message}. {cure}.",
        left,
    )


def _run(connection: psycopg.Connection[Any], stages: Sequence[Sequence[Step]]) -> list[str]:
    statements = [statement(steps) for steps in stages]
    with connection.transaction():
        cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
        cursor.execute("set constraints all deferred")
        for steps, text in zip(stages, statements, strict=True):
            cursor.execute(text.encode())
            row = cursor.fetchone() if cursor.description else None
            changed = sum(row) if row else cursor.rowcount
            if changed != len(steps):
                raise errors.UndoConflict(
                    f"Of {len(steps)} rows only {changed} could be changed: another trigger or a policy keeps the rest as it is, or"
                    " they are of a table without a key, where the log cannot tell rows that are alike."
                )
        cursor.execute("set constraints all immediate")
    return statements


def _script(actor: str | None, target: dict[str, Any], statements: Sequence[str]) -> list[str]:
    """The statements with the transaction around them, as psql would take them."""
    if not statements:
        return []
    context = msgspec.json.encode({UNDOES: target}).decode()
    who = "null" if actor is None else sql.Literal(actor).as_string(None).strip()
    why = sql.Literal(context).as_string(None).strip()
    act = f"select rowcall.act({who}, {why})"
    return ["begin", act, "set constraints all deferred", *statements, "commit"]
