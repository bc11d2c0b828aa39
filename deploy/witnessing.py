"""Collecting cosignatures: each new checkpoint goes to every witness of the policy, and is published once enough agree.

A round takes the newest stored checkpoint, asks all witnesses at once, waits `PATIENCE_SECONDS` at most, and stores the
checkpoint with the cosignatures that came where they meet the quorum. Receipts do not wait for it. A witness that did
not answer is left out for a while, so that one that hangs costs a delay now and then and not at every round.

Crash before the row is stored: the witnesses have cosigned, the next round asks them again. After it: it is published.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import structlog
from psycopg.rows import tuple_row

from deploy.foreign import beginning
from deploy.places import SetupError
from deploy.submitting import NotCosigned, submit
from ledger.lasting import Lasting
from ledger.settings import Settings
from ledger.storage.sql import QUERIES
from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import BadProof, TlogError
from ledger.tlog.note import Note, Signature, Verifier
from ledger.tlog.policy import MAX_POLICY_SIZE, Policy, Witness
from projections.site import cosigned

ROUND_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
FIRST_REST_SECONDS = 2.0
LAST_REST_SECONDS = 60.0

_log = structlog.get_logger("witnesses")


def read_policy(path: Path, vkey: str | None = None) -> Policy:
    """The policy in the file at `path`, every witness with its address; for the log `vkey` where that is given.

    Raises SetupError with what to do.
    """
    try:
        policy = Policy.parse(beginning(path, MAX_POLICY_SIZE))
    except (OSError, TlogError) as error:
        raise SetupError(f"{path} is no witness policy (c2sp.org/tlog-policy): {error}") from error
    if vkey is not None and policy.logs and vkey not in {log.verifier.vkey for log in policy.logs}:
        raise SetupError(f"{path} is for another log: it has no line `log {vkey}`")
    for witness in policy.witnesses:
        if witness.url is None or not witness.url.startswith(("http://", "https://")):
            raise SetupError(f"{path}: the witness {witness.name} needs its address, http://… or https://…")
    return policy


def policy_of(settings: Settings, vkey: str) -> Policy | None:
    """The policy that the settings name, None where no witnesses are asked."""
    return None if settings.witness_policy is None else read_policy(settings.witness_policy, vkey)


@dataclass(slots=True)
class Standing:
    """How one witness stands: what it cosigned last, since when it fails and why, when it is asked again."""

    size: int = 0
    failure: str | None = None
    failing_since: float = 0.0
    failures: int = 0
    ask_at: float = 0.0
    asked: Future[Note] | None = None

    def cosigned(self, size: int) -> None:
        self.size, self.failure, self.failures, self.ask_at = size, None, 0, 0.0

    def failed(self, reason: str, now: float) -> None:
        if self.failure is None:
            self.failing_since = now
        self.failure, self.failures = reason, self.failures + 1
        self.ask_at = now + min(FIRST_REST_SECONDS * 2 ** (self.failures - 1), LAST_REST_SECONDS)


class Collector:
    """Collects for one log under one policy, over the database at `url`. `round` is for one thread; close it."""

    def __init__(
        self,
        url: str,
        log: Verifier,
        policy: Policy,
        *,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._verifier = log
        self._policy = policy
        self._patience = patience
        self._clock = clock
        self._standings = {witness.name: Standing() for witness in policy.witnesses}
        self._pool = ThreadPoolExecutor(max(1, len(policy.witnesses)), thread_name_prefix="witness")
        self._waiting_since: float | None = None
        self._taken: int | None = None
        self.published_size = 0
        self.failure: str | None = None

    def close(self) -> None:
        """Let go of everything; a witness that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def round(self) -> bool:
        """Whether a checkpoint was published: the newest one, where it is not yet and the quorum has cosigned it.

        Raises psycopg.Error where the database is away, LookupError where a row stands in the way of the newest one.
        """
        with closing(psycopg.connect(self._url, autocommit=True, row_factory=tuple_row, connect_timeout=5)) as database:
            newest = database.execute(QUERIES["last_checkpoint"]).fetchone()
            published = database.execute(QUERIES["newest_witnessed"]).fetchall()
            note = next((note for (note,) in published if cosigned(note, self._policy)), None)
            self.published_size = 0 if note is None else Checkpoint.parse(Note.parse(note).text).size
            if newest is None or newest[0] <= self.published_size:
                self._waiting_since = None
                return False
            if newest[0] == self._taken:
                raise LookupError(
                    f"ledger.witnessed has one over {newest[0]} events that the policy does not accept, as after a "
                    "change of the policy; the next event's is published"
                )
            if self._waiting_since is None:
                self._waiting_since = self._clock()
            size, collected = newest[0], self._cosigned(newest[1].encode())
            try:
                self._policy.check(collected.verified)
            except BadProof:
                return False
            stored = {"size": size, "note": collected.format().decode(), "stored_at": datetime.now(UTC)}
            if database.execute(QUERIES["store_witnessed"], stored).rowcount == 0:
                self._taken = size  # by another collector, which is seen next time, or by what is no such row
                return False
        self.published_size, self._waiting_since = size, None
        return True

    def detail(self) -> dict[str, Any]:
        """What health shows: the size published, for how long a checkpoint has waited, and who fails since when."""
        now = self._clock()
        return {
            "published_size": self.published_size,
            "waiting_seconds": 0.0 if self._waiting_since is None else round(now - self._waiting_since, 1),
            "quorum": self._policy.quorum,
            "failure": self.failure,
            "failing": {
                name: {"seconds": round(now - standing.failing_since, 1), "reason": standing.failure}
                for name, standing in self._standings.items()
                if standing.failure is not None
            },
        }

    def _cosigned(self, stored: bytes) -> Note:
        """The checkpoint with the cosignatures of all witnesses that answered in time, each verified."""
        checkpoint, note = open_checkpoint(stored, self._verifier)
        now = self._clock()
        for witness in self._policy.witnesses:
            standing = self._standings[witness.name]
            if standing.asked is None and standing.ask_at <= now:
                standing.asked = self._pool.submit(self._ask, witness, stored, standing.size)
        wait([each.asked for each in self._standings.values() if each.asked is not None], self._patience)
        given = [self._answer(witness, note.text, checkpoint.size) for witness in self._policy.witnesses]
        new = tuple(signature for signatures in given for signature in signatures)
        return Note(note.text, note.signatures + new, note.verified + new)

    def _answer(self, witness: Witness, text: str, size: int) -> tuple[Signature, ...]:
        """The cosignature of one witness for the checkpoint `text`, if it gave one."""
        standing = self._standings[witness.name]
        if standing.asked is None:
            return ()
        if not standing.asked.done():
            return self._failed(witness, f"no answer within {self._patience:g} s")
        answered, standing.asked = standing.asked, None
        try:
            note = answered.result()
        except (NotCosigned, LookupError, psycopg.Error) as error:
            return self._failed(witness, str(error).strip())
        if note.text != text:  # it answers for the checkpoint of an earlier round: this one is asked for next time,
            standing.size = Checkpoint.parse(note.text).size  # and from that one, with no second request
            return ()
        standing.cosigned(size)
        return note.verified

    def _failed(self, witness: Witness, reason: str) -> tuple[Signature, ...]:
        standing = self._standings[witness.name]
        if standing.failure is None:
            _log.warning("a witness does not cosign", witness=witness.name, reason=reason)
        standing.failed(reason, self._clock())
        return ()

    def _ask(self, witness: Witness, note: bytes, known: int) -> Note:
        assert witness.url is not None
        with closing(psycopg.connect(self._url, autocommit=True, row_factory=tuple_row, connect_timeout=5)) as database:
            proof = TreeReader(database.cursor()).consistency_proof
            return submit(witness.url, witness.verifier, note, proof, known=known, seconds=self._patience)


def keep_collecting(collector: Collector, stop: threading.Event) -> None:
    """A round a second until `stop` is set; a database that is away is tried again."""
    failing = Lasting(_log, "no cosignatures")
    with closing(collector):
        while not stop.is_set():
            try:
                collector.round()
                collector.failure = None
                failing.went_well()
            except psycopg.Error as error:
                reason = str(error).strip().split("\n")[0]
                failing.failed(f"the database is away: {reason}")
            except (TlogError, LookupError) as error:  # a row that nobody of ours wrote; once it is gone, this goes on
                collector.failure = f"the newest checkpoint cannot be published ({error}): run `promise-ledger verify`"
                failing.failed(collector.failure)
            stop.wait(ROUND_SECONDS)
