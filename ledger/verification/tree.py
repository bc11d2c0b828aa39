"""The hash tree as the stored entries make it, compared with the stored tiles on the way."""

from collections.abc import Callable, Iterator, Sequence

from ledger.storage.tree import HASH_SIZE, MAX_LEVEL, TILE_HEIGHT, TILE_WIDTH
from ledger.tlog.merkle import Extension, Frontier
from ledger.verification.report import Wrong

StoredTiles = Callable[[int], Iterator[tuple[int, bytes]]]
"""level → its stored tiles (number, hashes) in order."""


class Tree:
    """Grows with the leaves. `suspect` is the lowest leaf where stored tiles and stored events contradict each other.

    Which of the two is wrong, only a signed root tells: see `confirmed`.
    """

    def __init__(self, stored: StoredTiles) -> None:
        self.frontier = Frontier()
        self.suspect: int | None = None
        self._levels = [_Level(level, stored(level)) for level in range(MAX_LEVEL + 1)]

    def compare_leaves(self, leaves: Sequence[bytes]) -> None:
        """Compare leaf hashes with the stored tiles before they are grown by: it names the leaf, a root cannot."""
        self._compare(0, leaves)

    def compare_last_leaves(self) -> None:
        """Compare the leaves after the last full tile with the tile that is stored for them, where there is one."""
        if self.suspect is None:
            self.suspect = self._levels[0].compare_last()

    def grow(self, leaves: Sequence[bytes]) -> None:
        """Take the next leaves into the tree."""
        extension = Extension(self.frontier, leaves)
        self.frontier = extension.frontier
        for level in range(1, MAX_LEVEL + 1):
            _, hashes = extension.completed(level * TILE_HEIGHT)
            if not hashes:
                return
            self._compare(level, hashes)

    def confirmed(self, root: bytes, kept_in: str) -> bool:
        """Whether the leaves so far have the root that was signed. Raises Wrong where so the tiles must be wrong."""
        if self.frontier.root() != root:
            return False
        if self.suspect is not None and self.suspect < self.frontier.size:
            raise Wrong(
                "tiles", f"a tile is not that of the events, which are as {kept_in} was signed for", self.suspect
            )
        return True

    def end(self) -> None:
        """No tile may be left, and no contradiction either."""
        if self.suspect is not None:
            raise Wrong("events", "the stored event and the stored tile contradict each other", self.suspect)
        for level in self._levels:
            if (number := level.stray()) is not None:
                raise Wrong("tiles", f"tile {level.level}/{number} covers events that are not stored")

    def _compare(self, level: int, hashes: Sequence[bytes]) -> None:
        if self.suspect is None:
            self.suspect = self._levels[level].compare(hashes)


class _Level:
    """The tiles of one level in step with the tree."""

    def __init__(self, level: int, stored: Iterator[tuple[int, bytes]]) -> None:
        self.level = level
        self._stored = stored
        self._number = 0
        self._pending: list[bytes] = []

    def compare(self, hashes: Sequence[bytes]) -> int | None:
        """The first leaf under the first stored hash that differs or is missing, None where all are the same."""
        pending = [*self._pending, *hashes]
        full = len(pending) // TILE_WIDTH * TILE_WIDTH
        for start in range(0, full, TILE_WIDTH):
            tile = b"".join(pending[start : start + TILE_WIDTH])
            number, stored = next(self._stored, (-1, b""))
            if (number, stored) != (self._number, tile):
                return self._leaf(tile, stored if number == self._number else b"")
            self._number += 1
        self._pending = pending[full:]
        return None

    def compare_last(self) -> int | None:
        """As `compare`, for the hashes of a tile that is not full."""
        tile = b"".join(self._pending)
        number, stored = next(self._stored, (-1, b""))
        if number != self._number or stored.startswith(tile):
            return None
        return self._leaf(tile, stored)

    def stray(self) -> int | None:
        """The number of a stored tile beyond the tree, if there is one."""
        return next((number for number, _ in self._stored), None)

    def _leaf(self, tile: bytes, stored: bytes) -> int:
        places = range(0, len(tile), HASH_SIZE)
        differing = (at for at in places if tile[at : at + HASH_SIZE] != stored[at : at + HASH_SIZE])
        place = next(differing, places[-1]) // HASH_SIZE  # the last one where more is stored than a tile has
        return self._number * TILE_WIDTH + place << TILE_HEIGHT * self.level
