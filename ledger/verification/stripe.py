"""A checking process: its ranges of leaves, as the parent's snapshot has them."""

from collections.abc import Iterator
from typing import NamedTuple

import psycopg

from ledger.collecting import rare_collections
from ledger.processes import ProcessDied, answering
from ledger.verification.leaves import LeafChecker, Leaves
from ledger.verification.report import connect
from ledger.verification.texts import Missing


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
    """Check a Stripe."""
    answering(_checked)


def _checked(task: Stripe) -> Iterator[Leaves | Exception]:
    try:
        with connect(task.url, task.snapshot) as connection, rare_collections():
            whole = (connection, task.key_encryption_key, task.missing)
            yield from LeafChecker(*whole, size=task.size, stripe=task.stripe, stripes=task.stripes).ranges()
    except psycopg.Error as error:
        yield ProcessDied(f"a checking process lost the database: {error}")
    except UnicodeDecodeError as error:
        yield error
