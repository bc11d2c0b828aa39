"""HMAC-SHA-256 (RFC 2104), for many short messages: `hmac.digest` sets OpenSSL up anew at each call."""

from collections.abc import Callable
from hashlib import sha256

_BLOCK_SIZE = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """The 32-byte MAC of `message` under `key`, of 64 bytes at most."""
    assert len(key) <= _BLOCK_SIZE, "a longer key would have to be hashed first"
    block = key.ljust(_BLOCK_SIZE, b"\0")
    return sha256(block.translate(_OUTER) + sha256(block.translate(_INNER) + message).digest()).digest()


def keyed(key: bytes) -> Callable[[bytes], bytes]:
    """`hmac_sha256` under one key for ever."""
    assert len(key) <= _BLOCK_SIZE, "a longer key would have to be hashed first"
    block = key.ljust(_BLOCK_SIZE, b"\0")
    inner, outer = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))

    def mac(message: bytes) -> bytes:
        within, around = inner.copy(), outer.copy()
        within.update(message)
        around.update(within.digest())
        return around.digest()

    return mac
