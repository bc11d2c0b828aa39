"""Our log checked by a verifier that we did not write (metamorphic-log, in Rust), and their verdicts against ours."""

from collections.abc import Callable

import metamorphic_log as theirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.note import Signer, Verifier, open_note
from ledger.tlog.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from tests.tlog.examples import COSIGNED, LOG, ORIGIN, OTHER, SIGNED, checkpoint, each_byte_changed
from tests.tlog.naive import LEAVES, naive_consistency, naive_inclusion, naive_node, naive_root


def holds(check: Callable[[], object], refusals: type[Exception] | tuple[type[Exception], ...]) -> bool:
    try:
        check()
    except refusals:
        return False
    return True


SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100, 255, 256, 257, 300]


def test_they_accept_our_proofs():
    for size in SIZES:
        root = naive_root(0, size)
        for index in {0, size // 3, size // 2, size - 1}:
            theirs.verify_inclusion(index, size, LEAVES[index], inclusion_proof(index, size, naive_node), root)
        for size1 in (other for other in SIZES if other <= size):
            proof = consistency_proof(size1, size, naive_node)
            theirs.verify_consistency(size1, size, proof, naive_root(0, size1), root)


def test_they_accept_our_checkpoints_and_proofs_under_them():
    older, newer = checkpoint(3).sign(LOG).decode(), SIGNED.decode()
    head = theirs.checkpoint_verify(newer, [LOG.vkey])
    assert (head.origin, head.size, bytes(head.root)) == (ORIGIN, 7, naive_root(0, 7))
    assert theirs.verify_signed_note(COSIGNED.decode(), [LOG.vkey, OTHER.vkey]) == 1
    for index in range(7):
        theirs.checkpoint_verify_inclusion(newer, [LOG.vkey], index, LEAVES[index], naive_inclusion(index, 0, 7))
    theirs.checkpoint_verify_consistency(older, newer, [LOG.vkey], naive_consistency(3, 0, 7))


@settings(max_examples=150, deadline=None, database=None)
@given(st.data())
def test_we_agree_on_every_bent_inclusion_proof(data: st.DataObject):
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    proof = data.draw(_bent(naive_inclusion(index, 0, size)))
    index, size = index + data.draw(st.integers(0, 1)), size + data.draw(st.integers(-1, 1))
    root = naive_root(0, size)
    ours = holds(lambda: verify_inclusion(LEAVES[index], index, size, proof, root), TlogError)
    assert ours == holds(lambda: theirs.verify_inclusion(index, size, LEAVES[index], proof, root), theirs.VerifyError)


@settings(max_examples=150, deadline=None, database=None)
@given(st.data())
def test_we_agree_on_every_bent_consistency_proof(data: st.DataObject):
    size2 = data.draw(st.integers(1, 40))
    size1 = data.draw(st.integers(1, size2))
    proof = data.draw(_bent(naive_consistency(size1, 0, size2)))
    size1, size2 = size1 + data.draw(st.integers(-1, 1)), size2 + data.draw(st.integers(-1, 1))
    arguments = (size1, size2, proof, naive_root(0, size1), naive_root(0, size2))
    ours = holds(lambda: verify_consistency(*arguments), TlogError)
    assert ours == holds(lambda: theirs.verify_consistency(*arguments), theirs.VerifyError)


@st.composite
def _bent(draw: st.DrawFn, proof: list[bytes]) -> list[bytes]:
    """The proof as it is, or with a hash dropped, doubled, changed or shortened."""
    place = draw(st.integers(0, max(0, len(proof) - 1)))
    head, tail = proof[:place], proof[place + 1 :]
    kept = proof[place : place + 1]
    others = [kept, kept, [], kept * 2, [LEAVES[7]], [naive_root(0, 2)], [b"h" * 31]]
    return [*head, *draw(st.sampled_from(others)), *tail]


def test_we_refuse_every_broken_note_that_they_refuse():
    for broken in each_byte_changed(SIGNED):
        try:
            text = broken.decode()
        except UnicodeDecodeError:
            continue
        assert not holds(lambda text=text: theirs.checkpoint_verify(text, [LOG.vkey]), theirs.VerifyError)
        assert not holds(lambda broken=broken: open_checkpoint(broken, LOG.verifier), TlogError)


@pytest.mark.parametrize("name", ["a", "example.com/log", "ü.example", "x" * 200])
def test_they_read_our_keys(name: str):
    signer = Signer(name, b"s" * 32)
    note = Checkpoint(name, 1, LEAVES[0]).sign(signer)
    assert theirs.verify_signed_note(note.decode(), [signer.vkey]) == 1
    assert open_note(note, [Verifier.parse(signer.vkey)]).text == Checkpoint(name, 1, LEAVES[0]).format()
