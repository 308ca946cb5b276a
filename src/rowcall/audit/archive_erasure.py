"""Archived events without the values that are erased."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from rowcall.audit import archive, archives, erasures
from rowcall.audit.archive import Manifest
from rowcall.audit.archives import Archives
from rowcall.audit.canonical import IMAGES, NOTHING_ERASED, WHOLE, Erasures, Row, stand_in
from rowcall.audit.row_events import RowEvents
from rowcall.audit.scrubbing import members, scrubbed
from rowcall.audit.sought import Sought

#: New values, by file, event and column.
Changes = dict[int, dict[int, dict[str, str | None]]]


def changes(
    connection: psycopg.Connection[Any], beside: Archives, found: RowEvents, sought: Sought, newest: int
) -> Changes:
    """What has to be written anew.

    :param newest: number of the newest record, which is of values that no seal covers.
    """
    seqs = [one.row.seq for one in found.events]
    gone = erasures.erased_between(connection, min(seqs), max(seqs))
    made: Changes = {}
    for number, rows in found.archived.items():
        different = {seq: _change(row, gone.get(seq, NOTHING_ERASED), sought, newest) for seq, row in rows.items()}
        different = {seq: change for seq, change in different.items() if change}
        if different or number in beside.unequal:
            made[number] = different
    return made


def _change(row: Row, gone: Erasures, sought: Sought, newest: int) -> dict[str, str | None]:
    """The columns of an archived event that still hold what is erased, without that."""
    texts = dict(zip((*IMAGES, "context"), (*row[8:12], row.context), strict=True))
    changed = {part: None if text is None else text.decode() for part, text in texts.items()}
    actor = original = row.actor.decode() if row.actor else None
    for path in sought.paths(row) | {path for path in gone if path != WHOLE}:
        known = gone.get(path)
        if known is not None and known.commitment is None:
            continue
        by = known or gone.get(WHOLE)
        number = newest if by is None else by.erasure
        if path == "actor":
            actor = stand_in(path, number).decode()
            continue
        part = path.partition(".")[0]
        text = changed.get(part)
        if text is not None:
            changed[part] = scrubbed(text.encode(), part, [path], number)
    different = {part: text for part, text in changed.items() if _differ(texts[part], text)}
    return different if actor == original else {**different, "actor": actor}


def _differ(was: bytes | None, text: str | None) -> bool:
    return members(was) != members(None if text is None else text.encode())


def rewrite(
    connection: psycopg.Connection[Any], beside: Archives, made: Mapping[int, archive.Changes]
) -> list[tuple[Path, Manifest]]:
    """Write the files anew beside themselves, and down what the log knows of them; their manifests."""
    files = []
    for number, different in made.items():
        file = beside.files[number]
        manifest = archive.rewritten(file.path, file.manifest, different)
        connection.execute(archives.QUERIES["rewritten"], {"sha256": manifest.sha256, "name": file.path.name})
        files.append((file.path, manifest))
    return files
