"""Checkpoints (c2sp.org/tlog-checkpoint): what the log says its tree is, as a signed note.

    example.com/log
    3
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

Exactly these three lines: extension lines are refused, because no monitor can audit them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ledger.tlog.errors import BadSignature, MalformedCheckpoint
from ledger.tlog.merkle import MAX_SIZE, is_hash
from ledger.tlog.note import Note, Signer, Verifier, open_note
from ledger.tlog.spelling import hash_of, number_of, text_of, to_base64

_MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's origin, its number of leaves and its root. Raises `MalformedCheckpoint` where one cannot be written."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not _valid_origin(self.origin):
            raise MalformedCheckpoint("an origin is one printable line of 1 to 1,024 bytes")
        if type(self.size) is not int or not 0 <= self.size <= MAX_SIZE or not is_hash(self.root):
            raise MalformedCheckpoint("a size is between 0 and 2^63 - 1, a root has 32 bytes")

    def format(self) -> str:
        """Return the text that is signed: origin, size and base64 root, each with a newline."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Return the checkpoint that `text` (no signatures) spells, or raise `MalformedCheckpoint`."""
        lines = (text_of(text, _MAX_TEXT) or "").split("\n")
        if len(lines) != 4 or lines[3] != "":
            raise MalformedCheckpoint("a checkpoint is three lines, each with its newline")
        size, root = number_of(lines[1]), hash_of(lines[2])
        if size is None or root is None:
            raise MalformedCheckpoint("the size is not a decimal, or the root not base64 of 32 bytes")
        return cls(lines[0], size, root)

    def sign(self, signer: Signer) -> bytes:
        """Return the signed note. Sign only what is committed: two trees of one size are a fork."""
        return signer.sign(self.format())


def _valid_origin(origin: object) -> bool:
    return isinstance(origin, str) and bool(text_of(origin, 1024)) and min(origin) >= " "


def open_checkpoint(data: bytes | str, log: Verifier, witnesses: Iterable[Verifier] = ()) -> tuple[Checkpoint, Note]:
    """Return the checkpoint that `log` signed in `data`, and the note with the verified `witnesses` beside it.

    The origin must be the log's key name. Raises `MalformedNote`, `MalformedCheckpoint` or `BadSignature`.
    """
    note = open_note(data, [log, *witnesses])
    if (log.name, log.key_id) not in {(signature.name, signature.key_id) for signature in note.verified}:
        raise BadSignature(f"the checkpoint is not signed by {log.name}")
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != log.name:
        raise BadSignature(f"{log.name} signed a checkpoint of another origin")
    return checkpoint, note
