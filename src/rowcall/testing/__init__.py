"""For the tests of those who write handlers: events delivered when the test says so, with nothing to wait for."""

from rowcall.testing.delivery import AsyncDelivery, Delivery
from rowcall.testing.events import make_event
from rowcall.testing.judging import judge, judge_async
from rowcall.testing.progress import Call, Delivered, Failure

__all__ = [
    "AsyncDelivery",
    "Call",
    "Delivered",
    "Delivery",
    "Failure",
    "judge",
    "judge_async",
    "make_event",
]
