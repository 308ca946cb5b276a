"""Measurements: contenders side by side in one run, so that ratios mean something on a noisy machine."""
