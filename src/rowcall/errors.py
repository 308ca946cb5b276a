"""Everything Rowcall raises; one base, and one exit code of the command line for each kind."""

from __future__ import annotations


class RowcallError(Exception):
    """Base of all errors of Rowcall. The message is a sentence that says what to do next."""

    exit_code = 4


class UsageError(RowcallError):
    """Something was declared, named or configured wrongly; nothing was changed."""

    exit_code = 2


class HandlerError(UsageError, TypeError):
    """A handler has a signature or options that cannot be served."""


class SchemaError(UsageError):
    """Rowcall's schema in the database is missing, or newer or older than this code."""


class Unreachable(RowcallError):
    """The database cannot be reached or refuses the login."""

    exit_code = 3


class ProcessDied(RowcallError):
    """An event at which the listener's process died every time; a dead letter."""


class Stuck(RowcallError):
    """A handler did not return in time and cannot be stopped, but with its process."""


class Undeliverable(RowcallError):
    """Something pending could not be delivered and waits for a person."""

    exit_code = 1


class NotParked(RowcallError):
    """No event that is set aside is one of those asked for; nothing was changed."""

    exit_code = 1


class InUse(RowcallError):
    """A listener has the subscription; nothing was changed."""

    exit_code = 1


class NotFilled(RowcallError):
    """A backfill cannot be completed: what happened meanwhile took rows that it had yet to see."""

    exit_code = 1


class Drift(RowcallError):
    """The database's triggers differ from what the app declares."""

    exit_code = 1


class Reject(Exception):
    """Raised by a before-handler to refuse a write, with the reason its writer reads; or by an after-handler, to have a change
    that is committed recorded as one that should not have been.

    :param message: why, as a sentence fragment.
    :param column: the column at fault, reported to the client as the error's column name.
    :param hint: what the writer can do about it.
    """

    def __init__(self, message: str, *, column: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.hint = hint


class Retry(Exception):
    """Raised by an after-handler to have its event delivered again later.

    :param delay: seconds until then; None leaves it to the subscription's backoff.
    """

    def __init__(self, message: str = "retry requested", *, delay: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.delay = None if delay is None else float(delay)


def describe(error: BaseException) -> str:
    """A failure of a handler as it is kept and shown: kind and message, at most 2,000 characters, that every
    PostgreSQL can store.
    """
    return storable(f"{type(error).__name__}: {_text(error)}"[:2000])


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a handler's own exception may fail even at this
        return "(its text cannot be read)"


def storable(text: str) -> str:
    """A text as PostgreSQL can store it: without NUL and lone surrogates."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
