"""What the log says of its own recoveries: which words were lost, and which log it goes on from."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from ledger.domain.recoveries import LogRecovered
from ledger.storage.entries import MalformedEntry, decode
from ledger.storage.sql import QUERIES
from ledger.tlog.errors import Malformed
from ledger.tlog.note import Verifier


class Record(NamedTuple):
    """One recovery on record."""

    leaf_index: int
    recorded_at: datetime
    event: LogRecovered

    @property
    def size(self) -> int:
        """How many events from before were there once it was done."""
        return self.event.kept_size + self.event.restored

    @property
    def brought_back(self) -> range:
        """The leaves that came back from copies of their entries alone, so that some lack their words."""
        return range(self.event.kept_size, self.size)

    @property
    def mark(self) -> str:
        """What readers see in place of words that it could not bring back."""
        return f"[lost on {self.recorded_at:%Y-%m-%d}]"

    @property
    def sentence(self) -> str:
        """What was done, for a reader."""
        event, on = self.event, f"on {self.recorded_at:%Y-%m-%d} (leaf {self.leaf_index}; {self.event.grounds})"
        if event.kind == "guard":
            return f"the fork guard was written again {on}"
        brought = (
            f"events {event.kept_size} to {self.size - 1} were brought back from copies of their entries, "
            f"{event.texts_lost} of them without their words"
        )
        if event.kind == "entries":
            return f"{brought} {on}"
        return (
            f"the log {event.old_origin} ended {on}: of the {event.signed_size} events that it had signed {self.size} "
            f"go on in this one{f'; {brought}' if event.restored else ''}"
            f"{'; an erasure among the others holds once it is ordered again' if event.signed_size > self.size else ''}"
        )


class Ended(NamedTuple):
    """A log that this one goes on from: `size` of its events are here, under its own key."""

    verifier: Verifier
    size: int


def records(connection: Connection[Any]) -> list[Record]:
    """Every recovery, in order. Bytes that are no entry are passed over: `verify` names their leaf."""
    found = []
    with connection.cursor(row_factory=tuple_row) as cursor:
        for leaf_index, topic, state in cursor.execute(QUERIES["recoveries"]).fetchall():
            try:
                entry = decode(leaf_index, topic, bytes(state))
            except MalformedEntry:
                continue
            if isinstance(entry.event, LogRecovered):
                found.append(Record(leaf_index, entry.happened.recorded_at, entry.event))
    return found


def bringing_back(found: Sequence[Record], leaf_index: int) -> Record | None:
    """The recovery that brought this leaf back from copies of entries, so that its words may be lost."""
    return next((each for each in found if leaf_index in each.brought_back), None)


def lost_mark(found: Sequence[Record], leaf_index: int) -> str | None:
    """What readers see where words stood that no copy of the entry could bring back."""
    record = bringing_back(found, leaf_index)
    return None if record is None else record.mark


def ended_logs(found: Sequence[Record]) -> list[Ended]:
    """The logs that ended here, in order; a key that cannot be read is passed over, and verifies nothing."""
    ended = []
    for each in found:
        if each.event.old_vkey is not None:
            try:
                ended.append(Ended(Verifier.parse(each.event.old_vkey), each.size))
            except Malformed:
                continue
    return ended
