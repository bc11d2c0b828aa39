"""The three secrets of a log, in files outside the database (directory 0700, files 0600).

keys/log      Ed25519 seed: signs checkpoints
keys/kek      key-encryption key: wraps the customers' data keys
keys/kek.old  the one before, only while `promise-ledger keys rotate` replaces it
keys/digest   key of the command digests, so that an unkeyed hash of somebody's words is nowhere
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ledger.storage.guard import flush_directory

SECRET_SIZE = 32


class KeyProblem(RuntimeError):
    """A secret is missing, unreadable for us or readable for others."""


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """The secrets of one log, 32 bytes each, as they were when read from `directory`."""

    directory: Path
    log: bytes
    kek: bytes
    digest: bytes

    def key_encryption_keys(self) -> tuple[bytes, ...]:
        """As they are on disk now: the one in use, then the one that a rotation under way replaces."""
        old = find(self.directory, "kek.old")
        return (_load(self.directory / "kek"), *(() if old is None else (old,)))


def load(directory: Path) -> Secrets:
    """The secrets kept in `directory`. Raises KeyProblem with what to do where one is missing or too open."""
    return Secrets(directory, **{name: _load(directory / name) for name in ("log", "kek", "digest")})


def find(directory: Path, name: str) -> bytes | None:
    """One secret, None where this host does not have it (an auditor's has none). Raises KeyProblem as `load` does."""
    path = directory / name
    return _load(path) if path.exists() else None


def create(directory: Path) -> Secrets:
    """Make what is missing of a new log's secrets, then load them. Never replaces a file.

    Call it only while the log is empty: a log signed under one key cannot be carried on under another.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("log", "kek", "digest"):
        if not (directory / name).exists():
            _write_new(directory / name)
    return load(directory)


def replace_kek(directory: Path) -> Secrets:
    """A new key-encryption key is in use and the one before is `kek.old`, which still opens what it wrapped.

    Crash before the rename: the next call goes on with what is there, or makes another; nothing was wrapped under it.
    Crash after it: `kek.old` says that the rotation is under way, and nothing is replaced a second time.
    """
    current, old, new = (directory / name for name in ("kek", "kek.old", "kek.new"))
    if not old.exists() or current.samefile(old):
        _write_new(new)
        if not old.exists():
            os.link(current, old)  # under two names for a moment, so that there is never none
        flush_directory(directory)
        new.replace(current)
        flush_directory(directory)
    return load(directory)


def destroy_old_kek(directory: Path) -> None:
    """`kek.old` is overwritten and gone. Only after nothing is wrapped under it any more; again does no harm."""
    old = directory / "kek.old"
    if old.exists():
        assert not old.samefile(directory / "kek"), "the key in use is never destroyed"
        with old.open("r+b") as file:
            file.write(os.urandom(SECRET_SIZE))
            file.flush()
            os.fsync(file.fileno())
        old.unlink()
        flush_directory(directory)


def _write_new(path: Path) -> None:
    """A fresh secret is in `path`, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, os.urandom(SECRET_SIZE))
        os.fsync(handle)
    finally:
        os.close(handle)
    partial.rename(path)


def _load(path: Path) -> bytes:
    try:
        secret = path.read_bytes()
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError as error:
        raise KeyProblem(f"the key file {path} is missing: put it back from its backup") from error
    except PermissionError as error:
        raise KeyProblem(f"the key file {path} cannot be read by this user") from error
    if mode & 0o077:
        raise KeyProblem(f"the key file {path} is readable for others (mode {mode:03o}): chmod 600 it")
    if len(secret) != SECRET_SIZE:
        raise KeyProblem(f"the key file {path} holds {len(secret)} bytes, not 32: put it back from its backup")
    return secret
