"""The log over HTTP, byte for byte as c2sp.org/tlog-tiles has it: anybody can compute every root and proof from it.

    GET /checkpoint              the newest stored checkpoint, a signed note
    GET /tile/0/000              the hashes of leaves 0 … 255, 8,192 bytes
    GET /tile/1/000.p/5          the roots over the first five times 256 leaves, 160 bytes
    GET /tile/entries/000        the first 256 entries, each with its length before it

A tile is there at every width that the committed log has reached. What is not there, or not spelled as it must be, is
404.
"""

import gzip
import re
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Header, Response
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from ledger.storage.sql import QUERIES
from ledger.storage.tree import subtree_root
from ledger.tlog.errors import MalformedTile
from ledger.tlog.merkle import HASH_SIZE, leaf_hash
from ledger.tlog.tiles import ENTRIES, WIDTH, Tile, format_bundle, parse_tile_path, split_tile, tile_width

CHECKPOINT_TYPE = "text/plain; charset=utf-8"
TILE_TYPE = "application/octet-stream"
FOR_SECONDS = "max-age=2"
FOR_A_DAY = "max-age=86400"
FOR_EVER = "max-age=31536000, immutable"
"""Without `public`: where access control stands in front, what it let through is not for shared caches."""
POOL_SIZE = 4
POOL_SECONDS = 5.0
_KEPT_ROOTS = 4096
_NOT_WANTED = re.compile(r"\s*q=0(\.0{0,3})?\s*")


class Site:
    """Checkpoint, tiles and bundles of one log, read through cursors whose rows are tuples. Thread-safe."""

    def __init__(self) -> None:
        self._roots: dict[tuple[int, int], bytes] = {}  # of full tiles below partial ones: they never change

    def checkpoint(self, cursor: Cursor[Any]) -> bytes | None:
        """The newest stored checkpoint, None where there is none yet."""
        row = cursor.execute(QUERIES["last_checkpoint"]).fetchone()
        return None if row is None else row[1].encode()

    def tile(self, cursor: Cursor[Any], tile: Tile) -> bytes | None:
        """The bytes of a tile or bundle, None where the log is not that long. LookupError: the database is damaged."""
        head = cursor.execute(QUERIES["read_head"]).fetchone()
        if head is None or tile_width(tile.level, tile.index, head[0]) < tile.width:
            return None
        if tile.level == ENTRIES:
            return format_bundle(_entries(cursor, tile))
        return self._hashes(cursor, tile)

    def _hashes(self, cursor: Cursor[Any], tile: Tile) -> bytes:
        """The full tile's beginning where it is stored, else computed from what lies below it."""
        row = cursor.execute(QUERIES["tile"], {"level": tile.level, "index": tile.index}).fetchone()
        if row is not None:
            return bytes(row[0])[: HASH_SIZE * tile.width]
        if tile.level == 0:
            return b"".join(map(leaf_hash, _entries(cursor, tile)))
        first = tile.index * WIDTH
        return b"".join(self._root(cursor, tile.level - 1, index) for index in range(first, first + tile.width))

    def _root(self, cursor: Cursor[Any], level: int, index: int) -> bytes:
        root = self._roots.get((level, index))
        if root is None:
            root = subtree_root(split_tile(self._hashes(cursor, Tile(level, index))))
            if len(self._roots) >= _KEPT_ROOTS:
                self._roots.clear()
            self._roots[level, index] = root
        return root


def _entries(cursor: Cursor[Any], tile: Tile) -> Sequence[bytes]:
    first = tile.index * WIDTH
    rows = cursor.execute(QUERIES["range"], {"first": first, "stop": first + tile.width}).fetchall()
    if len(rows) != tile.width:
        raise LookupError(f"{len(rows)} events from leaf {first}, not {tile.width}: run `promise-ledger verify`")
    return [bytes(row[2]) for row in rows]


def open_pool(url: str) -> ConnectionPool[Connection[TupleRow]]:
    """A few connections that can only read, made when they are asked for. Close it, or use it as a context manager."""
    return ConnectionPool(
        url,
        kwargs={"autocommit": True, "connect_timeout": 5},
        min_size=0,
        max_size=POOL_SIZE,
        timeout=POOL_SECONDS,
        max_idle=60.0,
        configure=_only_read,
        check=ConnectionPool.check_connection,
        open=True,
        name="tiles",
    )


def _only_read(connection: Connection[TupleRow]) -> None:
    connection.execute("SET default_transaction_read_only = on")
    connection.execute("SET statement_timeout = '10s'")


def routes(pool: ConnectionPool[Connection[TupleRow]]) -> APIRouter:
    """The three kinds of resources, each for GET and HEAD, over the log that `pool` reaches."""
    router, site = APIRouter(), Site()

    @router.api_route("/checkpoint", methods=["GET", "HEAD"])
    def get_checkpoint() -> Response:
        with pool.connection() as connection:
            note = site.checkpoint(connection.cursor())
        return _not_there() if note is None else _found(note, CHECKPOINT_TYPE, FOR_SECONDS)

    @router.api_route("/tile/{path:path}", methods=["GET", "HEAD"])
    def get_tile(path: str, accept_encoding: str = Header("")) -> Response:
        try:
            tile = parse_tile_path(f"tile/{path}")
        except MalformedTile:
            return _not_there()
        with pool.connection() as connection:
            body = site.tile(connection.cursor(), tile)
        if body is None:
            return _not_there()
        cached = FOR_EVER if tile.width == WIDTH else FOR_A_DAY
        if tile.level != ENTRIES:
            return _found(body, TILE_TYPE, cached)
        if accepts_gzip(accept_encoding):
            packed = gzip.compress(body, mtime=0)
            return _found(packed, TILE_TYPE, cached, Vary="Accept-Encoding", Content_Encoding="gzip")
        return _found(body, TILE_TYPE, cached, Vary="Accept-Encoding")

    return router


def _found(body: bytes, content_type: str, cached: str, **more: str) -> Response:
    """The answer 200; further headers are named with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": cached, **named})


def _not_there() -> Response:
    """It may be there a moment later, so nobody may remember this."""
    return Response("not found\n", 404, {"Content-Type": CHECKPOINT_TYPE, "Cache-Control": "no-store"})


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, and not with quality 0 (RFC 9110, section 12.5.3); `*` is not taken for it."""
    for part in accept_encoding.lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() == "gzip":
            return _NOT_WANTED.fullmatch(quality) is None
    return False
