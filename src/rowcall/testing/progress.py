"""What to deliver next in a test, and what was delivered. How a connection is used is :mod:`rowcall.testing.delivery`'s.

The functions here are generators: they yield what is to be fetched or called, and get back what came of it. So the same
serves sync and async connections.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg

from rowcall import errors, resources
from rowcall.app import Rowcall
from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.listener.parked import ParkedKeys
from rowcall.postgres import tables
from rowcall.postgres.layouts import Layouts
from rowcall.selector import Topic

_QUERIES = resources.queries("testing")

#: Most events that handlers cause by what they write, before one asks whether that ever ends.
LIMIT = 1000

#: A handler, as a test names it: the function, or the name of its subscription.
Named = Callable[..., Any] | str

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Fetch:
    """A statement whose rows are wanted."""

    query: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call of a handler; in its transaction also a statement that notes that it happened."""

    handler: AfterHandler
    events: Sequence[Event]
    note: Fetch


Steps = Generator[Fetch | Attempt, Any, Result]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a handler that went well.

    :ivar handler: the name of its subscription.
    :ivar events: what it was told: one event, unless it takes several.
    """

    handler: str
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that a handler failed with.

    :ivar handler: the name of its subscription.
    :ivar error: what the handler raised.
    """

    handler: str
    event: Event
    error: BaseException


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one delivery came to.

    ``delivered[handler]`` are the events that a handler was told, in order; it is named by its function or its
    subscription.

    :ivar calls: the calls that went well, in order.
    :ivar failures: the events that failed, where failures are collected.
    """

    calls: Sequence[Call]
    failures: Sequence[Failure]
    _handlers: Sequence[AfterHandler] = field(repr=False)

    def __getitem__(self, handler: Named) -> list[Event]:
        names = {one.name for one in find(self._handlers, handler)}
        return [event for call in self.calls if call.handler in names for event in call.events]


def find(handlers: Iterable[AfterHandler], wanted: Named) -> list[AfterHandler]:
    """The handlers that a test means.

    :raises UsageError: if there is none.
    """
    known = list(handlers)
    found = [handler for handler in known if wanted in (handler.function, handler.name)]
    if not found:
        names = ", ".join(handler.name for handler in known) or "none"
        raise errors.UsageError(f"{wanted!r} is no after-handler that is delivered to here; there is {names}.")
    return found


def chosen(app: Rowcall, wanted: Iterable[Named] | None) -> list[AfterHandler]:
    """The handlers of an app to deliver to, in the order in which they were declared; all unless some are named.

    :raises UsageError: for one that the app does not have.
    """
    if wanted is None:
        return list(app.after_handlers)
    names = {handler.name for one in wanted for handler in find(app.after_handlers, one)}
    return [handler for handler in app.after_handlers if handler.name in names]


class Progress:
    """How far the handlers of an app have got on one connection.

    What was delivered is kept here, call by call, and in the database how many calls there were: a rollback of the test's takes
    that number back, and with it what a handler was told and wrote in the part that was rolled back.
    """

    def __init__(self, handlers: Sequence[AfterHandler], is_async: bool, database: str) -> None:
        self.handlers = handlers
        self._is_async = is_async
        self._database = database
        self._setting = f"rowcall.delivered_{uuid.uuid4().hex}"
        self._told: list[tuple[str, list[int]]] = []
        self._start: dict[str, Any] = {}
        self._layouts = Layouts("")

    def begin(self) -> Steps[None]:
        """Start here: only what comes from now on is delivered.

        :raises SchemaError: if Rowcall is not installed.
        :raises UsageError: if a handler's table is not there, or not watched.
        """
        cure = "call rowcall.testing.install(app, dsn) first"
        [(installed,)] = yield Fetch(resources.queries("schema")["is_installed"])
        if not installed:
            raise errors.SchemaError(f"Rowcall is not installed in database {self._database}: {cure}.")
        watched = {name for (name,) in (yield Fetch(resources.queries("declarations")["watched"]))}
        for handler in self.handlers:
            if not handler.selector.is_pattern:
                table = yield from self._table(handler)
                if table.display not in watched:
                    raise errors.UsageError(
                        f"{handler.name} wants changes of {table.display}, which is not watched in database"
                        f" {self._database}: {cure}."
                    )
        [(snapshot, xid, seq)] = yield Fetch(_QUERIES["start"])
        self._start = {"snapshot": snapshot, "xid": xid, "seq": seq}

    def _table(self, handler: AfterHandler) -> Steps[tables.Table]:
        name = handler.selector.subject
        rows = yield Fetch(*tables.reference(name))
        return tables.resolved(rows[0] if rows else None, name, self._database)

    def _topic(self, handler: AfterHandler) -> Steps[Topic]:
        if handler.selector.is_pattern:
            return handler.selector.topic()
        table = yield from self._table(handler)
        return Topic.exactly(table.schema, table.name)

    def skip(self) -> Steps[None]:
        """Take everything that is pending for delivered."""
        yield from self._recall()
        for handler in self.handlers:
            events = yield from self._pending(handler)
            yield self._note()
            self._told.append((handler.name, _seqs(events)))

    def deliver(self, limit: int, collect: bool) -> Steps[Delivered]:
        """Round by round until nothing is left: everybody is told what is there, then what came of that."""
        yield from self._recall()
        [(actor, context, _)] = yield Fetch(_QUERIES["disown"])
        try:
            return (yield from self._rounds(limit, collect))
        finally:
            # Where the transaction is lost, so is who acts in it.
            with suppress(psycopg.Error):
                claim = {"actor": actor, "context": context}
                yield Fetch(resources.queries("acting")["end"], claim)

    def _recall(self) -> Steps[None]:
        """Forget what was delivered in what has been rolled back, and learn what images mean now."""
        [(noted,)] = yield Fetch(_QUERIES["noted"], {"setting": self._setting})
        del self._told[int(noted or 0) :]

    def _note(self) -> Fetch:
        return Fetch(_QUERIES["note"], {"setting": self._setting, "calls": len(self._told) + 1})

    def _rounds(self, limit: int, collect: bool) -> Steps[Delivered]:
        run = _Run(collect)
        caused = 0
        while batch := (yield from self._round(run)):
            if run.begun:
                caused += sum(len(events) for _, events in batch)
                if caused > limit:
                    raise _endless(run.calls, batch, limit)
            run.begun = True
            for handler, events in batch:
                yield from self._tell(handler, events, run)
        return Delivered(tuple(run.calls), tuple(run.failures), tuple(self.handlers))

    def _round(self, run: _Run) -> Steps[list[tuple[AfterHandler, list[Event]]]]:
        """What is pending for each handler that has something pending, but for what failed or waits behind that."""
        found = []
        for handler in self.handlers:
            events = yield from self._pending(handler)
            left = [event for event in events if (handler.name, event.seq) not in run.held]
            if left:
                found.append((handler, left))
        return found

    def _pending(self, handler: AfterHandler) -> Steps[list[Event]]:
        topic = yield from self._topic(handler)
        told = [seq for name, seqs in self._told if name == handler.name for seq in seqs]
        parameters = self._start | {
            "schema": topic.schema,
            "table": topic.table,
            "operations": list(handler.selector.operations),
            "delivered": told,
        }
        rows = yield Fetch(_QUERIES["pending"], parameters)
        if rows:
            yield from self._learn_layouts()
        events = [self._layouts.event(row) for row in rows]
        return list(handler.wanted([event for event in events if handler.selector.wants(event)]))

    def _learn_layouts(self) -> Steps[None]:
        """What images mean, where that has changed, by DDL or by its being rolled back."""
        queries = resources.queries("log")
        [(mark,)] = yield Fetch(queries["layout_mark"])
        if mark != self._layouts.mark:
            [(self._layouts.installation, *_)] = yield Fetch(queries["installation"])
            self._layouts.load((yield Fetch(queries["layouts"])), mark)

    def _tell(self, handler: AfterHandler, events: Sequence[Event], run: _Run) -> Steps[None]:
        """Call a handler, as many events at a time as it takes."""
        self._refuse_other_kind(handler)
        rest = list(events)
        while rest:
            group: list[Event] = []
            while rest and len(group) < handler.batch:
                event = rest.pop(0)
                if not run.hold_behind_failure(handler, event):
                    group.append(event)
            if group:
                yield from self._call(handler, group, run)

    def _call(self, handler: AfterHandler, events: Sequence[Event], run: _Run) -> Steps[None]:
        try:
            yield Attempt(handler, events, self._note())
        except (Exception, SystemExit) as error:
            if not run.collect:
                raise
            if len(events) == 1:
                run.fail(handler, events[0], error)
                return
        else:
            self._told.append((handler.name, _seqs(events)))
            run.calls.append(Call(handler.name, tuple(events)))
            return
        # One of them is to blame: each by itself, as a listener would do it.
        for event in events:
            if not run.hold_behind_failure(handler, event):
                yield from self._call(handler, [event], run)

    def _refuse_other_kind(self, handler: AfterHandler) -> None:
        if handler.is_async and not self._is_async:
            raise errors.UsageError(
                f"{handler.name} is async, but this is a sync connection: deliver over a psycopg.AsyncConnection with"
                " await AsyncDelivery.over(app, connection), or leave it out with handlers=[…]."
            )
        if self._is_async and not handler.is_async:
            raise errors.UsageError(
                f"{handler.name} is not async, but this is an async connection: deliver over a psycopg.Connection with"
                " Delivery.over(app, connection), or leave it out with handlers=[…]."
            )


class _Run:
    """One delivery under way.

    :ivar held: what failed or waits behind that, by handler and seq.
    """

    def __init__(self, collect: bool) -> None:
        self.collect = collect
        self.begun = False
        self.calls: list[Call] = []
        self.failures: list[Failure] = []
        self.held: set[tuple[str, int | None]] = set()
        self._parked: dict[str, ParkedKeys] = {}

    def hold_behind_failure(self, handler: AfterHandler, event: Event) -> bool:
        """Whether an event has to wait because an earlier one of its row failed; if so it waits."""
        blocked = self._parked.get(handler.name, ParkedKeys()).block(event)
        if blocked:
            self._hold(handler, event)
        return blocked

    def fail(self, handler: AfterHandler, event: Event, error: BaseException) -> None:
        """Note a failure."""
        self.failures.append(Failure(handler.name, event, error))
        self._hold(handler, event)

    def _hold(self, handler: AfterHandler, event: Event) -> None:
        self._parked.setdefault(handler.name, ParkedKeys()).add(event)
        self.held.add((handler.name, event.seq))


def _seqs(events: Iterable[Event]) -> list[int]:
    return [event.seq for event in events if event.seq is not None]


def _endless(
    calls: Sequence[Call], batch: Sequence[tuple[AfterHandler, Sequence[Event]]], limit: int
) -> errors.UsageError:
    """Who took part in the last rounds, and what they were told."""
    told = [(call.handler, call.events[0]) for call in calls[-len(calls) // 2 :]]
    told += [(handler.name, events[0]) for handler, events in batch]
    loop = dict.fromkeys(f"{name} ({event.operation} of {event.table})" for name, event in told)
    return errors.UsageError(
        f"What handlers write has caused more than {limit} events, and there is no end in sight. The loop:"
        f" {', '.join(loop)}. Have one of them not write where nothing changes for it, or allow more with"
        " deliver(limit=…)."
    )
