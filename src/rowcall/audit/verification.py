"""What all parts of one verification have at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from rowcall.audit.catalog import Catalog
from rowcall.audit.findings import Report
from rowcall.audit.records import Records


@dataclass(frozen=True, slots=True)
class Verification:
    """One run, all of it in one snapshot.

    :ivar catalog: what the seals up to the one that is looked at say of relations.
    """

    connection: psycopg.Connection[Any]
    installation: str
    report: Report
    records: Records
    catalog: Catalog
