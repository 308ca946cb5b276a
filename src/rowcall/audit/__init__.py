"""Questions put to the log, and taking changes back.

Every function takes a psycopg connection, or a connection, session or engine of SQLAlchemy's over psycopg.
"""

from rowcall.audit.conflicts import Conflict
from rowcall.audit.differences import Difference, diff
from rowcall.audit.filters import Filter
from rowcall.audit.history import log, row
from rowcall.audit.origins import Origin, blame
from rowcall.audit.states import State, States, as_of
from rowcall.audit.transactions import Touched, Transaction, transaction
from rowcall.audit.undoing import Undoing, undo

__all__ = [
    "Conflict",
    "Difference",
    "Filter",
    "Origin",
    "State",
    "States",
    "Touched",
    "Transaction",
    "Undoing",
    "as_of",
    "blame",
    "diff",
    "log",
    "row",
    "transaction",
    "undo",
]
