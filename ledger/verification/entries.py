"""The events of a range of leaves: what the stored bytes say, against their hashes, their columns and one another."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from operator import itemgetter, ne
from typing import Literal, NamedTuple

import msgspec

from ledger.verification.report import Problem


class Personal(msgspec.Struct, gc=False):
    """What an entry says of its sealed text."""

    commitment: bytes
    key: int


class Entry(msgspec.Struct, gc=False):
    """What the columns and the other tables repeat of an entry; the rest is skipped, not read."""

    v: Literal[1]
    stream: str
    version: int
    type: str
    event_id: str
    recorded_at: str
    source: str
    command_id: str
    command_digest: bytes
    customer_id: str | None = None
    personal: Personal | None = None


EventRow = tuple[int, str, int, str, bytes, bytes]
"""Leaf index, stream, version, type, entry, leaf hash."""

_decode = msgspec.json.Decoder(Entry).decode
_MISSING = "leaf … is missing"


class Found(NamedTuple):
    """The first thing in a range that is not right, and how many leaves of the range come before it."""

    before: int
    problem: Problem


class Entries(NamedTuple):
    """The entries of a range and their leaf hashes; where something is `found`, those before it."""

    entries: Sequence[Entry]
    hashes: Sequence[bytes]
    found: Found | None


def checked(first: int, stop: int, rows: Sequence[EventRow]) -> Entries:
    """The entries of the leaves from `first` to before `stop`, as these rows have them."""
    leaves, streams, versions, types, states, kept = zip(*rows, strict=True) if rows else ((),) * 6
    hashes = [sha256(b"\x00" + state).digest() for state in states]
    entries, unreadable = _read(states)
    columns = zip(entries, streams, versions, types, strict=False)
    right, sentence = min(  # of several at one leaf the first counts
        (_right(map(ne, leaves, range(first, stop))), _MISSING),
        (_right(map(ne, hashes, kept)), "the stored bytes are not those that leaf_hash was made of"),
        (len(entries), unreadable),
        (
            _right(
                each.stream != stream or each.version != version or each.type != kind
                for each, stream, version, kind in columns
            ),
            "the columns do not say what the entry says",
        ),
        (_right(_goes_back(entries)), "recorded_at goes back"),
        key=itemgetter(0),
    )
    if right == stop - first == len(rows):
        return Entries(entries, hashes, None)
    if sentence is not _MISSING:
        stream = streams[right]
    else:
        stream, sentence = None, f"leaf {first + right} is missing"
        if right < len(leaves):
            sentence += f": the next one stored is {leaves[right]}"
    return Entries(entries[:right], hashes[:right], Found(right, Problem("events", sentence, first + right, stream)))


def earlier(one: str, other: str) -> bool:
    """Whether the first of two canonical UTC times is earlier; a fraction of zero is left out in their spelling."""
    return one[:-1].split(".") < other[:-1].split(".")


def _read(states: Sequence[bytes]) -> tuple[list[Entry], str]:
    """The entries up to the first that is none, and why that is none."""
    entries = []
    try:
        for state in states:
            entries.append(_decode(state))
    except (ValueError, RecursionError) as error:
        return entries, f"the stored bytes are no entry: {error}"
    return entries, ""


def _goes_back(entries: Iterable[Entry]) -> Iterator[bool]:
    """Of each entry, whether it was recorded earlier than the one before it."""
    last = ""
    for entry in entries:
        at = entry.recorded_at
        yield at != last and earlier(at, last)
        last = at


def _right(wrong: Iterable[bool]) -> int:
    """How many come before the first that is wrong."""
    right = 0
    for each in wrong:
        if each:
            break
        right += 1
    return right
