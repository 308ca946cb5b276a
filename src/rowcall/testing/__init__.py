"""For the tests of those who write handlers."""

from rowcall.testing.events import make_event
from rowcall.testing.judging import judge, judge_async

__all__ = ["judge", "judge_async", "make_event"]
