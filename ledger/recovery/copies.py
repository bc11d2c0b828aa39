"""Entries from copies that nobody vouches for, checked against checkpoints that were signed before any is used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import orjson

from ledger.recovery.diagnosis import Found
from ledger.recovery.evidence import NotRecovered, Stored, grown
from ledger.storage.entries import MalformedEntry, StoredEntry, decode
from ledger.tlog.merkle import Frontier, leaf_hash

BUNDLE: Final = 256


class Copies(Protocol):
    """Copies of entries that somebody has: `stop` leaves from some leaf on, nobody vouches for them yet."""

    def read(self, first: int, stop: int) -> Sequence[bytes]:
        """The entries from leaf `first` on, `stop` excluded: as many as there are without a gap, perhaps none."""
        ...


@dataclass(frozen=True, slots=True)
class Missing:
    """The entries that are brought back: `size` of the log afterwards, its frontier, how to read them once more.

    `left_out` counts what was published as one of them and is not what receipts prove.
    """

    first: int
    frontier: Frontier
    hashes: Sequence[bytes]
    copies: Sequence[Copies]
    left_out: int = 0

    @property
    def size(self) -> int:
        return self.first + len(self.hashes)

    def entries(self) -> Iterator[tuple[StoredEntry, bytes]]:
        """The entries, decoded and as they are; each has the hash that was checked, or NotRecovered is raised."""
        for first, part in read_copies(self.copies, self.first, self.size):
            for index, state in enumerate(part, first):
                if leaf_hash(state) != self.hashes[index - self.first]:
                    raise NotRecovered(f"the copy of leaf {index} changed while it was read: run it again")
                yield read_entry(index, state), state


def read_entry(index: int, state: bytes) -> StoredEntry:
    """The entry of leaf `index`, whose hash was checked. Raises NotRecovered where a later release has written it."""
    try:
        return decode(index, orjson.loads(state)["type"], state)
    except (MalformedEntry, ValueError, KeyError, TypeError) as error:
        raise NotRecovered(f"leaf {index} cannot be read by this release: {error}") from error


def read_copies(copies: Sequence[Copies], first: int, stop: int) -> Iterator[tuple[int, Sequence[bytes]]]:
    """(first leaf, entries) from whichever copy has them, in order, up to the first leaf that none has."""
    while first < stop:
        end = min(stop, (first // BUNDLE + 1) * BUNDLE)
        part = next((part for copy in copies if (part := copy.read(first, end))), None)
        if part is None:
            return
        yield first, part
        first += len(part)


def find_missing(found: Found, copies: Sequence[Copies], *, strict: bool = True) -> Missing:
    """The entries behind the stored ones, as far as a checkpoint that somebody kept vouches for them.

    Raises NotRecovered where what is stored is not what was signed, and (`strict`) where the copies are not.
    """
    stored = found.stored
    refuse_rewritten(stored)
    hashes: list[bytes] = []
    longest = max((each.size for each in found.kept), default=0)
    for _, part in read_copies(copies, stored.size, longest):
        hashes += map(leaf_hash, part)
    trees = grown(stored.frontier, [hashes], {each.size for each in found.kept})
    size = stored.size
    for each in found.kept:
        if each.size not in trees:
            continue
        if trees[each.size].root() == each.root:
            size = max(size, each.size)
        elif strict:
            raise NotRecovered(
                f"the copies are not of the entries that {each.where} was signed for: another log's, or damaged"
            )
    return Missing(stored.size, trees.get(size, stored.frontier), hashes[: size - stored.size], copies)


def refuse_rewritten(stored: Stored) -> None:
    """Raises NotRecovered where the events are not those that the ledger itself has signed."""
    for each in stored.contradicted:
        if each.own:
            raise NotRecovered(
                f"the events are not those that {each.where} was signed for: they were rewritten, and no recovery "
                "takes that over; restore the newest backup of the database"
            )
