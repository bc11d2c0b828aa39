"""`promise-ledger export-tiles`: the log as files that any web server or object store can serve (c2sp.org/tlog-tiles).

    DIR/checkpoint     DIR/tile/0/000     DIR/tile/0/001.p/44     DIR/tile/entries/000

What stands under its name is whole, and the checkpoint comes last: a crash at any moment leaves a site whose checkpoint
has all its tiles. What that does not cover was never published, be it of a log that was refused: the next run writes it
anew where it differs. Of what is published it writes only what is missing.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from deploy.foreign import beginning
from ledger.storage.tree import TreeReader, subtree_root
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import Malformed
from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.note import MAX_NOTE_SIZE, Note
from ledger.tlog.policy import Policy
from ledger.tlog.tiles import ENTRIES, WIDTH, Tile, parse_bundle, split_tile, tile_path, tile_width, tiles_between
from projections.proving import NOT_SIGNED
from projections.site import Site

Cursor = psycopg.Cursor[Any]


class ExportRefused(RuntimeError):
    """The directory holds something else, or the log is not what was signed; the text says which."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What the site holds now: the size of its checkpoint, and how many files this run wrote."""

    size: int
    written: int


def export_tiles(
    url: str, directory: Path, progress: Callable[[int, int], None], policy: Policy | None = None
) -> Exported:
    """`directory` serves the newest checkpoint of the log at `url`, with all tiles and bundles of that size.

    With a `policy` the newest that enough of its witnesses have cosigned.

    Raises ExportRefused where there is no checkpoint yet, where files there are another log's or a longer one's, and
    where the database does not lead to the signed root.
    """
    directory.mkdir(parents=True, exist_ok=True)
    site = Site(policy)
    with _held(directory), psycopg.connect(url, autocommit=True, row_factory=tuple_row) as connection:
        cursor = connection.cursor()
        try:
            note = site.checkpoint(cursor)
            if note is None:
                raise ExportRefused(
                    f"nothing was {'signed' if policy is None else 'cosigned'} yet: there is no checkpoint to export"
                )
            checkpoint = Checkpoint.parse(Note.parse(note).text)
            published = _published(TreeReader(cursor), checkpoint, directory)
            _remove_unfinished(directory)
            written = _write_tiles(site, cursor, checkpoint, directory, published, progress)
        except LookupError as error:
            raise ExportRefused(f"{NOT_SIGNED}: {error}") from error
    os.sync()  # the names of all tiles are on disk before the checkpoint that needs them
    written += _write(directory / "checkpoint", note)
    return Exported(checkpoint.size, written)


def _published(reader: TreeReader, checkpoint: Checkpoint, directory: Path) -> int:
    """The size that `directory` has published already. The log leads to the signed root, and that is a prefix of it."""
    if reader.root(checkpoint.size) != checkpoint.root:
        raise ExportRefused(NOT_SIGNED)
    path = directory / "checkpoint"
    if not path.exists():
        return 0
    try:
        earlier = Checkpoint.parse(Note.parse(beginning(path, MAX_NOTE_SIZE)).text)
    except Malformed as error:
        raise ExportRefused(f"{path} is not a checkpoint: choose another directory") from error
    if earlier.origin != checkpoint.origin or earlier.size > checkpoint.size:
        raise ExportRefused(f"{path} is of {earlier.origin} with {earlier.size} events: not an earlier one of this log")
    if reader.root(earlier.size) != earlier.root:
        raise ExportRefused(f"{path} has another root than the log has at {earlier.size} events: it was rewritten")
    return earlier.size


def _remove_unfinished(directory: Path) -> None:
    """Nothing is left of what an export was writing as it was killed."""
    for unfinished in (directory / "checkpoint.new", *(directory / "tile").rglob("*.new")):
        unfinished.unlink(missing_ok=True)


def _write_tiles(
    site: Site,
    cursor: Cursor,
    checkpoint: Checkpoint,
    directory: Path,
    published: int,
    progress: Callable[[int, int], None],
) -> int:
    """How many files were written. Level 0 comes first and in order: its hashes add up to the root, and the roots of a
    level's tiles are the hashes of the next.
    """
    tiles = list(tiles_between(0, checkpoint.size))
    frontier, written, level = Frontier(), 0, 0
    below: list[bytes] = []
    roots: list[bytes] = []
    for done, tile in enumerate(tiles):
        if tile.level > level:
            level, below, roots = tile.level, roots, []
        content = site.tile(cursor, tile)
        assert content is not None, "the log never becomes shorter"
        first = tile.index * WIDTH
        if level > 0 and content != b"".join(below[first : first + tile.width]):
            raise ExportRefused(f"{NOT_SIGNED}: {tile_path(*tile)} has others than the hashes of the tiles below it")
        if tile.width == WIDTH:
            roots.append(subtree_root(split_tile(content)))
        path = directory / tile_path(*tile)
        covered = tile.width <= tile_width(tile.level, tile.index, published)
        if covered and path.exists() and beginning(path, len(content)) != content:
            raise ExportRefused(f"{path} is not of this log: choose another directory")
        written += _write(path, content)
        if tile.level == 0:
            bundle = directory / tile_path(*tile._replace(level=ENTRIES))
            if not (covered and bundle.exists()):  # else it was checked when it was written
                written += _write(bundle, _bundle(site, cursor, tile, content))
            frontier = frontier.extend(split_tile(content, tile.width))
        progress(done + 1, len(tiles))
    if frontier.root() != checkpoint.root:
        raise ExportRefused(NOT_SIGNED)
    return written


def _bundle(site: Site, cursor: Cursor, tile: Tile, leaf_hashes: bytes) -> bytes:
    """The entries of `tile`, which are those that were hashed."""
    content = site.tile(cursor, tile._replace(level=ENTRIES))
    assert content is not None, "the log never becomes shorter"
    if b"".join(map(leaf_hash, parse_bundle(content, tile.width))) != leaf_hashes:
        raise ExportRefused(f"{NOT_SIGNED}: the entries from leaf {tile.index * WIDTH} are others than were hashed")
    return content


def _write(path: Path, content: bytes) -> bool:
    """`path` holds `content`, whole or not at all, also after a power cut; False where it did already."""
    if path.exists() and beginning(path, len(content)) == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return True


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """No other export writes to `directory` meanwhile."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportRefused(f"another export is writing to {directory}") from error
        yield
    finally:
        os.close(handle)
