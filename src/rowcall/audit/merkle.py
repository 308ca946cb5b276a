"""Merkle trees as RFC 6962 has them: SHA-256, a zero byte before what a leaf holds, a one byte before two nodes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

_NODE = b"\x01"

#: The root of a tree without leaves.
EMPTY = sha256(b"").digest()


def leaf(data: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves.

    The RFC splits at the largest power of two below the number of leaves. Pairing from the left and handing on what is
    left over makes the same tree, without recursion.
    """
    if not leaves:
        return EMPTY
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0]


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The nodes over a level's."""
    above = [sha256(_NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    return above if len(level) % 2 == 0 else [*above, level[-1]]


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from a leaf to the root, the lowest first."""
    found = []
    level = leaves
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            found.append(level[sibling])
        level, index = _above(level), index // 2
    return found


def root_from(leaf_hash: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from a leaf; None if it is no path from there in a tree of this size."""
    if not 0 <= index < size:
        return None
    node, rest = leaf_hash, list(siblings)
    while size > 1:
        if index ^ 1 < size:
            if not rest:
                return None
            sibling = rest.pop(0)
            node = sha256(_NODE + (sibling + node if index % 2 else node + sibling)).digest()
        index, size = index // 2, (size + 1) // 2
    return node if not rest else None
