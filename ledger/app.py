"""The ledger: commands in, outcomes with proofs out. The only composition root for writes.

One append, step by step; what a crash leaves is said at each step:

 1. lock the head row                     nothing happened; the commands are delivered again
 2. inbox: which commands were seen       nothing happened
 3. load streams, decide in order         nothing happened
 4. entries, seals, leaves, frontier      nothing happened
 5. insert, move the head, COMMIT         before: nothing happened. During: the database knows whether it did; the
                                          redelivered command finds its inbox row or is decided again
 6. guard file, signature, receipts       committed and unsigned: the next start signs the head, the redelivered
                                          command finds its inbox row and gets its receipt
"""

import base64
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import psycopg
from eventsourcing.persistence import OperationalError
from psycopg import Cursor
from psycopg.rows import tuple_row

from ledger.clock import Clock, system_clock
from ledger.deciding import Batch, Decided, Earlier, Fresh, Streams, Submission
from ledger.domain.refusals import CommandRefused
from ledger.erasure.keyring import Keyring
from ledger.mac import keyed
from ledger.receipts import Outcome, ProvenEvent, Receipt, Refusal
from ledger.settings import MAX_BATCH, Settings
from ledger.storage import keys, log_keys
from ledger.storage.entries import StoredEntry, decode
from ledger.storage.guard import ForkGuard
from ledger.storage.recorder import (
    Append,
    Head,
    LogRecorder,
    authenticator,
    open_datastore,
    refuse_another_digest_key,
)
from ledger.storage.signer import RECOVER, CheckpointSigner, Fork, Signed
from ledger.storage.sql import QUERIES
from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.errors import BadProof, TlogError
from ledger.tlog.merkle import Extension, leaf_hash
from ledger.tlog.note import Signer
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile, format_many
from ledger.tlog.proofs import verify_inclusion


@dataclass(frozen=True, slots=True)
class Appended:
    """A committed batch, not yet signed for: hand it to `Ledger.answer`."""

    submissions: Sequence[Submission]
    decided: Sequence[Decided]
    recorded_at: datetime
    grown_from: Head
    extension: Extension | None
    """None where every command had been recorded before."""


class Ledger:
    """Appends commands to one log and proves that it did. Thread-safe: one append at a time, one answer at a time.

    Another process may append to the same log: both are correct, neither is faster.
    """

    def __init__(
        self,
        recorder: LogRecorder,
        *,
        secrets: keys.Secrets,
        origin: str,
        guard: ForkGuard,
        clock: Clock = system_clock,
    ) -> None:
        self._recorder = recorder
        self._digest = keyed(secrets.digest)
        self._keyring = Keyring(secrets.kek, reread=secrets.key_encryption_keys)
        self._streams = Streams()
        self._clock = clock
        self._guard = guard
        self._appending = threading.Lock()
        self._answering = threading.Lock()
        self._tiles: dict[tuple[int, int], list[bytes]] = {}
        signer = Signer(origin, secrets.log)
        self._verifier = signer.verifier
        self.origin = origin
        self.witness_policy: Policy | None = None
        """Whose cosignatures make a checkpoint witnessed; None: nobody's."""
        self.vkey = signer.vkey
        self._signer = CheckpointSigner(
            signer=signer, guard=guard, root_at=self._root_at, store=self._store_checkpoint, clock=clock
        )

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        clock: Clock = system_clock,
        start: bool = True,
        secrets: keys.Secrets | None = None,
    ) -> Self:
        """The ledger that `settings` name, its head signed (unless told not to `start`, by a rotation of its key that
        goes on), with other `secrets` than they name where these are given. Close it, or use it as a context manager.

        Raises psycopg.OperationalError where the database is away, NoLog before `migrate`, KeyProblem without its
        secrets, where another key signs this log by now, or where another one made its digests; Fork where database
        and guard contradict, KeyUnwrapFailed where words would be sealed under another key than those that are there.
        """
        assert settings.database_url is not None, "the settings name no database"
        psycopg.connect(settings.database_url, connect_timeout=10).close()  # says why it cannot; a pool does not
        recorder = LogRecorder(open_datastore(settings.database_url))
        try:
            origin = recorder.origin()
            secrets = secrets or keys.secrets_of(settings)
            recorder.authenticate = authenticator(secrets.digest)
            ledger = cls(recorder, secrets=secrets, origin=origin, guard=ForkGuard(settings.guard_path), clock=clock)
        except BaseException:
            recorder.datastore.close()
            raise
        try:
            if start:
                ledger.start()
                with recorder.datastore.get_connection() as connection:
                    cursor = connection.cursor(row_factory=tuple_row)
                    ledger._keyring.refuse_another(cursor)
                    refuse_another_digest_key(cursor, recorder.authenticate)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def start(self) -> Signed:
        """Sign the head as found, also what a crash left unsigned. Raises Fork where it must not be signed."""
        head = self._recorder.head()
        with self._recorder.datastore.get_connection() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            stored = cursor.execute(QUERIES["last_checkpoint"]).fetchone()
            _require_events(cursor, head)
            _refuse_ended(cursor, self.origin)
            log_keys.refuse_replaced(cursor, self._verifier)  # read after the head: what follows is not signed here
        with self._answering:
            return self._signer.start(
                head.size, head.frontier.root(), has_checkpoints=stored is not None, authentic=head.authentic
            )

    def begin(self) -> Signed:
        """Sign the head as the first one that this guard knows of. Only for a log that was recovered anew."""
        head = self._recorder.head()
        assert head.authentic, "a recovery wrote it"
        with self._answering:
            signed = self._signer.cover(head.size, head.frontier.root(), grown_from=(0, b""))
            self._signer.flush()
        return signed

    def hand_over(self, size: int, successor: Signer) -> Signed:
        """The head, of `size` events, signed by the key in use and by its `successor`; stored. Only for a rotation."""
        head = self._recorder.head()
        if head.size != size or not head.authentic:
            raise Fork(f"the log does not end at {size} events as the rotation of its key left it: {RECOVER}")
        with self._answering:
            return self._signer.hand_over(size, head.frontier.root(), successor)

    def close(self) -> None:
        """Store the newest checkpoint if the database is there, and let go of everything."""
        try:
            with self._answering:
                self._signer.flush()
        except OperationalError:
            pass  # the database is away: the next start signs and stores the same head
        finally:
            self._recorder.datastore.close()
            self._guard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, batch: Sequence[Submission]) -> list[Outcome]:
        """Append `batch` (1..500 commands) durably and answer each, in order."""
        return self.answer(self.append(batch))

    def append(self, batch: Sequence[Submission], *, within: Callable[[Append], None] | None = None) -> Appended:
        """Decide `batch` in order and commit what it becomes, as one transaction; a refusal harms no neighbour.

        `within` is called first, under the head lock: what it writes is committed with the batch.
        Raises OperationalError (eventsourcing.persistence) when the database is away: submit the same again, nothing
        is recorded twice. Raises Fork, before anything is written, where more was signed than the database holds, and
        where the log has ended meanwhile.
        """
        if not 0 < len(batch) <= MAX_BATCH:
            raise ValueError(f"a batch has 1 to {MAX_BATCH} commands, not {len(batch)}")
        with self._appending:
            try:
                return self._append(batch, within)
            except BaseException:
                self._streams.forget()
                self._keyring.forget()
                raise

    def _append(self, batch: Sequence[Submission], within: Callable[[Append], None] | None) -> Appended:
        with self._recorder.appending() as append:  # step 1: lock the head
            if within is not None:
                within(append)
            head = append.head  # a recovery has moved it
            not_before = head.recorded_at
            if not head.authentic:
                with self._answering:
                    self._signer.require_signed(head.size, head.frontier.root())
                not_before = self._last_recorded_at(head)
            self._signer.refuse_behind(head.size)
            if self._streams.size != head.size:  # another writer was here: what we remember may be old
                _refuse_ended(append.cursor, self.origin)
                log_keys.refuse_replaced(append.cursor, self._verifier)
                self._streams.forget()
                self._keyring.forget()
            recorded_at = max(self._clock(), not_before)  # never decreasing, also when the clock does
            work = Batch(
                append,
                streams=self._streams,
                keyring=self._keyring,
                digest=self._digest,
                recorded_at=recorded_at,
            )
            decided = work.decide(batch)  # steps 2 to 4
            rows, extension = work.rows, None
            if rows.events:
                extension = append.write(
                    rows.events, recorded_at=recorded_at, inbox=rows.inbox, sealed=rows.sealed, keys=rows.keys
                )
        # Step 5 is done here: committed. Only now may anything be remembered, signed or said.
        self._keyring.remember(work.new_keys)
        self._streams.size = head.size + len(rows.events)
        return Appended(batch, decided, recorded_at, head, extension)

    def answer(self, appended: Appended) -> list[Outcome]:
        """Sign for a committed batch and prove each of its events (step 6).

        Raises Fork where the database contradicts what was signed before: then nothing is said about this batch.
        """
        with self._answering:
            signed = self._sign(appended)
            return _Answers(self, appended, signed).all()

    def flush(self) -> None:
        """Store the newest checkpoint if that is still to be done; called once a second when idle."""
        with self._answering:
            self._signer.flush()

    def _sign(self, appended: Appended) -> Signed:
        head = appended.grown_from
        extension = appended.extension
        if extension is None:
            return self._signer.cover(head.size, head.frontier.root(), grown_from=(head.size, head.frontier.root()))
        return self._signer.cover(extension.size, extension.root, grown_from=(head.size, head.frontier.root()))

    def stored_entries(self, leaf_indexes: Sequence[int]) -> list[tuple[StoredEntry, bytes]]:
        """The entries at those leaves with their leaf hashes, by index."""
        with self._recorder.datastore.get_connection() as connection:
            rows = (
                connection.cursor(row_factory=tuple_row)
                .execute(QUERIES["entries"], {"ids": [index + 1 for index in leaf_indexes]})
                .fetchall()
            )
        return [(decode(row[0], row[1], bytes(row[2])), leaf_hash(bytes(row[2]))) for row in rows]

    def _last_recorded_at(self, head: Head) -> datetime:
        """When the last event under a signed head was recorded, as its proven entry says: anybody can write a head."""
        last = head.size - 1
        ((entry, leaf),) = self.stored_entries([last])
        ((_, proof),) = self.inclusion_proofs([last], head.size)
        try:
            verify_inclusion(leaf, last, head.size, proof, head.frontier.root())
        except BadProof as error:
            raise Fork(f"the last event, leaf {last}, is not the one that was signed: {RECOVER}") from error
        return entry.happened.recorded_at

    def witnessed(self) -> Signed | None:
        """The newest checkpoint that enough witnesses of the policy have cosigned, None where there is none."""
        if self.witness_policy is None:
            return None
        with self._recorder.datastore.get_connection() as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            row = cursor.execute(QUERIES["last_witnessed"]).fetchone()
            if row is None:
                return None
            verifier = log_keys.verifier_at(log_keys.read_rotations(cursor), row[0], self._verifier)
        try:
            checkpoint, note = open_checkpoint(
                row[1], verifier, [witness.verifier for witness in self.witness_policy.witnesses]
            )
            self.witness_policy.check(note.verified)
        except TlogError:  # somebody put it there: `verify` names it, and nothing is said under it
            return None
        return Signed(checkpoint.size, checkpoint.root, row[1].encode())

    def inclusion_proofs(self, leaf_indexes: Sequence[int], size: int) -> list[tuple[int, list[bytes]]]:
        """Proofs of those leaves in the committed tree of the first `size` leaves."""
        with self._recorder.datastore.get_connection() as connection:
            reader = TreeReader(connection.cursor(row_factory=tuple_row), self._tiles)
            return [(index, reader.inclusion_proof(index, size)) for index in leaf_indexes]

    def _root_at(self, size: int) -> bytes:
        with self._recorder.datastore.get_connection() as connection:
            return TreeReader(connection.cursor(row_factory=tuple_row), self._tiles).root(size)

    def _store_checkpoint(self, signed: Signed, stored_at: datetime) -> None:
        with self._recorder.datastore.get_connection() as connection:
            connection.execute(
                QUERIES["store_checkpoint"],
                {"size": signed.size, "note": signed.note.decode(), "stored_at": stored_at},
            )


def _require_events(cursor: Cursor[Any], head: Head) -> None:
    """Raises Fork where the events at the end of the log are not there, or not those that the head says.

    Others may have appended since `head` was read: what it covers is there all the same, and then some.
    """
    try:
        whole = TreeReader(cursor).root(head.size) == head.frontier.root()
    except LookupError:
        whole = False
    row = cursor.execute(QUERIES["stored_size"]).fetchone()
    if not whole or row is None or row[0] != row[1] or row[1] < head.size:
        raise Fork(f"the events are not those that the head of the log says, so some were removed by hand: {RECOVER}")


def _refuse_ended(cursor: Cursor[Any], origin: str) -> None:
    """Raises Fork where a recovery has ended the log `origin` meanwhile: nothing more is signed under its name."""
    row = cursor.execute(QUERIES["read_head"]).fetchone()
    if row is not None and row[3] != origin:
        raise Fork(f"the log {origin} has ended and goes on as {row[3]}: start this anew, with the keys of that one")


class _Answers:
    """The outcomes of one signed batch: fresh ones from its own extension, earlier ones from the stored log.

    Earlier ones are proven under the newest witnessed checkpoint where that covers them.
    """

    def __init__(self, ledger: Ledger, appended: Appended, signed: Signed) -> None:
        self._appended = appended
        self._entries: dict[int, StoredEntry] = {}
        self._leaves: dict[int, str] = {}
        self._proofs: dict[int, str] = {}
        self._witnessed: Signed | None = None
        earlier: list[int] = []
        for decided in appended.decided:
            if isinstance(decided, Earlier):
                earlier += range(decided.leaf_index, decided.leaf_index + decided.events)
        if earlier:
            self._remember(ledger, dict.fromkeys(earlier), signed)
        extension = appended.extension
        if extension is not None:
            first, leaves = extension.completed(0)
            self._leaves.update((index, base64.b64encode(leaf).decode()) for index, leaf in enumerate(leaves, first))
            if extension.size == signed.size:
                self._proofs.update(enumerate(format_many(extension, signed.note), first))
            else:  # another writer signed further on: its checkpoint covers these leaves, the proofs are longer
                self._prove(ledger, range(first, extension.size), signed)

    def _remember(self, ledger: Ledger, leaf_indexes: Collection[int], signed: Signed) -> None:
        for entry, leaf in ledger.stored_entries(list(leaf_indexes)):
            self._entries[entry.leaf_index] = entry
            self._leaves[entry.leaf_index] = base64.b64encode(leaf).decode()
        self._witnessed = witnessed = ledger.witnessed()
        size = 0 if witnessed is None else witnessed.size
        if witnessed is not None:
            self._prove(ledger, [index for index in leaf_indexes if index < size], witnessed)
        self._prove(ledger, [index for index in leaf_indexes if index >= size], signed)

    def _prove(self, ledger: Ledger, leaf_indexes: Sequence[int], under: Signed) -> None:
        for index, proof in ledger.inclusion_proofs(leaf_indexes, under.size) if leaf_indexes else []:
            self._proofs[index] = ProofFile(index, tuple(proof), under.note).format()

    def all(self) -> list[Outcome]:
        """One outcome a submission, in order."""
        return [
            self._fresh(submission, decided) if isinstance(decided, Fresh) else self._earlier(submission, decided)
            for submission, decided in zip(self._appended.submissions, self._appended.decided, strict=True)
        ]

    def _fresh(self, submission: Submission, decided: Fresh) -> Outcome:
        first = decided.events[0]
        if isinstance(first, CommandRefused):
            return Refusal(submission.source, submission.command_id, first.code, first.message)
        events = [
            self._proven(event_id, event.TOPIC, index)
            for index, (event, event_id) in enumerate(
                zip(decided.events, decided.event_ids, strict=True), decided.leaf_index
            )
        ]
        return Receipt(submission.source, submission.command_id, events, self._appended.recorded_at)

    def _earlier(self, submission: Submission, decided: Earlier) -> Outcome:
        entries = [self._entries[decided.leaf_index + number] for number in range(decided.events)]
        first, last = entries[0], entries[-1]
        if isinstance(first.event, CommandRefused):
            return Refusal(submission.source, submission.command_id, first.event.code, first.event.message)
        events = [self._proven(entry.heading.event_id, entry.event.TOPIC, entry.leaf_index) for entry in entries]
        witnessed = self._witnessed is not None and last.leaf_index < self._witnessed.size
        return Receipt(submission.source, submission.command_id, events, first.happened.recorded_at, witnessed)

    def _proven(self, event_id: str, topic: str, index: int) -> ProvenEvent:
        return ProvenEvent(event_id, topic, index, self._leaves[index], self._proofs[index])


__all__ = ["Appended", "Fork", "Ledger", "Outcome", "Submission"]
