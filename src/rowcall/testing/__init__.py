"""For the tests of those who write handlers: events delivered when the test says so, with nothing to wait for.

``rowcall.testing.fixtures`` has them as fixtures for pytest; nothing else here needs pytest.
"""

from rowcall.testing.delivery import AsyncDelivery, Delivery
from rowcall.testing.events import make_event
from rowcall.testing.installing import install, loader
from rowcall.testing.judging import judge, judge_async
from rowcall.testing.progress import Call, Delivered, Failure

__all__ = [
    "AsyncDelivery",
    "Call",
    "Delivered",
    "Delivery",
    "Failure",
    "install",
    "judge",
    "judge_async",
    "loader",
    "make_event",
]
