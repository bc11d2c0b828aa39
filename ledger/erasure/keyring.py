"""Data keys: one a customer and incarnation, wrapped by a key-encryption key that is never in the database."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection, Cursor
from psycopg.rows import tuple_row

from ledger.key_provider import WrappingKey
from ledger.storage.sql import QUERIES
from ledger.storage.wrapping import wrapping_key

KEY_SIZE = 32
CACHE_LIMIT = 100_000


class KeyUnwrapFailed(RuntimeError):
    """A wrapped data key does not open: the key-encryption key is not the one that this log was written under."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """The cipher of one customer's current incarnation; `version` counts incarnations from 1."""

    cipher: AESGCM
    version: int


@dataclass(frozen=True, slots=True)
class Erased:
    """The customer's erasure is in effect: not the same as a customer never heard of.

    `destroyed_at` is when that was recorded. The key is destroyed soon after, and is not used from then on.
    """

    destroyed_at: datetime


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key made in this transaction, to be stored with it."""

    customer_id: str
    version: int
    wrapped: bytes


class Keyring:
    """Opens and makes data keys. Not thread-safe: belongs to whoever holds the ledger's lock, or to one reader.

    Keys made for a transaction are cached only by `remember`, after its commit: a rolled-back key must not seal
    anything.
    """

    def __init__(
        self,
        key_encryption_key: bytes | WrappingKey | None,
        *,
        reread: Callable[[], Sequence[bytes | WrappingKey]] | None = None,
        until_destroyed: bool = False,
    ) -> None:
        """Without the key-encryption key it still tells who was erased; every other customer is unknown to it.

        `reread` gives the key-encryption keys as they are now, the one in use first: whoever lives long may outlive a
        rotation. `until_destroyed`: a key counts until it is destroyed, whatever was ordered, for whoever derives what
        the log made at each of its sizes.
        """
        self._wrappers = [] if key_encryption_key is None else [wrapping_key(key_encryption_key)]
        self._reread = reread
        self._until_destroyed = until_destroyed
        self._stale = False
        self._cache: dict[str, DataKey | Erased] = {}

    def find(self, cursor: Cursor[Any], customers: Iterable[str]) -> dict[str, DataKey | Erased]:
        """The current keys of those customers that have one; who is missing from the answer is unknown."""
        found: dict[str, DataKey | Erased] = {}
        missing: list[str] = []
        for customer_id in customers:
            key = self._cache.get(customer_id)
            if key is None:
                missing.append(customer_id)
            else:
                found[customer_id] = key
        if missing:
            stored: dict[str, DataKey | Erased] = {}
            cursor.execute(QUERIES["customer_keys"], {"customers": " ".join(missing)})
            for customer_id, version, wrapped, destroyed_at, requested_at in cursor.fetchall():
                if wrapped is None:
                    stored[customer_id] = Erased(destroyed_at)
                elif requested_at is not None and not self._until_destroyed:
                    stored[customer_id] = Erased(requested_at)
                elif not self._wrappers:
                    stored.pop(customer_id, None)
                else:
                    stored[customer_id] = DataKey(self.unwrap(customer_id, version, wrapped), version)
            self.remember(stored)
            found.update(stored)
        return found

    def make(self, customers: Sequence[str]) -> tuple[dict[str, DataKey], list[NewKey]]:
        """First keys for customers who have none: usable at once, valid once the rows are committed."""
        keys, rows = {}, []
        for customer_id in customers:
            secret = os.urandom(KEY_SIZE)
            keys[customer_id] = DataKey(AESGCM(secret), 1)
            rows.append(NewKey(customer_id, 1, self.wrap(customer_id, 1, secret)))
        return keys, rows

    def erased(self, cursor: Cursor[Any], customers: Iterable[str]) -> dict[str, Erased]:
        """Those of the customers whose erasure is in effect; no key is opened for it."""
        cursor.execute(QUERIES["customer_keys"], {"customers": " ".join(customers)})
        return {
            customer_id: Erased(destroyed_at or requested_at)
            for customer_id, _, _, destroyed_at, requested_at in cursor.fetchall()
            if destroyed_at or requested_at
        }

    def remember(self, keys: dict[str, DataKey | Erased]) -> None:
        """Keep committed keys at hand; the cache is emptied when it is full rather than grown for ever."""
        if len(self._cache) + len(keys) > CACHE_LIMIT:
            self._cache.clear()
        self._cache.update(keys)

    def forget(self) -> None:
        """Drop every cached key: another writer may have destroyed some, or wrapped all of them anew."""
        self._cache.clear()
        self._stale = True

    def unwrap(self, customer_id: str, version: int, wrapped: bytes) -> AESGCM:
        """The cipher of a stored key. Raises KeyUnwrapFailed under a wrong key-encryption key."""
        return AESGCM(self.open(customer_id, version, wrapped))

    def open(self, customer_id: str, version: int, wrapped: bytes) -> bytes:
        """A stored key itself. Raises KeyUnwrapFailed as `unwrap` does."""
        for _ in range(2):
            for wrapper in self._in_use():
                try:
                    return wrapper.unwrap(wrapped, _wrap_data(customer_id, version))
                except ValueError:
                    continue
            self._stale = True  # a rotation may have come in between: look once more
        raise KeyUnwrapFailed(
            f"the data key of customer {customer_id} does not open: the key-encryption key is not the key of this log "
            "(`promise-ledger keys list`), or (where there is a kek.old) `promise-ledger keys rotate` is to be finished"
        )

    def refuse_another(self, cursor: Cursor[Any]) -> None:
        """Raises KeyUnwrapFailed where data keys are in use and none of some opens: nothing may be sealed with that
        key-encryption key. One that does not open by itself is its own customer's alone.
        """
        failed: KeyUnwrapFailed | None = None
        for row in cursor.execute(QUERIES["some_keys"]).fetchall():
            try:
                self.open(*row)
            except KeyUnwrapFailed as error:
                failed = error
            else:
                return
        if failed is not None:
            raise failed

    def wrap(self, customer_id: str, version: int, secret: bytes) -> bytes:
        """`secret` wrapped under the key-encryption key in use."""
        return self._in_use()[0].wrap(secret, _wrap_data(customer_id, version))

    def _in_use(self) -> list[WrappingKey]:
        """The key-encryption keys, the one to wrap under first."""
        if self._stale and self._reread is not None:
            self._wrappers = [wrapping_key(key) for key in self._reread()]
        self._stale = False
        assert self._wrappers, "nobody opens or makes keys without the key-encryption key"
        return self._wrappers


def reader(connection: Connection[Any]) -> Cursor[Any]:
    """A cursor whose rows are tuples, as `Keyring.find` expects."""
    return connection.cursor(row_factory=tuple_row)


def _wrap_data(customer_id: str, version: int) -> bytes:
    return f"promise-ledger/data-key/v1|{customer_id}|{version}".encode()
