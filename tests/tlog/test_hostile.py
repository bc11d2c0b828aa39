"""Every parser against hostile input: `Malformed…`, or a value that formats back to exactly the same bytes."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.entry import canonical, parse_entry
from ledger.tlog.errors import Malformed, TlogError
from ledger.tlog.note import Note, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.proofs import verify_consistency, verify_inclusion
from ledger.tlog.tiles import format_bundle, parse_bundle, parse_tile_path, tile_path
from ledger.tlog.witness import AddCheckpoint, CosignatureVerifier
from tests.tlog.examples import (
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
SPICE = [
    b"\0",
    b"\n",
    b"\n\n",
    b"\r\n",
    b" ",
    b"+",
    b"=",
    b"0",
    b"-",
    b"x",
    b"\xff",
    "—".encode(),
    "٣".encode(),
    b"9" * 30,
]


def mutations(examples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Valid examples with up to three slices cut out and replaced, and plain noise."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(examples))
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(data)))
            end = min(len(data), start + draw(st.integers(0, 4)))
            data = data[:start] + draw(st.sampled_from(SPICE) | st.binary(max_size=3)) + data[end:]
        return data

    return mutate() | st.binary(max_size=200)


@pytest.mark.parametrize("name", READINGS)
def test_a_parser_accepts_only_what_it_would_write(name: str):
    reading, examples = READINGS[name]
    for example in examples:
        assert reading(example) == example

    @settings(max_examples=150, deadline=None, database=None)
    @given(mutations(examples))
    def check(data: bytes) -> None:
        try:
            written = reading(data)
        except Malformed:
            return
        assert written == data

    check()


@settings(max_examples=150, deadline=None, database=None)
@given(mutations([POLICY.encode()]))
def test_a_policy_is_read_or_malformed(data: bytes):
    try:
        Policy.parse(data)
    except Malformed:
        return


@settings(max_examples=150, deadline=None, database=None)
@given(mutations([SIGNED, COSIGNED]))
def test_no_changed_note_opens_as_another_checkpoint(data: bytes):
    try:
        opened, _ = open_checkpoint(data, LOG.verifier, [WITNESS.verifier])
    except TlogError:
        return
    assert opened == checkpoint(7)


@settings(max_examples=150, deadline=None, database=None)
@given(mutations([PROOF_FILE.format().encode(), PROOF_FILE_WITH_EXTRA.format().encode()]))
def test_no_changed_proof_file_proves_anything_else(data: bytes):
    try:
        parsed = ProofFile.parse(data)
        opened, _ = parsed.verify(LEAVES[4], LOG.verifier)
    except TlogError:
        return
    assert (opened, parsed.index, parsed.proof) == (checkpoint(7), 4, PROOF_FILE.proof)


ANYTHING = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=40) | st.just(b"h" * 32)


@settings(max_examples=150, deadline=None, database=None)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING | st.lists(ANYTHING, max_size=5), ANYTHING)
def test_no_noise_is_a_proof(first, second, third, proof, fifth):
    for verify, arguments in [
        (verify_inclusion, (third, first, second, proof, fifth)),
        (verify_consistency, (first, second, proof, third, fifth)),
    ]:
        try:
            verify(*arguments)
        except TlogError:
            continue
        assert (third, proof) == (fifth, [])
