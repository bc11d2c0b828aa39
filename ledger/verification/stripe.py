"""A checking process: its ranges of leaves, as the parent's snapshot has them. One pickled answer after another."""

import pickle
import signal
import sys
from typing import NamedTuple

import psycopg

from ledger.collecting import rare_collections
from ledger.verification.leaves import LeafChecker, Missing
from ledger.verification.report import CheckerDied, connect


class Stripe(NamedTuple):
    """What one process checks: every `stripes`-th range of the first `size` leaves, from range `stripe` on."""

    url: str
    snapshot: str
    key_encryption_key: bytes | None
    missing: Missing
    size: int
    stripe: int
    stripes: int


def main() -> None:
    """Read a Stripe from stdin and write its Leaves to stdout, or the error that ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear; it ends us
    task: Stripe = pickle.load(sys.stdin.buffer)
    out = sys.stdout.buffer
    try:
        with connect(task.url, task.snapshot) as connection, rare_collections():
            whole = (connection, task.key_encryption_key, task.missing)
            checker = LeafChecker(*whole, size=task.size, stripe=task.stripe, stripes=task.stripes)
            for leaves in checker.ranges():
                pickle.dump(leaves, out, pickle.HIGHEST_PROTOCOL)
                out.flush()
    except psycopg.Error as error:
        pickle.dump(CheckerDied(f"a checking process lost the database: {error}"), out)
