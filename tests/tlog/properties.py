"""What must hold of every parser, whatever bytes it gets: run by hypothesis (test_hostile) and atheris (test_fuzzed).

A property returns, or raises AssertionError. Any other error than a `TlogError` is a bug of ours, and gets through.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.entry import canonical, parse_entry
from ledger.tlog.errors import Malformed, TlogError
from ledger.tlog.note import Note, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.tiles import format_bundle, parse_bundle, parse_tile_path, tile_path
from ledger.tlog.witness import AddCheckpoint, CosignatureVerifier, add_cosignatures
from tests.tlog.examples import (
    COSIGNATURE,
    COSIGNED,
    LOG,
    POLICY,
    PROOF_FILE,
    PROOF_FILE_WITH_EXTRA,
    REQUEST,
    SIGNED,
    WITNESS,
    checkpoint,
)
from tests.tlog.naive import LEAVES

Reading = Callable[[bytes], bytes]


class Property(NamedTuple):
    """What must hold of any bytes, and valid examples to begin with."""

    holds: Callable[[bytes], None]
    examples: list[bytes]


def written_back(reading: Reading) -> Callable[[bytes], None]:
    """Only what it would write is accepted; all else is `Malformed…`."""

    def holds(data: bytes) -> None:
        with suppress(Malformed):
            assert reading(data) == data, "accepted in a second spelling"

    return holds


READINGS: dict[str, tuple[Reading, list[bytes]]] = {
    "vkey": (lambda data: Verifier.parse(data).vkey.encode(), [LOG.vkey.encode()]),
    "witness vkey": (lambda data: CosignatureVerifier.parse(data).vkey.encode(), [WITNESS.vkey.encode()]),
    "note": (lambda data: Note.parse(data).format(), [SIGNED, COSIGNED]),
    "checkpoint": (lambda data: Checkpoint.parse(data).format().encode(), [checkpoint(7).format().encode()]),
    "proof file": (
        lambda data: ProofFile.parse(data).format().encode(),
        [PROOF_FILE.format().encode(), PROOF_FILE_WITH_EXTRA.format().encode()],
    ),
    "tile path": (lambda data: tile_path(*parse_tile_path(data)).encode(), [b"tile/0/x001/x234/067.p/5"]),
    "bundle": (lambda data: format_bundle(parse_bundle(data, 2)), [b"\0\2ab\0\1c"]),
    "request": (lambda data: AddCheckpoint.parse(data).format(), [REQUEST.format()]),
    "entry": (lambda data: canonical(parse_entry(data)), [b'{"a":1,"b":["x",null]}']),
}


def a_policy_is_read_or_malformed(data: bytes) -> None:
    with suppress(Malformed):
        Policy.parse(data)


def no_changed_note_opens_as_another_checkpoint(data: bytes) -> None:
    with suppress(TlogError):
        assert open_checkpoint(data, LOG.verifier, [WITNESS.verifier])[0] == checkpoint(7)


def no_changed_proof_file_proves_anything_else(data: bytes) -> None:
    with suppress(TlogError):
        parsed = ProofFile.parse(data)
        opened, _ = parsed.verify(LEAVES[4], LOG.verifier)
        assert (opened, parsed.index, parsed.proof) == (checkpoint(7), 4, PROOF_FILE.proof)


def no_changed_answer_of_a_witness_is_a_cosignature(data: bytes) -> None:
    with suppress(TlogError):
        assert add_cosignatures(Note.parse(SIGNED), data, [WITNESS.verifier]).format() == COSIGNED


PROPERTIES: dict[str, Property] = {
    name: Property(written_back(reading), examples) for name, (reading, examples) in READINGS.items()
} | {
    "policy": Property(a_policy_is_read_or_malformed, [POLICY.encode()]),
    "signed checkpoint": Property(no_changed_note_opens_as_another_checkpoint, [SIGNED, COSIGNED]),
    "proof": Property(
        no_changed_proof_file_proves_anything_else,
        [PROOF_FILE.format().encode(), PROOF_FILE_WITH_EXTRA.format().encode()],
    ),
    "cosignature": Property(no_changed_answer_of_a_witness_is_a_cosignature, [COSIGNATURE]),
}
