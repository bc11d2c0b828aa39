"""The leaves of one snapshot, checked by this process and a few others in turn, handed over in the order of the log."""

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any

from psycopg import Connection

from ledger.key_provider import WrappingKey
from ledger.processes import answer, is_answered, started
from ledger.verification.leaves import RANGE, LeafChecker, Leaves
from ledger.verification.stripe import Stripe
from ledger.verification.texts import Missing

MOST_PROCESSES = 8
WORTH_A_PROCESS = 8 * RANGE
"""Below this many leaves a process would start up for longer than it works."""
MOST_AHEAD = 32
"""Ranges that this process may be ahead of the others: 10 MB of hashes."""


def checked_leaves(
    connection: Connection[Any],
    url: str,
    snapshot: str,
    key_encryption_key: bytes | WrappingKey | None,
    missing: Missing,
    size: int,
) -> Generator[Leaves, None, None]:
    """All ranges of the first `size` leaves in order, as `connection` sees them; close it to stop early.

    Others see the same by the name of its `snapshot`. A key that is kept elsewhere is asked by this process alone.
    """
    processes = min(os.cpu_count() or 1, MOST_PROCESSES, size // WORTH_A_PROCESS)
    if processes < 2 or isinstance(key_encryption_key, WrappingKey):
        yield from LeafChecker(connection, key_encryption_key, missing, size=size, stripe=0, stripes=1).ranges()
        return
    with ExitStack() as running:
        common = (url, snapshot, key_encryption_key, missing, size)
        others = [Stripe(*common, stripe, processes) for stripe in range(1, processes)]
        pipes = [running.enter_context(started("ledger.verification.stripe", stripe)) for stripe in others]
        own = LeafChecker(connection, key_encryption_key, missing, size=size, stripe=0, stripes=processes)
        yield from _in_turn(own.ranges(), pipes, -(-size // RANGE))


def _in_turn(own: Iterator[Leaves], pipes: Sequence[IO[bytes]], ranges: int) -> Iterator[Leaves]:
    """The answers of all stripes in the order of the log: `own` is the first, and goes on while another is awaited."""
    ahead: deque[Leaves] = deque()
    for number in range(ranges):
        stripe = number % (1 + len(pipes))
        if stripe == 0:
            yield ahead.popleft() if ahead else next(own)
            continue
        pipe = pipes[stripe - 1]
        while len(ahead) < MOST_AHEAD and not is_answered(pipe) and (leaves := next(own, None)) is not None:
            ahead.append(leaves)
        yield answer(pipe)
