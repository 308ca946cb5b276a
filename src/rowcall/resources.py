"""Finding sql/ and migrations/: inside the installed package, else at the root of a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def directory(name: str) -> Path:
    """The folder ``sql`` or ``migrations`` that belongs to this code."""
    here = Path(__file__).resolve().parent
    packaged = here / "_resources" / name
    return packaged if packaged.is_dir() else here.parents[1] / name


@cache
def sql(path: str) -> str:
    """The text of one file below ``sql/``, for example ``functions/act_v1.sql``."""
    return (directory("sql") / path).read_text(encoding="utf-8")


@cache
def queries(topic: str) -> dict[str, str]:
    """The runtime queries of ``sql/queries/<topic>.sql``, by the name in the line ``-- name: …`` above each."""
    return named(f"queries/{topic}.sql")


@cache
def named(path: str) -> dict[str, str]:
    """The pieces of one file below ``sql/`` by the name in the line ``-- name: …`` above each."""
    found: dict[str, str] = {}
    for chunk in sql(path).split("-- name: ")[1:]:
        name, _, text = chunk.partition("\n")
        found[name.strip()] = text.strip().rstrip(";")
    return found
