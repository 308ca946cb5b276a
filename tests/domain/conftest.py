"""Hypothesis within bounds: some examples of each property, and no deadline on a busy machine."""

from hypothesis import settings

settings.register_profile("bounded", max_examples=60, deadline=None)
settings.load_profile("bounded")
