"""Checks the events of a range of leaves, and what belongs to each: columns, order of times, inbox, sealed texts."""

from binascii import b2a_base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.erasure.order import Order
from ledger.erasure.sealing import SealBroken, commitment, unseal
from ledger.key_provider import WrappingKey
from ledger.storage.sql import QUERIES
from ledger.verification.report import Problem, Wrong

RANGE = 4096
"""Leaves that are checked in one go; a multiple of a tile's 256."""
_CACHED_KEYS = 50_000


class _Personal(msgspec.Struct, gc=False):
    commitment: str
    key: int


class _Entry(msgspec.Struct, gc=False):
    """What the columns and the other tables repeat of an entry; the rest is skipped, not read."""

    v: int
    stream: str
    version: int
    type: str
    event_id: str
    recorded_at: str
    source: str
    command_id: str
    command_digest: str
    customer_id: str | None = None
    personal: _Personal | None = None


_read_entry = msgspec.json.Decoder(_Entry).decode


class Leaves(NamedTuple):
    """The leaf hashes of a range, and the first and last recorded_at as spelled.

    Where there is a problem they end with the event that it is about, or before it where that is no entry at all.
    """

    hashes: list[bytes]
    first_recorded_at: str
    last_recorded_at: str
    problem: Problem | None


class Missing(NamedTuple):
    """What the log itself gives as the reason where words are missing, as the parent's snapshot has it."""

    erased: dict[str, Order]
    brought_back: list[range]
    """Leaves that a recovery had no more than the entries of."""


_SealedRow = tuple[int, str, int, bytes]
"""Leaf index, customer, key version, sealed bytes."""


class LeafChecker:
    """Checks every `stripes`-th range of leaves, from range `stripe` on, in order; memory stays flat."""

    def __init__(
        self,
        connection: Connection[Any],
        key_encryption_key: bytes | WrappingKey | None,
        missing: Missing,
        *,
        size: int,
        stripe: int,
        stripes: int,
    ) -> None:
        self._connection = connection
        self._size = size
        self._firsts = range(stripe * RANGE, size, stripes * RANGE)
        self._inbox = _Inbox(_inbox_rows(connection, stripe, stripes), shared=stripes > 1)
        self._keys = _Keys(connection, key_encryption_key, missing.erased)
        self._brought_back = missing.brought_back

    def ranges(self) -> Iterator[Leaves]:
        """The ranges in order; the one with a problem is the last."""
        for first in self._firsts:
            leaves = self._check(first, min(first + RANGE, self._size))
            yield leaves
            if leaves.problem is not None:
                return

    def _check(self, first: int, stop: int) -> Leaves:
        bounds = {"first": first, "stop": stop}
        events = self._connection.execute(QUERIES["range_events"], bounds, binary=True).fetchall()
        texts = self._connection.execute(QUERIES["sealed"], bounds, binary=True).fetchall()
        self._keys.load(texts)
        self._inbox.begin(first)
        hashes: list[bytes] = []
        recorded: list[str] = []
        problem = None
        try:
            self._check_events(first, events, iter(texts), hashes, recorded)
            if len(hashes) != stop - first:
                raise Wrong("events", f"leaf {first + len(hashes)} is missing", first + len(hashes))
            if first == self._firsts[-1]:
                self._inbox.end()
        except Wrong as wrong:
            problem = wrong.problem
        except (ValueError, RecursionError) as error:
            problem = Problem("events", f"the stored bytes are no entry: {error}", first + len(hashes))
        return Leaves(hashes, recorded[0] if recorded else "", recorded[-1] if recorded else "", problem)

    def _check_events(
        self,
        index: int,
        events: list[tuple[Any, ...]],
        texts: Iterator[_SealedRow],
        hashes: list[bytes],
        recorded: list[str],
    ) -> None:
        """Append the hash of each event; raises at the first that is not right."""
        last = ""
        text = next(texts, None)
        for leaf_index, stream, version, topic, state, kept_hash in events:
            if leaf_index != index:
                raise Wrong("events", f"leaf {index} is missing: the next one stored is {leaf_index}", index)
            leaf_hash = sha256(b"\x00" + state).digest()
            if leaf_hash != kept_hash:
                raise Wrong("events", "the stored bytes are not those that leaf_hash was made of", index, stream)
            entry = _read_entry(state)
            if entry.v != 1:
                raise ValueError(f"unknown format version {entry.v}")
            if entry.stream != stream or entry.version != version or entry.type != topic:
                raise Wrong("events", "the columns do not say what the entry says", index, stream)
            if entry.recorded_at != last:
                if earlier(entry.recorded_at, last):
                    raise Wrong("events", "recorded_at goes back", index, stream)
                recorded.append(last := entry.recorded_at)
            hashes.append(leaf_hash)
            self._inbox.take(index, entry)
            if text is not None and text[0] == index:
                self._check_text(index, entry, text)
                text = next(texts, None)
                if text is not None and text[0] == index:
                    raise Wrong("sealed", "two sealed texts are kept for this event", index, stream)
            elif entry.personal is not None:
                self._check_missing(index, entry, entry.personal)
            index += 1

    def _check_text(self, index: int, entry: _Entry, text: _SealedRow) -> None:
        _, customer_id, key_version, sealed = text
        personal, event_id, stream = entry.personal, entry.event_id, entry.stream
        if personal is None:
            raise Wrong("sealed", "this row belongs to no event", index, stream)
        if entry.customer_id != customer_id or personal.key != key_version:
            raise Wrong("sealed", "this row belongs to another customer or key than its event", index, stream)
        cipher = self._keys.cipher(index, customer_id, key_version)
        if cipher is None:
            return
        if isinstance(cipher, Destroyed):
            raise Wrong("sealed", f"this text {UNDONE}", index, stream)
        try:
            opening, words = unseal(cipher, sealed, event_id=event_id, customer_id=customer_id, key_version=key_version)
        except SealBroken as error:
            raise Wrong("sealed", str(error), index, stream) from error
        if _base64(commitment(opening, event_id, words)) != personal.commitment:
            raise Wrong("sealed", "the sealed text is not the one committed to", index, stream)

    def _check_missing(self, index: int, entry: _Entry, personal: _Personal) -> None:
        if any(index in leaves for leaves in self._brought_back):
            return
        if self._keys.cipher(index, entry.customer_id or "", personal.key) is not DESTROYED:
            raise Wrong("sealed", "the sealed text of this event is gone", index, entry.stream)


def earlier(one: str, other: str) -> bool:
    """Whether the first of two canonical UTC times is earlier; a fraction of zero is left out in their spelling."""
    return one[:-1].split(".") < other[:-1].split(".")


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


def _inbox_rows(connection: Connection[Any], stripe: int, stripes: int) -> Iterator[tuple[Any, ...]]:
    with connection.cursor(name="verify_inbox") as cursor:
        parameters = {"range": RANGE, "stripe": stripe, "stripes": stripes}
        cursor.execute(QUERIES["inbox_stripe"], parameters, binary=True)
        while rows := cursor.fetchmany(RANGE):
            yield from rows


class Destroyed:
    """A key that was destroyed as an event of this log orders: its texts are gone as well."""


DESTROYED: Final = Destroyed()
UNDONE: Final = (
    "is here although its customer's erasure destroyed it: an older copy of it was restored; the next start of the "
    "intake destroys it again"
)


class _Inbox:
    """The inbox in step with the log: its rows follow one another without gap, and each names its events' command."""

    def __init__(self, rows: Iterator[tuple[Any, ...]], *, shared: bool) -> None:
        self._rows = rows
        self._shared = shared  # the range before belongs to another checker
        self._range_first = 0
        self._first = self._stop = 0
        self._command: tuple[str, str, str] | None = None

    def begin(self, first: int) -> None:
        """A new range starts at leaf `first`."""
        self._range_first = first

    def take(self, index: int, entry: _Entry) -> None:
        """Compare with the row that covers leaf `index`."""
        if index >= self._stop:
            self._advance(index)
        if (entry.source, entry.command_id, entry.command_digest) != self._command:
            sentence = f"command {entry.command_id} of {entry.source} is not what the inbox says"
            raise Wrong("inbox", sentence, self._first, entry.stream)

    def end(self) -> None:
        """No row may be left."""
        for row in self._rows:
            raise Wrong("inbox", f"command {row[1]} of {row[0]} is in the inbox and not in the log", row[3])

    def _advance(self, index: int) -> None:
        source, command_id, digest, first, events = next(self._rows, (None, None, b"", -1, 0))
        if source is None:
            raise Wrong("inbox", "the row of this command is missing", index)
        # A command whose events began in the range before, which another checker reads, goes on in this one.
        goes_on = self._shared and index == self._range_first and first < index < first + events
        if events < 1 or (first != index and not goes_on):
            raise Wrong(
                "inbox", f"the row of command {command_id} of {source} is not where the log has it", min(first, index)
            )
        command = (source, command_id, _base64(digest))
        if command == self._command and first == self._stop:
            raise Wrong("inbox", f"the row of command {command_id} of {source} was split in two", first)
        self._first, self._stop, self._command = first, first + events, command


class _Keys:
    """The customers' data keys, as far as the sealed rows at hand need them."""

    def __init__(
        self,
        connection: Connection[Any],
        key_encryption_key: bytes | WrappingKey | None,
        erased: Mapping[str, Order],
    ) -> None:
        self._connection = connection
        self._keyring = None if key_encryption_key is None else Keyring(key_encryption_key)
        self._erased = erased
        self._known: dict[tuple[str, int], AESGCM | Destroyed | str | None] = {}

    def load(self, texts: Sequence[_SealedRow]) -> None:
        """Make the keys of those sealed rows known, with one query."""
        if len(self._known) > _CACHED_KEYS:
            self._known.clear()
        self._load({row[1] for row in texts if row[1:3] not in self._known})

    def cipher(self, index: int, customer_id: str, version: int) -> AESGCM | Destroyed | None:
        """The key's cipher, None where texts are not to be opened. Raises Wrong where it is not as it must be."""
        if (customer_id, version) not in self._known:
            self._load({customer_id})
            self._known.setdefault((customer_id, version), f"the key of customer {customer_id} is gone without a trace")
        found = self._known[customer_id, version]
        if isinstance(found, str):
            raise Wrong("customer_keys", found, index)
        return found

    def _load(self, customers: set[str]) -> None:
        if customers:
            rows = self._connection.execute(QUERIES["stored_keys"], {"customers": " ".join(customers)}, binary=True)
            last = None
            for customer_id, version, wrapped, destroyed_at in rows.fetchall():
                order = self._erased.get(customer_id)
                key = customer_id, version
                found = open_key(self._keyring, order, customer_id, version, wrapped, destroyed_at)
                self._known[key] = found if key != last else f"the key of customer {customer_id} is kept twice"
                last = key


def open_key(
    keyring: Keyring | None,
    order: Order | None,
    customer_id: str,
    version: int,
    wrapped: bytes | None,
    destroyed_at: datetime | None,
) -> AESGCM | Destroyed | str | None:
    """The key's cipher, or that it was rightly destroyed, or what is wrong; None where no `keyring` is to open it."""
    if wrapped is None or destroyed_at is not None:
        if order is None:
            return f"the key of customer {customer_id} was destroyed, and no event of this log orders that"
        if wrapped is not None or destroyed_at != order.requested_at:
            return f"the key of customer {customer_id} was destroyed otherwise than its erasure does"
        return DESTROYED
    if order is not None and order.completions:
        return f"the key of customer {customer_id} {UNDONE}"
    try:
        return None if keyring is None else keyring.unwrap(customer_id, version, wrapped)
    except KeyUnwrapFailed as error:
        return str(error)
