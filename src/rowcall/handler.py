"""Handlers: the functions a user registers, and what they ask for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from rowcall import errors
from rowcall.event import Event
from rowcall.selector import Selector

OnUnavailable = Literal["reject", "accept"]

#: Where a new subscription begins to read.
Start = Literal["now", "beginning", "backfill"]
#: A condition on an event, in Python.
When = Callable[[Event], bool]
STARTS: tuple[Start, ...] = ("now", "beginning", "backfill")

#: What an after-handler may ask for by parameter name.
SUPPLIED = ("event", "events", "conn", "session")


#: Seconds after which a call of an after-handler is cut, unless it says otherwise: it holds a transaction open meanwhile.
AFTER_TIMEOUT = 300.0

#: The longest a writer can be made to wait: it holds its row locked meanwhile.
LONGEST_TIMEOUT = 60.0


def _named(function: Callable[..., Any]) -> Any:
    """What carries the name of a handler: the function, or the class of a callable object."""
    return function if hasattr(function, "__qualname__") else type(function)


def qualified_name(function: Callable[..., Any]) -> str:
    """How a handler is called unless it is given a name: ``module.function``."""
    named = _named(function)
    return f"{named.__module__}.{named.__qualname__}"


def _kinds(function: Callable[..., Any], is_kind: Callable[[Any], bool]) -> bool:
    """Whether a function, or what a callable object does when called, is of a kind."""
    return is_kind(function) or is_kind(getattr(function, "__call__", None))  # noqa: B004 - its kind, not whether it has one


def _is_async(function: Callable[..., Any]) -> bool:
    return _kinds(function, inspect.iscoroutinefunction)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if not callable(function):
        raise errors.HandlerError(f"{function!r} cannot be called: register a function.")
    if _kinds(function, inspect.isgeneratorfunction) or _kinds(function, inspect.isasyncgenfunction):
        raise errors.HandlerError(
            f"handler {qualified_name(function)} is a generator, which would never run: return instead of yield."
        )
    try:
        return inspect.signature(function)
    except ValueError as error:
        raise errors.HandlerError(
            f"handler {qualified_name(function)}: its signature cannot be read; wrap it in a function of your own."
        ) from error


def parameters_of(function: Callable[..., Any], supplied: tuple[str, ...]) -> tuple[str, ...]:
    """The names a handler asks for.

    :raises HandlerError: for a parameter nobody can supply.
    """
    asked = []
    for parameter in _signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in supplied and parameter.kind is not parameter.POSITIONAL_ONLY:
            asked.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise errors.HandlerError(
                f"handler {qualified_name(function)} asks for {parameter.name!r}, which nobody can supply:"
                f" name its parameters {', '.join(supplied)}, or give {parameter.name!r} a default."
            )
    return tuple(asked)


@dataclass(frozen=True, slots=True)
class BeforeHandler:
    """A function asked before a row is written.

    :ivar timeout: seconds the writer waits for it.
    :ivar on_unavailable: what happens to the write when nobody answers in time.
    :ivar when: an SQL condition over ``old`` and ``new`` that rows fulfil which it is asked about; None for all.
    """

    function: Callable[..., Any]
    name: str
    selector: Selector
    timeout: float
    on_unavailable: OnUnavailable
    parameters: tuple[str, ...]
    is_async: bool
    when: str | None = None

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        selector: Selector,
        *,
        name: str | None,
        timeout: float,
        on_unavailable: OnUnavailable,
        when: str | None = None,
    ) -> BeforeHandler:
        """A before-handler from what a decorator was given.

        :raises HandlerError: if the signature or an option cannot be served.
        """
        if selector.is_pattern:
            raise errors.HandlerError(
                f"before-handler {qualified_name(function)}: {selector.subject!r} is a pattern; name one table."
            )
        if not 0.001 <= timeout <= LONGEST_TIMEOUT:
            raise errors.HandlerError(f"timeout={timeout!r} must be from 0.001 to {LONGEST_TIMEOUT:.0f} seconds.")
        if on_unavailable not in ("reject", "accept"):
            raise errors.HandlerError(f'on_unavailable={on_unavailable!r} must be "reject" or "accept".')
        parameters = parameters_of(function, ("event",))
        own_name = name or str(_named(function).__name__)
        return cls(function, own_name, selector, timeout, on_unavailable, parameters, _is_async(function), when)


@dataclass(frozen=True, slots=True)
class AfterHandler:
    """A function called with committed events, and the subscription it reads the log by.

    :ivar name: the subscription's name.
    :ivar batch: most events a call gets; 1 for handlers that take one ``event``.
    :ivar timeout: seconds after which a call is cut.
    :ivar start: where the subscription begins when it is created.
    :ivar when: which of the selected events it is called with; None for all.
    """

    function: Callable[..., Any]
    name: str
    selector: Selector
    batch: int
    timeout: float
    parameters: tuple[str, ...]
    is_async: bool
    start: Start = "now"
    when: When | None = None

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        selector: Selector,
        *,
        name: str | None,
        batch: int | None,
        timeout: float,
        start: Start = "now",
        when: When | None = None,
    ) -> AfterHandler:
        """An after-handler from what a decorator was given.

        :raises HandlerError: if the signature or an option cannot be served.
        """
        parameters = parameters_of(function, SUPPLIED)
        own_name = name or qualified_name(function)
        if "event" in parameters and "events" in parameters:
            raise errors.HandlerError(f"handler {own_name} asks for event and events: ask for one of them.")
        if batch is not None and (batch < 1 or "events" not in parameters):
            raise errors.HandlerError(
                f"handler {own_name}: batch={batch!r} needs a parameter named events and a number from 1 up."
            )
        if when is not None and not callable(when):
            raise errors.HandlerError(f"handler {own_name}: when={when!r} must be a function of an event.")
        if not 0 < timeout < inf:
            raise errors.HandlerError(f"handler {own_name}: timeout={timeout!r} must be a number of seconds above 0.")
        _check_start(own_name, start, selector)
        default = 100 if "events" in parameters else 1
        return cls(
            function, own_name, selector, batch or default, timeout, parameters, _is_async(function), start, when
        )

    def wanted(self, events: Sequence[Event]) -> Sequence[Event]:
        """Those of some selected events that it is called with."""
        when = self.when
        return events if when is None else [event for event in events if when(event)]


def _check_start(name: str, start: Start, selector: Selector) -> None:
    if start not in STARTS:
        raise errors.HandlerError(f"handler {name}: start={start!r} must be one of {', '.join(STARTS)}.")
    if start == "backfill" and "snapshot" not in selector.operations:
        raise errors.HandlerError(
            f'handler {name}: start="backfill" gives the rows that are there as snapshot events: add "snapshot" to on=.'
        )
