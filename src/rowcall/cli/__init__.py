"""The command line."""

from rowcall.cli.main import main

__all__ = ["main"]
