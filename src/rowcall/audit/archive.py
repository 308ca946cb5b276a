"""Parts of the log as files: compressed, each with a manifest that says what is in it.

``NAME.copy.gz`` holds the events of a partition in order of their seq, every column as it was, in the text format of PostgreSQL's COPY, under
TimeZone UTC and DateStyle ISO; ``NAME.json`` the columns' names, how many events there are, their first and last seq, the SHA-256 of
the text before compression, and what the numbers of relations and their images mean.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from rowcall import errors, resources

_QUERIES = resources.queries("prune")
_BLOCK = 1 << 20

#: Hears how many more events were written.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archived partition holds.

    :ivar upper: the partition's events are older than that.
    :ivar relations: their ids, names and layouts.
    :ivar sha256: of the text before compression.
    """

    installation: str
    partition: str
    lower: str | None
    upper: str
    columns: list[str]
    events: int
    first_seq: int | None
    last_seq: int | None
    sha256: str
    relations: list[Any]


def write(
    connection: psycopg.Connection[Any], partition: Any, directory: Path, progress: Progress = lambda events: None
) -> tuple[Path, Manifest]:
    """Write a partition to a file, read it back, and only then give it its name.

    :raises UsageError: if the directory cannot be written, or holds the archive of another log.
    :raises DamagedArchive: if what is read back is not what was written.
    """
    again = connection.execute(_QUERIES["again"], {"partition": partition.name}).fetchone()
    # An earlier prune's file holds other events.
    name = f"{partition.name}_until_{partition.upper:%Y%m%d}" + (f"_{again[0]}" if again else "")
    target = directory / f"{name}.copy.gz"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _check_own(connection, directory / f"{name}.json")
        with connection.transaction():
            manifest = _written(connection, partition, target.with_suffix(".part"), progress)
        check(target.with_suffix(".part"), manifest)
        _name(target.with_suffix(".part"), target)
        _write_manifest(directory / f"{name}.json", manifest)
    except OSError as error:
        raise errors.UsageError(
            f"{directory} cannot be written ({error}): name another directory with --archive."
        ) from error
    return target, manifest


def _check_own(connection: psycopg.Connection[Any], file: Path) -> None:
    """See that no archive of another log is overwritten."""
    if not file.exists():
        return
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except msgspec.MsgspecError:
        return  # torn: it is written anew
    [installation, _] = connection.execute(_QUERIES["catalog"]).fetchone() or ("", [])
    if manifest.installation != installation:
        raise errors.UsageError(
            f"{file.parent} holds the archive of another log: name another directory with --archive."
        )


def _written(connection: psycopg.Connection[Any], partition: Any, part: Path, progress: Progress) -> Manifest:
    connection.execute(_QUERIES["settings"])
    [columns] = connection.execute(_QUERIES["columns"]).fetchone() or ([],)
    installation, relations = connection.execute(_QUERIES["catalog"]).fetchone() or ("", [])
    query = sql.SQL("copy (select {} from rowcall.{} order by seq) to stdout").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(partition.name)
    )
    digest = hashlib.sha256()
    events = 0
    first = last = None
    with part.open("wb") as file:
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
            connection.cursor().copy(query) as copy,
        ):
            for block in copy:
                line = bytes(block)
                packed.write(line)
                digest.update(line)
                last = int(line[: line.index(b"\t")])
                first = last if first is None else first
                events += 1
                if events % 1000 == 0:
                    progress(1000)
        progress(events % 1000)
        _flush(file)
    return Manifest(
        installation=installation,
        partition=partition.name,
        lower=partition.lower and partition.lower.isoformat(),
        upper=partition.upper.isoformat(),
        columns=columns,
        events=events,
        first_seq=first,
        last_seq=last,
        sha256=digest.hexdigest(),
        relations=relations,
    )


def check(path: Path, manifest: Manifest) -> None:
    """Read a file of events, and see whether it is what its manifest says.

    :raises DamagedArchive: if it is not.
    """
    digest = hashlib.sha256()
    lines = 0
    try:
        with gzip.open(path) as packed:
            while block := packed.read(_BLOCK):
                digest.update(block)
                lines += block.count(b"\n")
    except (OSError, EOFError) as error:
        raise errors.DamagedArchive(f"{path} cannot be read ({error}): restore it from a copy.") from error
    if (lines, digest.hexdigest()) != (manifest.events, manifest.sha256):
        raise errors.DamagedArchive(
            f"{path} is not what its manifest says: {lines} events instead of {manifest.events}, or others. Restore it from a copy."
        )


def archived(directory: Path) -> Iterator[tuple[Path, Manifest]]:
    """The archived partitions of a directory, oldest first.

    :raises DamagedArchive: for a manifest that cannot be read.
    """
    found: list[tuple[Path, Manifest]] = []
    for path in directory.glob("*_until_*.json"):
        try:
            found.append((path.with_suffix(".copy.gz"), msgspec.json.decode(path.read_bytes(), type=Manifest)))
        except (OSError, msgspec.MsgspecError) as error:
            raise errors.DamagedArchive(f"{path} cannot be read ({error}): restore it from a copy.") from error
    yield from sorted(found, key=lambda one: one[1].upper)


def rows(path: Path) -> Iterator[list[bytes | None]]:
    """The events of a file, each value as its text, None for null."""
    with gzip.open(path) as packed:
        for line in packed:
            yield [_value(text) for text in line.rstrip(b"\n").split(b"\t")]


_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _value(text: bytes) -> bytes | None:
    if text == b"\\N":
        return None
    if b"\\" not in text:
        return text
    first, *rest = text.split(b"\\")
    return first + b"".join(_unescaped(rest))


def _unescaped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """What follows each backslash; an empty part is a backslash that another one follows."""
    escaped = True
    for part in parts:
        if not part and escaped:
            yield b"\\"
            escaped = False
        elif escaped:
            yield _ESCAPES.get(part[:1], part[:1]) + part[1:]
        else:
            yield part
            escaped = True


#: New values by column, of an event by its seq.
Changes = Mapping[int, Mapping[str, str | None]]


def rewritten(path: Path, manifest: Manifest, changes: Changes) -> Manifest:
    """Write a file anew beside itself, with other values in some events, and read it back. :func:`exchange` puts it in its place.

    :returns: the manifest that it then has.
    :raises DamagedArchive: if what is read back is not what was written.
    """
    digest = hashlib.sha256()
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed, gzip.open(path) as lines:
            for line in lines:
                changed = changes.get(int(line[: line.index(b"\t")]))
                text = line if changed is None else _changed(line, manifest.columns, changed)
                packed.write(text)
                digest.update(text)
        _flush(file)
    made = replace(manifest, sha256=digest.hexdigest())
    check(part, made)
    return made


def exchange(path: Path, manifest: Manifest) -> None:
    """Put a file that was written anew in its place, and then its manifest. If it ends in between, it has to be written once more."""
    _name(path.with_suffix(".part"), path)
    _write_manifest(path.with_suffix("").with_suffix(".json"), manifest)


def _write_manifest(target: Path, manifest: Manifest) -> None:
    part = target.with_name(f"{target.name}.part")
    with part.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)))
        _flush(file)
    _name(part, target)


def _changed(line: bytes, columns: Iterable[str], changed: Mapping[str, str | None]) -> bytes:
    texts = line.removesuffix(b"\n").split(b"\t")
    parts = (_escaped(changed[name]) if name in changed else text for name, text in zip(columns, texts, strict=True))
    return b"\t".join(parts) + b"\n"


_SPECIAL = str.maketrans({"\\": "\\\\", **{chr(code[0]): f"\\{name.decode()}" for name, code in _ESCAPES.items()}})


def _escaped(value: str | None) -> bytes:
    """A value as COPY writes it."""
    return b"\\N" if value is None else value.translate(_SPECIAL).encode()


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _name(part: Path, target: Path) -> None:
    """Give a file its name for good."""
    part.replace(target)
    with suppress(PermissionError):
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
