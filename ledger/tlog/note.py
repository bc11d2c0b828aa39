"""Signed notes (c2sp.org/signed-note) with Ed25519 keys: text, blank line, signature lines.

    example.com/log
    3
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — example.com/log q83vASNFZ4mrze8BI0VniavN7wEjRWeJ…

The signed text ends with its last newline; the blank line is not part of it. A signature line holds
base64(key id, 4 bytes ‖ signature). vkey = `<name>+<key id, 8 hex>+<base64(0x01 ‖ public key)>`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from re import compile
from typing import ClassVar, Protocol, Self, runtime_checkable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.tlog.errors import BadSignature, MalformedKey, MalformedNote
from ledger.tlog.spelling import base64_of, text_of, to_base64

MAX_NOTE_SIZE = 1_000_000
MAX_SIGNATURES = 100
_MAX_NAME = 1024
_CONTROL = compile(r"[\x00-\x09\x0b-\x1f]")


def valid_name(name: str) -> bool:
    """Tell whether `name` may name a key: not empty, no plus, no Unicode space, no control character."""
    return (
        0 < len(name) <= _MAX_NAME
        and "+" not in name
        and not any(map(str.isspace, name))
        and _CONTROL.search(name) is None
        and text_of(name, 4 * _MAX_NAME) is not None
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who says to have signed, and the bytes that only the matching key can judge."""

    name: str
    key_id: bytes
    signature: bytes

    def format(self) -> str:
        """Return the line: `— <name> <base64(key id ‖ signature)>` and a newline."""
        return f"— {self.name} {to_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the signature in `line` (with its newline), or raise `MalformedNote`."""
        words = line.removesuffix("\n").split(" ") if type(line) is str else []
        data = base64_of(words[2]) if len(words) == 3 else None
        if data is None or len(data) < 5 or not valid_name(words[1]):
            raise MalformedNote("a signature line is not `— name base64`")
        signature = cls(words[1], data[:4], data[4:])
        if signature.format() != line:
            raise MalformedNote("a signature line is not in its one legal spelling")
        return signature


@dataclass(frozen=True)
class Verifier:
    """A public key with its name, that judges the lines of its kind in a note: here plain Ed25519, kind 0x01."""

    name: str
    public_key: bytes
    KIND: ClassVar[int] = 0x01

    def __post_init__(self) -> None:
        if type(self.name) is not str or not valid_name(self.name):
            raise MalformedKey("a key name is empty, too long, or holds a plus, a space or a control character")
        if type(self.public_key) is not bytes or len(self.public_key) != 32:
            raise MalformedKey("an Ed25519 public key has 32 bytes")

    @cached_property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ kind ‖ public key), the first four bytes."""
        return sha256(self.name.encode() + b"\n" + bytes([self.KIND]) + self.public_key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text: `<name>+<8 hex>+<base64(kind ‖ public key)>`."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.KIND]) + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str | bytes) -> Self:
        """Return the verifier that `vkey` spells, or raise `MalformedKey`: also for a key of another kind."""
        text = text_of(vkey, 8 * _MAX_NAME)
        parts = (text or "").split("+", 2)
        data = base64_of(parts[2]) if len(parts) == 3 else None
        if data is None or len(data) != 33 or data[0] != cls.KIND:
            raise MalformedKey(f"not a verifier key `name+id+base64` of kind {cls.KIND}")
        verifier = cls(parts[0], data[1:])
        if verifier.vkey != text:
            raise MalformedKey("the verifier key is not in its one legal spelling, or its id is not its own")
        return verifier

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is this key's over `text`; what is no bytes is nobody's."""
        return type(text) is type(signature) is bytes and self._verify_raw(text, signature)

    def _verify_raw(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public_key)


@dataclass(frozen=True, slots=True)
class Note:
    """A note: its text (with the last newline), all its signatures, and those that a known key has verified."""

    text: str
    signatures: tuple[Signature, ...]
    verified: tuple[Signature, ...] = ()

    def format(self) -> bytes:
        """Return the signed note: text, blank line, signature lines."""
        return (self.text + "\n" + "".join(signature.format() for signature in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes | str) -> Self:
        """Return the note with nothing verified, or raise `MalformedNote`. Trust no text before `open_note`."""
        whole = text_of(data, MAX_NOTE_SIZE)
        if whole is None or _CONTROL.search(whole):
            raise MalformedNote("a note is UTF-8 of at most 1,000,000 bytes without control characters")
        text, blank, tail = whole.rpartition("\n\n")
        lines = tail.split("\n")
        if not blank or lines.pop() != "" or not 1 <= len(lines) <= MAX_SIGNATURES:
            raise MalformedNote("a note is a text, a blank line and 1 to 100 signature lines, each with its newline")
        return cls(text + "\n", tuple(Signature.parse(line + "\n") for line in lines))


def open_note(data: bytes | str, verifiers: Iterable[Verifier]) -> Note:
    """Return the note in `data`, with at least one signature verified.

    Lines of unknown keys are ignored. A line with a known key's name and id that fails rejects the note.
    `verified` has one signature for each key, the first. Raises `MalformedNote`, or `BadSignature`; `MalformedKey`
    where `verifiers` are none.
    """
    note = Note.parse(data)
    trusted = [*verifiers] if isinstance(verifiers, Iterable) else []
    if not isinstance(verifiers, Iterable) or not all(isinstance(verifier, Verifier) for verifier in trusted):
        raise MalformedKey("a note is opened with verifiers, one after another")
    known = {(verifier.name, verifier.key_id): verifier for verifier in trusted}
    text = note.text.encode()
    verified: dict[tuple[str, bytes], Signature] = {}
    for signature in note.signatures:
        key = (signature.name, signature.key_id)
        if key not in known:
            continue
        if not known[key].verify(text, signature.signature):
            raise BadSignature(f"the signature of {signature.name} does not fit the text")
        verified.setdefault(key, signature)
    if not verified:
        raise BadSignature("the note has no signature by a trusted key")
    return Note(note.text, note.signatures, tuple(verified.values()))


@runtime_checkable
class SigningKey(Protocol):
    """An Ed25519 private key that is kept elsewhere, such as in an HSM, and signs there."""

    @property
    def public_key(self) -> bytes:
        """The public half, 32 bytes; the same each time."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature over `message` (RFC 8032, pure Ed25519), 64 bytes."""
        ...


@dataclass(frozen=True)
class Signer:
    """A name and its Ed25519 private key: the 32-byte seed of RFC 8032, or the key where it is kept."""

    name: str
    private_key: bytes | SigningKey = field(repr=False)

    def __post_init__(self) -> None:
        seed = self.private_key
        if len(seed) != 32 if isinstance(seed, bytes) else not isinstance(seed, SigningKey):
            raise MalformedKey("an Ed25519 private key has 32 bytes, or signs by itself")
        _ = self.verifier

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        assert isinstance(self.private_key, bytes), "what is kept elsewhere signs there"
        return Ed25519PrivateKey.from_private_bytes(self.private_key)

    @cached_property
    def verifier(self) -> Verifier:
        """The public half."""
        if isinstance(self.private_key, bytes):
            return Verifier(self.name, self._key.public_key().public_bytes_raw())
        return Verifier(self.name, self.private_key.public_key)

    @property
    def vkey(self) -> str:
        """The public half as text, for those who verify."""
        return self.verifier.vkey

    def signature(self, text: str) -> Signature:
        """Return this key's signature line over `text`. Raises `BadSignature` where one kept elsewhere errs."""
        return Signature(self.name, self.verifier.key_id, self._signed(text.encode()))

    def _signed(self, message: bytes) -> bytes:
        if isinstance(self.private_key, bytes):
            return self._key.sign(message)
        signature = self.private_key.sign(message)
        if not self.verifier.verify(message, signature):
            raise BadSignature(f"what keeps the key of {self.name} gave a signature that does not verify")
        return signature

    def sign(self, text: str) -> bytes:
        """Return the signed note over `text` alone. Raises `MalformedNote` where `text` cannot be a note's text."""
        if type(text) is not str or not text.endswith("\n"):
            raise MalformedNote("the text of a note ends with a newline")
        if text_of(text, MAX_NOTE_SIZE // 2) is None or _CONTROL.search(text):
            raise MalformedNote("the text of a note is UTF-8 without control characters, of at most 500,000 bytes")
        return Note(text, (self.signature(text),)).format()
