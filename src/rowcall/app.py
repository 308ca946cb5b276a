"""The object a user declares everything on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rowcall import errors, identifiers
from rowcall.event import OPERATIONS
from rowcall.handler import AFTER_TIMEOUT, AfterHandler, BeforeHandler, OnUnavailable, Start, When
from rowcall.rule import OnViolation, Rule, operations_with, rows_of, sql_of
from rowcall.selector import Selector
from rowcall.watch import Truncate, Watch

Function = TypeVar("Function", bound=Callable[..., Any])


def _is_same_table(one: str, other: str) -> bool:
    """Whether two names are written for the same table; whether two mean the same is known to the database alone."""
    return identifiers.split(one) == identifiers.split(other)


class Rowcall:
    """Watches, rules and handlers of one application. Declaring touches no database.

    :param name: under which name the database remembers what this app declared; ``MODULE:APP`` of the command line
        unless given. Two apps with one name would remove each other's declarations.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.watches: list[Watch] = []
        self.rules: list[Rule] = []
        self.before_handlers: list[BeforeHandler] = []
        self.after_handlers: list[AfterHandler] = []

    def watch(
        self,
        subject: Any,
        *,
        exclude: str | Iterable[str] = (),
        redact: str | Iterable[str] = (),
        notify: bool = False,
        columns: str | Iterable[str] = (),
        when: str | None = None,
        operations: str | Iterable[str] | None = None,
        truncate: Truncate = "event",
        baseline: bool = False,
        erasable: str | Iterable[str] = (),
    ) -> None:
        """Capture a table's changes.

        :param subject: the table's name, a SQLAlchemy model or a Table.
        :param exclude: columns to keep out of everything.
        :param redact: columns of which only a keyed hash is kept.
        :param notify: also send one NOTIFY a statement on the channel ``rowcall_<table>``.
        :param columns: record only updates that change one of these.
        :param when: record only rows for which this SQL condition over ``old`` and ``new`` is true.
        :param operations: record only these; insert, update, delete and truncate unless given.
        :param truncate: ``event``: one event; ``rows``: a delete of every row; ``forbid``: refuse TRUNCATE.
        :param baseline: have ``rowcall sync`` log the rows that are there too, as snapshot events, so that the log says what the
            table holds.
        :param erasable: columns with personal data: ``rowcall audit erase`` can take their values out of the log, and the
            log's seals still prove the rest.
        :raises UsageError: if the table is watched already or the options contradict each other.
        """
        watch = Watch.of(
            subject,
            exclude,
            redact,
            notify,
            columns=columns,
            when=when,
            operations=operations,
            truncate=truncate,
            baseline=baseline,
            erasable=erasable,
        )
        taken = (watch.table for other in self.watches if _is_same_table(other.table, watch.table))
        self._refuse_twin(watch.table, taken, "is watched")
        self.watches.append(watch)

    def rule(
        self,
        subject: Any,
        name: str,
        expression: Any,
        *,
        message: str | None = None,
        on: str | Iterable[str] | None = None,
        on_violation: OnViolation = "refuse",
    ) -> None:
        """Refuse writes for which a condition over ``old`` and ``new`` is false; null passes, as in a CHECK.

        :param expression: SQL text, or a SQLAlchemy expression over what ``rowcall.sqlalchemy.rows`` gives. It may look into
            other tables, as the writer sees them; no lock is taken, so they may change before the write is committed.
        :param message: why, as a sentence fragment.
        :param on: insert, update, delete; those that have the rows the condition speaks of unless given.
        :param on_violation: ``refuse`` the write, or ``warn``: let it happen, and record it with it.
        :raises UsageError: if the condition speaks of a row that the operation does not have, or the name is taken.
        """
        rule = Rule.of(subject, name, expression, message, on, on_violation=on_violation)
        taken = (other.name for other in self.rules if _is_same_table(other.table, rule.table))
        self._refuse_twin(name, taken, "is a rule")
        self.rules.append(rule)

    def before(
        self,
        subject: Any,
        *,
        on: str | Iterable[str] | None = None,
        columns: str | Iterable[str] = (),
        when: Any = None,
        timeout: float = 0.25,
        on_unavailable: OnUnavailable = "reject",
        name: str | None = None,
    ) -> Callable[[Function], Function]:
        """Register a function that is asked before a row is written: it returns None, a mapping of amended columns,
        or raises :class:`Reject`.

        Handlers of one table are asked in the order in which they were registered, each about the row as those before amended it.

        :param on: insert, update, delete; all three, or those that have the rows ``when`` speaks of, unless given.
        :param columns: for updates, ask only when one of these changes.
        :param when: ask only about rows for which this condition over ``old`` and ``new`` is true: SQL text, or a SQLAlchemy
            expression as in :meth:`rule`. PostgreSQL evaluates it, so other rows cost nothing.
        :param timeout: seconds the writer waits, with its row locked.
        :param on_unavailable: ``reject`` or ``accept`` the write when nobody answers in time.
        :raises HandlerError: if the signature or an option cannot be served.
        """
        condition = None if when is None else sql_of(when)
        rows = () if condition is None else rows_of(condition)
        operations = operations_with(rows, on, ("insert", "update", "delete"))
        selector = Selector.of(subject, operations, columns)

        def register(function: Function) -> Function:
            handler = BeforeHandler.of(
                function, selector, name=name, timeout=timeout, on_unavailable=on_unavailable, when=condition
            )
            taken = (
                other.name for other in self.before_handlers if _is_same_table(other.selector.subject, selector.subject)
            )
            self._refuse_twin(handler.name, taken, "is a before-handler")
            self.before_handlers.append(handler)
            return function

        return register

    def after(
        self,
        subject: Any,
        *,
        on: str | Iterable[str] | None = None,
        columns: str | Iterable[str] = (),
        batch: int | None = None,
        timeout: float = AFTER_TIMEOUT,
        name: str | None = None,
        start: Start = "now",
        when: When | None = None,
    ) -> Callable[[Function], Function]:
        """Register a function that is called with committed events.

        :param subject: a table, a model, or a topic pattern such as ``shop.*``.
        :param on: insert, update, delete, truncate, snapshot; all unless given.
        :param columns: for updates, only those that changed one of these.
        :param batch: most events a call gets, for functions that ask for ``events``.
        :param timeout: seconds after which a call is cut and counts as failed: an async handler is cancelled, of a sync one the
            connection is ended, and the whole process starts anew if even that does not stop it.
        :param name: the subscription's name; ``module.function`` unless given.
        :param when: a function of an event: only those for which it is true. It is asked by the listener, so what ``on`` and ``columns``
            can say is cheaper; if it fails, the event has failed.
        :param start: where the subscription begins when it is created: ``now``; the ``beginning`` of the log; or
            ``backfill``: first one ``snapshot`` event for each row that is there, then the changes from that moment on.
        :raises HandlerError: if the signature or an option cannot be served.
        """
        selector = Selector.of(subject, on, columns, OPERATIONS)

        def register(function: Function) -> Function:
            handler = AfterHandler.of(
                function, selector, name=name, batch=batch, timeout=timeout, start=start, when=when
            )
            self._refuse_twin(handler.name, (other.name for other in self.after_handlers), "is a subscription")
            self.after_handlers.append(handler)
            return function

        return register

    @staticmethod
    def _refuse_twin(name: str, taken: Iterable[str], what: str) -> None:
        if name in taken:
            raise errors.UsageError(f"{name} {what} of this app already: declare it once, or name it differently.")
