"""A share of the projections, filled by one process: this one, or one of its own."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import psycopg

from ledger.collecting import rare_collections
from ledger.processes import ProcessDied, answering
from ledger.storage.keys import Secrets
from projections.applying import CATCH_UP_BATCH, Applier, Stopped
from projections.log import Log
from projections.reports import ALL
from projections.versions import Definition, connect


class Share(NamedTuple):
    """What one process fills from leaf `begun` on: versions of projections by name, each up to its target (leaves)."""

    url: str
    versions: dict[str, int]
    targets: dict[str, int]
    begun: int


def main() -> None:
    """In a process of its own: fill a Share whose projections need no keys."""
    answering(_filled)


def _filled(share: Share) -> Iterator[int | Stopped | ProcessDied]:
    try:
        with connect(share.url, "filling reader") as reader, rare_collections():
            targets = {each: share.targets[each.name] for each in ALL if each.name in share.targets}
            yield from filled(share.url, Log(reader), None, share.versions, targets, share.begun)
    except Stopped as stopped:
        yield stopped
    except psycopg.Error as error:
        yield ProcessDied(f"a process that filled projections lost the database: {error}")


def filled(
    url: str,
    log: Log,
    secrets: Secrets | None,
    versions: dict[str, int],
    targets: Mapping[Definition, int],
    begun: int,
) -> Iterator[int]:
    """Apply the log from leaf `begun` on to those `versions`, batch by batch in step; the leaves done, after each.

    Each projection has a thread and a connection: while one waits for the database, another computes, and the next
    batch is decoded. Raises Stopped where an event cannot be applied, after the others have finished the batch.
    """
    size, done = max(targets.values(), default=0), begun
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(targets) + 1))
        appliers = {
            each: Applier(stack.enter_context(connect(url, "filling")), log, secrets, versions) for each in targets
        }
        while True:
            batches = [pool.submit(appliers[each].advance, each, target) for each, target in targets.items()]
            following = done + CATCH_UP_BATCH
            if size - following > CATCH_UP_BATCH:  # what it raises is met again, and told, by those who need the batch
                pool.submit(log.read, following, following + CATCH_UP_BATCH)
            applied = max((batch.result() for batch in batches), default=0)
            if not applied:
                return
            done += applied
            yield done
