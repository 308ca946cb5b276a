"""What Rowcall keeps of a row outside of the log: refused writes, errors of handlers, and keys of what is set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from rowcall import resources
from rowcall.audit.canonical import stand_in
from rowcall.audit.extent import Extent
from rowcall.audit.scrubbing import scrubbed
from rowcall.audit.sought import Sought

_QUERIES = resources.queries("erasure")


@dataclass(frozen=True, slots=True)
class Retold:
    """What was erased.

    :ivar texts: errors of handlers and reasons of refusals, which could hold a value.
    """

    rejections: int = 0
    texts: int = 0


def erase(connection: psycopg.Connection[Any], extent: Extent, sought: Sought, erasure: int) -> Retold:
    """Take values out of it, in the transaction that erases them from the log.

    :param erasure: number of the record.
    """
    about = {
        "relation": extent.relation,
        "keys": list(extent.keys),
        "seqs": list(extent.seqs),
        "columns": list(sought.columns),
        "values": list(sought.values),
    }
    found = connection.execute(_QUERIES["rejections"], about).fetchall()
    texts = sum(_erase_rejection(connection, row, sought, erasure) for row in found)
    for query in ("blank_parked", "blank_skipped", "blank_suspects"):
        texts += connection.execute(_QUERIES[query], about).rowcount
    for query in ("rekey_parked", "rekey_skipped", "forget_requests", "forget_positions", "forget_baselines"):
        connection.execute(_QUERIES[query], about)
    return Retold(len(found), texts)


def _erase_rejection(connection: psycopg.Connection[Any], row: tuple[Any, ...], sought: Sought, erasure: int) -> bool:
    """Whether its message went too."""
    place, key, old, new, actor, context, message, handler = row
    images = {
        part: None if text is None else text.encode() for part, text in zip(_IMAGES, (key, old, new), strict=True)
    }
    raw = images | {"context": None if context is None else context.encode()}
    paths = sought.image_paths(images) | sought.context_paths(raw["context"])
    told = handler is not None or sought.is_told(message)
    values = {part: scrubbed(text, part, paths, erasure) for part, text in raw.items()} | {
        "id": place,
        "actor": stand_in("actor", erasure).decode() if sought.is_actor(actor) else actor,
        "message": "erased" if told else message,
    }
    connection.execute(_QUERIES["blank_rejection"], values)
    return told


_IMAGES = ("key", "old", "new")
