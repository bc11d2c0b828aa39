"""Filling new versions of projections from the log, as fast as the machine allows: a long log on every core."""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

from ledger.processes import answer, is_answered, started
from ledger.storage.keys import Secrets
from projections.applying import Progress
from projections.log import Log
from projections.share import Share, filled
from projections.versions import Definition

WORTH_A_PROCESS = 40_000
"""Below this many leaves a process would start up for longer than it spares."""


def fill(
    url: str,
    log: Log,
    secrets: Secrets,
    versions: dict[str, int],
    targets: Mapping[Definition, int],
    progress: Progress,
    begun: int = 0,
) -> None:
    """Apply the log to those `versions` from leaf `begun` on, each up to its target (leaves).

    Each process goes through its share of them in step. Keys stay in this one. Raises Stopped where an event cannot be
    applied, and ProcessDied.
    """
    size = max(targets.values(), default=0)
    processes = min(os.cpu_count() or 1, 1 + (size - begun) // WORTH_A_PROCESS)
    own, *rest = shares(targets, processes)
    with ExitStack() as running:
        others = []
        for share in rest:
            task = Share(url, versions, {each.name: targets[each] for each in share}, begun)
            pipe = running.enter_context(started("projections.share", task))
            others.append(_Other(pipe, begun, max(task.targets.values())))
        for done in filled(url, log, secrets, versions, {each: targets[each] for each in own}, begun):
            for other in others:
                while other.is_under_way and is_answered(other.pipe):
                    other.done = answer(other.pipe)
            progress(min([done, *(other.done for other in others)]), size)
        while under_way := [other for other in others if other.is_under_way]:
            slowest = min(under_way, key=lambda other: other.done)
            slowest.done = answer(slowest.pipe)
            progress(min(other.done for other in under_way), size)


@dataclass(slots=True)
class _Other:
    """A share that another process fills: how far it is."""

    pipe: IO[bytes]
    done: int
    target: int

    @property
    def is_under_way(self) -> bool:
        return self.done < self.target


def shares(definitions: Iterable[Definition], most: int) -> list[list[Definition]]:
    """All of them in `most` lists at most, each of about the same cost; those that need keys are in the first."""
    found: list[list[Definition]] = [[] for _ in range(max(most, 1))]
    for definition in sorted(definitions, key=lambda each: (not each.needs_keys, -each.cost)):
        share = found[0] if definition.needs_keys else min(found, key=_cost)
        share.append(definition)
    return [found[0], *filter(None, found[1:])]


def _cost(share: list[Definition]) -> int:
    return sum(each.cost for each in share)
