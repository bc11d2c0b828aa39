"""A log of entries that no command made, for those who read its tiles."""

import psycopg

from ledger.storage.recorder import EventRow, LogRecorder, open_datastore
from ledger.storage.sql import QUERIES
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Signer
from tests.storage.log import NOON

LOG = Signer("log.example/promises", b"l" * 32)


def entry(index: int) -> bytes:
    return f'{{"n":{index}}}'.encode() + b" " * (index % 7)


def store(url: str, entries: list[bytes]) -> Checkpoint:
    """The log at `url` holds `entries`, with the tiles that an append leaves, and no checkpoint yet."""
    with psycopg.connect(url) as connection:
        connection.execute(QUERIES["begin_log"], {"origin": LOG.name, "recorded_at": NOON})
    recorder = LogRecorder(open_datastore(url))
    with recorder.appending() as append:
        rows = [EventRow("s", version, "t", each) for version, each in enumerate(entries, 1)]
        extension = append.write(rows, recorded_at=NOON)
    recorder.datastore.close()
    return Checkpoint(LOG.name, extension.size, extension.root)


def sign(url: str, checkpoint: Checkpoint) -> bytes:
    note = checkpoint.sign(LOG)
    with psycopg.connect(url) as connection:
        stored = "INSERT INTO ledger.checkpoints (size, note, stored_at) VALUES (%s, %s, now())"
        connection.execute(stored, [checkpoint.size, note.decode()])
    return note


GARBAGE = "UPDATE ledger.checkpoints SET note = (SELECT origin FROM ledger.head) || E'\\ngarbage'"
TOO_LONG = """
ALTER TABLE ledger.events DROP CONSTRAINT events_state_check;
UPDATE ledger.events SET state = convert_to(repeat('x', 70000), 'UTF8') WHERE notification_id = 290
"""
"""Two ways to damage one of them: its checkpoint, and an entry."""
