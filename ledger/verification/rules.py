"""`verify --rules`: every command decided again in the order of the log, over the states that the log itself gives.

Whoever hides a row from the service for a while makes it decide against a state that was never so. Once the row is back
every hash, root and signature is right; only the rules themselves show that the event could not have come.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import zip_longest
from typing import Any

from psycopg import Connection

from ledger.deciding import refuse_erased
from ledger.domain.dispatch import evolve
from ledger.domain.erasures import erasure_of
from ledger.domain.errors import Refused
from ledger.domain.model import Happened, State
from ledger.domain.replaying import objection
from ledger.erasure.keyring import Erased
from ledger.storage.entries import MalformedEntry, StoredEntry, decode
from ledger.storage.sql import QUERIES
from ledger.verification.report import Wrong


class Replay:
    """Takes in the log range by range, and keeps the state of every stream: about a kilobyte each."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._states: dict[str, State] = {}
        self._command: list[StoredEntry] = []
        self._found: Wrong | None = None

    def take(self, first: int, hashes: Sequence[bytes]) -> None:
        """Decide again what the leaves from `first` on say. They are read once more: each must be as it was hashed."""
        if self._found is None:
            try:
                for entry in self._read(first, hashes):
                    self._next(entry)
            except Wrong as wrong:
                self._found = wrong

    def end(self) -> None:
        """No command is left. Raises Wrong at the first event that the rules did not let happen."""
        if self._found is not None:
            raise self._found
        self._decide()

    def _read(self, first: int, hashes: Sequence[bytes]) -> Iterator[StoredEntry]:
        bounds = {"first": first, "stop": first + len(hashes)}
        rows = self._connection.execute(QUERIES["range_events"], bounds, binary=True).fetchall()
        for index, (leaf_hash, row) in enumerate(zip_longest(hashes, rows), first):
            if row is None or sha256(b"\0" + row[4]).digest() != leaf_hash:
                raise Wrong("events", "asked a second time, the database gave another event for this leaf", index)
            try:
                yield decode(index, row[3], row[4])
            except MalformedEntry as error:
                raise Wrong("events", str(error), index, row[1]) from error

    def _next(self, entry: StoredEntry) -> None:
        if self._command and _command_of(entry) != _command_of(self._command[0]):
            self._decide()
            self._command.clear()
        self._command.append(entry)

    def _decide(self) -> None:
        """Take in the events of one command, all of which have come."""
        if not self._command:
            return
        happened = self._command[0].happened
        events = [entry.event for entry in self._command]
        worded = [entry.personal is not None for entry in self._command]
        if (found := objection(events, happened, worded, self._states.get)) is not None:
            raise _wrong(self._command[found.place], found.sentence)
        for entry in self._command:
            self._apply(entry)

    def _apply(self, entry: StoredEntry) -> None:
        heading, event = entry.heading, entry.event
        state = self._states.get(event.stream)
        version = 1 if state is None else state.version + 1
        if heading.stream != event.stream:
            raise _wrong(entry, f"an event of {event.stream} stands in {heading.stream}")
        if heading.version != version:
            raise _wrong(entry, f"this is event {heading.version} of its stream, and {version} was to come")
        if entry.personal is not None:
            self._refuse_erased(entry)
        self._states[event.stream] = evolve(state, event, entry.happened)

    def _refuse_erased(self, entry: StoredEntry) -> None:
        customer_id = entry.event.customer_id
        assert customer_id is not None
        erasure = erasure_of(self._states.get, customer_id)
        if erasure is not None and erasure.requested_at is not None:
            try:
                refuse_erased(customer_id, Erased(erasure.requested_at))
            except Refused as refused:
                raise _wrong(entry, refused.message) from refused


def _command_of(entry: StoredEntry) -> tuple[Happened, str, str]:
    return entry.happened, entry.heading.command_id, entry.heading.command_digest


def _wrong(entry: StoredEntry, sentence: str) -> Wrong:
    """The sentence of a rule, and what follows from it: the service decides by the same rules."""
    why = f"{sentence.rstrip('.')}; what the service saw when it decided that was not what the log says"
    return Wrong("events", why, entry.leaf_index, entry.heading.stream)
