"""The hash tree in PostgreSQL: full tiles are stored, the right edge is recomputed from the events.

Tile (l, n) holds the hashes of 256 subtrees of 256^l leaves each, so a tile of level l+1 holds the roots of 256 tiles
of level l. Source: c2sp.org/tlog-tiles.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Cursor

from ledger.storage.sql import QUERIES
from ledger.tlog import proofs
from ledger.tlog.merkle import Frontier, leaf_hash

TILE_WIDTH = 256
TILE_HEIGHT = 8
HASH_SIZE = 32
CACHED_TILES = 1024
MAX_LEVEL = 7


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes that are themselves roots of complete subtrees of one size."""
    return Frontier().extend(hashes).root()


class TileRow(NamedTuple):
    """One full tile: 256 hashes, 8192 bytes."""

    level: int
    number: int
    hashes: bytes


class RightEdge:
    """The hashes of the tiles that are not full yet, kept between appends. Belongs to whoever holds the head lock."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Read the edge anew at the next append: a transaction failed, or another writer may have moved the head."""
        self._size = -1
        self._levels: list[list[bytes]] = []

    def extend(self, cursor: Cursor[Any], size: int, leaves: Sequence[bytes]) -> list[TileRow]:
        """As `grow`, after reading the edge of the first `size` leaves where it is not the one kept here."""
        if self._size != size:
            self._levels = _load_edge(cursor, size)
            self._size = size
        return self.grow(size, leaves)

    def grow(self, size: int, leaves: Sequence[bytes]) -> list[TileRow]:
        """The tiles that become full when `leaves` (leaf hashes) follow the first `size` leaves, lowest level first."""
        full: list[TileRow] = []
        self._add(0, size, leaves, full)
        self._size = size + len(leaves)
        return full

    def _add(self, level: int, size: int, hashes: Sequence[bytes], full: list[TileRow]) -> None:
        """Append `hashes` to the tiles of `level`, which holds `size`; full ones go to `full` and one level up."""
        if len(self._levels) == level:
            self._levels.append([])
        pending = [*self._levels[level], *hashes]
        first = size // TILE_WIDTH
        complete = len(pending) // TILE_WIDTH
        roots = []
        for number in range(complete):
            tile = pending[number * TILE_WIDTH : (number + 1) * TILE_WIDTH]
            full.append(TileRow(level, first + number, b"".join(tile)))
            roots.append(subtree_root(tile))
        self._levels[level] = pending[complete * TILE_WIDTH :]
        if roots:
            self._add(level + 1, first, roots, full)


def _load_edge(cursor: Cursor[Any], size: int) -> list[list[bytes]]:
    reader = TreeReader(cursor)
    levels = []
    level = 0
    while count := size >> (TILE_HEIGHT * level):
        levels.append(reader.tile(level, count // TILE_WIDTH, count % TILE_WIDTH) if count % TILE_WIDTH else [])
        level += 1
    return levels


class TreeReader:
    """Hashes and proofs of the committed tree, read through `cursor` (rows as tuples).

    Full tiles never change, so `cache` may be shared between readers of one log.
    """

    def __init__(self, cursor: Cursor[Any], cache: dict[tuple[int, int], list[bytes]] | None = None) -> None:
        self._cursor = cursor
        self._cache: dict[tuple[int, int], list[bytes]] = {} if cache is None else cache
        self._roots: dict[tuple[int, int], bytes] = {}
        self._partial: dict[tuple[int, int], list[bytes]] = {}  # tiles at the right edge, as far as they were read

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> list[bytes]:
        """The first `width` (1..256) hashes of tile (level, index). Raises LookupError where the log has fewer."""
        if width == TILE_WIDTH:
            return self._full_tile(level, index)
        first = index * TILE_WIDTH
        if level == 0:
            rows = self._cursor.execute(QUERIES["range"], {"first": first, "stop": first + width}).fetchall()
            hashes = [leaf_hash(bytes(row[2])) for row in rows]
        else:
            hashes = [self._tile_root(level - 1, child) for child in range(first, first + width)]
        if len(hashes) != width:
            raise LookupError(f"tile {level}/{index} has {len(hashes)} hashes, not {width}")
        return hashes

    def node(self, level: int, index: int) -> bytes:
        """The hash of the complete subtree of leaves [index * 2^level, (index + 1) * 2^level)."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        if height == 0 and tile_level > 0:
            return self._tile_root(tile_level - 1, index)
        tile_index, offset = divmod(index << height, TILE_WIDTH)
        stop = offset + (1 << height)
        return subtree_root(self._first(tile_level, tile_index, stop)[offset:stop])

    def _first(self, level: int, index: int, width: int) -> list[bytes]:
        """At least the first `width` hashes of a tile, full or not; each is read once."""
        key = (level, index)
        known = self._partial.get(key)
        if known is None:
            try:
                return self.tile(level, index)
            except LookupError:
                known = []
        if len(known) < width:
            known = self._partial[key] = self.tile(level, index, width)
        return known

    def root(self, size: int) -> bytes:
        """The root of the first `size` leaves."""
        hashes, start = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                hashes.append(self.node(level, start >> level))
                start += 1 << level
        return Frontier(size, tuple(hashes)).root()

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """The hashes from leaf `index` to the root of the first `size` leaves."""
        return proofs.inclusion_proof(index, size, self.node)

    def consistency_proof(self, size1: int, size2: int) -> list[bytes]:
        """The hashes that show the first `size1` leaves to be a prefix of the first `size2`."""
        return proofs.consistency_proof(size1, size2, self.node)

    def _full_tile(self, level: int, index: int) -> list[bytes]:
        key = (level, index)
        if key not in self._cache:
            row = self._cursor.execute(QUERIES["tile"], {"level": level, "index": index}).fetchone()
            if row is None:
                raise LookupError(f"tile {level}/{index} is not full")
            if len(self._cache) >= CACHED_TILES:
                self._cache.clear()
            hashes = bytes(row[0])
            self._cache[key] = [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]
        return self._cache[key]

    def _tile_root(self, level: int, index: int) -> bytes:
        key = (level, index)
        if key not in self._roots:
            self._roots[key] = subtree_root(self._full_tile(level, index))
        return self._roots[key]
