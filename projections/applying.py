"""Applying the log to projections, batch by batch: what the live runner, a rebuild and a check have in common.

A batch is one transaction: the version's row is locked, the rows are written, the position moves. Crash before the
commit: nothing happened, the same batch comes again. Crash after it: the next batch comes. There is no other state.

eventsourcing's PostgresTrackingRecorder is not used: its tracking row has no room for the version that is live or for
the leaf at which a projection stopped, and it commits on a connection of its own pool, where the rows that we COPY are
not. What it guarantees (position and rows move together, never back) is what `move` under `lock` guarantees here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, Cursor

from ledger.erasure.keyring import KeyUnwrapFailed
from ledger.erasure.sealing import SealBroken
from ledger.lasting import unforeseen
from ledger.storage.keys import Secrets
from projections.log import Log, MissingLeaf
from projections.texts import UnknownKey
from projections.versions import QUERIES, Definition, Fold, NotInstalled, Outdated, Version, lock, outdated, use

LIVE_BATCH = 500
CATCH_UP_BATCH = 5_000

Progress = Callable[[int, int], None]
"""Called with (leaves done, leaves in all)."""

_SAFE = (MissingLeaf, KeyUnwrapFailed, SealBroken, UnknownKey, Outdated)  # their sentences hold ids and numbers alone


class Stopped(RuntimeError):
    """A projection met an event that it cannot apply, and stands before it; it is never skipped."""

    def __init__(self, name: str, leaf_index: int, reason: str) -> None:
        super().__init__(f"the projection {name} stopped at leaf {leaf_index}: {reason}")
        self.name = name
        self.leaf_index = leaf_index
        self.reason = reason

    def __reduce__(self) -> tuple[type["Stopped"], tuple[str, int, str]]:
        return Stopped, (self.name, self.leaf_index, self.reason)


@dataclass(slots=True)
class _Memory:
    """A fold and the version and position that its memory fits."""

    number: int
    position: int
    fold: Fold


class Applier:
    """Moves projections forward on one connection. `versions` names those that are not the live one, by name."""

    def __init__(
        self, connection: Connection[Any], log: Log, secrets: Secrets | None, versions: dict[str, int] | None = None
    ) -> None:
        self._connection = connection
        self._log = log
        self._secrets = secrets
        self._versions = versions or {}
        self._memories: dict[str, _Memory] = {}

    def advance(self, definition: Definition, size: int) -> int:
        """Apply the next batch of the log's first `size` leaves; returns how many it had, 0 where all are applied.

        What fails is tried again in halves until one event is left that fails alone: then Stopped. Faults of the
        database itself (psycopg.OperationalError: gone, full, deadlocked) are nobody's poison and raise as they are.
        """
        most = CATCH_UP_BATCH
        while True:
            try:
                return self._batch(definition, size, most)
            except psycopg.OperationalError:
                self._memories.pop(definition.name, None)
                raise
            except _Failed as failed:
                self._memories.pop(definition.name, None)  # it holds states that were rolled back
                if failed.count == 1:
                    raise Stopped(definition.name, failed.first, reason_of(failed.cause)) from failed.cause
                most = failed.count // 2

    def record(self, stopped: Stopped) -> None:
        """Write down that and why a projection stands still, for `health`; its next batch clears it."""
        self._connection.execute(
            QUERIES["stop"],
            {
                "name": stopped.name,
                "number": self._versions.get(stopped.name),
                "leaf_index": stopped.leaf_index,
                "reason": stopped.reason,
            },
        )

    def _batch(self, definition: Definition, size: int, most: int) -> int:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            version = self._lock(cursor, definition)
            first, lag = version.position, size - version.position
            stop = first + min(most, CATCH_UP_BATCH if lag > CATCH_UP_BATCH else LIVE_BATCH, lag)
            if stop <= first:
                return 0
            try:
                if version.digest != definition.digest:
                    raise outdated(definition.name)
                batch = self._log.read(first, stop)
                memory = self._memory(cursor, definition, version)
                memory.fold(cursor, batch)
            except psycopg.OperationalError:
                raise
            except Exception as error:
                raise _Failed(first, 1 if isinstance(error, Outdated) else stop - first, error) from error
            cursor.execute(
                QUERIES["move"], {"name": definition.name, "number": version.number, "position": stop}, prepare=True
            )
        memory.position = stop
        return stop - first

    def _lock(self, cursor: Cursor[Any], definition: Definition) -> Version:
        version = lock(cursor, definition.name, self._versions.get(definition.name))
        if version is None:
            raise NotInstalled(f"the projection {definition.name} does not exist yet: run `promise-ledger migrate`")
        use(cursor, definition.name, version.number)
        return version

    def _memory(self, cursor: Cursor[Any], definition: Definition, version: Version) -> _Memory:
        """The fold as of this version and position; a new one where another runner or a switch came in between."""
        memory = self._memories.get(definition.name)
        if memory is None or (memory.number, memory.position) != (version.number, version.position):
            fold = definition.start(cursor, self._secrets)
            memory = self._memories[definition.name] = _Memory(version.number, version.position, fold)
        return memory


class _Failed(Exception):
    """A batch of `count` leaves from `first` on could not be applied."""

    def __init__(self, first: int, count: int, cause: Exception) -> None:
        super().__init__(first, count)
        self.first = first
        self.count = count
        self.cause = cause


def reason_of(error: Exception) -> str:
    """Why, without a word of what the event holds: our own sentence, or the kind of error and where it was raised."""
    if isinstance(error, _SAFE):
        return str(error)
    return unforeseen(error)
