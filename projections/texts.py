"""Personal texts in the clear: the one read table that erasure purges. Everything else that is read holds none."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from psycopg import Connection, Cursor, sql
from psycopg.sql import Identifier

from ledger.domain.erasures import ErasureRequested
from ledger.erasure.keyring import DataKey, Keyring
from ledger.erasure.sealing import SealBroken, commitment, unseal
from ledger.storage.entries import StoredEntry
from ledger.storage.keys import Secrets
from ledger.storage.sql import QUERIES, queries
from projections.log import Batch
from projections.tables import Table
from projections.versions import Definition, schema_of, use

SQL = queries(Path(__file__).with_suffix(".sql"))


class UnknownKey(RuntimeError):
    """A text is sealed under a key that never was: keys of erased customers keep their row, without the key."""


class TextFold:
    """Opens the sealed texts of a batch, member by member; those whose key was destroyed have no row.

    At the event that requests an erasure the customer's rows go, also where the key is still (or again) there: so the
    table is the same whenever it is derived, and `verify --projections` may run beside an erasure.
    """

    def __init__(self, cursor: Cursor[Any], secrets: Secrets | None) -> None:
        assert secrets is not None, "texts are opened with keys"
        self._keyring = Keyring(secrets.kek, reread=secrets.key_encryption_keys, until_destroyed=True)
        self._texts = Table.find(cursor, "texts")

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        sealed = cursor.execute(
            QUERIES["sealed"], {"first": batch.first, "stop": batch.stop}, prepare=True, binary=True
        ).fetchall()
        self._keyring.forget()  # read anew under the lock of our version, so no text outlives its key (see `purge`)
        keys = self._keyring.find(cursor, dict.fromkeys(row[1] for row in sealed))
        erased = {entry.event.customer_id for entry in batch.entries if type(entry.event) is ErasureRequested}
        rows: list[tuple[int, str, str, str]] = []
        for leaf_index, customer_id, key_version, ciphertext in sealed:
            key = keys.get(customer_id)
            if key is None:
                raise UnknownKey(f"the text of leaf {leaf_index} is sealed under a key that is not in the key table")
            if isinstance(key, DataKey) and key.version == key_version and customer_id not in erased:
                entry = batch.entries[leaf_index - batch.first]
                for member, text in _open(entry, key, customer_id, ciphertext).items():
                    rows.append((leaf_index, customer_id, member, text))
        for customer_id in erased:
            cursor.execute(SQL["purge"], {"customer_id": customer_id})
        self._texts.insert(cursor, rows)


def _open(entry: StoredEntry, key: DataKey, customer_id: str, ciphertext: bytes) -> dict[str, str]:
    """The texts of one entry by member. Raises SealBroken where they are not those that the entry commits to."""
    event_id = entry.heading.event_id
    opened = unseal(key.cipher, ciphertext, event_id=event_id, customer_id=customer_id, key_version=key.version)
    spelled = base64.b64encode(commitment(opened.opening, event_id, opened.personal)).decode()
    if entry.personal is None or entry.personal["commitment"] != spelled:
        raise SealBroken(f"the sealed text of event {event_id} is not the one that its entry commits to")
    texts: dict[str, str] = orjson.loads(opened.personal)
    return texts


def purge(connection: Connection[Any], customer_id: str) -> int:
    """Delete the customer's texts in every version; returns how many.

    Call it after their key was destroyed, best in the same transaction: then nobody ever sees the one without the
    other. The version rows are locked first: a batch in flight, which may have read the key before, is over by then,
    and a later one finds the key destroyed.
    """
    purged = 0
    with connection.transaction(), connection.cursor() as cursor:
        for (number,) in cursor.execute(SQL["versions"]).fetchall():
            use(cursor, TEXTS.name, number)
            purged += cursor.execute(SQL["purge"], {"customer_id": customer_id}).rowcount
    return purged


def left(connection: Connection[Any], customers: Sequence[str]) -> set[str]:
    """Those of the customers of whom a text is in any version of the table."""
    found: set[str] = set()
    with connection.transaction(), connection.cursor() as cursor:
        for (number,) in cursor.execute(SQL["versions"]).fetchall():
            use(cursor, TEXTS.name, number)
            found.update(row[0] for row in cursor.execute(SQL["left"], {"customers": " ".join(customers)}))
    return found


def scrub(connection: Connection[Any]) -> None:
    """The space of purged texts is given back: until then their bytes are in the files. Outside of transactions."""
    for (number,) in connection.execute(SQL["unlocked_versions"]).fetchall():
        table = Identifier(schema_of(TEXTS.name, number), "texts")
        connection.execute(sql.SQL(SQL["scrub"]).format(table=table))


TEXTS = Definition(
    name="texts", sql=SQL, keys={"texts": ("leaf_index", "member")}, start=TextFold, needs_keys=True, cost=17
)
