"""Safe ids out of what a file calls things: keyed hashing, so that no id is, or can be guessed back to, personal data.

The key lies in `keys/import` of the data directory, or where the operator says. Keep a backup: under another key the
same person becomes another pseudonym.
"""

import hmac
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from consumers.importing.errors import ImportProblem
from consumers.importing.mapping import IdRule
from ledger.domain.model import ID_PATTERN
from ledger.storage.guard import flush_directory

KEY_BYTES: Final = 32
_DOMAIN: Final = b"promise-ledger/import/v1\0"
_SAFE: Final = re.compile(ID_PATTERN.removesuffix("$"))
_READABLE_LENGTH: Final = 64


class UnsafeId(Exception):
    """A value cannot be an id as it stands; the message says what to do and does not repeat it."""


def import_key(keys_dir: Path, key_file: Path | None) -> bytes:
    """The 32 bytes in `key_file`, or else in `import` below `keys_dir`, which is made when it is missing.

    Raises `ImportProblem` where it cannot be read, is open to others or has another length.
    """
    path = keys_dir / "import" if key_file is None else key_file
    try:
        if key_file is None and not path.exists():
            _create(path)
        key, mode = path.read_bytes(), path.stat().st_mode & 0o777
    except OSError as error:
        raise ImportProblem(f"The key file {path} cannot be read or made: {error.strerror}.") from None
    if mode & 0o077:
        raise ImportProblem(f"The key file {path} is open to others (mode {mode:03o}): chmod 600 it.")
    if len(key) != KEY_BYTES:
        raise ImportProblem(
            f"The key file {path} holds {len(key)} bytes, not {KEY_BYTES}: put it back from its backup."
        )
    return key


def _create(path: Path) -> None:
    """A crash leaves at most a `.partial` file; two imports at once leave the key of one of them, for both."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(os.urandom(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)
        flush_directory(path.parent)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def safe_id(rule: IdRule, values: Sequence[str], key: bytes) -> str:
    """The id that `rule` makes of `values`, none of which is empty. Raises `UnsafeId` where `keep` cannot keep it."""
    values = [unicodedata.normalize("NFC", value) for value in values]
    if rule.fold_case:
        values = [value.casefold() for value in values]
    match rule.make:
        case "keep":
            kept = rule.prefix + values[0]
            if not _SAFE.fullmatch(kept):
                raise UnsafeId('is not a safe id (A-Z a-z 0-9 . _ : -): make it with make = "hash"')
            return kept
        case "readable":
            return f"{rule.prefix}{_readable(values[0])}{_keyed(rule, values, key)[:8]}"
        case "hash":
            return f"{rule.prefix}{_keyed(rule, values, key)[:32]}"


def _keyed(rule: IdRule, values: Sequence[str], key: bytes) -> str:
    """HMAC-SHA-256 over prefix and values, in hex. The prefix keeps customers and colleagues of one address apart."""
    return hmac.digest(key, _DOMAIN + orjson.dumps([rule.prefix, *values]), "sha256").hex()


def _readable(value: str) -> str:
    """The ASCII words of `value`, a hyphen after each: `Société Générale, Inc` gives `societe-generale-inc-`."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall(r"[a-z0-9]+", plain))[:_READABLE_LENGTH].rstrip("-")
    return f"{words}-" if words else ""
