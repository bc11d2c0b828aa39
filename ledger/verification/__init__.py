"""`verify`: derives everything that can be derived from the stored entries, and compares it with what is stored.

The attacker is the owner of the database without the signing key. Every leaf and the root come from the stored bytes;
the root must be the one that was signed, in the newest guard file and in every stored checkpoint; tiles, inbox, sealed
texts, keys, column copies and the head must be what the entries make them. The first wrong place is named.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.x509 import Certificate
from psycopg import Connection
from psycopg.rows import tuple_row

from ledger.domain.holds import HoldLifted, HoldPlaced
from ledger.erasure.keyring import Keyring
from ledger.erasure.orders import orders
from ledger.key_provider import WrappingKey
from ledger.recovery.records import ended_logs, records
from ledger.storage.entries import decode
from ledger.storage.log_keys import KeyRange, key_ranges, read_rotations
from ledger.storage.recorder import authenticator
from ledger.storage.sql import QUERIES
from ledger.timestamps import BadTimestamp, stamped_at
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.errors import BadProof, TlogError
from ledger.tlog.note import Note, Verifier
from ledger.tlog.policy import Policy
from ledger.verification.leaves import Leaves, Missing, earlier, open_key
from ledger.verification.report import CheckerDied, Problem, Progress, Report, Wrong, connect
from ledger.verification.rules import Replay
from ledger.verification.stripes import checked_leaves
from ledger.verification.tree import Tree

PAGE = 1024

Guard = Callable[[], bytes | None]
"""Reads the fork guard's note; None where there is no guard file."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """A root that somebody signed for a size, and where it is kept."""

    size: int
    root: bytes
    kept_in: str
    note: Note
    carried_on: int | None = None
    """Of a log that ended: how many of its events go on in this one. What it signed beyond is lost, on record."""

    @property
    def lost(self) -> bool:
        return self.carried_on is not None and self.size > self.carried_on


def verify(
    url: str,
    *,
    vkey: str,
    guard: Guard | None,
    key_encryption_key: bytes | WrappingKey | None,
    kept: Sequence[bytes] = (),
    policy: Policy | None = None,
    timestamp_roots: Sequence[Certificate] = (),
    digest_key: bytes | None = None,
    rules: bool = False,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Check the whole log at `url` in one snapshot against `vkey`, the guard's note and checkpoints `kept` elsewhere.

    Without `key_encryption_key` the sealed texts are not opened; everything else is checked all the same. A long log
    is read by a few processes, one a core. `guard` is None on a host that does not keep it: then only `kept` notes and
    the stored checkpoints are compared, and a log rolled back to an older copy goes unnoticed without the former.
    `guard` is read before the snapshot is taken, so that the database may
    only be ahead of it, and once more where a stored checkpoint is: a running service signs on meanwhile. With `policy`
    the cosignatures of stored and kept checkpoints are judged, and the report says how far its quorum covers the log.
    With `timestamp_roots` so are the timestamps. With `digest_key` the head must be one that a service of this log
    wrote: nobody else's events wait there to be signed. With `rules` every command is decided again, by one process.
    """
    guard_note = None if guard is None else guard()
    with connect(url) as connection:
        run = _Run(
            connection, url, Verifier.parse(vkey), key_encryption_key, policy, timestamp_roots, digest_key, progress
        )
        if rules:
            run.replay = Replay(connection)
        try:
            run.all(guard_note, guard, kept)
        except Wrong as wrong:
            run.problem = wrong.problem
    frontier = run.tree.frontier
    witnessed = None if policy is None else run.witnessed_size
    return Report(
        frontier.size,
        frontier.root(),
        run.signed_size,
        run.checkpoints,
        run.problem,
        witnessed,
        run.stamped_size if timestamp_roots else None,
        run.stamped_at,
        run.recoveries,
        rules,
    )


class _Run:
    """One verification. `tree` grows with the leaves that were read."""

    def __init__(
        self,
        connection: Connection[Any],
        url: str,
        verifier: Verifier,
        key_encryption_key: bytes | WrappingKey | None,
        policy: Policy | None,
        timestamp_roots: Sequence[Certificate],
        digest_key: bytes | None,
        progress: Progress,
    ) -> None:
        self.tree = Tree(lambda level: self._pages("level_tiles", level=level))
        self.signed_size = 0
        self.witnessed_size = 0
        self.stamped_size = 0
        self.stamped_at: datetime | None = None
        self.checkpoints = 0
        self.problem: Problem | None = None
        self.replay: Replay | None = None
        self._connection = connection
        self._url = url
        self._verifier = verifier
        self._key_encryption_key = key_encryption_key
        self._policy = policy
        self._timestamp_roots = timestamp_roots
        self._authenticate = None if digest_key is None else authenticator(digest_key)
        self._progress = progress
        self._proven = 0
        self._recorded_at = ""
        self._recoveries = records(connection)  # of the same snapshot, whose leaves are checked here
        self._ended = ended_logs(self._recoveries)
        self._orders = orders(connection)
        self._rotations = read_rotations(connection.cursor(row_factory=tuple_row))
        ended = {each.verifier for each in self._ended}
        ranges = {each.verifier: each for each in key_ranges(self._rotations) if each.verifier not in ended}
        self._ranges = {verifier: KeyRange(verifier, 0, None)} | ranges
        self._signed_by = dict.fromkeys(self._ranges, 0)
        self.recoveries = tuple(each.sentence for each in self._recoveries)

    def all(self, guard_note: bytes | None, guard: Guard | None, kept: Sequence[bytes]) -> None:
        heads = self._connection.execute(QUERIES["read_head"]).fetchall()
        if len(heads) != 1:
            raise Wrong("head", f"a log has one head row, not {len(heads)}: the log was deleted, or a row was added")
        size, frontier, recorded_at, origin, mac = heads[0]
        for ended in self._ended:
            if ended.verifier == self._verifier:
                raise Wrong(
                    "head",
                    f"the log {self._verifier.name} ended: its first {ended.size} events go on in the log {origin}, "
                    "under that log's key; see `promise-ledger trail log`",
                )
        guarded = [] if guard is None else [self._guarded(guard_note)]
        outside = [*guarded, *(self._signed(note, "a kept checkpoint") for note in kept)]
        for expected in outside:
            if expected.lost:
                raise Wrong(
                    "events",
                    f"{expected.kept_in} covers {expected.size} events, and that log ended: {expected.carried_on} of "
                    "them go on here, the others are lost, as `promise-ledger trail log` says",
                    expected.carried_on,
                )
            if expected.size > size:
                raise Wrong(
                    "events",
                    f"{expected.kept_in} covers {expected.size} events and the database holds {size}: "
                    "the tail was cut off, or this is an older copy",
                    size,
                )
        for expected in outside:
            self._witnessed(expected)
        self._events(size, sorted(outside, key=lambda expected: expected.size))
        self._handed_over()
        self._head(frontier, recorded_at, origin)
        self._authentic(size, frontier, recorded_at, mac)
        self._strays(size)
        self._told_apart()
        self._holds()
        self._spare_keys()
        newest = self.signed_size
        if guard is not None and guarded[0].size < newest and self._guarded(guard()).size < newest:
            raise Wrong("guard", f"the fork guard is older than the checkpoint over {newest} events", guarded[0].size)
        if self.replay is not None:  # last: only of a log that is as it was signed do the rules say something
            self.replay.end()

    def _guarded(self, note: bytes | None) -> _Expected:
        if note is None:
            raise Wrong("guard", "the fork guard file is missing: nothing outside the database says what was signed")
        return self._signed(note, "the fork guard", "guard")

    def _signed(self, note: bytes, kept_in: str, table: str = "checkpoints") -> _Expected:
        witnesses = [] if self._policy is None else [witness.verifier for witness in self._policy.witnesses]
        try:
            signers = self._signers(note)
            checkpoint, opened = open_checkpoint(note, signers[0], [*signers[1:], *witnesses])
        except TlogError as error:
            for ended in self._ended if table != "guard" else ():
                with suppress(TlogError):
                    checkpoint, opened = open_checkpoint(note, ended.verifier, witnesses)
                    where = f"{kept_in} of the log {ended.verifier.name}"
                    return _Expected(checkpoint.size, checkpoint.root, where, opened, ended.size)
            raise Wrong(table, f"{kept_in} holds no checkpoint signed by this log: {error}") from error
        for signer in signers:
            if not self._ranges[signer].has(checkpoint.size):
                raise Wrong(
                    table,
                    f"{kept_in} covers {checkpoint.size} events and is signed by {signer.vkey}, which signs no such "
                    "size: the log names another key for it, and whoever has this one signs on",
                )
            self._signed_by[signer] = max(self._signed_by[signer], checkpoint.size)
        self.signed_size = max(self.signed_size, checkpoint.size)
        return _Expected(checkpoint.size, checkpoint.root, kept_in, opened)

    def _signers(self, note: bytes) -> list[Verifier]:
        """The keys of this log that `note` names, all to be verified; where it names none the one asked for."""
        named = {(signature.name, signature.key_id) for signature in Note.parse(note).signatures}
        return [each for each in self._ranges if (each.name, each.key_id) in named] or [self._verifier]

    def _handed_over(self) -> None:
        """The key asked for vouches for every other one that was believed: for those before it by a checkpoint of its
        own over the events that name them, for those after it step by step, each by the last checkpoint of the one
        before, which covers the event that names the next.
        """
        trusted, newest, later = {self._verifier}, self._verifier, False
        for rotation in self._rotations:
            later = later or rotation.old == self._verifier
            if not later and self._signed_by[self._verifier] >= rotation.size:
                trusted |= {rotation.old, rotation.new}
            elif rotation.old == newest and self._signed_by[newest] >= rotation.size:
                newest = rotation.new
                trusted.add(newest)
        for rotation in self._rotations:
            for key in (rotation.old, rotation.new):
                if self._signed_by.get(key, 0) and key not in trusted:
                    raise Wrong(
                        "checkpoints",
                        f"checkpoints are signed by {key.vkey}, and no checkpoint that {self._verifier.vkey} vouches "
                        "for covers the event which names that key",
                        rotation.leaf_index,
                    )

    def _witnessed(self, expected: _Expected) -> None:
        """Where the quorum has cosigned this checkpoint, all that it covers is witnessed."""
        if self._policy is not None and self._policy.quorum is not None:
            with suppress(BadProof):
                self._policy.check(expected.note.verified)
                self.witnessed_size = max(self.witnessed_size, expected.size)

    def _checkpoints(self, size: int) -> Iterator[_Expected]:
        """What was signed, stored row by row; in order of size."""
        signed = self._stored("checkpoints", "checkpoint", size)
        witnessed = self._stored("witnessed", "witnessed checkpoint", size)
        stamped = self._stored("timestamps", "timestamped checkpoint", size)
        return heapq.merge(signed, witnessed, stamped, key=lambda expected: expected.size)

    def _stored(self, table: str, name: str, size: int) -> Iterator[_Expected]:
        for stored_size, note, *response in self._pages(f"all_{table}"):
            expected = self._signed(note.encode(), f"{name} {stored_size}", table)
            if expected.size != stored_size:
                raise Wrong(table, f"the row of size {stored_size} holds a checkpoint of size {expected.size}")
            if expected.lost:
                continue
            if stored_size > size:
                raise Wrong(
                    "events",
                    f"a checkpoint covers {stored_size} events and the database holds {size}: the tail was cut off",
                    size,
                )
            self.checkpoints += table == "checkpoints"
            self._witnessed(expected)
            if response and self._timestamp_roots:
                self._stamped(expected, response[0])
            yield expected

    def _stamped(self, expected: _Expected, response: bytes) -> None:
        try:
            self.stamped_at = stamped_at(response, expected.note.text, self._timestamp_roots)
        except BadTimestamp as error:
            raise Wrong("timestamps", f"{expected.kept_in}: {error}") from error
        self.stamped_size = expected.size

    def _events(self, size: int, outside: Sequence[_Expected]) -> None:
        """One pass over the log, in order; the signed roots are compared on the way."""
        expected_roots = _merge(outside, self._checkpoints(size))
        awaited = next(expected_roots, None)
        missing = Missing(self._orders, [each.brought_back for each in self._recoveries])
        with closing(checked_leaves(self._connection, self._url, self._key_encryption_key, missing, size)) as ranges:
            while True:
                while awaited is not None and awaited.size == self.tree.frontier.size:
                    self._compare(awaited)
                    awaited = next(expected_roots, None)
                if (leaves := next(ranges, None)) is None:
                    break
                self._follows(leaves)
                hashes = leaves.hashes
                self.tree.compare_leaves(hashes)
                start = self.tree.frontier.size
                while awaited is not None and awaited.size <= start + len(hashes):
                    self.tree.grow(hashes[self.tree.frontier.size - start : awaited.size - start])
                    self._compare(awaited)
                    awaited = next(expected_roots, None)
                self.tree.grow(hashes[self.tree.frontier.size - start :])
                self._progress(self.tree.frontier.size, size)
                if leaves.problem is not None:
                    self._first_of(leaves.problem)
                if self.replay is not None:
                    self.replay.take(start, hashes)
        self.tree.end()

    def _follows(self, leaves: Leaves) -> None:
        if earlier(leaves.first_recorded_at, self._recorded_at) and leaves.hashes:
            raise Wrong("events", "recorded_at goes back", self.tree.frontier.size)
        self._recorded_at = leaves.last_recorded_at

    def _first_of(self, problem: Problem) -> None:
        """Raise `problem`, or what lies before it; an event not as hashed contradicts all that belongs to it."""
        self.tree.compare_last_leaves()
        if self.tree.suspect is not None:
            self.tree.end()
        raise Wrong(problem.table, problem.message, problem.leaf_index, problem.stream)

    def _compare(self, expected: _Expected) -> None:
        if not self.tree.confirmed(expected.root, expected.kept_in):
            first = self._proven if self.tree.suspect is None else self.tree.suspect
            raise Wrong(
                "events",
                f"the events from leaf {first} to {expected.size - 1} are not those that {expected.kept_in} was signed "
                "for: one was changed, swapped or replaced",
                first,
            )
        self._proven = expected.size

    def _head(self, frontier: bytes, recorded_at: datetime, origin: str) -> None:
        size = self.tree.frontier.size
        if frontier != self.tree.frontier.to_bytes():
            raise Wrong("head", "the head's frontier is not that of the stored events", size)
        if size and recorded_at != datetime.fromisoformat(self._recorded_at):
            raise Wrong("head", f"the head's recorded_at is not that of the last event: {self._recorded_at}", size)
        if origin != self._verifier.name:
            raise Wrong("head", f"the head names the log {origin}, its key names it {self._verifier.name}", size)

    def _authentic(self, size: int, frontier: bytes, recorded_at: datetime, mac: bytes | None) -> None:
        """What was signed needs no MAC; what was not yet could be anybody's without it."""
        if self._authenticate is None or size == 0 or (mac is None and size <= self.signed_size):
            return
        if mac != self._authenticate(size, frontier, recorded_at.astimezone(UTC)):
            raise Wrong("head", "the head was not written by a service of this log: somebody appended by hand", size)

    def _strays(self, size: int) -> None:
        """No row may stand outside the log, where no leaf asks for it."""
        for table, leaf_index in self._connection.execute(QUERIES["strays"], {"size": size}).fetchall():
            raise Wrong(table, "this row lies outside the log", leaf_index)

    def _told_apart(self) -> None:
        """No place in a stream has two events and no command was decided twice, as where a row was hidden meanwhile."""
        for stream, leaf_index in self._connection.execute(QUERIES["repeated_versions"]).fetchall():
            raise Wrong(
                "events", "two events have this place in their stream: one was hidden meanwhile", leaf_index, stream
            )
        for stream, leaf_index in self._connection.execute(QUERIES["stream_gaps"]).fetchall():
            raise Wrong("events", "the versions of this stream have a gap", leaf_index, stream)
        for command_id, source, leaf_index in self._connection.execute(QUERIES["repeated_commands"]).fetchall():
            raise Wrong(
                "inbox", f"command {command_id} of {source} was decided twice: it was hidden meanwhile", leaf_index
            )

    def _holds(self) -> None:
        """No erasure was ordered while a hold stood, as happens where the hold is hidden for a while."""
        ordered = self._orders
        standing: dict[str, set[str]] = {}
        streams = [f"hold:{customer_id}" for customer_id in ordered]
        for leaf_index, topic, state in self._connection.execute(QUERIES["holds"], {"streams": streams}).fetchall():
            event = decode(leaf_index, topic, bytes(state)).event
            assert isinstance(event, HoldPlaced | HoldLifted)
            if leaf_index < ordered[event.customer_id].leaf_index:
                holds = standing.setdefault(event.customer_id, set())
                (holds.add if isinstance(event, HoldPlaced) else holds.discard)(event.hold_id)
        for customer_id, holds in standing.items():
            if holds:
                order = ordered[customer_id]
                sentence = f"the erasure of {customer_id} was ordered while a hold stood: the hold was hidden meanwhile"
                raise Wrong("events", sentence, order.leaf_index, f"erasure:{customer_id}")

    def _spare_keys(self) -> None:
        """A key that seals nothing (its first text was refused) is whole all the same: nobody adds one by hand."""
        keyring = None if self._key_encryption_key is None else Keyring(self._key_encryption_key)
        for customer_id, version, wrapped, destroyed_at in self._pages("spare_keys"):
            order = self._orders.get(customer_id)
            if isinstance(problem := open_key(keyring, order, customer_id, version, wrapped, destroyed_at), str):
                raise Wrong("customer_keys", problem)

    def _pages(self, query: str, **parameters: int) -> Iterator[tuple[Any, ...]]:
        """The rows of a query through a server-side cursor, so that memory stays flat; bytes as bytes."""
        with self._connection.cursor(name="_".join(["verify", query, *map(str, parameters.values())])) as cursor:
            cursor.execute(QUERIES[query], parameters, binary=True)
            while rows := cursor.fetchmany(PAGE):
                yield from rows


def _merge(outside: Sequence[_Expected], stored: Iterator[_Expected]) -> Iterator[_Expected]:
    """Both in order of size; the stored ones come sorted."""
    waiting = list(outside)
    for expected in stored:
        while waiting and waiting[0].size <= expected.size:
            yield waiting.pop(0)
        yield expected
    yield from waiting


__all__ = ["CheckerDied", "Problem", "Report", "verify"]
