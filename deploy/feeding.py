"""A witness that fetches for itself: an auditor behind a firewall needs nobody to submit anything to them.

It reads a log as c2sp.org/tlog-tiles has it, makes the consistency proof from the tiles, and hands both to the witness,
which trusts them no more than what a stranger submits.
"""

import logging
import threading
from functools import cache
from http.client import HTTPException
from urllib.error import HTTPError

from deploy.foreign import opened
from deploy.witness import Answer, Witness, WitnessProblem
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.note import MAX_NOTE_SIZE, Verifier
from ledger.tlog.proofs import consistency_proof
from ledger.tlog.tiles import WIDTH, Tile, node_reader, tile_path
from ledger.tlog.witness import AddCheckpoint

SECONDS = 30.0


def feed(witness: Witness, log: Verifier, url: str) -> Answer | None:
    """The witness's answer to the checkpoint that the log at the prefix `url` shows now; None where it is no news.

    Raises OSError or HTTPException where the log cannot be read, TlogError where what it shows is not a log.
    """
    prefix = url.rstrip("/")
    checkpoint, note = open_checkpoint(fetch_checkpoint(url), log)
    latest = witness.latest(log.name)
    old_size = 0 if latest is None else latest.size
    if checkpoint == latest:
        return None
    if checkpoint.size < old_size:
        return Answer(409, f"the log shows {checkpoint.size} entries after it has shown {old_size}\n".encode())
    node = node_reader(checkpoint.size, cache(lambda tile: _tile(prefix, tile)))
    proof = consistency_proof(old_size, checkpoint.size, node)
    return witness.add_checkpoint(AddCheckpoint(old_size, tuple(proof), note, checkpoint).format())


def _tile(prefix: str, tile: Tile) -> bytes:
    """A tile's bytes; a partial one that is gone is the beginning of the full one."""
    try:
        return fetch(f"{prefix}/{tile_path(*tile)}", HASH_SIZE * tile.width)
    except HTTPError as error:
        error.close()
        if error.code != 404 or tile.width == WIDTH:
            raise
    return fetch(f"{prefix}/{tile_path(tile.level, tile.index)}", HASH_SIZE * WIDTH)[: HASH_SIZE * tile.width]


def fetch_checkpoint(url: str) -> bytes:
    """What is at `url`, a checkpoint or the prefix of a site that has one. Raises OSError or HTTPException."""
    place = url.rstrip("/")
    return fetch(place if place.endswith("/checkpoint") else f"{place}/checkpoint", MAX_NOTE_SIZE)


def fetch(url: str, limit: int) -> bytes:
    """At most `limit` bytes of what is at `url`, and one more where there are more. Raises OSError or HTTPException."""
    try:
        with opened(url, SECONDS) as answer:
            return answer.read(limit + 1)
    except ValueError as error:  # no address, or one that a redirect leads to
        raise OSError(f"{url}: {error}") from error


def keep_feeding(witness: Witness, log: Verifier, url: str, seconds: float, stop: threading.Event) -> None:
    """Feed from the log at `url` every so often until `stop`; what is wrong is said each time, and goes on.

    A thread for each log: one that answers slowly holds up nothing but itself.
    """
    while True:
        try:
            answer = feed(witness, log, url)
            if answer is not None and answer.status != 200:
                logging.error("%s at %s is not cosigned: %s", log.name, url, answer.body.decode().strip())
        except (TlogError, WitnessProblem, OSError, HTTPException) as error:
            logging.warning("%s at %s: %s", log.name, url, error)
        if stop.wait(seconds):
            return
