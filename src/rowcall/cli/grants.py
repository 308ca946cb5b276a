"""rowcall grant"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import psycopg
import typer

from rowcall import errors, resources
from rowcall.cli.options import DsnOption, connect
from rowcall.postgres.connection import one_line

_QUERIES = resources.queries("grants")


class Kind(StrEnum):
    """What a role may do."""

    READER = "reader"
    AUDITOR = "auditor"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(grant)


def grant(
    kind: Annotated[
        Kind, typer.Argument(help="A reader may ask the log; an auditor also what was refused, and check the seals.")
    ],
    role: Annotated[str, typer.Argument(metavar="ROLE", help="A role that exists.")],
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the rights back.")] = False,
    dsn: DsnOption = None,
) -> None:
    """Let a role read the log, or no longer: these rights and no others.

    Example: rowcall grant reader support
    """
    parameters = {"kind": kind.value, "role": role, "may": not revoke}
    with connect(dsn, autocommit=False) as connection:
        try:
            connection.execute(_QUERIES["grant"], parameters)
        except psycopg.errors.UndefinedObject as error:
            raise errors.UsageError(f"There is no role {role}: create it first.") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise errors.UsageError(
                f"This login cannot grant that ({one_line(error)}): use the one that ran rowcall migrate."
            ) from error
    print(
        f"{role} is {'no longer' if revoke else 'now'} {'an' if kind is Kind.AUDITOR else 'a'} {kind.value} of the log."
    )
