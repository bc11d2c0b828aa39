"""Filling new versions of projections from the log, as fast as the machine allows."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from ledger.storage.keys import Secrets
from projections.applying import CATCH_UP_BATCH, Applier, Progress
from projections.log import Log
from projections.versions import Definition, connect


def fill(
    url: str,
    log: Log,
    secrets: Secrets,
    versions: dict[str, int],
    targets: Mapping[Definition, int],
    progress: Progress,
) -> None:
    """Apply the log to those `versions`, each up to its target (leaves), batch by batch in step.

    Each has a thread and a connection: while one waits for the database, another computes, and the next batch is
    decoded. Raises Stopped where an event cannot be applied, after the others have finished the batch.
    """
    size, done = max(targets.values(), default=0), 0
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
            applied = max(batch.result() for batch in batches)
            if not applied:
                return
            done += applied
            progress(done, size)
