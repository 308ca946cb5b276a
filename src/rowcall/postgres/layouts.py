"""What the images of each relation mean, by their place in the log."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rowcall.event import Event, Layout, decoder

_NEW: Callable[[type[Event]], Event] = object.__new__


@dataclass(slots=True)
class Layouts:
    """All layouts of a database, and the name under which its events are known elsewhere.

    :ivar installation: the prefix of idempotency keys.
    :ivar mark: which layouts these are; a log that has another mark has others.
    """

    installation: str
    mark: str = ""
    _since: dict[int, list[int]] = field(default_factory=dict)
    _layouts: dict[int, list[Layout]] = field(default_factory=dict)

    def load(self, rows: Iterable[tuple[Any, ...]], mark: str) -> None:
        """Take the rows of the query ``layouts``, and the mark as it was before them."""
        self._since.clear()
        self._layouts.clear()
        for relation, schema, table, since, columns, key in rows:
            decoders = {
                column["name"]: decoder("text" if column["redacted"] else column["type"])
                for column in msgspec.json.decode(columns)
            }
            self._since.setdefault(relation, []).append(since)
            self._layouts.setdefault(relation, []).append(Layout(f"{schema}.{table}", decoders, tuple(key)))
        self.mark = mark

    def at(self, relation: int, seq: int | None) -> Layout:
        """The layout an event of this place was written in; the newest for one not in the log yet."""
        layouts = self._layouts.get(relation)
        if not layouts:
            return Layout("", {}, ())
        # Nearly always the newest one.
        if seq is None or seq >= self._since[relation][-1]:
            return layouts[-1]
        return layouts[max(0, bisect_right(self._since[relation], seq) - 1)]

    def newest(self, relation: int) -> int | None:
        """Since when a relation has its newest layout; None if it is unknown."""
        return self._since[relation][-1] if relation in self._since else None

    def event(self, row: tuple[Any, ...]) -> Event:
        """An event from a row of the log: seq, xid (as int), at, relation, operation, key, next_key, old, new, actor, context."""
        seq, xid, at, relation, operation, key, next_key, old, new, actor, context = row
        event = _NEW(Event)
        # Past the frozen dataclass's own __init__, which takes longer than everything else about an event together.
        event.__dict__.update(
            {
                "seq": seq,
                "xid": xid,
                "at": at,
                "operation": operation,
                "actor": actor,
                "context": msgspec.json.decode(context) if context else {},
                "id": f"{self.installation}-{seq}",
                "layout": self.at(relation, seq),
                "raw_key": key,
                "raw_old": old,
                "raw_new": new,
                "relation": relation,
                "raw_next_key": next_key,
            }
        )
        return event
