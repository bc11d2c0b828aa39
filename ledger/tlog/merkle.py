"""The Merkle tree of RFC 9162, section 2.1, as it grows: hashes, frontier, extension.

    leaf = SHA-256(0x00 ‖ entry)        node = SHA-256(0x01 ‖ left ‖ right)
    leaf_hash(b"") = 6e340b9c…617afa01d    root([]) = SHA-256("") = e3b0c442…7852b855

A node (level, index) is the root of the complete subtree over leaves [index·2^level, (index+1)·2^level).
All hashes are `bytes` of length 32. Nothing here does I/O.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TypeVar

from ledger.tlog.errors import MalformedEntry, MalformedFrontier

HASH_SIZE = 32
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = sha256(b"").digest()
_CHUNK = 8192

Path = TypeVar("Path", str, list[bytes])
"""A proof as text or as hashes: anything that adds up."""


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ entry), the hash of a leaf. Raises `MalformedEntry` where `entry` is not bytes."""
    if type(entry) is not bytes:
        raise MalformedEntry("an entry is bytes")
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right), the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def is_hash(value: object) -> bool:
    """Tell whether `value` is 32 bytes. Exact type: a subclass may say that it equals anything."""
    return type(value) is bytes and len(value) == HASH_SIZE


def root(entries: Iterable[bytes]) -> bytes:
    """Return the root of the tree over `entries`, in constant memory. No entries: SHA-256("").

    Raises `MalformedEntry` where an entry is not bytes, or `entries` nothing that has any, as bytes have none.
    """
    if not isinstance(entries, Iterable) or isinstance(entries, str | bytes | bytearray | memoryview):
        raise MalformedEntry("entries come one after another")
    source = iter(entries)
    frontier = Frontier()
    while chunk := [leaf_hash(entry) for entry in islice(source, _CHUNK)]:
        frontier = frontier.extend(chunk)
    return frontier.root()


def _parents(nodes: Sequence[bytes]) -> list[bytes]:
    """Hash neighbours in pairs; a last odd one is left out. Inlined `node_hash`: this loop is the append path."""
    pairs = iter(nodes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: the roots of its complete subtrees, largest first.

    `size` leaves make popcount(size) subtrees: 6 = 0b110 leaves are one subtree of 4 and one of 2. This is all
    that an append needs to know of the leaves before it. Raises `MalformedFrontier` where hashes and size disagree.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 0 <= self.size <= MAX_SIZE:
            raise MalformedFrontier("the size is not between 0 and 2^63 - 1")
        hashes = self.hashes if type(self.hashes) is tuple else (None,)
        if len(hashes) != self.size.bit_count() or not all(map(is_hash, hashes)):
            raise MalformedFrontier(f"a tree of {self.size} leaves has {self.size.bit_count()} hashes of 32 bytes")

    def root(self) -> bytes:
        """Return the root of the tree; SHA-256("") when it is empty."""
        if not self.hashes:
            return EMPTY_ROOT
        result = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            result = node_hash(left, result)
        return result

    def extend(self, leaf_hashes: Sequence[bytes]) -> "Frontier":
        """Return the frontier after `leaf_hashes`, hashing level by level (batches of thousands are fastest).

        Raises `MalformedFrontier` where one is not 32 bytes, or the size would exceed 2^63 - 1.
        """
        levels = _levels(self, leaf_hashes)
        return _frontier(self.size + len(leaf_hashes), levels)

    def to_bytes(self) -> bytes:
        """Return the hashes one after another: 32 · popcount(size) bytes."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> "Frontier":
        """Return the frontier of `size` leaves written by `to_bytes`, or raise `MalformedFrontier`."""
        if type(data) is not bytes:
            raise MalformedFrontier("the hashes are not bytes")
        return cls(size, tuple(data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)))


def _levels(frontier: Frontier, leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return, for each level, the complete nodes that `leaf_hashes` complete, after the frontier's node if it has one.

    The list of a level starts at index (old size >> level) rounded down to even, so its nodes pair up as they stand.
    """
    if not isinstance(leaf_hashes, Sequence) or not all(map(is_hash, leaf_hashes)):
        raise MalformedFrontier("a leaf is not 32 bytes")
    edge = iter(reversed(frontier.hashes))
    fresh = list(leaf_hashes)
    levels = []
    for level in range((frontier.size + len(fresh)).bit_length()):
        nodes = [next(edge), *fresh] if frontier.size >> level & 1 else fresh
        levels.append(nodes)
        fresh = _parents(nodes)
    return levels


def _frontier(size: int, levels: list[list[bytes]]) -> Frontier:
    """Return the frontier of `size` leaves: the last node of each level whose bit is set in `size`."""
    return Frontier(size, tuple(nodes[-1] for level, nodes in reversed(list(enumerate(levels))) if size >> level & 1))


class Extension:
    """A tree that grew by `leaf_hashes`: its new frontier and root, and proofs for the new leaves.

    Needs only the old frontier and the new leaves. Every node is hashed once and shared by all proofs.
    Raises `MalformedFrontier` where a leaf is not 32 bytes, or the size would exceed 2^63 - 1.
    """

    def __init__(self, frontier: Frontier, leaf_hashes: Sequence[bytes]) -> None:
        levels = _levels(frontier, leaf_hashes)
        self.old_size = frontier.size
        self.size = frontier.size + len(leaf_hashes)
        self.frontier = _frontier(self.size, levels)
        self._complete = [len(nodes) for nodes in levels]
        self._first = [frontier.size >> level & ~1 for level in range(len(levels))]
        self._levels = levels
        self._append_right_edge()
        self.root = self.frontier.root()

    def _append_right_edge(self) -> None:
        """Put behind each level the root of the leaves that its complete nodes do not cover, where there are any.

        With this incomplete last node every sibling in the tree of the new size is found by index alone.
        """
        rest: bytes | None = None
        for level, nodes in enumerate(self._levels):
            beyond = rest
            if self.size >> level & 1:
                rest = nodes[-1] if rest is None else node_hash(nodes[-1], rest)
            if beyond is not None:
                nodes.append(beyond)

    def completed(self, level: int) -> tuple[int, list[bytes]]:
        """Return (first index, hashes) of the nodes of `level` that this extension completed."""
        first = self.old_size >> level
        if level >= len(self._levels):
            return first, []
        skip = first - self._first[level]
        return first, self._levels[level][skip : self._complete[level]]

    def _sibling(self, level: int, index: int) -> bytes | None:
        """Return the sibling of node (level, index), or None where the right edge of the tree has none."""
        nodes, position = self._levels[level], (index ^ 1) - self._first[level]
        return nodes[position] if position < len(nodes) else None

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the proof of leaf `index` (old size <= index < size) in the tree of the new size, leaf to root."""
        assert self.old_size <= index < self.size, "only the new leaves have their proof here"
        proof = []
        for nodes, first in zip(self._levels, self._first, strict=True):
            position = (index ^ 1) - first
            if position < len(nodes):
                proof.append(nodes[position])
            index >>= 1
        return proof

    def inclusion_proofs(self) -> list[list[bytes]]:
        """Return the proofs of all new leaves, in order: many times faster than one by one."""
        return self.paths(lambda sibling: [sibling], [])

    def paths(self, encode: Callable[[bytes], Path], nothing: Path) -> list[Path]:
        """Return for each new leaf its proof in another form: the sum of `encode(sibling)` from leaf to root.

        Works from the root down, so that neighbours share what they have in common: `encode` runs once a node.
        """
        paths = [nothing]
        for level in reversed(range(len(self._levels))):
            paths = self._one_level_down(level, paths, encode)
        return paths if self.size > self.old_size else []

    def _one_level_down(self, level: int, above: list[Path], encode: Callable[[bytes], Path]) -> list[Path]:
        """Return the paths of the nodes of `level` over new leaves, from those of their parents in `above`."""
        first, last = self.old_size >> level, (self.size - 1) >> level
        paths = []
        for index in range(first, last + 1):
            path = above[(index >> 1) - (first >> 1)]
            sibling = self._sibling(level, index)
            paths.append(path if sibling is None else encode(sibling) + path)
        return paths
