"""Tiles (c2sp.org/tlog-tiles): the tree cut into immutable files of 256 hashes, and the entries in bundles of 256.

    tile_path(0, 1234067) == "tile/0/x001/x234/067"        hashes of leaves 315921152 … 315921407
    tile_path(1, 0, 5) == "tile/1/000.p/5"                 the first 5 hashes, each over 256 leaves
    tile_path(ENTRIES, 0) == "tile/entries/000"            the first 256 entries
    format_bundle([b"ab", b"c"]) == b"\\x00\\x02ab\\x00\\x01c"

Hash i of tile (level, index) is the root over leaves [(index·256 + i)·256^level, (index·256 + i + 1)·256^level).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from re import ASCII, compile
from typing import NamedTuple

from ledger.tlog.errors import MalformedTile
from ledger.tlog.merkle import HASH_SIZE, MAX_SIZE, Frontier
from ledger.tlog.proofs import NodeReader
from ledger.tlog.spelling import number_of, text_of

HEIGHT = 8
WIDTH = 1 << HEIGHT
ENTRIES = -1
"""The level that stands for entry bundles; they are cut like the tiles of level 0."""
_MAX_LEVEL = 63
_MAX_PATH = 100
_PATH = compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?", ASCII)


class Tile(NamedTuple):
    """Which tile: its level (or ENTRIES), its index in the level, and how many of its 256 places it has."""

    level: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which means nothing for a tile
    width: int = WIDTH


TileReader = Callable[[Tile], bytes]
"""A tile's bytes: 32 · width. A reader may raise what it likes; a wrong length raises `MalformedTile`."""


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Return the path of a tile, relative to the log's prefix. Raises `MalformedTile` where there is no such tile."""
    if not all(type(number) is int for number in (level, index, width)):
        raise MalformedTile("a tile's level, index and width are integers")
    if not (ENTRIES <= level <= _MAX_LEVEL and 0 <= index <= MAX_SIZE and 1 <= width <= WIDTH):
        raise MalformedTile("a tile has a level of at most 63, an index of at most 2^63 - 1 and a width of 1 to 256")
    *groups, last = [group.zfill(3) for group in f"{index:,}".split(",")]
    name = "".join(f"x{group}/" for group in groups) + last
    suffix = "" if width == WIDTH else f".p/{width}"
    return f"tile/{'entries' if level == ENTRIES else level}/{name}{suffix}"


def parse_tile_path(path: str | bytes) -> Tile:
    """Return the tile that `path` names in its one legal spelling, or raise `MalformedTile`."""
    text = text_of(path, _MAX_PATH)
    match = _PATH.fullmatch(text) if text is not None else None
    if match is None:
        raise MalformedTile("not a tile path")
    level = ENTRIES if match[1] == "entries" else number_of(match[1])
    index = int(match[2].replace("/", "").replace("x", ""))
    width = WIDTH if match[3] is None else number_of(match[3])
    if level is None or width is None or tile_path(level, index, width) != text:
        raise MalformedTile("not a tile path in its one legal spelling")
    return Tile(level, index, width)


def tile_width(level: int, index: int, size: int) -> int:
    """Return how many places of tile (level, index) a tree of `size` leaves fills: 0 (no such tile) to 256."""
    return min(max((size >> HEIGHT * max(level, 0)) - index * WIDTH, 0), WIDTH)


def tiles_between(old_size: int, size: int) -> Iterator[Tile]:
    """Yield the tiles of a tree of `size` leaves, full or partial, that one of `old_size` had not, or not so wide.

    Level by level from 0; the bundles of entries are cut like level 0 and not listed again.
    """
    for level in count():
        shift = HEIGHT * level
        if size >> shift == 0:
            return
        for index in range(old_size >> shift + HEIGHT, (size >> shift) + WIDTH - 1 >> HEIGHT):
            width = tile_width(level, index, size)
            if width > tile_width(level, index, old_size):
                yield Tile(level, index, width)


def _is_width(width: object) -> bool:
    return type(width) is int and 1 <= width <= WIDTH


def split_tile(data: bytes, width: int = WIDTH) -> list[bytes]:
    """Return the `width` hashes of a tile, or raise `MalformedTile`."""
    if type(data) is not bytes or not _is_width(width) or len(data) != width * HASH_SIZE:
        raise MalformedTile("a tile has a width of 1 to 256, and 32 bytes for each of its places")
    return [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]


def node_reader(size: int, read_tile: TileReader) -> NodeReader:
    """Return the reader of the nodes of the tree of `size` leaves, from its tiles, as `proofs` wants it.

    Asks for each tile at the width that it has in that tree. Nothing is kept: let `read_tile` remember tiles.
    """

    def node(level: int, index: int) -> bytes:
        tile_level, inner = divmod(level, HEIGHT)
        start = index << inner
        tile = Tile(tile_level, start >> HEIGHT, tile_width(tile_level, start >> HEIGHT, size))
        hashes = split_tile(read_tile(tile), tile.width)
        begin = start % WIDTH
        return Frontier().extend(hashes[begin : begin + (1 << inner)]).root()

    return node


def format_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the entry bundle of 1 to 256 `entries`: each with its length before it, two bytes big-endian."""
    fits = type(entries) in (list, tuple) and 1 <= len(entries) <= WIDTH
    if not fits or any(type(entry) is not bytes or len(entry) > 0xFFFF for entry in entries):
        raise MalformedTile("a bundle has 1 to 256 entries of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(data: bytes, width: int = WIDTH) -> list[bytes]:
    """Return the `width` entries of a bundle, or raise `MalformedTile`."""
    if type(data) is not bytes or not _is_width(width):
        raise MalformedTile("a bundle has 1 to 256 entries")
    entries, start = [], 0
    for _ in range(width):
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        entries.append(data[start + 2 : end])
        start = end
    if start != len(data):
        raise MalformedTile(f"the bundle does not end where its {width} entries do")
    return entries
