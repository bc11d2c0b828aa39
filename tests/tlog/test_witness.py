from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import BadSignature, Malformed, MalformedCosignature, MalformedKey, MalformedNote
from ledger.tlog.note import Note, Signature, Verifier, open_note
from ledger.tlog.witness import AddCheckpoint, CosignatureVerifier, Cosigner, Declined, add_cosignatures, cosigned_at
from tests.tlog.examples import COSIGNED, LOG, ORIGIN, OTHER, REQUEST, SIGNED, WITNESS, checkpoint, each_byte_changed
from tests.tlog.naive import naive_consistency, naive_root

H = b"h" * 32


def test_a_cosignature_is_time_and_signature_over_the_published_message():
    cosignature = WITNESS.cosign(checkpoint(7), 1_679_315_147)
    assert cosignature.signature[:8] == (1_679_315_147).to_bytes(8, "big")
    message = b"cosignature/v1\ntime 1679315147\n" + checkpoint(7).format().encode()
    plain = Verifier("plain", WITNESS.verifier.public_key)
    assert plain.verify(message, cosignature.signature[8:])
    assert cosigned_at(cosignature) == 1_679_315_147


def test_the_cosigned_example_of_the_specification_parses():
    data = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 "
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    note = Note.parse(data)
    assert cosigned_at(note.signatures[1]) == 1_679_315_147
    assert note.format() == data


def test_a_witness_key_survives_its_text_and_is_not_a_log_key():
    assert CosignatureVerifier.parse(WITNESS.vkey) == WITNESS.verifier
    with pytest.raises(MalformedKey):
        CosignatureVerifier.parse(LOG.vkey)
    for broken in each_byte_changed(WITNESS.vkey.encode()):
        with pytest.raises(MalformedKey):
            CosignatureVerifier.parse(broken)


def test_a_cosignature_for_another_time_checkpoint_or_key_fails():
    good = WITNESS.cosign(checkpoint(7), 5)
    text = checkpoint(7).format().encode()
    assert WITNESS.verifier.verify(text, good.signature)
    assert not WITNESS.verifier.verify(checkpoint(8).format().encode(), good.signature)
    assert not Cosigner(WITNESS.name, b"v" * 32).verifier.verify(text, good.signature)
    for wrong in (b"", b"\0" * 72, good.signature[:-1], good.signature + b"\0", (6).to_bytes(8, "big")):
        assert not WITNESS.verifier.verify(text, wrong + good.signature[8:] if len(wrong) == 8 else wrong)


def test_a_cosignature_of_a_time_beyond_the_largest_fails_although_it_is_signed():
    text, key = checkpoint(7).format().encode(), Ed25519PrivateKey.from_private_bytes(WITNESS.private_key)
    for seconds, holds in [(2**63 - 1, True), (2**63, False)]:
        signature = key.sign(f"cosignature/v1\ntime {seconds}\n".encode() + text)
        assert WITNESS.verifier.verify(text, seconds.to_bytes(8, "big") + signature) is holds


@pytest.mark.parametrize("seconds", [-1, 2**63, 1.5, True, "5", None])
def test_a_time_that_cannot_be_written_is_not_signed(seconds):
    with pytest.raises(MalformedCosignature):
        WITNESS.cosign(checkpoint(7), seconds)


@pytest.mark.parametrize("blob", [b"", b"\0" * 71, b"\0" * 73, b"\x80" + b"\0" * 71])
def test_a_cosignature_of_another_shape_has_no_time(blob: bytes):
    with pytest.raises(MalformedCosignature):
        cosigned_at(Signature("w", b"1234", blob))
    assert not WITNESS.verifier.verify(b"text", blob)


@pytest.mark.parametrize("key", [b"", b"k" * 33, "k" * 32, None])
def test_a_witness_key_of_another_length_is_refused(key):
    with pytest.raises(MalformedKey):
        Cosigner("w", key)


# What a log does with a witness's answer


def test_the_cosignatures_of_known_witnesses_are_added_once():
    answer = (WITNESS.cosign(checkpoint(7), 5).format() + OTHER.signature("x\n").format()).encode()
    note = add_cosignatures(Note.parse(SIGNED), answer, [WITNESS.verifier])
    assert [signature.name for signature in note.signatures] == [ORIGIN, WITNESS.name]
    assert add_cosignatures(note, answer, [WITNESS.verifier]).format() == note.format()
    assert len(open_note(note.format(), [LOG.verifier, WITNESS.verifier]).verified) == 2


def test_an_answer_cannot_move_the_text_that_is_signed():
    other = Checkpoint("evil.example", 9, H)
    crafted = f"\n{other.format()}\n{WITNESS.cosign(other, 5).format()}".encode()
    with pytest.raises(MalformedNote):
        add_cosignatures(Note.parse(SIGNED), crafted, [WITNESS.verifier])


def test_an_answer_that_does_not_hold_is_refused():
    line = WITNESS.cosign(checkpoint(7), 5).format().encode()
    for answer in (b"", line[:-1], line + b"\n", line * 101, None, b"\xff\n", b"409\n"):
        with pytest.raises(MalformedNote):
            add_cosignatures(Note.parse(SIGNED), answer, [WITNESS.verifier])
    for answer in (WITNESS.cosign(checkpoint(8), 5).format().encode(), OTHER.signature("x\n").format().encode()):
        with pytest.raises(BadSignature):
            add_cosignatures(Note.parse(SIGNED), answer, [WITNESS.verifier])


# The decision of a witness


def status(request: AddCheckpoint, latest: Checkpoint | None, keys=(LOG.verifier,)) -> int:
    try:
        return 200 if request.decide(list(keys), latest) else 0
    except Declined as declined:
        return declined.status


def request(old_size: int, size: int, proof: list[bytes] | None = None) -> AddCheckpoint:
    proof = (naive_consistency(old_size, 0, size) if 0 < old_size < size else []) if proof is None else proof
    return AddCheckpoint(old_size, tuple(proof), Note.parse(checkpoint(size).sign(LOG)), checkpoint(size))


def test_a_request_survives_its_bytes():
    assert REQUEST.format().startswith(b"old 3\n")
    for example in (REQUEST, request(0, 5), request(5, 5)):
        assert AddCheckpoint.parse(example.format()) == example


def test_a_consistent_checkpoint_is_cosigned():
    for old_size in range(20):
        for size in range(old_size, 20):
            assert status(request(old_size, size), checkpoint(old_size)) == 200
    assert status(request(0, 9), None) == 200
    assert status(request(0, 0), None) == 200
    assert [line.name for line in REQUEST.decide([LOG.verifier], checkpoint(3)).verified] == [ORIGIN]


def test_each_refusal_has_its_status():
    assert status(REQUEST, checkpoint(3), keys=()) == 404
    assert status(REQUEST, checkpoint(3), keys=(OTHER.verifier,)) == 403
    forged = replace(REQUEST, note=Note(REQUEST.note.text, (replace(REQUEST.note.signatures[0], signature=b"x" * 64),)))
    assert status(forged, checkpoint(3)) == 403
    assert status(request(8, 7), checkpoint(8)) == 400
    assert status(REQUEST, None) == 409
    assert status(REQUEST, checkpoint(4)) == 409
    assert status(request(0, 7), checkpoint(3)) == 409
    assert status(request(3, 7, [H, H]), checkpoint(3)) == 422
    assert status(request(3, 7, []), checkpoint(3)) == 422
    assert status(REQUEST, Checkpoint(ORIGIN, 3, H)) == 422
    assert status(request(7, 7), Checkpoint(ORIGIN, 7, H)) == 422
    assert status(request(7, 7, [H]), checkpoint(7)) == 422
    assert status(request(0, 7, [H]), None) == 422


def test_an_empty_tree_with_another_root_is_not_cosigned():
    false = Checkpoint(ORIGIN, 0, naive_root(0, 1))
    assert status(AddCheckpoint(0, (), Note.parse(false.sign(LOG)), false), None) == 422


def test_a_conflict_tells_the_size_last_cosigned():
    with pytest.raises(Declined) as declined:
        REQUEST.decide([LOG.verifier], checkpoint(5))
    assert (declined.value.body, declined.value.content_type) == ("5\n", "text/x.tlog.size")


def test_every_one_byte_change_of_a_request_is_refused():
    for broken in each_byte_changed(REQUEST.format()):
        with pytest.raises((Malformed, Declined)):
            AddCheckpoint.parse(broken).decide([LOG.verifier], checkpoint(3))


BODY = REQUEST.format().decode()
LINE = "A" * 43 + "=\n"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "old",
        "old 3",
        BODY[1:],
        BODY.replace("old 3", "old 03"),
        BODY.replace("old 3", "old -3"),
        "\n" + BODY,
        BODY.replace("old 3", "old"),
        BODY.replace("old 3", "3"),
        BODY.replace("old 3", "old  3"),
        BODY + "\n",
        BODY.replace("old 3", "old ３"),
        BODY.replace("old 3", "old 9223372036854775808"),
        BODY.replace("\n", "\r\n"),
        "old 3\n" + LINE * 64 + "\n" + SIGNED.decode(),
        "old 3\nAAAA\n\n" + SIGNED.decode(),
        "old 3\n\n\n" + LINE,
        "old 3\n\ntext\n\n— a AAAAAAAA\n",
        pytest.param("x" * 3_000_000, id="too long"),
        None,
        7,
        b"\xff",
        bytearray(REQUEST.format()),
    ],
)
def test_bytes_that_are_no_request_are_malformed(body):
    with pytest.raises(Malformed):
        AddCheckpoint.parse(body)


def test_a_request_with_63_hashes_parses():
    body = "old 3\n" + LINE * 63 + "\n" + COSIGNED.decode()
    assert AddCheckpoint.parse(body.encode()).format() == body.encode()
