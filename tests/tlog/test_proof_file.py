import pytest

from ledger.tlog.errors import BadProof, BadSignature, Malformed, MalformedProofFile, TlogError
from ledger.tlog.proof_file import ProofFile, format_many
from tests.tlog.examples import (
    EXTENSION,
    LOG,
    OTHER,
    PROOF_FILE,
    PROOF_FILE_WITH_EXTRA,
    SIGNED,
    WITNESS,
    checkpoint,
    each_byte_changed,
)
from tests.tlog.naive import LEAVES, naive_inclusion

TEXT = PROOF_FILE.format()


def test_a_proof_file_reads_as_the_specification_says():
    lines = PROOF_FILE_WITH_EXTRA.format().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra b3BlbmluZw==", "index 4"]
    assert [len(line) for line in lines[3:7]] == [44, 44, 44, 0]
    assert "\n".join(lines[7:]) == PROOF_FILE_WITH_EXTRA.checkpoint_note.decode()


def test_a_proof_file_survives_its_text():
    for example in (PROOF_FILE, PROOF_FILE_WITH_EXTRA, ProofFile(0, (), checkpoint(1).sign(LOG))):
        assert ProofFile.parse(example.format()) == example
        assert ProofFile.parse(example.format().encode()) == example


def test_a_proof_file_proves_its_leaf_and_no_other():
    opened, note = PROOF_FILE_WITH_EXTRA.verify(LEAVES[4], LOG.verifier, [WITNESS.verifier])
    assert opened == checkpoint(7)
    assert len(note.verified) == 2
    with pytest.raises(BadProof):
        PROOF_FILE.verify(LEAVES[5], LOG.verifier)
    with pytest.raises(BadSignature):
        PROOF_FILE.verify(LEAVES[4], OTHER.verifier)


def test_every_one_byte_change_is_refused():
    for broken in each_byte_changed(TEXT.encode()):
        with pytest.raises(TlogError):
            ProofFile.parse(broken).verify(LEAVES[4], LOG.verifier)


def test_many_proof_files_are_the_single_ones():
    extras = [None, b"r" * 32, b"x", None]
    for given in (None, extras):
        files = format_many(EXTENSION, SIGNED, given)
        expected = [
            ProofFile(index, tuple(naive_inclusion(index, 0, 7)), SIGNED, extra).format()
            for index, extra in zip(range(3, 7), given or [None] * 4, strict=True)
        ]
        assert files == expected


HEAD = "c2sp.org/tlog-proof@v1\n"
H = "A" * 43 + "=\n"
NOTE = "\n" + SIGNED.decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD,
        HEAD + NOTE,
        TEXT[1:],
        TEXT[:-1],
        TEXT + "\n",
        TEXT.replace("@v1", "@v2"),
        HEAD + TEXT,
        HEAD + "index 04\n" + NOTE,
        HEAD + "index\n" + NOTE,
        HEAD + "4\n" + NOTE,
        HEAD + "index 4\nextra AA==\n" + NOTE,
        HEAD + "extra \nindex 4\n" + NOTE,
        HEAD + "extra AB==\nindex 4\n" + NOTE,
        HEAD + "extra AA==\n" * 2 + "index 4\n",
        HEAD + "extra  AA==\nindex 4\n" + NOTE,
        HEAD + "index 4\n" + H + "\n" + H + NOTE,
        HEAD + "index 4\nAAAA\n" + NOTE,
        HEAD + "index 4\n" + H * 64 + NOTE,
        HEAD + "index 9223372036854775808\n" + NOTE,
        HEAD + "index ٤\n" + NOTE,
        pytest.param(HEAD + f"extra {'A' * 87_384}AAAA\nindex 4\n{NOTE}", id="too much extra"),
        HEAD + "index 4\n" + H + "\njust text\n",
        HEAD + "index 4\n" + H + "\nnot a checkpoint\n\n— a AAAAAAAA\n",
        None,
        5,
        b"\xff",
        pytest.param("x" * 2_000_000, id="too long"),
    ],
)
def test_text_that_is_no_proof_file_is_malformed(text):
    with pytest.raises(Malformed):
        ProofFile.parse(text)


@pytest.mark.parametrize(
    "values", [(-1, ()), (2**63, ()), (0, (b"short",)), (0, (b"h" * 32,) * 64), (0, (), SIGNED, b"")]
)
def test_a_proof_file_that_cannot_be_written_cannot_be_made(values):
    with pytest.raises(MalformedProofFile):
        ProofFile(*values[:2], *(values[2:] or (SIGNED,)))
