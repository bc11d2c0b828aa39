"""`verify`: derives everything that can be derived from the stored entries, and compares it with what is stored.

The attacker is the owner of the database without the signing key. Every leaf and the root come from the stored bytes;
the root must be the one that was signed, in the newest guard file and in every stored checkpoint; tiles, inbox, sealed
texts, column copies and the head must be what the entries make them. The first wrong place is named.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection, IsolationLevel
from psycopg.rows import tuple_row

from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.erasure.sealing import SealBroken, commitment, unseal
from ledger.storage.recorder import Head
from ledger.storage.sql import QUERIES
from ledger.storage.tree import MAX_LEVEL, RightEdge
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import Frontier, leaf_hash
from ledger.tlog.note import Verifier

CHUNK = 8192
Progress = Callable[[int, int], None]
"""Called with (events done, events in all)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The first wrong place. `table` is where it lies; `leaf_index` and `stream` where they can be named."""

    table: str
    message: str
    leaf_index: int | None = None
    stream: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What verify found. `signed_size` leaves are covered by the log's own signature, the rest is not yet."""

    size: int
    root: bytes
    signed_size: int
    checkpoints: int
    problem: Problem | None


class _Wrong(Exception):
    def __init__(self, table: str, message: str, leaf_index: int | None = None, stream: str | None = None) -> None:
        self.problem = Problem(table, message, leaf_index, stream)


@dataclass(frozen=True, slots=True)
class _Expected:
    """A root that somebody signed for a size, and where it is kept."""

    size: int
    root: bytes
    kept_in: str


def verify(
    url: str,
    *,
    vkey: str,
    guard_note: bytes | None,
    key_encryption_key: bytes | None,
    kept: Sequence[bytes] = (),
    progress: Progress = lambda done, total: None,
) -> Report:
    """Check the whole log at `url` in one snapshot against `vkey`, the guard's note and checkpoints `kept` elsewhere.

    Without `key_encryption_key` the sealed texts are not opened; everything else is checked all the same.
    """
    with psycopg.connect(url, row_factory=tuple_row) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        row = connection.execute(QUERIES["read_head"]).fetchone()
        if row is None:
            return Report(0, b"", 0, 0, Problem("head", "the head row is gone: the log was deleted"))
        run = _Run(connection, Verifier.parse(vkey), key_encryption_key, progress)
        try:
            head = Head(row[0], Frontier.from_bytes(row[0], bytes(row[1])), row[2])
            run.all(head, guard_note, kept)
        except _Wrong as wrong:
            run.problem = wrong.problem
        except TlogError as error:
            run.problem = Problem("head", f"the head's frontier is malformed: {error}")
    return Report(run.frontier.size, run.frontier.root(), run.signed_size, run.checkpoints, run.problem)


class _Run:
    """One verification. `frontier` grows with the leaves that were read."""

    def __init__(
        self, connection: Connection[Any], verifier: Verifier, key_encryption_key: bytes | None, progress: Progress
    ) -> None:
        self.frontier = Frontier()
        self.signed_size = 0
        self.checkpoints = 0
        self.problem: Problem | None = None
        self._connection = connection
        self._verifier = verifier
        self._keyring = None if key_encryption_key is None else Keyring(key_encryption_key)
        self._progress = progress
        self._ciphers: dict[tuple[str, int], AESGCM] = {}

    def all(self, head: Head, guard_note: bytes | None, kept: Sequence[bytes]) -> None:
        if guard_note is None:
            raise _Wrong("guard", "the fork guard file is missing: nothing outside the database says what was signed")
        outside = [self._signed(guard_note, "the fork guard"), *(self._signed(note, "a kept note") for note in kept)]
        for expected in outside:
            if expected.size > head.size:
                raise _Wrong(
                    "events",
                    f"{expected.kept_in} covers {expected.size} events and the database holds {head.size}: "
                    "the tail was cut off, or this is an older copy",
                    leaf_index=head.size,
                )
        self._events(head, sorted(outside, key=lambda expected: expected.size))
        if self.frontier.size != head.size:
            raise _Wrong(
                "events", f"the head says {head.size} events, {self.frontier.size} are stored", self.frontier.size
            )
        if self.frontier != head.frontier:
            raise _Wrong("head", "the head's frontier is not that of the stored events")

    def _signed(self, note: bytes, kept_in: str) -> _Expected:
        try:
            checkpoint, _ = open_checkpoint(note, self._verifier)
        except TlogError as error:
            table = "guard" if kept_in == "the fork guard" else "checkpoints"
            raise _Wrong(table, f"{kept_in} holds no checkpoint signed by this log: {error}") from error
        self.signed_size = max(self.signed_size, checkpoint.size)
        return _Expected(checkpoint.size, checkpoint.root, kept_in)

    def _checkpoints(self, head: Head) -> Iterator[_Expected]:
        for size, note in self._stream("all_checkpoints"):
            expected = self._signed(note.encode(), f"checkpoint {size}")
            if expected.size != size:
                raise _Wrong("checkpoints", f"the row of size {size} holds a checkpoint of size {expected.size}")
            if size > head.size:
                raise _Wrong(
                    "events",
                    f"a checkpoint covers {size} events and the database holds {head.size}: the tail was cut off",
                    leaf_index=head.size,
                )
            self.checkpoints += 1
            yield expected

    def _events(self, head: Head, outside: Sequence[_Expected]) -> None:
        """One pass over the log, everything else in step with it."""
        expected_roots = _merge(outside, self._checkpoints(head))
        awaited = next(expected_roots, None)
        commands = _Commands(self._stream("all_inbox"))
        texts = _Texts(self._stream("all_sealed"), self._destroyed(), self._cipher)
        tiles = _Tiles(lambda level: self._stream("level_tiles", level=level))
        recorded_at = ""
        rows = self._stream("all_events")
        while chunk := list(islice(rows, CHUNK)):
            leaves = []
            for index, (leaf_index, stream, version, topic, state) in enumerate(chunk, self.frontier.size):
                if leaf_index != index:
                    raise _Wrong("events", f"leaf {index} is missing: the next one stored is {leaf_index}", index)
                entry = _entry(index, state)
                if entry["stream"] != stream or entry["version"] != version or entry["type"] != topic:
                    raise _Wrong("events", "the columns do not say what the entry says", index, stream)
                if entry["recorded_at"] < recorded_at and _earlier(entry["recorded_at"], recorded_at):
                    raise _Wrong("events", "recorded_at goes back", index, stream)
                recorded_at = entry["recorded_at"]
                commands.take(index, entry)
                texts.take(index, entry)
                leaves.append(leaf_hash(state))
            tiles.take(self.frontier.size, leaves)
            start = self.frontier.size
            while awaited is not None and awaited.size <= start + len(leaves):
                self._extend(leaves[self.frontier.size - start : awaited.size - start])
                self._compare(awaited)
                awaited = next(expected_roots, None)
            self._extend(leaves[self.frontier.size - start :])
            self._progress(self.frontier.size, head.size)
        while awaited is not None and awaited.size == self.frontier.size:
            self._compare(awaited)
            awaited = next(expected_roots, None)
        if awaited is not None:
            raise _Wrong("events", f"{awaited.kept_in} covers {awaited.size} events, {self.frontier.size} are stored")
        commands.end(self.frontier.size)
        texts.end()
        tiles.end()

    def _extend(self, leaves: Sequence[bytes]) -> None:
        if leaves:
            self.frontier = self.frontier.extend(leaves)

    def _compare(self, expected: _Expected) -> None:
        if self.frontier.root() != expected.root:
            raise _Wrong(
                "events",
                f"the first {expected.size} events are not those that {expected.kept_in} was signed for: "
                "an entry was changed, swapped or replaced",
                leaf_index=expected.size - 1,
            )

    def _stream(self, query: str, **parameters: int) -> Iterator[tuple[Any, ...]]:
        """The rows of a query through a server-side cursor, so that memory stays flat; bytes as bytes."""
        name = "_".join(["verify", query, *map(str, parameters.values())])
        with self._connection.cursor(name=name) as cursor:
            cursor.itersize = CHUNK
            yield from cursor.execute(QUERIES[query], parameters, binary=True)

    def _destroyed(self) -> set[tuple[str, int]]:
        return set(self._connection.execute(QUERIES["destroyed_keys"]).fetchall())

    def _cipher(self, customer_id: str, version: int, wrapped: bytes) -> AESGCM | None:
        if self._keyring is None:
            return None
        key = (customer_id, version)
        if key not in self._ciphers:
            if len(self._ciphers) >= 50_000:
                self._ciphers.clear()
            self._ciphers[key] = self._keyring.unwrap(customer_id, version, wrapped)
        return self._ciphers[key]


def _entry(index: int, state: bytes) -> dict[str, Any]:
    try:
        entry = orjson.loads(state)
        if isinstance(entry, dict) and entry["v"] == 1:
            return entry
    except (ValueError, KeyError):
        pass
    raise _Wrong("events", "the stored bytes are no entry", index)


def _earlier(one: str, other: str) -> bool:
    """Whether the first of two canonical UTC times is earlier; a fraction of zero is left out in their spelling."""
    return one[:-1].split(".") < other[:-1].split(".")


def _merge(outside: Sequence[_Expected], stored: Iterator[_Expected]) -> Iterator[_Expected]:
    """Both in order of size; the stored ones come sorted."""
    waiting = list(outside)
    for expected in stored:
        while waiting and waiting[0].size <= expected.size:
            yield waiting.pop(0)
        yield expected
    yield from waiting


class _Commands:
    """The inbox in step with the log: consecutive events of one command make one row."""

    def __init__(self, stored: Iterator[tuple[Any, ...]]) -> None:
        self._stored = stored
        self._key: tuple[str, str, str] | None = None
        self._first = 0

    def take(self, index: int, entry: dict[str, Any]) -> None:
        key = (entry["source"], entry["command_id"], entry["command_digest"])
        if key != self._key:
            self._compare(index)
            self._key, self._first = key, index

    def end(self, size: int) -> None:
        self._compare(size)
        for row in self._stored:
            raise _Wrong("inbox", f"command {row[1]} of {row[0]} is in the inbox and not in the log", row[3])

    def _compare(self, stop: int) -> None:
        if self._key is None:
            return
        source, command_id, digest = self._key
        row = next(self._stored, None)
        if row != (source, command_id, base64.b64decode(digest), self._first, stop - self._first):
            raise _Wrong("inbox", f"the row of command {command_id} of {source} is not what the log says", self._first)


class _Texts:
    """The sealed rows in step with the log: one for every entry that commits to something, none besides."""

    def __init__(
        self,
        stored: Iterator[tuple[Any, ...]],
        destroyed: set[tuple[str, int]],
        cipher: Callable[[str, int, bytes], AESGCM | None],
    ) -> None:
        self._stored = stored
        self._destroyed = destroyed
        self._cipher = cipher
        self._next = next(stored, None)

    def take(self, index: int, entry: dict[str, Any]) -> None:
        row = self._next
        personal = entry.get("personal")
        if row is None or row[0] != index:
            if personal is not None and (entry["customer_id"], personal["key"]) not in self._destroyed:
                raise _Wrong("sealed", "the sealed text of this event is gone", index, entry["stream"])
            return
        self._next = next(self._stored, None)
        _, customer_id, key_version, ciphertext, wrapped, has_key = row
        if personal is None or (customer_id, key_version) != (entry["customer_id"], personal["key"]):
            raise _Wrong("sealed", "this row belongs to no event", index, entry["stream"])
        if not has_key:
            raise _Wrong("customer_keys", f"the key of customer {customer_id} is gone without a trace", index)
        if wrapped is None:
            raise _Wrong("sealed", "this row outlived its destroyed key", index, entry["stream"])
        try:
            cipher = self._cipher(customer_id, key_version, wrapped)
        except KeyUnwrapFailed as error:
            raise _Wrong("customer_keys", str(error), index) from error
        if cipher is None:
            return
        event_id = entry["event_id"]
        try:
            opened = unseal(cipher, ciphertext, event_id=event_id, customer_id=customer_id, key_version=key_version)
        except SealBroken as error:
            raise _Wrong("sealed", str(error), index, entry["stream"]) from error
        if base64.b64encode(commitment(opened.opening, event_id, opened.personal)).decode() != personal["commitment"]:
            raise _Wrong("sealed", "the sealed text is not the one committed to", index, entry["stream"])

    def end(self) -> None:
        if self._next is not None:
            raise _Wrong("sealed", "this row belongs to no event", self._next[0])


class _Tiles:
    """The stored tiles in step with the log: every full one, with the hashes of the entries."""

    def __init__(self, stored: Callable[[int], Iterator[tuple[int, bytes]]]) -> None:
        self._open = stored
        self._levels: dict[int, Iterator[tuple[int, bytes]]] = {}
        self._edge = RightEdge()

    def take(self, size: int, leaves: Sequence[bytes]) -> None:
        for tile in self._edge.grow(size, leaves):
            if next(self._level(tile.level), None) != (tile.number, tile.hashes):
                raise _Wrong(
                    "tiles", f"tile {tile.level}/{tile.number} is missing or not that of the stored events", None
                )

    def end(self) -> None:
        for level in range(MAX_LEVEL + 1):
            for number, _ in self._level(level):
                raise _Wrong("tiles", f"tile {level}/{number} covers events that are not stored")

    def _level(self, level: int) -> Iterator[tuple[int, bytes]]:
        if level not in self._levels:
            self._levels[level] = self._open(level)
        return self._levels[level]
