"""The program in a pack: its arithmetic, and what it makes of packs that are not as they were signed."""

import ast
import base64
import hmac
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from deploy.commands import packs as packs_commands
from deploy.pack import verify_pack
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note
from tests.packs.making import NOBODY, WITNESS, Packs, change, files, owner, problem, sign, verified
from tests.storage.log import Log

RFC_8032 = [  # section 7.1: public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe246"
        "55141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb"
        "00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc"
        "027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_signatures_of_rfc_8032_hold_and_those_beside_them_do_not(public: str, message: str, signature: str):
    key, said, signed = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert verify_pack.ed25519(key, said, signed)
    assert not verify_pack.ed25519(key, said + b"!", signed)
    r, s = signed[:32], int.from_bytes(signed[32:], "little")
    assert not verify_pack.ed25519(key, said, r + (s + verify_pack.ORDER).to_bytes(32, "little")), "s is not canonical"
    assert not verify_pack.ed25519(key, said, signed + b"\0")


def test_a_public_key_has_one_legal_spelling():
    for y in range(verify_pack.P, 2**255):  # 19 numbers that are others modulo P
        with pytest.raises(verify_pack.Wrong):
            verify_pack.point_of(y.to_bytes(32, "little"))
    with pytest.raises(verify_pack.Wrong):
        verify_pack.point_of((1 | 1 << 255).to_bytes(32, "little"))  # x = 0 has no sign
    assert verify_pack.point_of((1).to_bytes(32, "little")) == (0, 1, 1, 0)
    with pytest.raises(verify_pack.Wrong):
        verify_pack.point_of((1).to_bytes(33, "little"))


def test_it_says_of_signatures_what_another_library_says():
    chance = random.Random(8032)
    for number in range(24):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        public, said = private.public_key().public_bytes_raw(), chance.randbytes(number * 7)
        signed = private.sign(said)
        assert verify_pack.ed25519(public, said, signed)
        wrong = bytearray(public + signed)
        wrong[chance.randrange(96)] ^= 1 << chance.randrange(8)
        theirs = True
        try:
            Ed25519PublicKey.from_public_bytes(bytes(wrong[:32])).verify(bytes(wrong[32:]), said)
        except InvalidSignature:
            theirs = False
        try:
            ours = verify_pack.ed25519(bytes(wrong[:32]), said, bytes(wrong[32:]))
        except verify_pack.Wrong:
            ours = False
        assert ours == theirs == False  # noqa: E712


def test_the_program_is_one_file_that_python_3_8_reads_with_nothing_installed():
    source = Path(verify_pack.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    assert {str(name).split(".")[0] for name in modules} <= sys.stdlib_module_names


def test_a_key_that_is_none_is_used_wrongly(log: Log, case: Path):
    for option, vkey in (
        ("--vkey", "x"),
        ("--vkey", log.vkey[:-1]),
        ("--vkey", WITNESS.verifier.vkey),
        ("--witness", log.vkey),
    ):
        run = [sys.executable, "-I", "-S", "-B", str(case / "verify_pack.py"), option, vkey]
        done = subprocess.run(run, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(f"error: {vkey!r} is no such key\n")


def test_every_file_with_a_byte_changed_is_named(log: Log, case: Path):
    chance = random.Random(4)
    for name, content in files(case).items():
        path = case / name
        for at in {0, len(content) - 1, chance.randrange(len(content))}:
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << chance.randrange(7)]) + content[at + 1 :])
            assert problem(case, log).startswith(f"{name}: "), at
        for other in (content[:-1], content + b"\n", b""):
            path.write_bytes(other)
            assert problem(case, log).startswith(f"{name}: ")
        path.unlink()
        assert problem(case, log).startswith(name)
        path.write_bytes(content)
    assert verified(case, "--vkey", log.vkey)[0] == 0


def _exchange(name: str, first: int, second: int) -> Callable[[Path], None]:
    """Exchange two lines of a file but for the numbers that they begin with."""

    def exchange(pack: Path) -> None:
        lines = (pack / name).read_text(encoding="utf-8").split("\n")
        one, other = (re.match(r"(\d+ )?(.*)", lines[at]) for at in (first, second))
        assert one is not None
        assert other is not None
        lines[first], lines[second] = f"{one[1] or ''}{other[2]}", f"{other[1] or ''}{one[2]}"
        (pack / name).write_bytes("\n".join(lines).encode())

    return exchange


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda pack: change(pack / name, old, new)


def _drop_entry(pack: Path) -> None:
    lines = (pack / "entries.jsonl").read_bytes().split(b"\n")
    (pack / "entries.jsonl").write_bytes(b"\n".join(lines[:1] + lines[2:]))
    (pack / "proofs/3.tlog-proof").unlink()


def _drop_entry_and_claim(pack: Path) -> None:
    _drop_entry(pack)
    found = json.loads((pack / "pack.json").read_bytes())
    found["population"][1] = [4, 5]
    lines = (pack / "texts.txt").read_bytes().split(b"\n")
    (pack / "texts.txt").write_bytes(b"\n".join(lines[:1] + lines[2:]))
    (pack / "pack.json").write_bytes(verify_pack.json_of(found, 1))


def _drop_claim_and_add_its_promise(pack: Path) -> None:
    (pack / "proofs/10.tlog-proof").unlink()
    for name in ("entries.jsonl", "texts.txt"):
        lines = (pack / name).read_bytes().split(b"\n")
        (pack / name).write_bytes(b"\n".join(lines[:4] + lines[5:]))
    found = json.loads((pack / "pack.json").read_bytes())
    found |= {"population": [[3, 5], [6, 7], [11, 12]], "also": [0]}
    (pack / "pack.json").write_bytes(verify_pack.json_of(found, 1))


def _twice(pack: Path) -> None:
    lines = (pack / "promises.csv").read_bytes().split(b"\r\n")
    kept = lines[2].replace(b'"active"', b'"kept"')
    (pack / "promises.csv").write_bytes(b"\r\n".join([*lines[:2], kept, *lines[2:]]))


def _of_leaf_10(pack: Path) -> None:
    shutil.copy(pack / "proofs/10.tlog-proof", pack / "proofs/0.tlog-proof")


CHEATS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an entry that says something else": (_edit("entries.jsonl", '"channel":"phone"', '"channel":"email"'), "leaf 0"),
    "an entry spelled otherwise": (_edit("entries.jsonl", '"v":1', '"v": 1'), "leaf 0"),
    "two entries exchanged": (_exchange("entries.jsonl", 0, 2), "leaf"),
    "an entry left out": (_drop_entry, "entries.jsonl"),
    "an entry left out that is not said to be here": (_drop_entry_and_claim, "disclosure:D-1 is to be here as a whole"),
    "an entry left out of a stream that is only added to": (
        _drop_claim_and_add_its_promise,
        "pack.json: it adds events",
    ),
    "a proof of another leaf": (_of_leaf_10, "proofs/0.tlog-proof"),
    "a proof with another hash": (_exchange("proofs/0.tlog-proof", 2, 3), "proofs/0.tlog-proof"),
    "two texts exchanged": (_exchange("texts.txt", 0, 1), "leaf 0: it is not the text that the entry commits to"),
    "a text with another word": (_edit("texts.txt", "HYPERLINK", "HYPERLANE"), "leaf 0"),
    "a text said to be erased": (_edit("texts.txt", "\n3 ", "\n3 erased 0 [erased on 2026-03-01]\n"), "texts.txt"),
    "a table with another word": (_edit("timeline.csv", "HYPERLINK", "HYPERLANE"), "timeline.csv"),
    "a promise that is not here": (_edit("promises.csv", '\n"P-1",', '\n"P-8",'), "promises.csv"),
    "a promise twice, once as kept": (_twice, "promises.csv: it has other promises"),
    "a promise with a formula": (
        _edit("promises.csv", '"deliver"', '"=1+1"'),
        "promises.csv: it is not in its one legal",
    ),
    "a promise with a cell too many": (
        _edit("promises.csv", '"11"\r\n', '"11","kept"\r\n'),
        "promises.csv: it is not in",
    ),
    "a column twice": (
        _edit("promises.csv", '"customer_id"', '"standing"'),
        "promises.csv: it is not in its one legal",
    ),
    "a finding without quotes": (
        _edit("findings.csv", '"no-warning"', "no-warning"),
        "findings.csv: it is not in its one",
    ),
    "a promise of other length": (_edit("promises.csv", ',"3","0","11"', ',"2","0","11"'), "promises.csv"),
    "a promise that began elsewhere": (
        _edit("promises.csv", ',"3","0","11"', ',"3","1","11"'),
        "promise:P-1 begins and ends",
    ),
    "a finding shown elsewhere": (_edit("findings.csv", ',"yes",', ',"no",'), "findings.csv"),
    "a finding left out": (_edit("findings.csv", "no-warning", "overdue"), "totals.json"),
    "other totals": (_edit("totals.json", 'rows of timeline.csv": 6', 'rows of timeline.csv": 7'), "totals.json"),
    "a page with an event less": (_edit("report.html", "<tr><td>4</td>", "<!-- <tr> --><td>4</td>"), "report.html"),
    "a page with an event more": (_edit("report.html", "</tbody>", "<tr></tr></tbody>"), "report.html"),
    "a page with another word": (_edit("report.html", "HYPERLINK", "HYPERLANE"), "report.html"),
    "a page with another standing": (_edit("report.html", "<td>active</td>", "<td>kept</td>"), "report.html"),
    "a page with a finding less": (_edit("report.html", "<td>overdue</td>", "<td>-</td>"), "report.html"),
    "a page with another heading": (_edit("report.html", "<th>due at</th>", "<th>made at</th>"), "report.html"),
    "a page that hides its tables": (_edit("report.html", "<style>", "<style>tbody { display: none } "), "report.html"),
    "a page with a row above its table": (
        _edit("report.html", "</thead><tbody>", "<tr><td>none</td></tr></thead><tbody>"),
        "report.html",
    ),
    "a page about somebody else": (
        _edit("report.html", "names the case case-77", "names the case case-78"),
        "report.html",
    ),
    "a case of another name": (_edit("pack.json", '"case": "case-77"', '"case": "case-78"'), "does not name"),
    "a promise that was not asked for": (_edit("pack.json", '"case": "case-77"', '"promise": "P-8"'), "does not name"),
    "another time than that of the last event": (_edit("pack.json", '"as_of": "2026-', '"as_of": "2025-'), "leaf 0"),
    "a longer stream": (
        _edit("pack.json", '"promise:P-1": 3', '"promise:P-1": 4'),
        "promise:P-1 is to be here as a whole",
    ),
    "another selection": (_edit("pack.json", '"case": "case-77"', '"customer": "C-7"'), "leaf 0"),
    "a root that was never signed": (_edit("checkpoint", "\n19\n", "\n20\n"), "checkpoint"),
    "a page for Windows": (_edit("entries.jsonl", "\n", "\r\n"), "leaf 0"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_an_owner_who_signs_for_a_changed_pack_is_found_out(log: Log, case: Path, cheat: str):
    do, named = CHEATS[cheat]
    do(case)
    sign(case, owner(log))
    assert named in problem(case, log)
    code, said = verified(case, "--vkey", log.vkey)
    assert code == 1
    assert said.startswith("NOT AS SIGNED: ")
    assert said.count("\n") == 1


def test_a_file_more_a_link_a_pipe_and_a_path_that_leads_out_are_refused(log: Log, case: Path):
    for name in ("notes.txt", "proofs/5.tlog-proof", "proofs/../x", "proofs/007.tlog-proof", ".DS_Store"):
        path = case / name
        path.write_bytes(b"x")
        assert path.name in problem(case, log)
        path.unlink()
    outside = case.with_name("outside")
    for name in ("texts.txt", "proofs"):
        (case / name).rename(outside)
        (case / name).symlink_to(outside)
        assert problem(case, log) == f"{name} does not belong in an evidence pack"
        (case / name).unlink()
        outside.rename(case / name)
    original = (case / "texts.txt").read_bytes()
    (case / "texts.txt").unlink()
    os.mkfifo(case / "texts.txt")
    assert problem(case, log) == "texts.txt does not belong in an evidence pack"
    (case / "texts.txt").unlink()
    (case / "texts.txt").write_bytes(original)
    text = verify_pack.manifest_of(owner(log).name, files(case)) + f"{'0' * 64} 1 ../../etc/passwd\n"
    (case / "manifest").write_bytes(Note(text, (owner(log).signature(text),)).format())
    assert problem(case, log) == "../../etc/passwd: it is missing"


def test_what_a_pack_quotes_begins_no_line(log: Log, packs: Packs, case: Path, away: Path, capsys: Any):
    (case / "x\nAS SIGNED: 6 events\u202e\x1b[2J").write_bytes(b"")
    code, said = verified(case, "--vkey", log.vkey)
    assert (code, said.count("\n")) == (1, 1)
    assert said == "NOT AS SIGNED: x\\nAS SIGNED: 6 events\\u202e\\x1b[2J does not belong in an evidence pack\n"
    pack = packs.copy(away, "all")
    found = json.loads((pack / "pack.json").read_bytes())
    found["selected_by"] = {"from": "0\nPROVEN: promises.csv", "to": None}
    (pack / "pack.json").write_bytes(verify_pack.json_of(found, 1))
    entries = map(json.loads, (pack / "entries.jsonl").read_bytes().splitlines())
    shown = verify_pack.completeness(found, dict(enumerate(entries)))
    page = verify_pack.page_of(log.settings.origin, found, files(pack), shown)
    (pack / "report.html").write_bytes(page)
    sign(pack, owner(log))
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "What was recorded from 0\\nPROVEN: promises.csv until the end\n" in said
    with pytest.raises(typer.Exit):
        packs_commands.verify_pack_command(pack, log.vkey)
    assert "\nPROVEN: promises.csv" not in capsys.readouterr().out


def test_nothing_in_the_folder_is_run_but_the_program(log: Log, case: Path):
    for name in ("argparse", "base64", "os", "html"):
        (case / f"{name}.py").write_bytes(b"print('AS SIGNED: everything'); raise SystemExit(0)")
    for options in ((), ("-S",), ("-I",)):
        run = [sys.executable, "-B", *options, str(case / "verify_pack.py"), "--vkey", log.vkey]
        done = subprocess.run(run, capture_output=True, text=True, cwd=case)
        assert (done.returncode, done.stdout) == (1, "NOT AS SIGNED: argparse.py does not belong in an evidence pack\n")


def test_what_another_key_signed_is_refused_and_without_a_key_the_warning_is_loud(log: Log, case: Path):
    sign(case, NOBODY)
    assert "manifest: it is not signed by" in problem(case, log)
    key = (case / "keys.txt").read_text()
    (case / "keys.txt").write_text(f"log {NOBODY.vkey}\n")
    sign(case, NOBODY)
    assert problem(case, log).startswith("keys.txt: it names another key of the log than the one that you gave")
    checkpoint = Note.parse((case / "checkpoint").read_bytes()).text.split("\n", 1)[1]
    (case / "checkpoint").write_bytes(NOBODY.sign(f"{NOBODY.name}\n{checkpoint}"))
    for path in (case / "proofs").iterdir():
        head = path.read_bytes().split(b"\n\n")[0]
        path.write_bytes(head + b"\n\n" + (case / "checkpoint").read_bytes())
    page = (case / "report.html").read_text(encoding="utf-8").replace(log.settings.origin, NOBODY.name)
    (case / "report.html").write_bytes(page.encode())
    sign(case, NOBODY)
    code, said = verified(case)  # made up from end to end, and as signed: by nobody
    assert code == 0
    assert "WARNING: no --vkey was given" in said
    assert verified(case, "--vkey", log.vkey)[0] == 1
    assert verified(case, "--vkey", NOBODY.vkey)[1].startswith("AS SIGNED: 6 events of nobody.example/log")
    assert "WARNING" not in verified(case, "--vkey", NOBODY.vkey)[1]
    assert key != (case / "keys.txt").read_text()


def test_no_pack_makes_the_program_fail_otherwise_than_by_a_sentence(log: Log, case: Path):
    chance, original = random.Random(77), files(case)
    hostile = [
        b"",
        b"\n",
        b"\0\xff\xfe",
        b"[" * 60_000,
        b"1" * 6_000,
        b'{"population":[[0,1000000000000]],"also":[],"sample":null}',
        b'{"population":[[1000000000000,0],[0,1000000000000]],"also":[],"sample":null}',
        b"\xe2\x80\x94 a b\n\n\xe2\x80\x94 a b\n",
    ]
    for name in ("pack.json", "entries.jsonl", "texts.txt", "keys.txt", "checkpoint", "findings.csv", "report.html"):
        for content in hostile:
            (case / name).write_bytes(content)
            sign(case, owner(log))
            assert problem(case, log).isprintable()
        for _ in range(4):
            (case / name).write_bytes(_mutated(original[name], chance))
            sign(case, owner(log))
            with suppress(verify_pack.Wrong):  # a word of findings.csv alone, say, is nowhere else to compare with
                verify_pack.check(str(case), log.vkey)
        (case / name).write_bytes(original[name])
    for content in hostile:
        (case / "manifest").write_bytes(content)
        assert problem(case, log).startswith("manifest: ")


def test_as_many_entries_as_the_log_has_need_their_proofs_or_are_all_of_them(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    found = json.loads((pack / "pack.json").read_bytes())
    for first in (1, 5):  # as many leaves, other ones; and more than there are
        others = {"selected_by": {"case": "case-77"}, "population": [[first, 20]], "also": []}
        lines = [b"{}\n"] * (20 - first)
        (pack / "entries.jsonl").write_bytes(b"".join(lines))
        size = 19 if first == 1 else 3
        root = bytes(32)
        (pack / "checkpoint").write_bytes(Checkpoint(owner(log).name, size, root).sign(owner(log)))
        about = {"checkpoint": {"size": size, "root": base64.b64encode(root).decode()}}
        (pack / "pack.json").write_bytes(verify_pack.json_of(found | others | about, 1))
        sign(pack, owner(log))
        assert problem(pack, log) == "entries.jsonl: its entries do not make the root of the checkpoint"


def test_no_number_signature_or_table_too_many_costs_more_than_a_sentence(log: Log, case: Path):
    original = files(case)
    stream = re.sub(rb'"promise:P-1": 3', b'"promise:P-1": 1%s' % (b"0" * 15), original["pack.json"])
    huge = Checkpoint(owner(log).name, 10**15, bytes(32))
    about = json.loads(original["pack.json"]) | {"checkpoint": {"size": huge.size, "root": "A" * 43 + "="}}
    for changed, named in [
        ({"pack.json": stream}, "promise:P-1 is to be here as a whole"),
        (
            {"checkpoint": huge.sign(owner(log)), "pack.json": verify_pack.json_of(about, 1)},
            "proofs/0.tlog-proof: it is",
        ),
        (
            {"report.html": original["report.html"] + b"<tbody>\n" * 30_000},
            "it does not show what the other files hold",
        ),
    ]:
        for name, content in (original | changed).items():
            (case / name).write_bytes(content)
        sign(case, owner(log))
        assert named in problem(case, log)
    text, _, line = original["manifest"].rpartition(b"\n\n")
    (case / "manifest").write_bytes(text + b"\n\n" + line * 101)
    assert problem(case, log) == "manifest: it has more than 100 signatures"


POPULATIONS: list[Any] = [
    [[0, 10**12]],
    [[10**12, 0], [0, 10**12]],
    [[0, 1], [0, 1]],
    [[0, 1], [0, 1], [3, 5], [6, 7], [10, 12]],
    [[3, 5], [0, 1], [6, 7], [10, 12]],
    [[-1, 1], [3, 5], [6, 7], [10, 12]],
    [[0, 1], [3, 5], [6, 7], [10, 12], [99, 100]],
    [[0, 1.5]],
    [[0]],
    [],
    "01",
    None,
]


@pytest.mark.parametrize("population", POPULATIONS, ids=str)
def test_a_population_that_is_none_is_refused_at_once(log: Log, case: Path, population: Any):
    found = json.loads((case / "pack.json").read_bytes())
    for sample in (None, {"count": 2, "seed": "s"}):
        (case / "pack.json").write_bytes(verify_pack.json_of(found | {"population": population, "sample": sample}, 1))
        sign(case, owner(log))
        assert problem(case, log)


def test_an_entry_that_can_be_read_in_two_ways_is_refused_in_whatever_log_it_is(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    change(pack / "entries.jsonl", '{"actor":"u-1"', '{"actor":"u-2","actor":"u-1"')
    _sign_anew(pack, log)
    assert problem(pack, log) == "entries.jsonl, leaf 0: it is not in its one legal spelling"


def test_words_that_can_be_read_in_two_ways_are_refused_in_whatever_log_they_are(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    lines = (pack / "entries.jsonl").read_bytes().split(b"\n")
    entry, r, words = json.loads(lines[0]), b"r" * 32, b'{"text":"We may.","text":"We will."}'
    made = b"promise-ledger/personal/v1\0" + entry["event_id"].encode() + b"\0" + words
    entry["personal"]["commitment"] = base64.b64encode(hmac.digest(r, made, "sha256")).decode()
    lines[0] = verify_pack.json_of(entry)
    (pack / "entries.jsonl").write_bytes(b"\n".join(lines))
    texts = (pack / "texts.txt").read_bytes().split(b"\n")
    texts[0] = b"0 " + base64.b64encode(r) + b" " + words
    (pack / "texts.txt").write_bytes(b"\n".join(texts))
    _sign_anew(pack, log)
    assert problem(pack, log) == "texts.txt, leaf 0: it is not in its one legal spelling"


def _sign_anew(pack: Path, log: Log) -> None:
    """The log is what the entries of this pack of everything are, signed by its owner."""
    hashes = [verify_pack.leaf_hash(line) for line in (pack / "entries.jsonl").read_bytes().split(b"\n")[:-1]]
    root = verify_pack.root_of(hashes)
    (pack / "checkpoint").write_bytes(Checkpoint(log.settings.origin, len(hashes), root).sign(owner(log)))
    found = json.loads((pack / "pack.json").read_bytes())
    found["checkpoint"]["root"] = base64.b64encode(root).decode()
    (pack / "pack.json").write_bytes(verify_pack.json_of(found, 1))
    sign(pack, owner(log))


def _mutated(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + chance.randbytes(3) + content[at + chance.randrange(9) + 1 :]
