"""Proofs of single events: what anybody checks offline, with the log's key alone."""

from typing import Any

from psycopg import Cursor

from ledger.storage.tree import TreeReader
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import BadProof
from ledger.tlog.note import Note
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.proofs import verify_inclusion

NOT_SIGNED = "the log in the database is not the one that was signed, see `promise-ledger verify`"


class NotSigned(LookupError):
    """What is stored does not lead to the signed root: there is nothing to prove."""

    def __init__(self) -> None:
        super().__init__(NOT_SIGNED)


def proof_of(cursor: Cursor[Any], leaf_index: int, note: bytes) -> ProofFile:
    """The tlog-proof of that event under the checkpoint in `note`, which covers it. Raises NotSigned, Malformed."""
    signed = Checkpoint.parse(Note.parse(note).text)
    reader = TreeReader(cursor)
    try:
        proof = reader.inclusion_proof(leaf_index, signed.size)
        verify_inclusion(reader.node(0, leaf_index), leaf_index, signed.size, proof, signed.root)
    except (LookupError, BadProof):
        raise NotSigned from None
    return ProofFile(leaf_index, tuple(proof), note)
