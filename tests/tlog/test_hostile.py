"""Every parser against hostile input: what `tests.tlog.properties` says holds of noise and of bent examples."""

from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.entry import canonical, parse_entry
from ledger.tlog.errors import (
    BadProof,
    Malformed,
    MalformedEntry,
    MalformedFrontier,
    MalformedKey,
    MalformedNote,
    TlogError,
)
from ledger.tlog.merkle import Extension, Frontier, leaf_hash, root
from ledger.tlog.note import Note, Signature, Signer, Verifier, open_note
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.proofs import root_from_inclusion, verify_consistency, verify_inclusion
from ledger.tlog.tiles import format_bundle, parse_bundle, parse_tile_path, split_tile, tile_path
from ledger.tlog.witness import AddCheckpoint, CosignatureVerifier, Cosigner
from tests.tlog.examples import COSIGNED, LOG, WITNESS, checkpoint
from tests.tlog.properties import PROPERTIES, READINGS

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
def test_a_parser_writes_its_examples_back(name: str):
    reading, examples = READINGS[name]
    assert [reading(example) for example in examples] == examples


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_parser_accepts_only_what_it_would_write_and_nothing_bent(name: str):
    holds, examples = PROPERTIES[name]
    for example in examples:
        holds(example)

    @settings(max_examples=150, deadline=None, database=None)
    @given(mutations(examples))
    def check(data: bytes) -> None:
        holds(data)

    check()


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


class Same(bytes):
    """Bytes that say they equal anything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


class Spelled(str):
    """Text that says it equals anything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class Shown(list[bytes]):
    """A proof that reads otherwise than it is."""


H = b"h" * 32
HUGE = 10**5000
"""More digits than Python writes of an integer."""
STRANGE = [
    None,
    True,
    1,
    1.5,
    HUGE,
    -HUGE,
    "ab",
    "\ud800",
    b"x",
    H,
    Same(H),
    Spelled("ab\n"),
    (),
    (H,),
    [1],
    [None],
    {},
]
READERS: dict[str, tuple[int, Callable[..., Any]]] = {
    "tile_path": (3, tile_path),
    "parse_tile_path": (1, parse_tile_path),
    "split_tile": (2, split_tile),
    "parse_bundle": (2, parse_bundle),
    "format_bundle": (1, format_bundle),
    "root": (1, root),
    "leaf_hash": (1, leaf_hash),
    "Frontier": (2, Frontier),
    "from_bytes": (2, Frontier.from_bytes),
    "extend": (1, Frontier().extend),
    "Extension": (1, lambda leaves: Extension(Frontier(), leaves)),
    "inclusion": (3, lambda index, size, proof: root_from_inclusion(H, index, size, proof)),
    "consistency": (3, lambda size1, size2, proof: verify_consistency(size1, size2, proof, H, H)),
    "Checkpoint": (3, Checkpoint),
    "Checkpoint.parse": (1, Checkpoint.parse),
    "Signature.parse": (1, Signature.parse),
    "Verifier": (2, Verifier),
    "Verifier.parse": (1, Verifier.parse),
    "CosignatureVerifier.parse": (1, CosignatureVerifier.parse),
    "Verifier.verify": (2, LOG.verifier.verify),
    "CosignatureVerifier.verify": (2, WITNESS.verifier.verify),
    "Note.parse": (1, Note.parse),
    "open_note": (1, lambda data: open_note(data, [LOG.verifier])),
    "Signer": (2, Signer),
    "Signer.sign": (1, LOG.sign),
    "Cosigner": (2, Cosigner),
    "cosign": (1, lambda seconds: WITNESS.cosign(checkpoint(7), seconds)),
    "AddCheckpoint.parse": (1, AddCheckpoint.parse),
    "Policy.parse": (1, Policy.parse),
    "ProofFile": (3, lambda index, proof, extra: ProofFile(index, proof, COSIGNED, extra)),
    "ProofFile of a note": (1, lambda note: ProofFile(0, (), note)),
    "ProofFile.parse": (1, ProofFile.parse),
    "canonical": (1, canonical),
    "parse_entry": (1, parse_entry),
}


@pytest.mark.parametrize("name", READERS)
def test_values_of_any_strange_kind_raise_no_error_but_our_own(name: str):
    count, reader = READERS[name]
    for arguments in product(STRANGE, repeat=count):
        with suppress(TlogError):
            reader(*arguments)


@pytest.mark.parametrize("tile", [(HUGE, 0, 256), (0, HUGE, 1), (0, 0, -HUGE), (-HUGE, -HUGE, HUGE)])
def test_a_number_too_long_to_be_written_is_malformed(tile: tuple[int, int, int]):
    with pytest.raises(Malformed):
        tile_path(*tile)
    with pytest.raises(Malformed):
        split_tile(H, max(tile))


@pytest.mark.parametrize(
    "entries", [None, 1, "", b"", bytearray(), "ab", b"ab", [1], [None], ["ab"], [b"a", bytearray(b"b")], [Same(b"a")]]
)
def test_what_is_no_row_of_entries_has_no_root(entries: Any):
    with pytest.raises(MalformedEntry):
        root(entries)


def test_a_leaf_that_is_no_hash_is_not_taken_into_a_tree():
    for leaves in ([b"x", b"y"], [H, Same(H)], ["ab", "cd"], None, 1):
        with pytest.raises(MalformedFrontier):
            Frontier().extend(leaves)  # type: ignore[arg-type]


def test_what_says_that_it_equals_anything_proves_nothing():
    other = Same(b"z" * 32)
    for leaf, proof, claimed in [(H, [], other), (other, [], H), (H, [other], H)]:
        with pytest.raises(BadProof):
            verify_inclusion(leaf, 0, 1 + len(proof), proof, claimed)
        with pytest.raises(BadProof):
            verify_consistency(1, 1 + len(proof), proof, leaf, claimed)
    with pytest.raises(BadProof, match="not a list"):
        verify_inclusion(H, 0, 2, Shown([H]), root([b"x"]))


def test_what_says_that_it_equals_anything_is_not_parsed():
    for parse, data in [
        (Verifier.parse, LOG.vkey.encode() + b"="),
        (Note.parse, COSIGNED),
        (AddCheckpoint.parse, b"old 0\n\n" + COSIGNED),
        (Checkpoint.parse, checkpoint(7).format().encode()),
        (parse_tile_path, b"tile/0/000"),
        (parse_entry, b'{ "a":1}'),
    ]:
        for said in (Same(data), Spelled(data.decode())):
            with pytest.raises(Malformed):
                parse(said)  # type: ignore[operator]
    for text in [Spelled("x\n"), Spelled("— n AAAAAAAA\n")]:
        with pytest.raises(MalformedNote):
            LOG.sign(text)
        with pytest.raises(MalformedNote):
            Signature.parse(text)
    for name, key in [(Spelled("n"), H), ("n", Same(H))]:
        with pytest.raises(MalformedKey):
            Verifier(name, key)
    assert not LOG.verifier.verify(Same(b"x"), bytes(64))
