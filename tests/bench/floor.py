"""What `verify` cannot do without, and nothing else: its calls into libraries, on the same log."""

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.collecting import rare_collections
from ledger.erasure.keyring import Keyring
from ledger.erasure.sealing import NONCE_SIZE, OPENING_SIZE, associated_data
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.sql import QUERIES
from ledger.verification.entries import _decode
from ledger.verification.inbox import inbox_rows
from ledger.verification.leaves import RANGE

_HMAC_BLOCK = 64


def libraries(settings: Settings, events: int) -> float:
    """Processor time, in microseconds an event, of fetching the rows of a log, hashing and reading its entries, opening
    its texts and hashing for their commitments and for the tree; what these calls are given is made beside the clock.
    """
    spent = 0.0

    def timed(work: Callable[[], list[Any]]) -> list[Any]:
        nonlocal spent
        began = time.process_time()
        found = work()
        spent += time.process_time() - began
        return found

    def hashed(texts: list[bytes]) -> list[bytes]:
        return timed(lambda: [sha256(text).digest() for text in texts])

    keyring = Keyring(keys.load(settings.keys_dir).kek)
    with psycopg.connect(settings.database_url or "") as connection, rare_collections():

        def fetched(query: str, **parameters: Any) -> list[Any]:
            return timed(lambda: connection.execute(QUERIES[query], parameters, binary=True).fetchall())

        commands = inbox_rows(connection, RANGE, 0, 1)
        for first in range(0, events, RANGE):
            stop = min(first + RANGE, events)
            rows = fetched("range_events", first=first, stop=stop)
            sealed = fetched("sealed", first=first, stop=stop)
            timed(lambda many=stop - first: [next(commands) for _ in range(many)])
            hashes = hashed([b"\0" + row[4] for row in rows])
            hashed([b"\1" + each + each for each in hashes])
            entries = dict(enumerate(timed(lambda rows=rows: [_decode(row[4]) for row in rows]), first))
            wrapped = fetched("stored_keys", customers=" ".join({row[1] for row in sealed}))
            secrets = [keyring.open(*row[:3]) for row in wrapped]
            ciphers = timed(lambda secrets=secrets: [AESGCM(secret) for secret in secrets])
            of = {row[:2]: cipher for row, cipher in zip(wrapped, ciphers, strict=True)}
            bound = [
                (
                    of[customer, key],
                    text[:NONCE_SIZE],
                    text[NONCE_SIZE:],
                    associated_data(event.event_id, customer, key),
                )
                for leaf, customer, key, text in sealed
                for event in [entries[leaf]]
            ]
            opened = timed(lambda bound=bound: [cipher.decrypt(*rest) for cipher, *rest in bound])
            # As long as what an HMAC hashes: a block of the key and the message, then a block and a hash.
            inner = hashed([bytes(_HMAC_BLOCK) + bytes(64) + text[OPENING_SIZE:] for text in opened])
            hashed([bytes(_HMAC_BLOCK) + each for each in inner])
    return spent / events * 1e6
