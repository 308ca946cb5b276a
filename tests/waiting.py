"""Waiting on conditions, since tests never sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.005


def eventually(check: Callable[[], T], timeout: float = 10.0) -> T:
    """What `check` returns once that is true; an AssertionError in it means "not yet"."""
    deadline = time.monotonic() + timeout
    while True:
        last = _attempt(check)
        if last and not isinstance(last, AssertionError):
            return last
        _fail_after(deadline, last, timeout)
        time.sleep(_PAUSE)


async def eventually_async(check: Callable[[], Awaitable[T]], timeout: float = 10.0) -> T:
    """The same for a coroutine function, leaving the loop to others meanwhile."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            last: T | AssertionError = await check()
        except AssertionError as error:
            last = error
        if last and not isinstance(last, AssertionError):
            return last
        _fail_after(deadline, last, timeout)
        await asyncio.sleep(_PAUSE)


def _attempt(check: Callable[[], T]) -> T | AssertionError:
    try:
        return check()
    except AssertionError as error:
        return error


def _fail_after(deadline: float, last: object, timeout: float) -> None:
    if time.monotonic() > deadline:
        raise AssertionError(f"not within {timeout} s; last: {last!r}") from (
            last if isinstance(last, AssertionError) else None
        )
