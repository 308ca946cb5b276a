"""Whose requests are ours, and the locks by which they are waited for.

A ticket stands for one session of the gate and the handlers it asks. Whoever holds its lock OURS answers its requests, so that two
listeners never answer one; it goes to another when that session ends. The locks 0 and 1 take turns: a request is waited for by
one of them, and the other, for the next request, is taken before that one is let go. The writer's side is in
sql/functions/gate_v1.sql.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_OURS = 2
#: Each ticket takes two entries of the server's lock table, which everybody shares.
MOST = 256


@dataclass(slots=True)
class _Ticket:
    used: float
    busy: bool
    #: Which of the locks that take turns is ours, if any.
    held: int | None


class Tickets:
    """The tickets this process has, by their numbers, the least recently used first."""

    def __init__(self) -> None:
        self._tickets: dict[int, _Ticket] = {}

    def __iter__(self) -> Iterator[int]:
        return iter(self._tickets)

    def asked(self, number: int, now: float, *, busy: bool = True) -> None:
        """A request came, at a time by any clock; with it we have the ticket.

        :param busy: whether it is going to be answered, and not only ours.
        """
        held = known.held if (known := self._tickets.pop(number, None)) else None
        self._tickets[number] = _Ticket(now, busy, held)

    def locks(self, number: int, turn: int) -> tuple[list[int], list[int]]:
        """For the answer to a request: what to take before, and what to let go after it.

        Turns start afresh in a session that got the number of an earlier one: what is held is not taken once more, because it
        would be let go only once.
        """
        held = self._tickets[number].held
        return [] if held == 1 - turn else [number | (1 - turn)], [number | turn] if held == turn else []

    def answered(self, number: int, turn: int) -> None:
        """The answer was handed out, with these locks."""
        ticket = self._tickets[number]
        ticket.busy, ticket.held = False, 1 - turn

    def give_back(self, unused_since: float) -> list[int]:
        """Part with the tickets that were not used for long, or are too many; the locks to let go."""
        locks = []
        for number, ticket in list(self._tickets.items()):
            if not ticket.busy and (ticket.used < unused_since or len(self._tickets) > MOST):
                locks += [number | _OURS, *([] if ticket.held is None else [number | ticket.held])]
                del self._tickets[number]
        return locks
