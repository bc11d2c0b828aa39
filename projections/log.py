"""Reading the log for projections: dense batches of decoded entries, each decoded once for all that ask for it."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from psycopg import Connection

from ledger.storage.entries import StoredEntry, decode
from ledger.storage.signer import RECOVER, Fork
from ledger.storage.sql import QUERIES

CACHED_BATCHES = 4


class MissingLeaf(RuntimeError):
    """The log has a gap: an event was deleted. Nothing is read past it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The entries from leaf `first` (inclusive) to `stop` (exclusive), every one of them, in leaf order."""

    first: int
    stop: int
    entries: Sequence[StoredEntry]


class Log:
    """Reads one log on a connection of its own. Decoding is the cost, so projections that stand together share it."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._batches: OrderedDict[tuple[int, int], Batch] = OrderedDict()
        self._origin = ""
        self._reading = Lock()

    def size(self) -> int:
        """How many leaves are committed; 0 before the log is created. Raises Fork where the head does not say."""
        row = self._connection.execute(QUERIES["read_head"]).fetchone()
        if row is not None and row[0] is None:
            raise Fork(f"the head of the log has no size: {RECOVER}")
        if row is None:
            return 0
        self.goes_on(row[3])
        return int(row[0])

    def goes_on(self, origin: str) -> None:
        """Forget what was read of a log that ended: the one that goes on (`recover anew`) has other events."""
        if origin != self._origin:
            self._batches.clear()
            self._origin = origin

    def read(self, first: int, stop: int) -> Batch:
        """The batch [first, stop), which is committed. Thread-safe. Raises MissingLeaf or MalformedEntry."""
        if (batch := self._batches.get((first, stop))) is not None:
            return batch
        with self._reading:
            batch = self._batches.get((first, stop))  # another thread may have read it while we waited
            if batch is None:
                batch = self._batches[first, stop] = self._decode(first, stop)
                if len(self._batches) > CACHED_BATCHES:
                    self._batches.popitem(last=False)
            return batch

    def _decode(self, first: int, stop: int) -> Batch:
        rows = self._connection.execute(QUERIES["range"], {"first": first, "stop": stop}, binary=True).fetchall()
        if len(rows) != stop - first:
            there = {row[0] for row in rows}
            raise MissingLeaf(
                f"leaf {next(leaf for leaf in range(first, stop) if leaf not in there)} is missing from the log"
            )
        return Batch(first, stop, [decode(leaf_index, topic, state) for leaf_index, topic, state in rows])
