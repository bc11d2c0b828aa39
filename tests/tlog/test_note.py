from base64 import b64decode
from typing import Any

import pytest

from ledger.tlog.errors import BadSignature, MalformedKey, MalformedNote, TlogError
from ledger.tlog.note import Note, Signature, Signer, Verifier, open_note
from tests.tlog.examples import COSIGNED, LOG, OTHER, SIGNED, WITNESS, each_byte_changed

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
).encode()


def test_the_note_of_the_go_documentation_opens():
    note = open_note(GO_NOTE, [Verifier.parse(PETER), Verifier.parse(ENOCH)])
    assert [signature.name for signature in note.verified] == ["PeterNeumann", "EnochRoot"]
    assert note.format() == GO_NOTE


def test_a_key_of_the_go_documentation_signs_the_same_bytes():
    signer = Signer("PeterNeumann", b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:])
    assert signer.vkey == PETER
    text = Note.parse(GO_NOTE).text
    assert GO_NOTE.startswith(signer.sign(text))


def test_the_example_of_the_specification_parses_with_its_inner_blank_line():
    data = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ).encode()
    note = Note.parse(data)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert note.verified == ()
    assert note.format() == data


def test_known_keys_survive_their_text():
    for vkey in (PETER, ENOCH, "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8", LOG.vkey):
        assert Verifier.parse(vkey).vkey == vkey
    assert Verifier.parse(LOG.vkey.encode()) == LOG.verifier


def test_every_one_byte_change_of_a_key_is_refused():
    for vkey in (PETER, LOG.vkey):
        for broken in each_byte_changed(vkey.encode()):
            with pytest.raises(MalformedKey):
                Verifier.parse(broken)


def test_a_key_of_another_kind_is_refused():
    with pytest.raises(MalformedKey, match="of kind 1"):
        Verifier.parse(WITNESS.vkey)


@pytest.mark.parametrize("verifiers", [None, 7, LOG, LOG.verifier, LOG.vkey, [LOG.vkey], [None], b"x"])
def test_what_is_no_verifiers_is_refused(verifiers: Any):
    with pytest.raises(MalformedKey, match="with verifiers"):
        open_note(SIGNED, verifiers)


def test_every_one_byte_change_of_a_signed_note_is_refused():
    for broken in each_byte_changed(SIGNED):
        with pytest.raises(TlogError):
            open_note(broken, [LOG.verifier])


def test_every_one_byte_change_of_a_cosignature_is_refused():
    line = COSIGNED[len(SIGNED) :]
    for broken in each_byte_changed(line):
        with pytest.raises(TlogError):
            open_note(SIGNED + broken, [WITNESS.verifier])


def test_unknown_lines_are_ignored_also_with_a_known_name_or_id():
    text = Note.parse(SIGNED).text
    good, other = LOG.signature(text), OTHER.signature(text)
    same_name = Signature(LOG.name, other.key_id, other.signature)
    same_id = Signature(OTHER.name, good.key_id, b"?")
    note = open_note(Note(text, (other, same_name, good, same_id)).format(), [LOG.verifier])
    assert note.verified == (good,)
    assert note.signatures == (other, same_name, good, same_id)


def test_a_failing_line_of_a_known_key_rejects_the_note_also_beside_a_good_one():
    text = Note.parse(SIGNED).text
    good = LOG.signature(text)
    for bad in (LOG.signature(text + "more\n"), Signature(good.name, good.key_id, b"short")):
        for lines in [(good, bad), (bad, good), (bad,)]:
            with pytest.raises(BadSignature):
                open_note(Note(text, lines).format(), [LOG.verifier, OTHER.verifier])


def test_a_repeated_signature_counts_once():
    text = Note.parse(SIGNED).text
    good = LOG.signature(text)
    assert open_note(Note(text, (good, good)).format(), [LOG.verifier]).verified == (good,)


def test_no_trusted_signature_rejects_the_note():
    for verifiers in ([], [OTHER.verifier], [Verifier(OTHER.name, LOG.verifier.public_key)]):
        with pytest.raises(BadSignature):
            open_note(SIGNED, verifiers)


LINE = "— a AAAAAAAA\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        SIGNED[:-1],
        SIGNED + b"\n",
        SIGNED + b"x",
        b"\xff" + SIGNED,
        SIGNED.replace(b"\n", b"\r\n"),
        SIGNED.replace(b"7", b"7\0"),
        SIGNED.replace(b"7", b"\t7"),
        pytest.param(b"a" * 1_000_001, id="too long"),
        None,
        7,
        [SIGNED],
        bytearray(SIGNED),
        "\ud800\n\n" + LINE,
        "text\n\n" + LINE * 101,
        "t\n\n- a AAAAAAAA\n",
        "t\n\n— a  AAAAAAAA\n",
        "t\n\n— a AAAAAAAA \n",
        "t\n\n— a\u00a0b AAAAAAAA\n",
        "t\n\n— a+b AAAAAAAA\n",
        "t\n\n—  AAAAAAAA\n",
        "t\n\n— a AAAAAAA\n",
        "t\n\n— a AAAA\n",
        "t\n\n— a AAAAAA==\n",
        "t\0\n\n— a AAAAAAAA\n",
        "t\r\n\n— a AAAAAAAA\n",
        "t\t\n\n— a AAAAAAAA\n",
        "t\n\n— a AAAAAB==\n",
        "t\n\n— a AAAAAAAA\u2028— b AAAAAAAA\n",
        "t\n\n— a AAAA-_AA\n",
        "t\n\n— a AAAA AAAA\n",
        "t\n\n— a AAAAAA\n",
    ],
)
def test_bytes_that_are_no_note_are_malformed(data):
    with pytest.raises(MalformedNote):
        open_note(data, [LOG.verifier])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no newline",
        "a\r\n",
        "a\0\n",
        "\ud800\n",
        None,
        b"bytes\n",
        pytest.param("a" * 600_000 + "\n", id="too long"),
    ],
)
def test_a_text_that_cannot_be_a_note_is_not_signed(text):
    with pytest.raises(MalformedNote):
        LOG.sign(text)


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\n", "a\u2003b", "a\x7f\x00", "\ud800", "n" * 2000, None, b"name"]
)
def test_a_name_that_cannot_name_a_key_is_refused(name):
    with pytest.raises(MalformedKey):
        Signer(name, b"k" * 32)
    with pytest.raises(MalformedKey):
        Verifier(name, b"k" * 32)


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 64, "k" * 32, None])
def test_a_key_of_another_length_is_refused(key):
    with pytest.raises(MalformedKey):
        Signer("name", key)
    with pytest.raises(MalformedKey):
        Verifier("name", key)


def test_a_signer_does_not_show_its_key():
    assert "llll" not in repr(LOG)
    assert "wwww" not in repr(WITNESS)


@pytest.mark.parametrize("line", [None, 7, b"", SIGNED.split(b"\n")[-2] + b"\n"])
def test_a_signature_line_is_text(line):
    with pytest.raises(MalformedNote):
        Signature.parse(line)
