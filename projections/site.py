"""The resources of c2sp.org/tlog-tiles, read from the database: what is served over HTTP and exported as files."""

from collections.abc import Sequence
from typing import Any

from psycopg import Cursor

from ledger.storage.sql import QUERIES
from ledger.storage.tree import subtree_root
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import Malformed, TlogError
from ledger.tlog.merkle import HASH_SIZE, leaf_hash
from ledger.tlog.note import Note, open_note
from ledger.tlog.policy import Policy
from ledger.tlog.tiles import ENTRIES, WIDTH, Tile, format_bundle, split_tile, tile_path, tile_width

_KEPT_ROOTS = 4096


class Damaged(LookupError):
    """What is stored is no log any more, and cannot be published; `verify` says more."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: run `promise-ledger verify`")


class Site:
    """Checkpoint, tiles and bundles of one log, read through cursors whose rows are tuples. Thread-safe.

    With a `policy` only what enough of its witnesses have cosigned is published.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self._policy = policy
        self._roots: dict[tuple[str, int, int], bytes] = {}  # of a log's full tiles below partial ones: never changed

    def checkpoint(self, cursor: Cursor[Any]) -> bytes | None:
        """The newest checkpoint that may be published, None where there is none yet. Raises Damaged."""
        note = self._newest(cursor)
        if note is None:
            return None
        try:
            Checkpoint.parse(Note.parse(note).text)
        except Malformed as error:
            raise Damaged(f"the newest checkpoint in the database is none ({error})") from error
        return note.encode()

    def _newest(self, cursor: Cursor[Any]) -> str | None:
        if self._policy is None:
            row = cursor.execute(QUERIES["last_checkpoint"]).fetchone()
            return None if row is None else str(row[1])
        rows = cursor.execute(QUERIES["newest_witnessed"]).fetchall()
        return next((str(note) for (note,) in rows if cosigned(note, self._policy)), None)

    def tile(self, cursor: Cursor[Any], tile: Tile) -> bytes | None:
        """The bytes of a tile or bundle, None where the log is not that long. Raises Damaged."""
        head = cursor.execute(QUERIES["read_head"]).fetchone()
        if head is None or tile_width(tile.level, tile.index, head[0]) < tile.width:
            return None
        try:
            return (
                format_bundle(_entries(cursor, tile)) if tile.level == ENTRIES else self._hashes(cursor, head[3], tile)
            )
        except Malformed as error:
            raise Damaged(f"what is stored for {tile_path(*tile)} is none of it ({error})") from error

    def _hashes(self, cursor: Cursor[Any], origin: str, tile: Tile) -> bytes:
        """The full tile's beginning where it is stored, else computed from what lies below it."""
        row = cursor.execute(QUERIES["tile"], {"level": tile.level, "index": tile.index}).fetchone()
        if row is not None:
            return bytes(row[0])[: HASH_SIZE * tile.width]
        if tile.level == 0:
            return b"".join(map(leaf_hash, _entries(cursor, tile)))
        first = tile.index * WIDTH
        return b"".join(self._root(cursor, origin, tile.level - 1, index) for index in range(first, first + tile.width))

    def _root(self, cursor: Cursor[Any], origin: str, level: int, index: int) -> bytes:
        root = self._roots.get((origin, level, index))
        if root is None:
            root = subtree_root(split_tile(self._hashes(cursor, origin, Tile(level, index))))
            if len(self._roots) >= _KEPT_ROOTS:
                self._roots.clear()
            self._roots[origin, level, index] = root
        return root


def _entries(cursor: Cursor[Any], tile: Tile) -> Sequence[bytes]:
    first = tile.index * WIDTH
    rows = cursor.execute(QUERIES["range"], {"first": first, "stop": first + tile.width}).fetchall()
    if len(rows) != tile.width:
        raise Damaged(f"{len(rows)} events from leaf {first}, not {tile.width}")
    return [bytes(row[2]) for row in rows]


def cosigned(note: str, policy: Policy) -> bool:
    """Whether enough witnesses of `policy` have cosigned; a row may be anybody's."""
    if policy.quorum is None:
        return True
    try:
        policy.check(open_note(note, [witness.verifier for witness in policy.witnesses]).verified)
    except TlogError:
        return False
    return True
