"""What can be wrong or risky in an installation: one function a check."""

from __future__ import annotations

from typing import Any

import psycopg

from rowcall.postgres.checks import blind_spots, gate, log, roles, schema, seals, settings, subscriptions, tables
from rowcall.postgres.checks.finding import Check, Finding, Severity

__all__ = ["Finding", "Severity", "findings"]

_SEVERITIES: tuple[Severity, ...] = ("problem", "risk", "note")

_CHECKS: tuple[Check, ...] = (
    tables.capture_current,
    tables.capture_enabled,
    tables.guard_current,
    tables.guards_last,
    tables.tables_there,
    tables.ddl_followed,
    log.partitions_ahead,
    log.anchored,
    log.append_only,
    seals.log_sealed,
    gate.gate_open,
    gate.gate_hidden,
    subscriptions.subscriptions_read,
    subscriptions.backfills_complete,
    subscriptions.dead_letters,
    subscriptions.parked_events,
    subscriptions.lanes_delivered,
    subscriptions.sessions_endable,
    settings.replication_role,
    settings.event_triggers,
    settings.connections,
    settings.doorbell,
    settings.durable_commits,
    roles.log_grants,
    roles.more_rights,
    roles.role_members,
    roles.table_owners,
    blind_spots.blind_spots,
)


def findings(connection: psycopg.Connection[Any]) -> list[Finding]:
    """Everything the checks find, the worst first.

    Another schema than this code's is all that is said of it: what the other checks ask for may not be there.
    """
    found = list(schema.schema_current(connection)) or [finding for check in _CHECKS for finding in check(connection)]
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))
