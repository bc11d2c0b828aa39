"""The rotations of the log's key that a pack carries, so that whoever pinned any of its keys can check it."""

from typing import Any, NamedTuple

from psycopg import Connection

from deploy.pack.selecting import SQL
from ledger.erasure.keyring import reader
from ledger.storage.log_keys import Rotation, read_rotations
from ledger.storage.sql import QUERIES
from ledger.storage.tree import TreeReader
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Verifier, open_note
from ledger.tlog.proof_file import ProofFile

Handover = tuple[bytes, ProofFile]
"""The entry of a rotation, and its proof under the checkpoint that both keys have signed."""


class Handovers(NamedTuple):
    """The rotations, the oldest first, and the least size whose checkpoint is by one of the keys that they lead to."""

    steps: list[Handover]
    first: int


def handovers(connection: Connection[Any], verifier: Verifier) -> Handovers:
    """The rotations that led to the key `verifier`, back to the first one that can still be proven: a log that was
    restored from its entries alone has no checkpoint with both signatures.
    """
    found: list[Handover] = []
    for rotation in reversed(read_rotations(reader(connection))):
        if rotation.new == verifier:
            handover = _handover(connection, rotation)
            if handover is None:
                return Handovers(found, rotation.size)
            found.insert(0, handover)
            verifier = rotation.old
    return Handovers(found, 0)


def _handover(connection: Connection[Any], rotation: Rotation) -> Handover | None:
    row = connection.execute(SQL["signed"], {"size": rotation.size}).fetchone()
    if row is None or not _both(row[0], rotation):
        return None
    entries = connection.execute(QUERIES["entries"], {"ids": [rotation.leaf_index + 1]}).fetchall()
    tree = TreeReader(reader(connection))
    proof = tuple(tree.inclusion_proof(rotation.leaf_index, rotation.size))
    return bytes(entries[0][2]), ProofFile(rotation.leaf_index, proof, row[0].encode())


def _both(note: str, rotation: Rotation) -> bool:
    """Both keys signed the checkpoint over the rotation."""
    try:
        return len(open_note(note, [rotation.old, rotation.new]).verified) == 2
    except TlogError:
        return False
