"""A witness (c2sp.org/tlog-witness): it cosigns a checkpoint only where that extends the last one it has cosigned.

Whoever reads a checkpoint with its cosignature knows that nobody was shown another history, as long as the witness is
honest. It needs nothing of the ledger: an auditor runs it on a machine of their own, for any logs. Its directory:

    name, key                       what it is called, and its 32-byte Ed25519 seed (0600), made at the first start
    <hex sha256(origin)>/lock       held from before the last checkpoint is read until the new one is on disk
    <hex sha256(origin)>/checkpoint the checkpoint cosigned last, whole: text, the log's signatures, our cosignature
    <hex sha256(origin)>/fork.ours, fork.theirs
                                    two trees of one size, both signed by the log: proof that it has lied to somebody
"""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import Malformed, TlogError
from ledger.tlog.note import Note, Verifier, open_note
from ledger.tlog.witness import AddCheckpoint, Cosigner, Declined

TEXT = "text/plain; charset=utf-8"
_KEY_SIZE = 32


class WitnessProblem(RuntimeError):
    """The witness cannot be what it was: its directory is damaged, another's, or open to others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP request is answered with."""

    status: int
    body: bytes
    content_type: str = TEXT


class Witness:
    """The witness whose directory is `state`, for the logs that sign with `log_keys`. Thread-safe.

    Several processes may work on one directory: what decides is a lock on a file and what is on disk.
    """

    def __init__(
        self, state: Path, cosigner: Cosigner, log_keys: Sequence[Verifier], clock: Callable[[], float] = time.time
    ) -> None:
        self._cosigner = cosigner
        self._clock = clock
        self._keys: dict[str, list[Verifier]] = {}
        for key in log_keys:
            self._keys.setdefault(key.name, []).append(key)
        self._places = {origin: state / sha256(origin.encode()).hexdigest() for origin in self._keys}
        for origin, place in self._places.items():
            place.mkdir(mode=0o700, exist_ok=True)
            _require_kept(place)
            self.latest(origin)

    def latest(self, origin: str) -> Checkpoint | None:
        """The checkpoint cosigned last for `origin`. Raises WitnessProblem where its file is not as we wrote it."""
        note = self._cosigned(self._places[origin])
        return None if note is None else Checkpoint.parse(note.text)

    def _cosigned(self, place: Path) -> Note | None:
        try:
            return open_note((place / "checkpoint").read_bytes(), [self._cosigner.verifier])
        except FileNotFoundError:
            return None
        except TlogError as error:
            raise WitnessProblem(f"{place / 'checkpoint'} is damaged: put it back; never delete it") from error

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to POST /add-checkpoint.

        Killed before the new checkpoint is on disk: nothing was cosigned. Killed after it: the asker got no answer,
        asks again, is told the new size (409), and gets a cosignature of the same checkpoint.
        """
        try:
            request = AddCheckpoint.parse(body)
        except Malformed as error:
            return Answer(400, f"{error}\n".encode())
        origin = request.checkpoint.origin
        if origin not in self._keys:
            return Answer(404, b"unknown origin\n")
        place = self._places[origin]
        with _locked(place / "lock"):
            ours = self._cosigned(place)
            latest = None if ours is None else Checkpoint.parse(ours.text)
            try:
                note = request.decide(self._keys[origin], latest)
            except Declined as declined:
                if ours is not None and declined.status == 422:
                    self._keep_fork(place, ours, request)
                return Answer(declined.status, declined.body.encode(), declined.content_type)
            cosignature = self._cosigner.cosign(request.checkpoint, int(self._clock()))
            _write(place / "checkpoint", Note(note.text, (*note.verified, cosignature)).format())
        return Answer(200, cosignature.format().encode())

    def _keep_fork(self, place: Path, ours: Note, request: AddCheckpoint) -> None:
        """Two trees of one size were signed: keep both, the first such pair. Checked before: the log's signature."""
        mine = Checkpoint.parse(ours.text)
        if request.checkpoint.size != mine.size or request.checkpoint.root == mine.root:
            return
        if not (place / "fork.theirs").exists():
            _write(place / "fork.ours", ours.format())
            _write(place / "fork.theirs", request.note.format())
        logging.error("%s has signed two trees of %d entries: see %s", mine.origin, mine.size, place / "fork.theirs")

    def monitored(self, hexadecimal: str) -> Answer:
        """The answer to GET /<hex sha256(origin)>/checkpoint: the whole checkpoint cosigned last."""
        for place in self._places.values():
            if place.name == hexadecimal and (note := self._cosigned(place)) is not None:
                return Answer(200, note.format())
        return Answer(404, b"not found\n")


def open_witness(state: Path, log_keys: Sequence[Verifier], name: str | None = None) -> tuple[Witness, Cosigner]:
    """The witness of the directory `state`, made with a new key where there is none yet.

    `name` is fixed then; by default `<host name>/witness`. Raises WitnessProblem, or MalformedKey for a bad name.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_kept(state)
    with _locked(state / "lock"):
        if not (state / "key").exists():
            if any(state.glob("*/checkpoint")):
                raise WitnessProblem(f"the key file {state / 'key'} is missing: put it back from its backup")
            fresh = Cosigner(name or f"{socket.gethostname()}/witness", os.urandom(_KEY_SIZE))
            _write(state / "name", f"{fresh.name}\n".encode())
            _write(state / "key", fresh.private_key)
        cosigner = _cosigner(state)
    if name not in (None, cosigner.name):
        raise WitnessProblem(
            f"{state} belongs to the witness {cosigner.name}: leave --name out, or choose another --state"
        )
    return Witness(state, cosigner, log_keys), cosigner


def _cosigner(state: Path) -> Cosigner:
    path = state / "key"
    if path.stat().st_mode & 0o077:
        raise WitnessProblem(f"the key file {path} is readable for others: chmod 600 it")
    try:
        return Cosigner((state / "name").read_text(encoding="utf-8").removesuffix("\n"), path.read_bytes())
    except (FileNotFoundError, UnicodeError, Malformed) as error:
        raise WitnessProblem(f"{state} holds no whole name and key: put them back from their backup") from error


def _require_kept(directory: Path) -> None:
    """Nobody else can take away what is in `directory`: without its last checkpoint it would cosign another history."""
    mode = directory.stat().st_mode & 0o777
    if mode & 0o022:
        raise WitnessProblem(f"others may replace what is in {directory} (mode {mode:03o}): chmod 700 it")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `path` against every thread and process: each opens the file for itself, so each has a lock of its own."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, content: bytes) -> None:
    """`path` holds `content`, whole and on disk; before that, what it held. Mode 0600. Callers hold the lock."""
    fresh = path.with_name(f"{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
