"""Witnesses: cosignatures (c2sp.org/tlog-cosignature, kind 0x04) and the decision on add-checkpoint (tlog-witness).

A cosignature's bytes are `u64be(seconds) ‖ Ed25519 signature` over

    cosignature/v1
    time 1679315147
    example.com/log
    3
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

and an add-checkpoint request is

    old 2
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=

    <signed checkpoint>

A witness serves it in these steps: `AddCheckpoint.parse`; then under one lock: `decide` with the last checkpoint
that it cosigned for that origin, and store the new one durably; only then `Cosigner.cosign` and answer. Answering
before storing, or deciding outside of the lock, could cosign two trees that contradict each other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import (
    BadProof,
    BadSignature,
    MalformedCosignature,
    MalformedKey,
    MalformedNote,
    MalformedRequest,
    TlogError,
)
from ledger.tlog.merkle import EMPTY_ROOT, MAX_SIZE
from ledger.tlog.note import MAX_NOTE_SIZE, MAX_SIGNATURES, Note, Signature, Verifier, open_note
from ledger.tlog.proofs import MAX_PROOF, verify_consistency
from ledger.tlog.spelling import hash_of, number_of, text_of, to_base64

_MAX_REQUEST = MAX_NOTE_SIZE + 4096
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True)
class CosignatureVerifier(Verifier):
    """A witness's public key: judges timestamped cosignatures (kind 0x04)."""

    KIND: ClassVar[int] = 0x04

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (72 bytes: seconds, then Ed25519) is this witness's over checkpoint `text`."""
        if not type(text) is type(signature) is bytes:
            return False
        seconds = int.from_bytes(signature[:8], "big")
        return seconds <= MAX_SIZE and super().verify(_message(seconds, text), signature[8:])


@dataclass(frozen=True)
class Cosigner:
    """A witness's name and Ed25519 private key (32-byte seed). The key must serve this one witness alone."""

    name: str
    private_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if type(self.private_key) is not bytes or len(self.private_key) != 32:
            raise MalformedKey("an Ed25519 private key has 32 bytes")
        _ = self.verifier

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.private_key)

    @cached_property
    def verifier(self) -> CosignatureVerifier:
        """The public half."""
        return CosignatureVerifier(self.name, self._key.public_key().public_bytes_raw())

    @property
    def vkey(self) -> str:
        """The public half as text, for those who verify."""
        return self.verifier.vkey

    def cosign(self, checkpoint: Checkpoint, seconds: int) -> Signature:
        """Return the statement that at `seconds` (POSIX) this was the largest consistent tree seen of that origin."""
        if type(seconds) is not int or not 0 <= seconds <= MAX_SIZE:
            raise MalformedCosignature("the time is not between 0 and 2^63 - 1 seconds")
        signature = self._key.sign(_message(seconds, checkpoint.format().encode()))
        return Signature(self.name, self.verifier.key_id, seconds.to_bytes(8, "big") + signature)


def _message(seconds: int, text: bytes) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n".encode() + text


def cosigned_at(cosignature: Signature) -> int:
    """Return the POSIX seconds in a cosignature, or raise `MalformedCosignature`. Trust it only once verified."""
    seconds = int.from_bytes(cosignature.signature[:8], "big")
    if len(cosignature.signature) != 72 or seconds > MAX_SIZE:
        raise MalformedCosignature("a cosignature is 8 bytes of time and 64 of Ed25519")
    return seconds


def add_cosignatures(note: Note, answer: bytes, witnesses: Iterable[CosignatureVerifier]) -> Note:
    """Return `note` with the cosignatures of known `witnesses` from a witness's `answer` (signature lines) added.

    Lines of unknown keys are dropped, and so is a second cosignature of one witness. Raises `MalformedNote`, or
    `BadSignature` where a known witness's line fails or there is none.
    """
    text = text_of(answer, MAX_NOTE_SIZE)
    lines = (text or "").split("\n")
    if lines.pop() != "" or not 1 <= len(lines) <= MAX_SIGNATURES:
        raise MalformedNote("an answer is signature lines, each with its newline")
    # Every line is parsed by itself first: a crafted answer cannot move the end of the signed text.
    offered = tuple(Signature.parse(line + "\n") for line in lines)
    verified = open_note(Note(note.text, offered).format(), witnesses).verified
    present = {(signature.name, signature.key_id) for signature in note.signatures}
    new = tuple(signature for signature in verified if (signature.name, signature.key_id) not in present)
    return Note(note.text, note.signatures + new, note.verified + new)


class Declined(TlogError):
    """The witness does not cosign: the HTTP status, body and content type of the answer."""

    def __init__(self, status: int, body: str, content_type: str = "text/plain; charset=utf-8") -> None:
        super().__init__(status, body)
        self.status, self.body, self.content_type = status, body, content_type


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign: the size last cosigned, the proof from there, and the signed checkpoint as received."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint

    def format(self) -> bytes:
        """Return the request body."""
        proof = "".join(to_base64(sibling) + "\n" for sibling in self.proof)
        return f"old {self.old_size}\n{proof}\n".encode() + self.note.format()

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return what `body` asks for, nothing verified yet. Raises `Malformed…`, which is status 400."""
        text = text_of(body, _MAX_REQUEST) or ""
        head, blank, rest = text.partition("\n\n")
        lines = head.split("\n")
        old_size = number_of(lines.pop(0).removeprefix("old "))
        if not blank or old_size is None or len(lines) > MAX_PROOF:
            raise MalformedRequest("a request is `old <size>`, at most 63 hashes, a blank line and a checkpoint")
        proof = [hash_of(line) for line in lines]
        if None in proof:
            raise MalformedRequest("a proof line is not base64 of 32 bytes")
        note = Note.parse(rest)
        known = tuple(sibling for sibling in proof if sibling is not None)
        request = cls(old_size, known, note, Checkpoint.parse(note.text))
        if request.format() != text.encode():
            raise MalformedRequest("the request is not in its one legal spelling")
        return request

    def decide(self, log_keys: Sequence[Verifier], latest: Checkpoint | None) -> Note:
        """Return the note to store and cosign, with its log signatures verified, or raise `Declined`.

        `log_keys` are the keys trusted for this request's origin (none: 404); `latest` is the checkpoint last
        cosigned for it (None: never). Hold the lock over that record from before reading it until the note is stored.
        """
        if not log_keys:
            raise Declined(404, "unknown origin\n")
        try:
            note = open_note(self.note.format(), log_keys)
        except BadSignature as error:
            raise Declined(403, f"{error}\n") from error
        self._check_old_size(latest.size if latest else 0)
        try:
            self._check_proof(latest.root if latest else EMPTY_ROOT)
        except BadProof as error:
            raise Declined(422, f"{error}\n") from error
        return note

    def _check_old_size(self, cosigned_size: int) -> None:
        if self.old_size > self.checkpoint.size:
            raise Declined(400, "the old size is larger than the checkpoint\n")
        if self.old_size != cosigned_size:
            raise Declined(409, f"{cosigned_size}\n", SIZE_TYPE)

    def _check_proof(self, old_root: bytes) -> None:
        """Raise `BadProof` unless the checkpoint extends the tree of `old_size` leaves; every tree extends none."""
        size, root = self.checkpoint.size, self.checkpoint.root
        if self.old_size > 0:
            verify_consistency(self.old_size, size, self.proof, old_root, root)
        elif self.proof or (size == 0 and root != EMPTY_ROOT):
            raise BadProof("from an empty tree the proof is empty, and an empty tree has the empty root")
