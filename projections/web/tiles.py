"""The log over HTTP, byte for byte as c2sp.org/tlog-tiles has it: anybody can compute every root and proof from it.

    GET /checkpoint              the newest checkpoint, a signed note; with a witness policy: the newest witnessed one
    GET /tile/0/000              the hashes of leaves 0 … 255, 8,192 bytes
    GET /tile/1/000.p/5          the roots over the first five times 256 leaves, 160 bytes
    GET /tile/entries/000        the first 256 entries, each with its length before it

A tile is there at every width that the committed log has reached. What is not there, or not spelled as it must be, is
404.
"""

import gzip
import re
from collections.abc import Mapping

from fastapi import APIRouter, Header, Request, Response
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from ledger.tlog.errors import MalformedTile
from ledger.tlog.policy import Policy
from ledger.tlog.tiles import ENTRIES, WIDTH, parse_tile_path
from projections.site import Site

CHECKPOINT_TYPE = "text/plain; charset=utf-8"
TILE_TYPE = "application/octet-stream"
FOR_SECONDS = "max-age=2"
FOR_A_DAY = "max-age=86400"
FOR_EVER = "max-age=31536000, immutable"
"""Without `public`: where access control stands in front, what it let through is not for shared caches."""
POOL_SIZE = 4
POOL_SECONDS = 5.0
_NOT_WANTED = re.compile(r"\s*q=0(\.0{0,3})?\s*")


def open_pool(url: str, name: str = "tiles") -> ConnectionPool[Connection[TupleRow]]:
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
        name=name,
    )


def _only_read(connection: Connection[TupleRow]) -> None:
    connection.execute("SET default_transaction_read_only = on")
    connection.execute("SET statement_timeout = '10s'")


def routes(pool: ConnectionPool[Connection[TupleRow]], policy: Policy | None = None) -> APIRouter:
    """The three kinds of resources, each for GET and HEAD, over the log that `pool` reaches; `policy` as in Site."""
    router, site = APIRouter(), Site(policy)

    @router.api_route("/checkpoint", methods=["GET", "HEAD"])
    def get_checkpoint() -> Response:
        with pool.connection() as connection:
            note = site.checkpoint(connection.cursor())
        return no_answer("not found") if note is None else _found(note, CHECKPOINT_TYPE, FOR_SECONDS)

    @router.api_route("/tile/{path:path}", methods=["GET", "HEAD"])
    def get_tile(request: Request, accept_encoding: str = Header("")) -> Response:
        try:
            tile = parse_tile_path(request.scope["path"][1:])  # a route's own reading drops a newline at the end
        except MalformedTile:
            return no_answer("not found")
        with pool.connection() as connection:
            body = site.tile(connection.cursor(), tile)
        if body is None:
            return no_answer("not found")
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


def no_answer(sentence: str, status: int = 404, headers: Mapping[str, str] | None = None) -> Response:
    """One line of text that nobody may remember: it may be otherwise a moment later."""
    told = {"Content-Type": CHECKPOINT_TYPE, "Cache-Control": "no-store"}
    return Response(f"{sentence}\n", status, told | dict(headers or {}))


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, and not with quality 0 (RFC 9110, section 12.5.3); `*` is not taken for it."""
    for part in accept_encoding.lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() == "gzip":
            return _NOT_WANTED.fullmatch(quality) is None
    return False
