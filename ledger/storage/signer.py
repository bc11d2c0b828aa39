"""Signs checkpoints: only over what is committed, only what is consistent with everything signed before."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.key_provider import KeyProblem
from ledger.storage.guard import ForkGuard, GuardDamaged
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import BadSignature, TlogError
from ledger.tlog.note import Note, Signer, Verifier

STORE_INTERVAL = timedelta(seconds=1)
RECOVER = "run `promise-ledger recover`, which says what happened and what can be done"

_WRITTEN_OVER = f"the fork guard holds less than this service has signed; {RECOVER}"


class Fork(RuntimeError):
    """The database and the last signed checkpoint contradict each other: nothing is signed, an operator must decide."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed checkpoint over committed leaves."""

    size: int
    root: bytes
    note: bytes


class CheckpointSigner:
    """Signs heads of one log. `root_at(size)` reads the root of a prefix of the committed tree."""

    def __init__(
        self,
        *,
        signer: Signer,
        guard: ForkGuard,
        root_at: Callable[[int], bytes],
        store: Callable[[Signed, datetime], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._signer = signer
        self._verifier = Verifier.parse(signer.vkey)
        self._guard = guard
        self._root_at = root_at
        self._store = store
        self._clock = clock
        self._unstored: Signed | None = None
        self._opened: Signed | None = None
        self._stored_at: datetime | None = None

    def start(self, size: int, root: bytes, *, has_checkpoints: bool, authentic: bool = True) -> Signed:
        """Sign the head found at start, or refuse. Raises Fork where it contradicts what was signed before.

        An empty guard is believed only where the database says as well that nothing was ever signed. A head that is not
        `authentic` is signed again where it was signed before, and never otherwise.
        """
        with self._guard.locked():
            if self._guard.read() is None and (size > 0 or has_checkpoints):
                raise Fork(
                    "the fork guard is missing while the database holds a log that was signed: without it nobody "
                    f"can tell whether this database is an old copy; {RECOVER}"
                )
        if not authentic:
            self.require_signed(size, root)
        signed = self.cover(size, root, grown_from=(0, b""))
        self.flush()
        return signed

    def refuse_behind(self, size: int) -> None:
        """Raises Fork where more than `size` events were signed. Asked under the head lock, before anything is written:
        whoever signs has committed, so an honest database is never behind.
        """
        last = self._last_signed()
        if last is not None and last.size > size:
            raise Fork(_fewer(last.size))

    def cover(self, size: int, root: bytes, *, grown_from: tuple[int, bytes]) -> Signed:
        """A signed checkpoint of at least `size` committed leaves.

        `grown_from` is the (size, root) that this head was extended from: where that is what was signed last, the
        new head is consistent by construction, and nothing is read. A crash before the guard is written: nothing left
        the process, the next start signs the head. After it: the next start finds the same root and signs it again.
        """
        with self._guard.locked():
            last = self._last_signed()
            if last is not None and last.size >= size:
                if last.size == size:
                    _require(last.root == root, last.size)
                else:
                    # Another writer signed further on; its checkpoint covers ours once the database agrees with it.
                    self._require_consistent(last)
                return last
            if last is not None and (last.size, last.root) != grown_from:
                self._require_consistent(last)
            note = self._sign(Checkpoint(self._signer.name, size, root))
            self._guard.write(note)
            self._opened = signed = Signed(size, root, note)
        self._unstored = signed
        now = self._clock()
        if self._stored_at is None or not timedelta(0) <= now - self._stored_at < STORE_INTERVAL:
            self.flush()
        return signed

    def hand_over(self, size: int, root: bytes, successor: Signer) -> Signed:
        """Sign the head with this key and with its `successor`, in one note, which either of them opens afterwards.

        Raises Fork where it contradicts what was signed. Crash before the guard is written: nothing was signed over the
        rotation. After it: the same again stores the same note.
        """
        with self._guard.locked():
            last = self._last_signed()
            if last is None:
                raise Fork(
                    "the fork guard is missing: put it back, then rotate again; where it is lost, the rotation cannot "
                    "be finished, and only `promise-ledger recover anew` is left"
                )
            if last.size > size:
                raise Fork(_fewer(last.size))
            self._require_consistent(last)
            note = Note.parse(self._sign(Checkpoint(self._signer.name, size, root)))
            both = Note(note.text, (*note.signatures, successor.signature(note.text))).format()
            self._guard.write(both)
        signed = Signed(size, root, both)
        self._store(signed, self._clock())
        return signed

    def require_signed(self, size: int, root: bytes) -> None:
        """Raise Fork unless exactly this head was the last to be signed: anybody can write one into the database."""
        with self._guard.locked():
            last = self._last_signed()
        if last is not None and last.size == size:
            _require(last.root == root, size)
        elif last is not None and last.size > size:
            self._require_consistent(last)
        else:
            raise Fork(
                f"the log's head over {size} events was not written by a service of this log: somebody changed it or "
                "appended by hand, or the key `digest` here is not the one of this log; run `promise-ledger verify`, "
                "then `promise-ledger recover`"
            )

    def _sign(self, checkpoint: Checkpoint) -> bytes:
        """Raises KeyProblem where a key that is kept elsewhere is away, or signs wrongly: no guard may hold that."""
        try:
            return checkpoint.sign(self._signer)
        except BadSignature as error:
            raise KeyProblem(f"nothing can be signed: {error}") from error

    def flush(self) -> None:
        """Store the newest checkpoint in the database if that has not been done; called when idle and at the end."""
        if self._unstored is not None:
            now = self._clock()
            self._store(self._unstored, now)
            self._stored_at, self._unstored = now, None

    def _last_signed(self) -> Signed | None:
        known = self._opened  # before the guard is read: another thread may sign in between
        try:
            note = self._guard.read()
        except GuardDamaged as error:
            raise Fork(str(error)) from error
        if known is not None and known.note == note:  # verified before: two reads a batch, one check
            return known
        if note is None:
            if known is not None:
                raise Fork(_WRITTEN_OVER)
            return None
        try:
            checkpoint, _ = open_checkpoint(note, self._verifier)
        except TlogError as error:
            raise Fork(f"the fork guard is of another log, or of another key than keys/log: {RECOVER}") from error
        if known is not None and checkpoint.size < known.size:
            raise Fork(_WRITTEN_OVER)
        self._opened = opened = Signed(checkpoint.size, checkpoint.root, note)
        return opened

    def _require_consistent(self, last: Signed) -> None:
        try:
            root = self._root_at(last.size)
        except LookupError as error:
            raise Fork(_fewer(last.size)) from error
        _require(root == last.root, last.size)


def _require(same: bool, size: int) -> None:
    if not same:
        raise Fork(
            f"the first {size} events in the database are not those that were signed: it was rewritten, or another "
            f"service signs with the same key; {RECOVER}"
        )


def _fewer(size: int) -> str:
    return (
        f"a checkpoint over {size} events was signed, and the database holds fewer: it is an older copy or was "
        f"truncated; {RECOVER}"
    )
