"""Running a handler over history without writing: what a replay would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rowcall import errors, resources
from rowcall.errors import describe
from rowcall.event import Event
from rowcall.handler import AfterHandler
from rowcall.listener.calls import Call, CallFailed
from rowcall.listener.delivery import Delivery, delivery_for

_QUERIES = resources.queries("replay")

#: Events a transaction takes before it is rolled back: it holds locks on what the handler wrote.
TOGETHER = 500

#: Rows inserted, updated and deleted, by table.
Counts = dict[str, tuple[int, int, int]]


@dataclass(slots=True)
class Report:
    """What a handler did, all of which is undone.

    :ivar events: how many it was called with, of which ``failures`` failed, each with its error, and ``rejections`` it rejected, each
        with the reason.
    :ivar written: rows it inserted, updated and deleted, by table, those for failures and rejections left out.
    """

    events: int = 0
    failures: list[tuple[Event, str]] = field(default_factory=list)
    rejections: list[tuple[Event, str]] = field(default_factory=list)
    written: Counts = field(default_factory=dict)


async def rehearse(handler: AfterHandler, dsn: str, events: Iterable[Event]) -> Report:
    """Call a handler with events, in transactions that are rolled back, and report what it did in the database. What it does
    elsewhere is done.

    :raises Unreachable: if the connection is lost.
    """
    report = Report()
    wanted = (event for event in events if handler.selector.wants(event))
    delivery = delivery_for(handler)
    await delivery.open(dsn)
    try:
        while together := list(islice(wanted, TOGETHER)):
            await delivery.fetch("begin", {})
            calls = [together[start : start + handler.batch] for start in range(0, len(together), handler.batch)]
            for call in calls:
                await _call(handler, delivery, call, report)
            await delivery.fetch("rollback", {})
    finally:
        await delivery.close()
    return report


async def _call(handler: AfterHandler, delivery: Delivery, call: Call, report: Report) -> None:
    """One call, in a savepoint. If one with many events fails, they are tried one by one, as a listener does."""
    before = await _written(delivery)
    try:
        await delivery.transact([call], [])
    except CallFailed as error:
        if delivery.lost:
            raise errors.Unreachable(f"The connection was lost: {describe(error.__cause__ or error)}.") from error
        if len(call) > 1:
            for event in call:
                await _call(handler, delivery, [event], report)
            return
        report.events += 1
        cause = error.__cause__ or error
        if isinstance(cause, errors.Reject):
            report.rejections.append((call[0], cause.message))
        else:
            report.failures.append((call[0], describe(cause)))
    else:
        report.events += len(handler.wanted(call))
        _add(report.written, before, await _written(delivery))


async def _written(delivery: Delivery) -> Counts:
    rows: Sequence[tuple[str, int, int, int]] = await delivery.fetch(_QUERIES["written"], {})
    return {table: (inserted, updated, deleted) for table, inserted, updated, deleted in rows}


def _add(total: Counts, before: Counts, after: Counts) -> None:
    nothing = (0, 0, 0)
    for table, counts in after.items():
        more = [now - was for now, was in zip(counts, before.get(table, nothing), strict=True)]
        if any(more):
            inserted, updated, deleted = total.get(table, nothing)
            total[table] = (inserted + more[0], updated + more[1], deleted + more[2])
