"""Ending tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

#: Seconds that a task has to end before it is cancelled once more.
_AGAIN = 0.5


async def end(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return once they have ended, with whatever.

    One cancellation can get lost: before Python 3.12 ``asyncio.wait_for`` forgets it if what it waits for is done in the same
    turn of the loop, and so may whoever awaits a task that he has cancelled himself.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
