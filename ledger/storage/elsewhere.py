"""Keys that are kept elsewhere, by code that is not ours: whatever it raises is a KeyProblem, which loses nothing, and
what it wraps is opened before it counts. A signature is verified where it is made (`ledger.tlog.note.Signer`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ledger.domain.model import ID_PATTERN
from ledger.key_provider import KeyProblem, KeyProvider, SigningKey, WrappingKey

_NAME: Final = re.compile(ID_PATTERN)
_DATA_KEY_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Checked:
    """A KeyProvider whose keys are looked after."""

    log: SigningKey | None
    kek: WrappingKey | None


def checked(provider: KeyProvider) -> Checked:
    """The keys of `provider`, looked after."""
    log, kek = provider.log, provider.kek
    return Checked(None if log is None else _LogKey(log), None if kek is None else _KeyEncryptionKey(kek))


class _LogKey:
    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.public_key = key.public_key

    def sign(self, message: bytes) -> bytes:
        with _asked():
            return self._key.sign(message)


class _KeyEncryptionKey:
    def __init__(self, key: WrappingKey) -> None:
        self._key = key
        self._tried = False

    @property
    def name(self) -> str:
        with _asked():
            name = self._key.name
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise KeyProblem(
                "the name of the key-encryption key is not 1 to 128 letters, digits, dots, `_`, `:` and `-`"
            )
        return name

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        with _asked():
            wrapped = self._key.wrap(data_key, associated_data)
        if not isinstance(wrapped, bytes) or self._opened(wrapped, associated_data) != data_key:
            raise KeyProblem("what keeps the key-encryption key does not open what it wraps: nothing is wrapped by it")
        if not self._tried and self._opened(wrapped, associated_data + b"|") is not None:
            raise KeyProblem("what keeps the key-encryption key opens for one customer what it wrapped for another")
        self._tried = True
        return wrapped

    def _opened(self, wrapped: bytes, associated_data: bytes) -> bytes | None:
        try:
            return self.unwrap(wrapped, associated_data)
        except ValueError:
            return None

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        with _asked(refused=ValueError):
            data_key = self._key.unwrap(wrapped, associated_data)
        if not isinstance(data_key, bytes) or len(data_key) != _DATA_KEY_SIZE:
            raise ValueError("what it opens is no data key")
        return data_key


@contextmanager
def _asked(*, refused: type[Exception] = KeyProblem) -> Iterator[None]:
    try:
        yield
    except (KeyProblem, refused):
        raise
    except Exception as error:
        raise KeyProblem(f"what keeps the key fails: {type(error).__name__}: {error}") from error
