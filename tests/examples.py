"""Hypothesis within bounds: some examples of each property, and no deadline on a busy machine."""

from hypothesis import settings

bounded = settings(max_examples=60, deadline=None)
