"""The built-in key-encryption key: AES-256-GCM under 32 bytes that this process holds."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.key_provider import WrappingKey
from ledger.mac import hmac_sha256

NONCE_SIZE = 12


class AesKey:
    """A WrappingKey of 32 bytes: a wrapped key is nonce ‖ ciphertext ‖ tag."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.name = fingerprint("kek", key)

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """See `WrappingKey`."""
        nonce = os.urandom(NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, data_key, associated_data)

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `WrappingKey`."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], associated_data)
        except InvalidTag as error:
            raise ValueError("not wrapped under this key") from error


class Succession:
    """A WrappingKey of two: what is wrapped is wrapped under `new`, and what `old` wrapped opens all the same."""

    def __init__(self, new: WrappingKey, old: WrappingKey) -> None:
        self._new, self._old = new, old
        self.name = new.name

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """See `WrappingKey`."""
        return self._new.wrap(data_key, associated_data)

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `WrappingKey`."""
        try:
            return self._new.unwrap(wrapped, associated_data)
        except ValueError:
            return self._old.unwrap(wrapped, associated_data)


def wrapping_key(key: bytes | WrappingKey) -> WrappingKey:
    """The key itself where it is kept elsewhere, else AES-256-GCM under these 32 bytes."""
    return AesKey(key) if isinstance(key, bytes) else key


def fingerprint(name: str, secret: bytes) -> str:
    """What tells the secret `name` from others of its kind and says nothing about it: 16 hexadecimal digits."""
    return hmac_sha256(secret, f"promise-ledger/{name}-name/v1".encode()).hex()[:16]
