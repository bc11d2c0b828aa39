"""Personal texts: committed to in the log, sealed beside it. Pure: keys and random bytes are passed in.

Commitment = HMAC-SHA-256(r, "promise-ledger/personal/v1\\0" || event_id || "\\0" || P), P = the personal members as
canonical JSON, r = 32 random bytes. Sealed = nonce || AES-256-GCM(data key, r || P). Destroying the data key and the
sealed row makes P unreadable and unguessable, while the entry, its hash and every proof stay as they are.
"""

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.mac import hmac_sha256

OPENING_SIZE = 32
NONCE_SIZE = 12
RANDOM_SIZE = OPENING_SIZE + NONCE_SIZE
_CONTEXT = b"promise-ledger/personal/v1\0"


class SealBroken(ValueError):
    """A sealed row does not open under its key, or opens to something else than was committed to."""


class Opened(NamedTuple):
    """What a seal holds: the opening r (32 bytes) and the personal members as canonical JSON."""

    opening: bytes
    personal: bytes


def commitment(opening: bytes, event_id: str, personal: bytes) -> bytes:
    """The 32 bytes that the entry carries for `personal`; without `opening` nobody can test a guess against them."""
    return hmac_sha256(opening, _CONTEXT + event_id.encode() + b"\0" + personal)


def seal(
    cipher: AESGCM, *, random: bytes, event_id: str, customer_id: str, key_version: int, personal: bytes
) -> tuple[bytes, bytes]:
    """(commitment, sealed bytes) of `personal`. `random` is RANDOM_SIZE fresh bytes, never used before."""
    opening, nonce = random[:OPENING_SIZE], random[OPENING_SIZE:]
    assert len(nonce) == NONCE_SIZE
    sealed = cipher.encrypt(nonce, opening + personal, associated_data(event_id, customer_id, key_version))
    return commitment(opening, event_id, personal), nonce + sealed


def unseal(cipher: AESGCM, sealed: bytes, *, event_id: str, customer_id: str, key_version: int) -> Opened:
    """What `sealed` holds. Raises SealBroken where key, event, customer or a single bit is not the sealed one."""
    plain = _decrypted(cipher, sealed, event_id, associated_data(event_id, customer_id, key_version))
    return Opened(plain[:OPENING_SIZE], plain[OPENING_SIZE:])


class Opener:
    """Opens many of one customer's texts, each only to see what was committed to: this is the hot path of `verify`."""

    __slots__ = ("_binding", "_cipher")

    def __init__(self, cipher: AESGCM, customer_id: str, key_version: int) -> None:
        self._cipher = cipher
        self._binding = associated_data("", customer_id, key_version)

    def commitment(self, sealed: bytes, event_id: str) -> bytes:
        """The commitment of what `sealed` holds. Raises SealBroken as `unseal` does."""
        plain = _decrypted(self._cipher, sealed, event_id, event_id.encode() + self._binding)
        return commitment(plain[:OPENING_SIZE], event_id, plain[OPENING_SIZE:])


def associated_data(event_id: str, customer_id: str, key_version: int) -> bytes:
    """What binds a seal to its event and customer. "|" stands in no id, so no two triples read alike."""
    return f"{event_id}|{customer_id}|{key_version}".encode()


def _decrypted(cipher: AESGCM, sealed: bytes, event_id: str, bound_to: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], bound_to)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"the sealed text of event {event_id} does not open under its key") from error
