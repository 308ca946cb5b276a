"""Taking the values of one row out of the log for good, so that its seals still prove the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from rowcall import errors, resources
from rowcall.audit import archive, archive_erasure, erasures, retold, row_events
from rowcall.audit.archive import Manifest
from rowcall.audit.archives import Archives
from rowcall.audit.canonical import IMAGES, SALT, WHOLE, canonical, commitment, own_salt, stand_in
from rowcall.audit.erasures import Erasure, Ranges
from rowcall.audit.extent import Extent, NothingToErase, Request, extent
from rowcall.audit.prune import check_finished
from rowcall.audit.row_events import SealedEvent
from rowcall.audit.scrubbing import members, scrubbed
from rowcall.audit.sought import Sought
from rowcall.audit.turn import alone

_QUERIES = resources.queries("erasure")
_SEALS = resources.queries("seals")


@dataclass(slots=True)
class Result:
    """What was erased.

    :ivar records: of it, one, or a second of the events that nothing is proven of any more.
    :ivar files: archives that were written anew.
    :ivar rejections: refused writes of the row, from which the values were erased too.
    :ivar texts: errors of handlers and reasons of refusals, which could hold them.
    """

    extent: Extent
    events: int = 0
    rejections: int = 0
    texts: int = 0
    records: list[Erasure] = field(default_factory=list)
    files: list[tuple[Path, Manifest]] = field(default_factory=list)


def erase(connection: psycopg.Connection[Any], wanted: Request, beside: Archives | None = None) -> Result:
    """Take the values out of the log, and out of what else Rowcall keeps of the row, on record; in one transaction.

    Archives are written anew before it commits, and put in their places afterwards: if it ends in between, another call does that.

    :param connection: in autocommit mode, of the log's owner.
    :param beside: archives to erase from too, loaded :func:`~rowcall.audit.turn.alone`.
    :raises UsageError: beside what :func:`extent` raises, if a column was not erasable when an event was sealed.
    :raises NothingToErase: if there is nothing left to erase.
    :raises HeldBack: if rowcall prune is under way, or was interrupted.
    """
    with alone(connection):
        check_finished(connection)
        with connection.transaction():
            connection.execute(_SEALS["wait_for_turn"])
            result = _Erasing(connection, wanted, extent(connection, wanted, beside), beside).run()
        for path, manifest in result.files:
            archive.exchange(path, manifest)
    return result


class _Erasing:
    """One erasure, in the caller's transaction."""

    def __init__(
        self, connection: psycopg.Connection[Any], wanted: Request, found: Extent, beside: Archives | None
    ) -> None:
        self._connection = connection
        self._archives = beside
        self._wanted = wanted
        self._extent = found
        self._result = Result(found)
        self._events = row_events.read(connection, found, beside)
        rows = [*self._events.copies(), *(one.row for one in self._events.events)]
        self._sought = Sought.of(wanted, found.columns, rows)

    def run(self) -> Result:
        events = self._events.events
        given_up = [one for one in events if one.seal is not None and self._is_beyond_proof(one)]
        if given_up and not self._wanted.forgo:
            raise errors.UsageError(self._refusal(given_up))
        beyond = {one.row.seq for one in given_up}
        kept = {one.row.seq: self._paths(one) for one in events if one.row.seq not in beyond}
        changed = [one for one in events if kept.get(one.row.seq)]
        if not changed and not given_up and not self._archived_changes():
            raise NothingToErase(f"Nothing of {self._extent.table} {self._wanted.key} is left to erase.")
        self._erase(changed, kept)
        self._give_up(given_up)
        self._result.events = len(changed) + len(given_up)
        if changed or given_up:
            elsewhere = retold.erase(self._connection, self._extent, self._sought, self._newest)
            self._result.rejections, self._result.texts = elsewhere.rejections, elsewhere.texts
        if self._archives is not None:
            self._result.files = archive_erasure.rewrite(self._connection, self._archives, self._archived_changes())
        return self._result

    @property
    def _newest(self) -> int:
        """The number of the newest record."""
        return self._result.records[-1].number if self._result.records else 0

    def _archived_changes(self) -> archive_erasure.Changes:
        if self._archives is None:
            return {}
        return archive_erasure.changes(self._connection, self._archives, self._events, self._sought, self._newest)

    def _is_beyond_proof(self, one: SealedEvent) -> bool:
        """Whether the event has a value to be erased that its seal does not only have a commitment to."""
        if WHOLE in one.gone:
            return True
        fixed = self._extent.columns - one.columns
        return any(not fixed.isdisjoint(members(image)) for image in one.row[8:12])

    def _refusal(self, given_up: Sequence[SealedEvent]) -> str:
        names = sorted({name for one in given_up for name in self._extent.columns - one.columns})
        return (
            f"{len(given_up):,} of {len(self._extent.seqs):,} events of {self._extent.table} {self._wanted.key} were sealed when"
            f" {', '.join(names)} was not declared erasable. Declare it for the events to come; --forgo-proof erases these all the"
            " same, and gives up the proof of what they were."
        )

    def _paths(self, one: SealedEvent) -> set[str]:
        """What to erase of an event that is still there."""
        found = self._sought.paths(one.row)
        return {path for path in found if path not in one.gone or one.gone[path].commitment is None}

    def _record(self, kind: erasures.Kind, events: Sequence[SealedEvent], paths: Mapping[str, Iterable[int]]) -> None:
        made = erasures.record(
            self._connection,
            kind,
            relation=self._extent.relation,
            paths={path: str(Ranges.of(seqs)) for path, seqs in paths.items()},
            seqs=str(Ranges.of(one.row.seq for one in events)),
            events=len(events),
        )
        self._result.records.append(made)

    def _erase(self, events: Sequence[SealedEvent], paths: Mapping[int, set[str]]) -> None:
        if not events:
            return
        by_path: dict[str, list[int]] = {}
        for one in events:
            for path in paths[one.row.seq]:
                by_path.setdefault(path, []).append(one.row.seq)
        self._record("erase", events, by_path)
        for one in events:
            if one.seal is not None:
                self._commit(one, paths[one.row.seq])
            self._blank(one, paths[one.row.seq])

    def _commit(self, one: SealedEvent, paths: set[str]) -> None:
        """Keep commitments to what is erased, and the keys of the others, instead of the salt that all come from."""
        _, fields = canonical(one.row, one.columns, one.salt, one.gone)
        for path, value in fields:
            own = own_salt(path, one.salt, one.gone)
            if own is None:
                continue  # erased before
            erased = path in paths
            self._keep(one.row.seq, path, commitment(own, value) if erased else None, None if erased else own)
        self._forget_salt(one)

    def _give_up(self, events: Sequence[SealedEvent]) -> None:
        """Keep nothing but the leaves."""
        if not events:
            return
        self._record("forgo", events, {WHOLE: [one.row.seq for one in events]})
        for one in events:
            if WHOLE not in one.gone:
                self._keep(one.row.seq, WHOLE, one.leaf, None)
            self._forget_salt(one)
            self._blank(one, self._paths(one))

    def _keep(self, seq: int, path: str, committed: bytes | None, salt: bytes | None) -> None:
        parameters = {"seq": seq, "path": path, "erasure": self._newest, "commitment": committed, "salt": salt}
        self._connection.execute(_QUERIES["keep"], parameters)

    def _forget_salt(self, one: SealedEvent) -> None:
        assert one.index is not None
        parameters = {"seal": one.seal, "from": SALT * one.index + 1, "zeros": bytes(SALT)}
        self._connection.execute(_QUERIES["forget_salt"], parameters)

    def _blank(self, one: SealedEvent, paths: set[str]) -> None:
        row = self._events.logged.get(one.row.seq)
        if row is None:
            return
        images = dict(zip(IMAGES, row[8:12], strict=True))
        values = images | {"context": row.context}
        if row is not one.row:
            # A stand-in for an event that is archived, whose parts are others.
            paths = self._sought.image_paths(images) | paths
        changed: dict[str, str | None] = {
            part: scrubbed(image, part, paths, self._newest) for part, image in values.items()
        }
        actor = None if one.row.actor is None else one.row.actor.decode()
        changed["actor"] = stand_in("actor", self._newest).decode() if "actor" in paths else actor
        self._connection.execute(_QUERIES["blank"], {**changed, "seq": one.row.seq})
