"""Rotation of the key-encryption key: every data key is wrapped anew, and the old key is destroyed.

 1. a new keys/kek, the one before is kek.old   both open what they wrapped; see `ledger.storage.keys.replace_kek`
 2. one transaction under the head lock:        before the commit nothing is wrapped anew; after it everything is, and a
    all data keys wrapped anew, and an event    running service reads keys/kek again before it wraps the next one: the
    that says so                                event moved the head, and whoever finds it moved forgets what it knew
 3. kek.old overwritten and removed             there: nothing needs it any more. The rotation called again ends it

The keys of erased customers are gone already, and stay so. Where the key-encryption key comes from elsewhere, step 1 is
whose who keeps it: the new one is in use, the one before still opens. Steps 2 and 3 are done here: a keys/kek.old is
destroyed, whatever took its place.
"""

import os
from typing import Final

import orjson
import psycopg
from eventsourcing.persistence import PersistenceError

from ledger.app import Ledger, Submission
from ledger.clock import Clock, system_clock
from ledger.domain.key_wraps import RewrapKeys
from ledger.erasure.keyring import Keyring
from ledger.erasure.orders import orders
from ledger.key_provider import KeyProblem, WrappingKey
from ledger.receipts import Receipt
from ledger.storage import keys
from ledger.storage.recorder import Append
from ledger.storage.sql import QUERIES
from ledger.storage.wrapping import wrapping_key

SOURCE: Final = "ledger-keys"
"""The source of what a rotation says; no sender may use it."""


class NotRotated(RuntimeError):
    """The database failed while data keys were wrapped anew; the message says why and what to do."""


def rotate(ledger: Ledger, secrets: keys.Secrets, clock: Clock = system_clock) -> str:
    """The name of the new key-encryption key, under which all data keys are wrapped; the one before is destroyed.

    Services may run meanwhile, a second rotation waits. Called again after a crash it goes on; after it was done, it
    makes another new one. Raises KeyUnwrapFailed where a data key opens under neither: then nothing is wrapped anew,
    and both are kept; NotRotated where the database fails; and KeyProblem where the key in use comes from a variable
    and none is in the place of the one before.
    """
    if isinstance(secrets.kek, bytes) and not secrets.kek_in_file:
        raise KeyProblem(
            "the key-encryption key comes from LEDGER_KEY_KEK: put a new one there (or name a key provider) and the "
            "present one in LEDGER_KEY_KEK_OLD, start every service anew with both, then run this again"
        )
    with keys.alone(secrets.directory):
        fresh = keys.replace_kek(secrets) if secrets.kek_in_file else secrets  # step 1
        keyring = Keyring(fresh.kek, reread=fresh.key_encryption_keys)
        try:
            rewrap(ledger, keyring, name_of(fresh.kek), clock)  # step 2
        except (psycopg.Error, PersistenceError) as error:
            raise NotRotated(
                "the rotation is not finished, and the key-encryption key in use and the one before it are both needed "
                f"until it is: run `promise-ledger keys rotate` again, once the database is well ({str(error).strip()})"
            ) from error
        keys.destroy_old_kek(secrets.directory)  # step 3
    return name_of(fresh.kek)


def rewrap(ledger: Ledger, keyring: Keyring, name: str, clock: Clock = system_clock) -> None:
    """Every data key is wrapped under the key-encryption key in use, and the log says so."""

    def within(append: Append) -> None:
        erased = orders(append.cursor)  # a key that a restored copy brought back opens nothing from now on
        rows = [row for row in append.ask("all_keys", {}) if row[0] not in erased]
        append.cursor.executemany(
            QUERIES["rewrap_key"],
            [
                {
                    "customer_id": customer_id,
                    "key_version": version,
                    "wrapped": keyring.wrap(customer_id, version, keyring.open(customer_id, version, wrapped)),
                }
                for customer_id, version, wrapped in rows
            ],
        )

    command = RewrapKeys(actor=SOURCE, occurred_at=clock(), kek=name)
    canonical = orjson.dumps(command.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    submission = Submission(SOURCE, f"rewrap-{os.urandom(16).hex()}", command, canonical)
    (outcome,) = ledger.answer(ledger.append([submission], within=within))
    assert isinstance(outcome, Receipt), "no rule refuses what was done in the same transaction"


def name_of(key_encryption_key: bytes | WrappingKey) -> str:
    """A name that tells this key from others and says nothing about it."""
    return wrapping_key(key_encryption_key).name
