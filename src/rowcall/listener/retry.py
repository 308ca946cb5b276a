"""When a failed event is tried again, and when it is given up on."""

from __future__ import annotations

import random

from rowcall.errors import Retry

#: After so many attempts an event is a dead letter, until a person acts.
MAX_ATTEMPTS = 10
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 3600.0
_LONGEST_REQUEST = 10 * 366 * 86_400.0


def delay_after(attempts: int, error: BaseException) -> float:
    """Seconds until the next attempt: what a Retry asks for, else exponential from 1 s to 1 h, half of it jitter."""
    if isinstance(error, Retry) and error.delay is not None:
        # In this order, NaN is 0 too.
        return max(0.0, min(error.delay, _LONGEST_REQUEST))
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** (attempts - 1))
    return longest * random.uniform(0.5, 1.0)
