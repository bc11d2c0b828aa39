"""The fork guard: the last signed checkpoint, kept in a file outside the database.

Whoever restores an old backup, truncates the log or rewrites its tail brings the database behind what was signed; the
guard remembers, and nothing inconsistent with it is ever signed. Two slots are written in turn, each flushed to disk
before the signature leaves the process, so a crash in the middle of a write leaves the other slot whole.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

SLOT_SIZE = 4096
_CHECKSUM_SIZE = 32
_HEADER_SIZE = _CHECKSUM_SIZE + 8 + 4


class GuardDamaged(RuntimeError):
    """The guard file exists and holds no readable checkpoint: nothing may be signed until an operator has looked."""


class ForkGuard:
    """The guard file at `path`. Use inside `locked()`, so that two writers of one host take turns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        flush_directory(path.parent)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the guard against every other process of this host."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def read(self) -> bytes | None:
        """The last stored note, or None in a new file. Raises GuardDamaged where neither slot is whole, and where the
        file was removed or another one put in its place meanwhile: what is written into this one protects nothing.
        """
        try:
            kept = os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            kept = False
        if not kept:
            raise GuardDamaged(
                f"the fork guard {self._path} was removed or replaced while it was in use; run `promise-ledger "
                "recover`, which says what can be done"
            )
        return self._newest()[1]

    def write(self, note: bytes) -> None:
        """Keep `note` in place of the older slot; on disk when this returns.

        A note that could not be flushed is taken back: it would be read as kept, and be lost with the next power cut.
        """
        assert len(note) <= SLOT_SIZE - _HEADER_SIZE, "a checkpoint is far shorter than a slot"
        generation = self._newest()[0] + 1
        body = generation.to_bytes(8, "big") + len(note).to_bytes(4, "big") + note
        slot = hashlib.sha256(body).digest() + body
        place = generation % 2 * SLOT_SIZE
        try:
            if os.pwrite(self._file, slot.ljust(SLOT_SIZE, b"\0"), place) != SLOT_SIZE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._file)
        except OSError:
            with suppress(OSError):  # a torn one counts as little as none
                os.pwrite(self._file, bytes(_CHECKSUM_SIZE), place)
            raise

    def _newest(self) -> tuple[int, bytes | None]:
        content = os.pread(self._file, 2 * SLOT_SIZE, 0)
        slots = [_parse(content[start : start + SLOT_SIZE]) for start in (0, SLOT_SIZE)]
        whole = [slot for slot in slots if slot is not None]
        if whole:
            return max(whole)
        if content:
            raise GuardDamaged(
                f"the fork guard {self._path} is damaged: no checkpoint in it can be read; "
                "run `promise-ledger recover`, which says what can be done"
            )
        return 0, None


def read_guard(path: Path) -> bytes | None:
    """The note that the guard file at `path` holds, without creating it; None where there is no file.

    Raises GuardDamaged where the file holds no whole note.
    """
    if not path.exists():
        return None
    guard = ForkGuard(path)
    try:
        return guard.read()
    finally:
        guard.close()


def put_aside(path: Path, why: str) -> None:
    """The guard at `path` is called `guard.<why>`; `guard.<why>.2`, `.3` … where that is taken: it stays evidence."""
    numbered = (path.with_name(f"guard.{why}.{number}") for number in count(2))
    path.rename(next(each for each in chain([path.with_name(f"guard.{why}")], numbered) if not os.path.lexists(each)))


def _parse(slot: bytes) -> tuple[int, bytes] | None:
    checksum, body = slot[:_CHECKSUM_SIZE], slot[_CHECKSUM_SIZE:]
    if len(body) < 12:
        return None
    length = int.from_bytes(body[8:12], "big")
    body = body[: 12 + length]
    if hashlib.sha256(body).digest() != checksum:
        return None
    return int.from_bytes(body[:8], "big"), body[12:]


def flush_directory(directory: Path) -> None:
    """The names in `directory` are on disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
