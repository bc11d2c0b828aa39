"""The leaves of one snapshot, checked by a few processes in turn, handed over in the order of the log."""

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Literal

from ledger.verification.leaves import RANGE, LeafChecker, Leaves

MOST_PROCESSES = 8
WORTH_A_PROCESS = 8 * RANGE
"""Below this many leaves a process would start up for longer than it works."""


class CheckerDied(RuntimeError):
    """A checking process ended without an answer: nothing can be said about the log."""


def connect(url: str) -> Connection[Any]:
    """A read-only connection whose one transaction sees one state of the database."""
    connection = psycopg.connect(url, row_factory=tuple_row)
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    return connection


def checked_leaves(
    connection: Connection[Any], url: str, key_encryption_key: bytes | None, size: int
) -> Generator[Leaves, None, None]:
    """All ranges of the first `size` leaves in order, as `connection` sees them; close it to stop early."""
    processes = min(os.cpu_count() or 1, MOST_PROCESSES, size // WORTH_A_PROCESS)
    if processes < 2:
        yield from LeafChecker(connection, key_encryption_key, size=size, stripe=0, stripes=1).ranges()
        return
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    with ExitStack() as running:
        pipes = [
            running.enter_context(_started(url, str(row[0]), key_encryption_key, size, stripe, processes))
            for stripe in range(processes)
        ]
        yield from _in_turn(pipes, -(-size // RANGE))


def _in_turn(pipes: Sequence[Pipe], ranges: int) -> Iterator[Leaves]:
    for number in range(ranges):
        try:
            answer = pipes[number % len(pipes)].recv()
        except EOFError as error:
            raise CheckerDied("a checking process ended without an answer") from error
        if isinstance(answer, Exception):
            raise answer
        yield answer


@contextmanager
def _started(
    url: str, snapshot: str, key_encryption_key: bytes | None, size: int, stripe: int, stripes: int
) -> Iterator[Pipe]:
    """The answers of a new process; it is gone when the block ends, done or not."""
    spawning = multiprocessing.get_context("spawn")  # a fork would share the parent's database connection
    receiving, sending = spawning.Pipe(duplex=False)
    process = spawning.Process(
        target=_check_stripe, args=(sending, url, snapshot, key_encryption_key, size, stripe, stripes), daemon=True
    )
    process.start()
    sending.close()
    try:
        yield receiving
    finally:
        process.terminate()
        process.join()
        process.close()
        receiving.close()


def _check_stripe(
    answers: Pipe, url: str, snapshot: str, key_encryption_key: bytes | None, size: int, stripe: int, stripes: int
) -> None:
    """What a checking process does: its ranges of the parent's snapshot, one answer each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear; it ends us
    try:
        with connect(url) as connection:
            connection.execute(SQL("SET TRANSACTION SNAPSHOT {}").format(Literal(snapshot)))
            checker = LeafChecker(connection, key_encryption_key, size=size, stripe=stripe, stripes=stripes)
            for leaves in checker.ranges():
                answers.send(leaves)
    except psycopg.Error as error:
        answers.send(CheckerDied(f"a checking process lost the database: {error}"))
