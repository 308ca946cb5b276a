"""What a check finds, and the words of its cure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from rowcall import resources

#: A problem is wrong already, a risk may become so, a note is worth knowing.
Severity = Literal["problem", "risk", "note"]

_QUERIES = resources.queries("checks")
#: What a shell does not leave as it is between double quotes.
_SHELL = frozenset('"$`\\!')


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, risky or worth knowing.

    :ivar check: which check found it; stable.
    :ivar subject: the table, role, subscription or setting it is about, None where it is about all.
    :ivar finding: what is so, as a sentence.
    :ivar cure: what to do about it, as a sentence with the command.
    """

    severity: Severity
    check: str
    subject: str | None
    finding: str
    cure: str


#: Looks at one thing in a database; yields nothing where all is well.
Check = Callable[[psycopg.Connection[Any]], Iterator[Finding]]


def ask(connection: psycopg.Connection[Any], query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of one of the checks' queries."""
    return connection.execute(_QUERIES[query], parameters).fetchall()


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def psql(*statements: str) -> str:
    """A command that runs statements, in one transaction, as a person types it into a shell."""
    return f"psql -c {_quoted('; '.join(statements))}"


def word(text: str) -> str:
    """A word of a command, such as a name, as a person types it into a shell."""
    return text if shlex.quote(text) == text else _quoted(text)


def _quoted(text: str) -> str:
    return f'"{text}"' if _SHELL.isdisjoint(text) else shlex.quote(text)
