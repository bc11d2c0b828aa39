"""Proof files (c2sp.org/tlog-proof): all that is needed to show, offline, that an entry is in the log.

    c2sp.org/tlog-proof@v1
    extra AAECAw==
    index 2
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=

    example.com/log
    3
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

    — example.com/log …

`extra` is optional and not authenticated. Hashes run from leaf to root.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import MalformedProofFile
from ledger.tlog.merkle import MAX_SIZE, Extension, is_hash
from ledger.tlog.note import MAX_NOTE_SIZE, Note, Verifier
from ledger.tlog.proofs import MAX_PROOF, verify_inclusion
from ledger.tlog.spelling import base64_of, hash_of, number_of, text_of, to_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_EXTRA = 65_536
_MAX_SIZE = MAX_NOTE_SIZE + 2 * MAX_EXTRA


@dataclass(frozen=True, slots=True)
class ProofFile:
    """An entry's index, its inclusion proof, the signed checkpoint it leads to, and unauthenticated extra bytes."""

    index: int
    proof: tuple[bytes, ...]
    checkpoint_note: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if type(self.index) is not int or not 0 <= self.index <= MAX_SIZE:
            raise MalformedProofFile("the index is not between 0 and 2^63 - 1")
        if type(self.proof) is not tuple or len(self.proof) > MAX_PROOF or not all(map(is_hash, self.proof)):
            raise MalformedProofFile("the proof is not at most 63 hashes of 32 bytes")
        if type(self.checkpoint_note) is not bytes:
            raise MalformedProofFile("the signed checkpoint is not bytes")
        if self.extra is not None and (type(self.extra) is not bytes or not 1 <= len(self.extra) <= MAX_EXTRA):
            raise MalformedProofFile("extra data has 1 to 65,536 bytes, or is left out")

    def format(self) -> str:
        """Return the file's text."""
        hashes = "".join(to_base64(sibling) + "\n" for sibling in self.proof)
        return _format(self.index, hashes, self.checkpoint_note.decode(), self.extra)

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Return what `text` spells, nothing verified yet, or raise `Malformed…`."""
        whole = text_of(text, _MAX_SIZE) or ""
        head, blank, note = whole.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines.pop(0) != HEADER:
            raise MalformedProofFile(f"a proof file starts with the line {HEADER}, and a blank line ends the proof")
        extra = base64_of(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
        index = number_of(lines.pop(0).removeprefix("index ")) if lines else None
        proof = [hash_of(line) for line in lines]
        if index is None or None in proof:
            raise MalformedProofFile("the index is not a decimal, or a line not base64 of 32 bytes")
        Checkpoint.parse(Note.parse(note).text)
        result = cls(index, tuple(sibling for sibling in proof if sibling is not None), note.encode(), extra)
        if result.format() != whole:
            raise MalformedProofFile("the proof file is not in its one legal spelling")
        return result

    def verify(self, leaf_hash: bytes, log: Verifier, witnesses: Iterable[Verifier] = ()) -> tuple[Checkpoint, Note]:
        """Return the checkpoint of `log`, and its note, that commit `leaf_hash` at this index.

        Raises `BadSignature` (not this log's checkpoint, or a known key's line fails) or `BadProof`.
        """
        checkpoint, note = open_checkpoint(self.checkpoint_note, log, witnesses)
        verify_inclusion(leaf_hash, self.index, checkpoint.size, self.proof, checkpoint.root)
        return checkpoint, note


def format_many(
    extension: Extension, checkpoint_note: bytes, extras: Sequence[bytes | None] | None = None
) -> list[str]:
    """Return the proof files of all new leaves of `extension`, in order; `extras` has one item for each leaf.

    `checkpoint_note` is the signed checkpoint of the extension's size and root: the caller holds it.
    """
    note = checkpoint_note.decode()
    paths = extension.paths(lambda sibling: to_base64(sibling) + "\n", "")
    extras = [None] * len(paths) if extras is None else extras
    return [
        _format(index, hashes, note, extra)
        for index, (hashes, extra) in enumerate(zip(paths, extras, strict=True), extension.old_size)
    ]


def _format(index: int, hashes: str, note: str, extra: bytes | None) -> str:
    extra_line = "" if extra is None else f"extra {to_base64(extra)}\n"
    return f"{HEADER}\n{extra_line}index {index}\n{hashes}\n{note}"
