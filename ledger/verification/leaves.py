"""Checks ranges of leaves, and what belongs to each: entries, inbox, sealed texts."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from ledger.key_provider import WrappingKey
from ledger.storage.sql import QUERIES
from ledger.verification.entries import checked
from ledger.verification.inbox import Inbox, inbox_rows
from ledger.verification.report import Problem
from ledger.verification.texts import Missing, Texts

RANGE = 4096
"""Leaves that are checked in one go; a multiple of a tile's 256."""


class Leaves(NamedTuple):
    """The leaf hashes of a range, and the first and last recorded_at as spelled.

    Where there is a problem they end with the event that it is about, or before it where that is no entry at all.
    """

    hashes: Sequence[bytes]
    first_recorded_at: str
    last_recorded_at: str
    problem: Problem | None


class LeafChecker:
    """Checks every `stripes`-th range of leaves, from range `stripe` on, in order; memory stays flat."""

    def __init__(
        self,
        connection: Connection[Any],
        key_encryption_key: bytes | WrappingKey | None,
        missing: Missing,
        *,
        size: int,
        stripe: int,
        stripes: int,
    ) -> None:
        self._connection = connection
        self._size = size
        self._firsts = range(stripe * RANGE, size, stripes * RANGE)
        self._inbox = Inbox(inbox_rows(connection, RANGE, stripe, stripes), shared=stripes > 1)
        self._texts = Texts(connection, key_encryption_key, missing)

    def ranges(self) -> Iterator[Leaves]:
        """The ranges in order; the one with a problem is the last."""
        for first in self._firsts:
            leaves = self._check(first, min(first + RANGE, self._size))
            yield leaves
            if leaves.problem is not None:
                return

    def _check(self, first: int, stop: int) -> Leaves:
        """Of several problems the one at the first leaf counts; at one leaf the one that is found first."""
        bounds = {"first": first, "stop": stop}
        events = self._connection.execute(QUERIES["range_events"], bounds, binary=True).fetchall()
        sealed = self._connection.execute(QUERIES["sealed"], bounds, binary=True).fetchall()
        entries, hashes, found = checked(first, stop, events)
        problem = None if found is None else found.problem
        times = [entry.recorded_at for entry in (*entries[:1], *entries[-1:])] or ["", ""]
        if (found := self._inbox.check(first, entries)) is not None:
            problem, entries, hashes = found.problem, entries[: found.before], hashes[: found.before + 1]
        if (found := self._texts.check(first, entries, sealed)) is not None:
            problem, hashes = found.problem, hashes[: found.before + 1]
        if problem is None and first == self._firsts[-1]:
            problem = self._inbox.left()
        return Leaves(hashes, times[0], times[-1], problem)
