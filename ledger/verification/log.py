"""`verify`: derives everything that can be derived from the stored entries, and compares it with what is stored.

The attacker is the owner of the database without the signing key. Every leaf and the root come from the stored bytes;
the root must be the one that was signed, in the newest guard file and in every stored checkpoint; tiles, inbox, sealed
texts, keys, column copies and the head must be what the entries make them. The first wrong place is named.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from cryptography.x509 import Certificate
from psycopg import Connection

from ledger.collecting import rare_collections
from ledger.erasure.orders import orders
from ledger.key_provider import WrappingKey
from ledger.recovery.records import ended_logs, records
from ledger.storage.entries import moment
from ledger.storage.recorder import authenticator
from ledger.storage.sql import QUERIES
from ledger.tlog.merkle import Frontier
from ledger.tlog.note import Verifier
from ledger.tlog.policy import Policy
from ledger.verification.definitions import readable
from ledger.verification.entries import earlier
from ledger.verification.leaves import Leaves
from ledger.verification.pages import pages
from ledger.verification.report import Problem, Progress, Report, Wrong, connect, exported
from ledger.verification.rules import Replay
from ledger.verification.signed import Expected, Signed
from ledger.verification.stripes import checked_leaves
from ledger.verification.texts import Missing
from ledger.verification.tree import Tree
from ledger.verification.whole import (
    every_text_readable,
    holds_kept,
    looked_at_beside,
    spare_keys_whole,
    stored_rows,
)

Guard = Callable[[], bytes | None]
"""Reads the fork guard's note; None where there is no guard file."""


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
    with connect(url) as connection, rare_collections():
        try:
            with every_text_readable(url):
                readable(connection.cursor())
                run = _Run(
                    connection,
                    stored_rows(connection),
                    url,
                    Verifier.parse(vkey),
                    key_encryption_key,
                    policy,
                    timestamp_roots,
                    digest_key,
                    progress,
                    rules,
                )
        except Wrong as wrong:
            return Report(0, Frontier().root(), 0, 0, wrong.problem)
        try:
            with every_text_readable(url):
                run.all(guard_note, guard, kept)
        except Wrong as wrong:
            run.problem = wrong.problem
    frontier = run.tree.frontier
    witnessed = None if policy is None else run.signed.witnessed_size
    return Report(
        frontier.size,
        frontier.root(),
        run.signed.size,
        run.signed.count,
        run.problem,
        witnessed,
        run.signed.stamped_size if timestamp_roots else None,
        run.signed.stamped_at,
        run.recoveries,
        rules,
    )


class _Run:
    """One verification. `tree` grows with the leaves that were read."""

    def __init__(
        self,
        connection: Connection[Any],
        stored: Mapping[str, int],
        url: str,
        verifier: Verifier,
        key_encryption_key: bytes | WrappingKey | None,
        policy: Policy | None,
        timestamp_roots: Sequence[Certificate],
        digest_key: bytes | None,
        progress: Progress,
        rules: bool,
    ) -> None:
        self.tree = Tree(lambda level: pages(connection, "level_tiles", level=level))
        self.problem: Problem | None = None
        self._replay = Replay(connection) if rules else None
        self._connection = connection
        self._stored = stored
        self._url = url
        self._snapshot = exported(connection)
        self._verifier = verifier
        self._key_encryption_key = key_encryption_key
        self._authenticate = None if digest_key is None else authenticator(digest_key)
        self._progress = progress
        self._proven = 0
        self._recorded_at = ""
        self._recoveries = records(connection)  # of the same snapshot, whose leaves are checked here
        self._ended = ended_logs(self._recoveries)
        self._orders = orders(connection)
        self.signed = Signed(connection, verifier, self._ended, policy, timestamp_roots)
        self.recoveries = tuple(each.sentence for each in self._recoveries)

    def all(self, guard_note: bytes | None, guard: Guard | None, kept: Sequence[bytes]) -> None:
        size, frontier, recorded_at, origin, mac = self._only_head()
        self._goes_on(origin)
        guarded = [] if guard is None else [self.signed.guarded(guard_note)]
        outside = [*guarded, *map(self.signed.kept, kept)]
        for expected in outside:
            _is_within(expected, size)
        for expected in outside:
            self.signed.witness(expected)
        with looked_at_beside(self._url, self._snapshot, size, self._stored) as looking:
            self._events(size, sorted(outside, key=lambda expected: expected.size))
            self.signed.handed_over()
            self._head(frontier, recorded_at, origin)
            self._authentic(size, frontier, recorded_at, mac)
            looking.result()
        holds_kept(self._connection, self._orders)
        spare_keys_whole(self._connection, self._key_encryption_key, self._orders)
        newest = self.signed.size
        if guard is not None and guarded[0].size < newest and self.signed.guarded(guard()).size < newest:
            raise Wrong("guard", f"the fork guard is older than the checkpoint over {newest} events", guarded[0].size)
        if self._replay is not None:  # last: only of a log that is as it was signed do the rules say something
            self._replay.end()

    def _only_head(self) -> tuple[Any, ...]:
        heads = self._connection.execute(QUERIES["read_head"]).fetchall()
        if len(heads) != 1:
            raise Wrong("head", f"a log has one head row, not {len(heads)}: the log was deleted, or a row was added")
        return tuple(heads[0])

    def _goes_on(self, origin: str) -> None:
        for ended in self._ended:
            if ended.verifier == self._verifier:
                raise Wrong(
                    "head",
                    f"the log {self._verifier.name} ended: its first {ended.size} events go on in the log {origin}, "
                    "under that log's key; see `promise-ledger trail log`",
                )

    def _events(self, size: int, outside: Sequence[Expected]) -> None:
        """One pass over the log, in order; the signed roots are compared on the way."""
        expected_roots = _merge(outside, self.signed.stored(size))
        awaited = next(expected_roots, None)
        missing = Missing(self._orders, [each.brought_back for each in self._recoveries])
        view = self._connection, self._url, self._snapshot
        with closing(checked_leaves(*view, self._key_encryption_key, missing, size)) as ranges:
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
                if self._replay is not None:
                    self._replay.take(start, hashes)
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

    def _compare(self, expected: Expected) -> None:
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
        try:
            last = moment(self._recorded_at) if size else recorded_at
        except ValueError as error:
            raise Wrong("events", f"recorded_at of the last event is no time: {error}", size - 1) from error
        if recorded_at != last:
            raise Wrong("head", f"the head's recorded_at is not that of the last event: {self._recorded_at}", size)
        if origin != self._verifier.name:
            raise Wrong("head", f"the head names the log {origin}, its key names it {self._verifier.name}", size)

    def _authentic(self, size: int, frontier: bytes, recorded_at: datetime, mac: bytes | None) -> None:
        """What was signed needs no MAC; what was not yet could be anybody's without it."""
        if self._authenticate is None or size == 0 or (mac is None and size <= self.signed.size):
            return
        if mac != self._authenticate(size, frontier, recorded_at.astimezone(UTC)):
            raise Wrong(
                "head",
                "the head was not written by a service of this log: somebody appended by hand, or the key `digest` "
                "here is another log's",
                size,
            )


def _is_within(expected: Expected, size: int) -> None:
    """What was signed and is kept elsewhere is still there."""
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


def _merge(outside: Sequence[Expected], stored: Iterator[Expected]) -> Iterator[Expected]:
    """Both in order of size; the stored ones come sorted."""
    waiting = list(outside)
    for expected in stored:
        while waiting and waiting[0].size <= expected.size:
            yield waiting.pop(0)
        yield expected
    yield from waiting
