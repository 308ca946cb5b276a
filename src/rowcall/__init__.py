"""Rowcall: PostgreSQL tables as event sources for Python."""

from rowcall.app import Rowcall
from rowcall.errors import Reject, Retry, RowcallError
from rowcall.event import Event

__all__ = ["Event", "Reject", "Retry", "Rowcall", "RowcallError", "acting"]

from rowcall.postgres.acting import acting

__version__ = "0.1.0"
