import pytest

from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import BadSignature, MalformedCheckpoint, TlogError
from ledger.tlog.note import Note, Signer
from tests.tlog.examples import COSIGNED, LOG, ORIGIN, OTHER, SIGNED, WITNESS, checkpoint, each_byte_changed

TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_the_example_of_the_specification_survives():
    parsed = Checkpoint.parse(TEXT)
    assert (parsed.origin, parsed.size) == ("example.com/behind-the-sofa", 20852163)
    assert parsed.format() == TEXT
    assert Checkpoint.parse(TEXT.encode()) == parsed
    assert Checkpoint.parse("go.sum database tree\n0\n" + TEXT.split("\n")[2] + "\n").origin == "go.sum database tree"


ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize("size", [0, 2**63 - 1])
def test_the_smallest_and_the_largest_size_survive(size: int):
    assert Checkpoint.parse(Checkpoint("o", size, bytes(32)).format()).size == size


@pytest.mark.parametrize(
    "size", ["", "01", "+1", "-1", " 1", "1 ", "1_0", "1.0", "1e3", "０", "١", "0x1", "9223372036854775808", "9" * 5000]
)
def test_a_size_in_another_spelling_is_malformed(size: str):
    with pytest.raises(MalformedCheckpoint):
        Checkpoint.parse(f"origin\n{size}\n{ROOT}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n\n",
        f"\n1\n{ROOT}\n",
        f"o\n1\n{ROOT}",
        f"o\n1\n{ROOT}\n\n",
        f"o\n1\n{ROOT}\nextension\n",
        f"o\n1\n{ROOT}\nextension",
        f"o\r\n1\n{ROOT}\n",
        f"o\0\n1\n{ROOT}\n",
        f"o\n1\n{ROOT[:-1]}\n",
        f"o\n1\n{ROOT[:-2]}J=\n",
        f"o\n1\n {ROOT}\n",
        f"o\n1\n{ROOT}=\n",
        "o\n1\n\n",
        "o\n1\nAAAA\n",
        f"{'o' * 5000}\n1\n{ROOT}\n",
        f"\ud800\n1\n{ROOT}\n",
        b"\xff\n1\n" + ROOT.encode() + b"\n",
        None,
        5,
        bytearray(TEXT.encode()),
    ],
)
def test_text_that_is_no_checkpoint_is_malformed(text):
    with pytest.raises(MalformedCheckpoint):
        Checkpoint.parse(text)


@pytest.mark.parametrize("values", [("", 1, b"r" * 32), ("o", -1, b"r" * 32), ("o", 2**63, b"r" * 32), ("o", 1, b"r")])
def test_a_checkpoint_that_cannot_be_written_cannot_be_made(values):
    with pytest.raises(MalformedCheckpoint):
        Checkpoint(*values)


def test_a_signed_checkpoint_opens_with_its_cosignatures():
    assert open_checkpoint(SIGNED, LOG.verifier)[0] == checkpoint(7)
    opened, note = open_checkpoint(COSIGNED, LOG.verifier, [WITNESS.verifier])
    assert opened == checkpoint(7)
    assert [signature.name for signature in note.verified] == [ORIGIN, WITNESS.name]


def test_every_one_byte_change_of_a_signed_checkpoint_is_refused():
    for broken in each_byte_changed(SIGNED):
        with pytest.raises(TlogError):
            open_checkpoint(broken, LOG.verifier)


def test_a_witness_alone_does_not_make_a_checkpoint():
    lines = Note.parse(COSIGNED).signatures
    with pytest.raises(BadSignature):
        open_checkpoint(Note(checkpoint(7).format(), lines[1:]).format(), LOG.verifier, [WITNESS.verifier])


def test_a_checkpoint_of_another_origin_is_refused_although_the_key_is_trusted():
    for signer in (OTHER, Signer(OTHER.name, b"l" * 32)):
        with pytest.raises(BadSignature):
            open_checkpoint(checkpoint(7).sign(signer), signer.verifier)
