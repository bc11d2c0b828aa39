"""The sealed texts of a range of leaves: each opens under its customer's key to what its entry is committed to."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

from psycopg import Connection

from ledger.erasure.keyring import Keyring, KeyUnwrapFailed
from ledger.erasure.order import Order
from ledger.erasure.sealing import Opener, SealBroken
from ledger.key_provider import WrappingKey
from ledger.storage.sql import QUERIES
from ledger.verification.entries import Entry, Found
from ledger.verification.report import Problem, Wrong

_CACHED_KEYS = 50_000

SealedRow = tuple[int, str, int, bytes]
"""Leaf index, customer, key version, sealed bytes."""
_key = itemgetter(1, 2)


class Missing(NamedTuple):
    """What the log itself gives as the reason where words are missing, as the parent's snapshot has it."""

    erased: dict[str, Order]
    brought_back: list[range]
    """Leaves that a recovery had no more than the entries of."""


class Destroyed:
    """A key that was destroyed as an event of this log orders: its texts are gone as well."""


DESTROYED: Final = Destroyed()
UNDONE: Final = (
    "is here although its customer's erasure destroyed it: an older copy of it was restored; the next start of the "
    "intake destroys it again"
)


class Texts:
    """Compares the sealed rows with the entries that they belong to; texts are opened where there is a key to it."""

    def __init__(
        self, connection: Connection[Any], key_encryption_key: bytes | WrappingKey | None, missing: Missing
    ) -> None:
        self._connection = connection
        self._keyring = None if key_encryption_key is None else Keyring(key_encryption_key)
        self._missing = missing
        self._keys: dict[tuple[str, int], Opener | Destroyed | str | None] = {}

    def check(self, first: int, entries: Sequence[Entry], rows: Sequence[SealedRow]) -> Found | None:
        """Compare the rows of a range with its entries."""
        if len(self._keys) > _CACHED_KEYS:  # not later: what the rows need stays while they are read
            self._keys.clear()
        self._load(set(map(_key, rows)))
        leaf = first
        texts = iter(rows)
        text = next(texts, None)
        try:
            for leaf, entry in enumerate(entries, first):
                personal = entry.personal
                if text is None or text[0] != leaf:
                    if personal is not None:
                        self._rightly_missing(leaf, entry.customer_id or "", personal.key)
                    continue
                _, customer_id, key_version, sealed = text
                if personal is None:
                    raise Wrong("sealed", "this row belongs to no event")
                if entry.customer_id != customer_id or personal.key != key_version:
                    raise Wrong("sealed", "this row belongs to another customer or key than its event")
                key = self._usable(customer_id, key_version)
                if key is DESTROYED:
                    raise Wrong("sealed", f"this text {UNDONE}")
                if isinstance(key, Opener) and key.commitment(sealed, entry.event_id) != personal.commitment:
                    raise Wrong("sealed", "the sealed text is not the one committed to")
                text = next(texts, None)
                if text is not None and text[0] == leaf:
                    raise Wrong("sealed", "two sealed texts are kept for this event")
        except SealBroken as error:
            return Found(leaf - first, Problem("sealed", str(error), leaf, entry.stream))
        except Wrong as wrong:
            return Found(leaf - first, replace(wrong.problem, leaf_index=leaf, stream=entry.stream))
        return None

    def _rightly_missing(self, leaf: int, customer_id: str, key_version: int) -> None:
        if any(leaf in leaves for leaves in self._missing.brought_back):
            return
        self._load({(customer_id, key_version)})
        if self._usable(customer_id, key_version) is not DESTROYED:
            raise Wrong("sealed", "the sealed text of this event is gone")

    def _usable(self, customer_id: str, key_version: int) -> Opener | Destroyed | None:
        key = self._keys[customer_id, key_version]
        if isinstance(key, str):
            raise Wrong("customer_keys", key)
        return key

    def _load(self, wanted: set[tuple[str, int]]) -> None:
        """Make those customers' keys known, with one query."""
        new = [key for key in wanted if key not in self._keys]
        if not new:
            return
        # PostgreSQL keeps no NUL and takes none: a customer whom an entry calls so has no key.
        customers = " ".join({customer_id for customer_id, _ in new}).replace("\0", " ")
        rows = self._connection.execute(QUERIES["stored_keys"], {"customers": customers}, binary=True)
        last = None
        for customer_id, version, wrapped, destroyed_at in rows.fetchall():
            order = self._missing.erased.get(customer_id)
            found = open_key(self._keyring, order, customer_id, version, wrapped, destroyed_at)
            key = customer_id, version
            self._keys[key] = found if key != last else f"the key of customer {customer_id} is kept twice"
            last = key
        for key in new:
            if key not in self._keys:
                self._keys[key] = f"the key of customer {key[0]} is gone without a trace"


def open_key(
    keyring: Keyring | None,
    order: Order | None,
    customer_id: str,
    version: int,
    wrapped: bytes | None,
    destroyed_at: datetime | None,
) -> Opener | Destroyed | str | None:
    """What opens the key's texts, or that it was rightly destroyed, or what is wrong; None without a `keyring`."""
    if wrapped is None or destroyed_at is not None:
        if order is None:
            return f"the key of customer {customer_id} was destroyed, and no event of this log orders that"
        if wrapped is not None or destroyed_at != order.requested_at:
            return f"the key of customer {customer_id} was destroyed otherwise than its erasure does"
        return DESTROYED
    if order is not None and order.completions:
        return f"the key of customer {customer_id} {UNDONE}"
    if keyring is None:
        return None
    try:
        return Opener(keyring.unwrap(customer_id, version, wrapped), customer_id, version)
    except KeyUnwrapFailed as error:
        return str(error)
