"""What was signed and what is there: checkpoints that anybody kept, compared with the stored events, byte for byte."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from ledger.recovery.records import Record, records
from ledger.storage.log_keys import KeyRange, key_ranges, read_rotations
from ledger.storage.recorder import Authenticate
from ledger.storage.sql import QUERIES
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.note import Note, Verifier

PAGE = 4096


class NotRecovered(RuntimeError):
    """Nothing was changed, or nothing more; the text says why and what to do."""


class Kept(NamedTuple):
    """A checkpoint that this log signed, and where it was kept; `own`: by the ledger itself, beside its database."""

    size: int
    root: bytes
    note: bytes
    where: str
    own: bool


class Unrelated(NamedTuple):
    """What was kept there is no checkpoint that a key of this log signed, as far as its keys are known here.

    `size` is what it says to cover where another key of the same name is said to have signed it. Nobody verified that.
    """

    where: str
    why: str
    size: int | None = None


def keys_of(connection: Connection[Any], verifier: Verifier) -> list[KeyRange]:
    """The keys of the log that `verifier` signs now, itself included, as the events here name them."""
    ranges = key_ranges(read_rotations(connection.cursor(row_factory=tuple_row)))
    own = [each for each in ranges if each.verifier.name == verifier.name]
    return own if verifier in (each.verifier for each in own) else [KeyRange(verifier, 0, None), *own]


def opened(note: bytes, keys: Sequence[KeyRange], where: str, *, own: bool) -> Kept | Unrelated:
    """The checkpoint in `note`, verified under a key of the log that may sign its size."""
    try:
        parsed = Note.parse(note)
        checkpoint = Checkpoint.parse(parsed.text)
        named = {(signature.name, signature.key_id) for signature in parsed.signatures}
        known = [each for each in keys if (each.verifier.name, each.verifier.key_id) in named]
        if not known and keys[0].verifier.name in {name for name, _ in named}:
            return Unrelated(where, "another key of that name has signed it", checkpoint.size)
        for each in known or keys:
            open_checkpoint(note, each.verifier)
    except TlogError as error:
        return Unrelated(where, str(error))
    if not any(each.has(checkpoint.size) for each in known):
        return Unrelated(where, "it is signed by a key that was replaced before: whoever has that one signs on")
    return Kept(checkpoint.size, checkpoint.root, note, where, own)


@dataclass(frozen=True, slots=True)
class Stored:
    """The database as it is: how many events from the first one without a gap, their frontier, what the head says.

    `authentic`: a service of this log wrote that head, whether or not it was signed. `origin` and `head_size` are None
    where the head row is gone. `contradicted`: the kept checkpoints that the events
    do not lead to. `frontiers` holds the tree at the size of every other one that the events reach.
    """

    size: int
    frontier: Frontier
    authentic: bool
    origin: str | None
    head_size: int | None
    recoveries: Sequence[Record]
    contradicted: Sequence[Kept]
    frontiers: dict[int, Frontier] = field(default_factory=dict)


def stored_kept(connection: Connection[Any], keys: Sequence[KeyRange]) -> list[Kept]:
    """The newest checkpoint of each table that holds some."""
    found = []
    for name, where in (
        ("all_checkpoints", "the newest stored checkpoint"),
        ("all_witnessed", "the newest witnessed checkpoint"),
    ):
        for _, note in reversed(connection.execute(QUERIES[name]).fetchall()):
            if isinstance(kept := opened(note.encode(), keys, where, own=True), Kept):
                found.append(kept)
                break
    return found


def read_stored(connection: Connection[Any], kept: Sequence[Kept], authenticate: Authenticate) -> Stored:
    """The database compared with `kept`, in one pass over all events and at one moment, whoever appends meanwhile."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _stored(connection, kept, authenticate)


def _stored(connection: Connection[Any], kept: Sequence[Kept], authenticate: Authenticate) -> Stored:
    head = connection.execute(QUERIES["read_head"]).fetchone()
    row = connection.execute(QUERIES["dense_size"]).fetchone()
    assert row is not None
    size = int(row[0])
    frontiers = grown(Frontier(), _leaf_hashes(connection, size), {each.size for each in kept} | {size})
    contradicted = [each for each in kept if each.size <= size and frontiers[each.size].root() != each.root]
    authentic = head is not None and head[0] == size and head[1] == frontiers[size].to_bytes()
    if authentic and head is not None:
        authentic = head[2] is not None and head[-1] == authenticate(size, head[1], head[2].astimezone(UTC))
    return Stored(
        size,
        frontiers[size],
        authentic,
        None if head is None else head[3],
        None if head is None else head[0],
        records(connection),
        contradicted,
        frontiers,
    )


def grown(frontier: Frontier, leaves: Iterable[Sequence[bytes]], sizes: Iterable[int]) -> dict[int, Frontier]:
    """The tree at each of `sizes` that it reaches when `leaves` (hashes, in parts) follow `frontier`, whose own size
    is among them where it is asked for.
    """
    awaited = sorted(size for size in sizes if size >= frontier.size)
    found: dict[int, Frontier] = {}
    parts: Iterator[Sequence[bytes]] = iter(leaves)
    part: Sequence[bytes] = ()
    for size in awaited:
        while frontier.size + len(part) < size:
            frontier = frontier.extend(part)
            more = next(parts, None)
            if more is None:
                return found
            part = more
        used = size - frontier.size
        frontier, part = frontier.extend(part[:used]), part[used:]
        found[size] = frontier
    return found


def _leaf_hashes(connection: Connection[Any], size: int) -> Iterator[list[bytes]]:
    for first in range(0, size, PAGE):
        bounds = {"first": first, "stop": min(first + PAGE, size)}
        yield [leaf_hash(bytes(row[2])) for row in connection.execute(QUERIES["range"], bounds).fetchall()]
