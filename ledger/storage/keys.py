"""The three secrets of a log, outside the database: in files (directory 0700, files 0600), or as the settings say.

keys/log      Ed25519 seed: signs checkpoints                               LEDGER_KEY_LOG, or a key provider
keys/kek      key-encryption key: wraps the customers' data keys            LEDGER_KEY_KEK, or a key provider
keys/kek.old  the one before, only while it is replaced                     LEDGER_KEY_KEK_OLD, or the provider before
keys/digest   key of the command digests, so that an unkeyed hash of        LEDGER_KEY_DIGEST
              somebody's words is nowhere
keys/log.old  the one before, only while `keys rotate-log` hands over       LEDGER_KEY_LOG_OLD, or the provider before
              to a key that is given instead
keys/log.new  only while `promise-ledger recover anew` replaces keys/log; the one before stays as log.<its key id>
keys/log.next only while `promise-ledger keys rotate-log` replaces keys/log; the one before is log.<its key id> and goes
"""

import base64
import binascii
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import SecretStr

from ledger.key_provider import KeyProblem, KeyProvider, SigningKey, WrappingKey, open_provider
from ledger.settings import Settings
from ledger.storage.elsewhere import checked
from ledger.storage.guard import flush_directory
from ledger.storage.wrapping import Succession, wrapping_key

SECRET_SIZE = 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Held(Generic[T]):
    """A secret that this host has, and where it comes from: a path, the name of a variable, or of a provider."""

    secret: T
    where: str


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """The secrets of one log: 32 bytes each as they were when read, or the key where it is kept."""

    directory: Path
    log: bytes | SigningKey
    kek: bytes | WrappingKey
    digest: bytes
    kek_in_file: bool = True

    def key_encryption_keys(self) -> tuple[bytes | WrappingKey, ...]:
        """As they are now: the one in use, then the one that a rotation under way replaces."""
        if not self.kek_in_file:
            return (self.kek,)
        old = find(self.directory, "kek.old")
        return (_load(self.directory / "kek"), *(() if old is None else (old,)))


def secrets_of(settings: Settings) -> Secrets:
    """The secrets of the log that `settings` name. Raises KeyProblem with what to do where one is not as it must be."""
    log, kek, digest = log_key(settings), key_encryption_key(settings), digest_key(settings)
    directory = settings.keys_dir
    return Secrets(
        directory,
        _load(directory / "log") if log is None else log.secret,
        _load(directory / "kek") if kek is None else kek.secret,
        _load(directory / "digest") if digest is None else digest.secret,
        kek is None or (kek.where == str(directory / "kek") and isinstance(kek.secret, bytes)),
    )


def log_key(settings: Settings) -> Held[bytes | SigningKey] | None:
    """The key that signs checkpoints, None where this host has none. Raises KeyProblem as `secrets_of` does."""
    provider = _provider(settings, settings.key_provider)
    return _only(settings, "log", settings.key_log, None if provider is None else provider.log)


def log_key_before(settings: Settings) -> Held[bytes | SigningKey] | None:
    """The signing key that the one in use is to replace, or has replaced; None where the settings name none."""
    provider = _provider(settings, settings.key_provider_old)
    return _only(settings, "log.old", settings.key_log_old, None if provider is None else provider.log)


def key_encryption_key(settings: Settings) -> Held[bytes | WrappingKey] | None:
    """The key-encryption key, None where this host has none (an auditor's). Raises KeyProblem as `secrets_of` does.

    While another one is put in its place by the settings, it opens what either wrapped.
    """
    provider = _provider(settings, settings.key_provider)
    held = _only(settings, "kek", settings.key_kek, None if provider is None else provider.kek)
    old = key_encryption_key_before(settings)
    if old is None:
        return held
    if held is None:
        raise KeyProblem(f"{old.where} is the key-encryption key before, and none is there that takes its place")
    if (held.where, old.where) == (str(settings.keys_dir / "kek"), str(settings.keys_dir / "kek.old")):
        return held  # both files are read again and again while the one replaces the other: `Secrets`
    if isinstance(held.secret, bytes) and held.secret == old.secret:
        raise KeyProblem(f"{held.where} and {old.where} are one and the same key: give another one to replace it by")
    return Held(Succession(wrapping_key(held.secret), wrapping_key(old.secret)), held.where)


def key_encryption_key_before(settings: Settings) -> Held[bytes | WrappingKey] | None:
    """The key-encryption key that the one in use is to replace; None where there is none."""
    provider = _provider(settings, settings.key_provider_old)
    return _only(settings, "kek.old", settings.key_kek_old, None if provider is None else provider.kek)


def digest_key(settings: Settings) -> Held[bytes] | None:
    """The key of the command digests, None where this host has none. Raises KeyProblem as `secrets_of` does."""
    return _only(settings, "digest", settings.key_digest, None)


def load(directory: Path) -> Secrets:
    """The secrets kept in `directory`. Raises KeyProblem with what to do where one is missing or too open."""
    log, kek, digest = (_load(directory / name) for name in ("log", "kek", "digest"))
    return Secrets(directory, log, kek, digest)


def find(directory: Path, name: str) -> bytes | None:
    """One secret, None where this host does not have it (an auditor's has none). Raises KeyProblem as `load` does."""
    path = directory / name
    return _load(path) if path.exists() else None


def create(settings: Settings) -> Secrets:
    """Make what is missing of a new log's secrets as files, then read them all. Never replaces a file.

    Call it only while the log is empty: a log signed under one key cannot be carried on under another.
    """
    held = {"log": log_key(settings), "kek": key_encryption_key(settings), "digest": digest_key(settings)}
    settings.keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_kept(settings.keys_dir)
    for name, secret in held.items():
        if secret is None:
            _write_new(settings.keys_dir / name)
    return secrets_of(settings)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the directory of the keys against a second rotation; where there is none, there is no file to replace."""
    if not directory.exists():
        yield
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replace_kek(secrets: Secrets) -> Secrets:
    """A new key-encryption key is in use and the one before is `kek.old`, which still opens what it wrapped.

    Call it under `alone`: of two at once, one would replace the new key of the other, which that one wraps under.
    Crash before the rename: the next call goes on with what is there, or makes another; nothing was wrapped under it.
    Crash after it: `kek.old` says that the rotation is under way, and nothing is replaced a second time. A copy of the
    key in use under that name, somebody's backup of it, says nothing of the kind.
    """
    directory = secrets.directory
    current, old, new = (directory / name for name in ("kek", "kek.old", "kek.new"))
    if not old.exists() or _load(current) == _load(old):
        _write_new(new)
        if not old.exists():
            os.link(current, old)  # under two names for a moment, so that there is never none
        flush_directory(directory)
        new.replace(current)
        flush_directory(directory)
    return replace(secrets, kek=_load(current))


def destroy_old_kek(directory: Path) -> None:
    """`kek.old` is overwritten and gone. Only after nothing is wrapped under it any more; again does no harm."""
    destroy(directory, "kek.old", "kek")


def destroy(directory: Path, name: str, in_use: str) -> None:
    """The secret `name` is overwritten and gone; it is not the one `in_use`. Again does no harm."""
    old = directory / name
    if old.exists():
        current = directory / in_use  # not there where the key in use is not in a file
        assert not (current.exists() and old.samefile(current)), "the key in use is never destroyed"
        with old.open("r+b") as file:
            file.write(os.urandom(SECRET_SIZE))
            file.flush()
            os.fsync(file.fileno())
        old.unlink()
        flush_directory(directory)


@cache
def _opened(reference: str, data_dir: Path) -> KeyProvider:
    return checked(open_provider(reference, data_dir))


def _provider(settings: Settings, reference: str | None) -> KeyProvider | None:
    return None if reference is None else _opened(reference, settings.data_dir)


def _only(settings: Settings, name: str, given: SecretStr | None, provided: T | None) -> Held[bytes | T] | None:
    """The secret from the one place that has it."""
    found: list[Held[bytes | T]] = []
    if provided is not None:
        old = name.endswith(".old")
        provider = f"_OLD={settings.key_provider_old}" if old else f"={settings.key_provider}"
        found.append(Held(provided, f"LEDGER_KEY_PROVIDER{provider}"))
    if given is not None:
        variable = f"LEDGER_KEY_{name.upper().replace('.', '_')}"
        found.append(Held(_spelled(variable, given), variable))
    if (filed := find(settings.keys_dir, name)) is not None:
        found.append(Held(filed, str(settings.keys_dir / name)))
    if len(found) > 1:
        places = " and by ".join(each.where for each in found)
        raise KeyProblem(
            f"the key `{name}` is given by {places}: keep the one that this log was begun with (docs/keys.md says how "
            "another one takes its place)"
        )
    return found[0] if found else None


def _spelled(variable: str, given: SecretStr) -> bytes:
    """The 32 bytes that a variable holds, as 64 hexadecimal digits or as base64; no error repeats any of it."""
    text = given.get_secret_value().strip()  # a newline at the end comes from whoever made a variable of a file
    try:
        secret = bytes.fromhex(text) if len(text) == 2 * SECRET_SIZE else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise KeyProblem(f"{variable} is neither base64 nor hexadecimal of 32 bytes") from None
    if len(secret) != SECRET_SIZE:
        raise KeyProblem(f"{variable} holds {len(secret)} bytes, not 32: put back the key of this log")
    return secret


def new_log_key(directory: Path, name: str = "log.new") -> bytes:
    """The seed in the file `name`, made where it is neither there nor in use already."""
    path = directory / name
    if not path.exists():
        _write_new(path)
    return _load(path)


def replace_log_key(directory: Path, archive: str, name: str = "log.new") -> None:
    """What `name` holds is `log` now, and what `log` was stays as `archive`. Again after a crash it goes on."""
    current, old, new = (directory / each for each in ("log", archive, name))
    if not old.exists():
        os.link(current, old)
        flush_directory(directory)
    new.replace(current)
    flush_directory(directory)


def _write_new(path: Path) -> None:
    """A fresh secret is in `path`, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.urandom(SECRET_SIZE))
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    flush_directory(path.parent)  # what is encrypted under it must not outlive its name


def _load(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_at_once) as file:
            about = os.fstat(file.fileno())
            secret = file.read(SECRET_SIZE + 1) if stat.S_ISREG(about.st_mode) else b""
    except FileNotFoundError as error:
        raise KeyProblem(f"the key file {path} is missing: put it back from its backup") from error
    except PermissionError as error:
        raise KeyProblem(f"the key file {path} cannot be read by this user") from error
    except OSError as error:
        raise KeyProblem(f"the key file {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(about.st_mode):
        raise KeyProblem(f"the key file {path} is no file, but a pipe or a device: put the 32 bytes there")
    _require_kept(path.parent)
    _require_owned(path, about)
    mounted = about.st_uid == 0 != os.geteuid()  # by root for our group, as PostgreSQL takes its ssl_key_file
    if about.st_mode & (0o037 if mounted else 0o077):
        mode, right = f"{about.st_mode & 0o777:03o}", "440" if mounted else "600"
        raise KeyProblem(f"the key file {path} is readable for others (mode {mode}): chmod {right} it")
    if len(secret) != SECRET_SIZE:
        size = about.st_size
        raise KeyProblem(f"the key file {path} holds {size} bytes, not 32: put it back from its backup")
    return secret


def _at_once(path: str, flags: int) -> int:
    """Opened without waiting for whoever may write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _require_kept(directory: Path) -> None:
    """Nobody but us and root can put another file in the place of one in `directory`. Raises KeyProblem.

    In a sticky directory (Kubernetes mounts its secrets in one, of mode 1777) everybody can only replace their own.
    """
    about = directory.stat()
    _require_owned(directory, about)
    if about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX:
        mode = f"{about.st_mode & 0o777:03o}"
        raise KeyProblem(f"others may replace the keys in {directory} (mode {mode}): chmod 700 it")


def _require_owned(path: Path, about: os.stat_result) -> None:
    if about.st_uid not in (0, os.geteuid()):
        owner = f"user {about.st_uid}, not to this one ({os.geteuid()}) or root"
        raise KeyProblem(f"{path} belongs to {owner}: start as that user, or chown it")


__all__ = [
    "Held",
    "KeyProblem",
    "Secrets",
    "alone",
    "create",
    "destroy",
    "destroy_old_kek",
    "digest_key",
    "find",
    "key_encryption_key",
    "key_encryption_key_before",
    "load",
    "log_key",
    "log_key_before",
    "replace_kek",
    "secrets_of",
]
