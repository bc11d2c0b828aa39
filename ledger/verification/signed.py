"""What was signed: the fork guard's note, those that somebody kept, and the stored ones, opened under the keys that may
sign their sizes; who cosigned and stamped them.
"""

import heapq
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.x509 import Certificate
from psycopg import Connection
from psycopg.rows import tuple_row

from ledger.recovery.records import Ended
from ledger.storage.log_keys import KeyRange, key_ranges, read_rotations
from ledger.timestamps import BadTimestamp, stamped_at
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import BadProof, TlogError
from ledger.tlog.note import Note, Verifier
from ledger.tlog.policy import Policy
from ledger.verification.pages import pages
from ledger.verification.report import Wrong


@dataclass(frozen=True, slots=True)
class Expected:
    """A root that somebody signed for a size, and where it is kept."""

    size: int
    root: bytes
    kept_in: str
    note: Note
    carried_on: int | None = None
    """Of a log that ended: how many of its events go on in this one. What it signed beyond is lost, on record."""

    @property
    def lost(self) -> bool:
        return self.carried_on is not None and self.size > self.carried_on


class Signed:
    """The checkpoints of one log. Sizes are of the largest seen so far: signed, cosigned as `policy` wants, stamped."""

    def __init__(
        self,
        connection: Connection[Any],
        verifier: Verifier,
        ended: Sequence[Ended],
        policy: Policy | None,
        timestamp_roots: Sequence[Certificate],
    ) -> None:
        self.size = 0
        self.witnessed_size = 0
        self.stamped_size = 0
        self.stamped_at: datetime | None = None
        self.count = 0
        """Of stored checkpoints."""
        self._connection = connection
        self._verifier = verifier
        self._ended = ended
        self._policy = policy
        self._timestamp_roots = timestamp_roots
        self._rotations = read_rotations(connection.cursor(row_factory=tuple_row))
        over = {each.verifier for each in ended}
        ranges = {each.verifier: each for each in key_ranges(self._rotations) if each.verifier not in over}
        self._ranges = {verifier: KeyRange(verifier, 0, None)} | ranges
        self._signed_by = dict.fromkeys(self._ranges, 0)

    def guarded(self, note: bytes | None) -> Expected:
        """What the fork guard's note covers. Raises Wrong where there is none."""
        if note is None:
            raise Wrong("guard", "the fork guard file is missing: nothing outside the database says what was signed")
        return self.opened(note, "the fork guard", "guard")

    def opened(self, note: bytes, kept_in: str, table: str = "checkpoints") -> Expected:
        """What `note` covers. Raises Wrong, about `table`, where no key signed it that may sign its size."""
        witnesses = [] if self._policy is None else [witness.verifier for witness in self._policy.witnesses]
        try:
            signers = self._signers(note)
            checkpoint, opened = open_checkpoint(note, signers[0], [*signers[1:], *witnesses])
        except TlogError as error:
            for ended in self._ended if table != "guard" else ():
                with suppress(TlogError):
                    checkpoint, opened = open_checkpoint(note, ended.verifier, witnesses)
                    where = f"{kept_in} of the log {ended.verifier.name}"
                    return Expected(checkpoint.size, checkpoint.root, where, opened, ended.size)
            raise Wrong(table, f"{kept_in} holds no checkpoint signed by this log: {error}") from error
        for signer in signers:
            if not self._ranges[signer].has(checkpoint.size):
                raise Wrong(
                    table,
                    f"{kept_in} covers {checkpoint.size} events and is signed by {signer.vkey}, which signs no such "
                    "size: the log names another key for it, and whoever has this one signs on",
                )
            self._signed_by[signer] = max(self._signed_by[signer], checkpoint.size)
        self.size = max(self.size, checkpoint.size)
        return Expected(checkpoint.size, checkpoint.root, kept_in, opened)

    def kept(self, note: bytes) -> Expected:
        """What a note covers that somebody kept elsewhere: as `opened`, or as `_row` under the name of a log that ended
        here. Whoever kept that one has its key; its root is compared all the same.
        """
        return self._row(note, "a kept checkpoint", "kept", {each.verifier.name for each in self._ended})

    def _signers(self, note: bytes) -> list[Verifier]:
        """The keys of this log that `note` names, all to be verified; where it names none the one asked for."""
        named = {(signature.name, signature.key_id) for signature in Note.parse(note).signatures}
        return [each for each in self._ranges if (each.name, each.key_id) in named] or [self._verifier]

    def handed_over(self) -> None:
        """The key asked for vouches for every other one that was believed: for those before it by a checkpoint of its
        own over the events that name them, for those after it step by step, each by the last checkpoint of the one
        before, which covers the event that names the next.
        """
        trusted, newest, later = {self._verifier}, self._verifier, False
        for rotation in self._rotations:
            later = later or rotation.old == self._verifier
            if not later and self._signed_by[self._verifier] >= rotation.size:
                trusted |= {rotation.old, rotation.new}
            elif rotation.old == newest and self._signed_by[newest] >= rotation.size:
                newest = rotation.new
                trusted.add(newest)
        for rotation in self._rotations:
            for key in (rotation.old, rotation.new):
                if self._signed_by.get(key, 0) and key not in trusted:
                    raise Wrong(
                        "checkpoints",
                        f"checkpoints are signed by {key.vkey}, and no checkpoint that {self._verifier.vkey} vouches "
                        "for covers the event which names that key",
                        rotation.leaf_index,
                    )

    def witness(self, expected: Expected) -> None:
        """Where the quorum has cosigned this checkpoint, all that it covers is witnessed."""
        if self._policy is not None and self._policy.quorum is not None:
            with suppress(BadProof):
                self._policy.check(expected.note.verified)
                self.witnessed_size = max(self.witnessed_size, expected.size)

    def stored(self, size: int) -> Iterator[Expected]:
        """What was signed, stored row by row; in order of size."""
        signed = self._rows("checkpoints", "checkpoint", size)
        witnessed = self._rows("witnessed", "witnessed checkpoint", size)
        stamped = self._rows("timestamps", "timestamped checkpoint", size)
        return heapq.merge(signed, witnessed, stamped, key=lambda expected: expected.size)

    def _rows(self, table: str, name: str, size: int) -> Iterator[Expected]:
        for stored_size, note, *response in pages(self._connection, f"all_{table}"):
            expected = self._row(note.encode(), f"{name} {stored_size}", table)
            if expected.size != stored_size:
                raise Wrong(table, f"the row of size {stored_size} holds a checkpoint of size {expected.size}")
            if expected.lost:
                continue
            if stored_size > size:
                raise Wrong(
                    "events",
                    f"a checkpoint covers {stored_size} events and the database holds {size}: the tail was cut off",
                    size,
                )
            self.count += table == "checkpoints"
            self.witness(expected)
            if response and self._timestamp_roots:
                self._stamped(expected, response[0])
            yield expected

    def _row(self, note: bytes, kept_in: str, table: str, names: Collection[str] | None = None) -> Expected:
        """As `opened`. What says who signed an earlier log may be among the events that were lost as it ended: of a key
        that nothing names is taken, under another name than this log's, and one of `names` where these are given, what
        every log that ended has in common.
        """
        try:
            return self.opened(note, kept_in, table)
        except Wrong:
            known = {(each.name, each.key_id) for each in (*self._ranges, *(each.verifier for each in self._ended))}
            with suppress(TlogError):
                parsed = Note.parse(note)
                checkpoint = Checkpoint.parse(parsed.text)
                signers = {(each.name, each.key_id) for each in parsed.signatures if each.name == checkpoint.origin}
                elsewhere = checkpoint.origin != self._verifier.name and (names is None or checkpoint.origin in names)
                if self._ended and signers and not signers & known and elsewhere:
                    carried_on = min(each.size for each in self._ended)
                    return Expected(checkpoint.size, checkpoint.root, kept_in, parsed, carried_on)
            raise

    def _stamped(self, expected: Expected, response: bytes) -> None:
        try:
            self.stamped_at = stamped_at(response, expected.note.text, self._timestamp_roots)
        except BadTimestamp as error:
            raise Wrong("timestamps", f"{expected.kept_in}: {error}") from error
        self.stamped_size = expected.size
