"""One small log, its keys, and a valid example of every format: what the tests bend and break."""

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.merkle import Extension, Frontier
from ledger.tlog.note import Note, Signer
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.witness import AddCheckpoint, Cosigner
from tests.tlog.naive import LEAVES, naive_consistency, naive_inclusion, naive_root

ORIGIN = "log.example/promises"
LOG = Signer(ORIGIN, b"l" * 32)
WITNESS = Cosigner("witness.example/w1", b"w" * 32)
OTHER = Signer("other.example", b"o" * 32)


def checkpoint(size: int) -> Checkpoint:
    return Checkpoint(ORIGIN, size, naive_root(0, size))


SIGNED = checkpoint(7).sign(LOG)
COSIGNATURE = WITNESS.cosign(checkpoint(7), 1_679_315_147).format().encode()
COSIGNED = SIGNED + COSIGNATURE
PROOF_FILE = ProofFile(4, tuple(naive_inclusion(4, 0, 7)), SIGNED)
PROOF_FILE_WITH_EXTRA = ProofFile(4, PROOF_FILE.proof, COSIGNED, b"opening")
EXTENSION = Extension(Frontier().extend(LEAVES[:3]), LEAVES[3:7])
REQUEST = AddCheckpoint(3, tuple(naive_consistency(3, 0, 7)), Note.parse(SIGNED), checkpoint(7))
POLICY = f"""# who is trusted
log {LOG.vkey} https://log.example/
witness W1 {WITNESS.vkey}
witness\tW2 {Cosigner("witness.example/w2", b"2" * 32).vkey} https://witness.example/

witness W3 {Cosigner("witness.example/w3", b"3" * 32).vkey}
group pair all W2 W3
group enough any W1 pair
quorum enough
"""


def each_byte_changed(data: bytes):
    """Yield `data` with each byte changed in three ways, left out, and doubled."""
    for place, byte in enumerate(data):
        before, after = data[:place], data[place + 1 :]
        for other in (byte ^ 1, byte ^ 0x20, byte ^ 0x80):
            yield before + bytes([other]) + after
        yield before + after
        if after[:1] != data[place : place + 1]:
            yield before + bytes([byte, byte]) + after
