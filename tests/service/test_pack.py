"""Evidence packs: made from a real log, checked by `verify_pack.py` alone, in a Python that has nothing installed."""

import ast
import base64
import csv
import html
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from deploy import cli
from deploy.exporting import ExportRefused
from deploy.pack import verify_pack
from deploy.pack.publishing import export_pack
from deploy.pack.selecting import Sample, Wanted
from ledger.app import Submission
from ledger.storage.sql import QUERIES
from ledger.timestamps import request_for
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Signer, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from ledger.tlog.witness import Cosigner
from projections.runner import Runner
from tests.conftest import _copy, new_data_dir, remove
from tests.service.test_timestamps import OPENSSL, Authority
from tests.storage.log import NOON, Log, claim, make, submission, tell, told

ERASING = 13
"""The leaf that orders the erasure of C-2."""
FORMULA = '=HYPERLINK("http://evil.example","open")'
MARKUP = "<script>alert('x')</script> & \"quotes\"\nsecond line, äöü \u202egnirts"
NOBODY = Signer("nobody.example/log", b"n" * 32)
WITNESS = Cosigner("witness.example/w", b"w" * 32)


@pytest.fixture(scope="module")
def log(postgres_url: str, _readable_template: str) -> Iterator[Log]:
    """A log with a story: a case, an outage of many customers, a refusal, an erased customer, a falsehood that others
    rest on."""
    directory = new_data_dir()
    with _copy(postgres_url, _readable_template) as url:
        log = Log(url, directory)
        ledger = log.open()
        case = {"case_id": "case-77"}
        told(ledger, make(1, text=FORMULA, **case), make(2, text=MARKUP), make(3), tell(1, **case))
        log.now += timedelta(hours=6)
        outage = {"outage_id": "U-1"}
        told(
            ledger,
            submission("outage.declare", "u-1", tool="crm", **outage),
            *(
                submission(
                    "note.take",
                    f"n-{number}",
                    capture_id=f"N-{number}",
                    captured_at=NOON,
                    customer_id=f"C-{number}",
                    text=f"note {number}",
                    read_back=True,
                    **outage,
                    **more,
                )
                for number, more in ((1, case), (3, {}))
            ),
            claim(9),
        )
        log.now += timedelta(days=3)
        about = {"customer_id": "C-1", "about": {"promise_id": "P-1"}}
        due = NOON + timedelta(days=5)
        told(
            ledger,
            submission("followup.schedule", "f-1", followup_id="F-1", due_at=due, owner="u-1", **about),
            claim(1, text="-done"),
            submission("promise.dispute", "x-1", promise_id="P-1", text="No.", occurred_at=NOON + timedelta(days=2)),
            submission("promise.claim_kept", "k-2", promise_id="P-2", text="Done."),
            submission("subject.erase", "e-2", customer_id="C-2", grounds="art-17-1-a"),
            submission(
                "subject.complete_erasure", "e-3", customer_id="C-2", through_leaf=13, keys=1, texts=2, letters=0
            ),
            say(3, customer_id="C-3", about={"promise_id": "P-3"}),
            say(4, customer_id="C-1", about={"promise_id": "P-1"}, based_on=["D-3"]),
            submission("disclosure.falsify", "x-3", disclosure_id="D-3", known_since=NOON, why="It was made up."),
            submission(
                "problem.detect",
                "p-1",
                problem_id="X-1",
                known_since=NOON,
                detected_by="us",
                severity=2,
                affected=["C-3", "C-1"],
                owner="u-1",
                summary="The lorry stands still.",
            ),
        )
        ledger.close()
        log._opened.clear()
        yield log
    remove(directory)


def say(number: int, **data: Any) -> Submission:
    """D-<number> is told, and no next news is promised."""
    terms = {
        "disclosure_id": f"D-{number}",
        "text": f"told {number}",
        "owner": "u-1",
        "apology": True,
        "basis": "known",
    }
    return submission("disclosure.make", f"d-{number}", channel="phone", **terms | data)


class Packs:
    """One pack of each kind, made once; a test works on a copy of its own."""

    def __init__(self, log: Log, directory: Path) -> None:
        self._log, self._directory = log, directory

    def copy(self, target: Path, by: str, value: str | None = None) -> Path:
        original = self._directory / f"{by}-{value}"
        if not original.exists():
            export(self._log, original, by, value)
        shutil.copytree(original, target)
        return target


@pytest.fixture(scope="module")
def packs(log: Log, tmp_path_factory: pytest.TempPathFactory) -> Packs:
    return Packs(log, tmp_path_factory.mktemp("packs"))


@pytest.fixture
def case(packs: Packs, tmp_path: Path) -> Path:
    """A pack of case-77: 6 of 19 events, with proofs."""
    return packs.copy(tmp_path / "case", "case", "case-77")


@pytest.fixture
def away(tmp_path: Path) -> Path:
    return tmp_path / "pack"


def export(log: Log, directory: Path, by: str = "all", value: str | None = None, **more: Any) -> Path:
    wanted = Wanted(by, value, more.pop("start", None), more.pop("stop", None))  # type: ignore[arg-type]
    export_pack(log.url, log.secrets, directory, wanted, **more)
    return directory


def verified(pack: Path, *options: str) -> tuple[int, str]:
    """What a bare Python says that runs the program in the pack: no site packages, nothing of the environment."""
    run = [sys.executable, "-I", "-S", "-B", "-W", "error", str(pack / "verify_pack.py"), *options]
    done = subprocess.run(run, capture_output=True, text=True, cwd="/")
    assert done.stderr == ""
    return done.returncode, done.stdout


def files(pack: Path) -> dict[str, bytes]:
    return {path.relative_to(pack).as_posix(): path.read_bytes() for path in pack.rglob("*") if path.is_file()}


def sign(pack: Path, signer: Signer) -> None:
    """The manifest says what the files are now, signed: what a dishonest owner of the log could do."""
    text = verify_pack.manifest_of(signer.name, files(pack))
    (pack / "manifest").write_bytes(Note(text, (signer.signature(text),)).format())


def owner(log: Log) -> Signer:
    return Signer(log.settings.origin, log.secrets.log)


def problem(pack: Path, log: Log, **more: Any) -> str:
    with pytest.raises(verify_pack.Wrong) as found:
        verify_pack.check(str(pack), log.vkey, **more)
    return str(found.value)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def leaves(pack: Path) -> list[int]:
    rows = csv.DictReader(io.StringIO((pack / "timeline.csv").read_text(encoding="utf-8"), newline=""))
    return [int(row["leaf_index"]) for row in rows]


def sql(log: Log, condition: str, *parameters: Any) -> list[int]:
    query = "SELECT leaf FROM (SELECT notification_id - 1 AS leaf, originator_id AS stream,"
    query += " convert_from(state, 'UTF8')::jsonb AS entry FROM ledger.events) AS e"
    return [row[0] for row in log.ask(f"{query} WHERE {condition} ORDER BY leaf", *parameters)]


# ---- The arithmetic of the program

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


# ---- What is selected


def test_all_is_every_event_and_needs_no_proofs(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    assert leaves(pack) == sql(log, "true")
    assert not (pack / "proofs").exists()
    assert (pack / "entries.jsonl").read_bytes() == b"".join(state + b"\n" for state in log.states())
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert f"AS SIGNED: {len(log.states())} events of {log.settings.origin}" in said
    assert "every event of the log up to the checkpoint is here" in said


@pytest.mark.parametrize("customer", ["C-1", "C-2", "C-3"])
def test_a_customer_is_every_event_that_carries_them(log: Log, packs: Packs, away: Path, customer: str):
    pack = packs.copy(away, "customer", customer)
    assert leaves(pack) == sql(log, "entry ->> 'customer_id' = %s", customer)
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "is the owner's signed word, and no proof" in said


def test_a_case_is_whole_streams_but_of_an_outage_only_what_names_it(log: Log, case: Path):
    whole = "stream IN ('promise:P-1', 'disclosure:D-1', 'promise:D-1:next-update')"
    assert leaves(case) == sql(log, f"{whole} OR entry ->> 'case_id' = 'case-77'")
    assert json.loads((case / "pack.json").read_bytes())["streams"]["outage:U-1"] == 3
    code, said = verified(case, "--vkey", log.vkey)
    assert code == 0
    assert "3 of 4 streams are here from their first version" in said
    assert b"note 3" not in b"".join(files(case).values()), "the words of another customer in the same outage"


def test_a_promise_is_its_stream_and_the_streams_that_name_it(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "promise", "P-1")
    assert leaves(pack) == sql(log, "stream IN ('promise:P-1', 'disclosure:D-1', 'disclosure:D-4', 'followup:F-1')")
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "4 of 4 streams" in said


def test_a_time_is_what_was_recorded_from_the_one_moment_on_and_before_the_other(log: Log, away: Path):
    start, stop = NOON + timedelta(hours=6), NOON + timedelta(days=3)
    pack = export(log, away / "both", "from", start=start, stop=stop)
    between = "(entry ->> 'recorded_at')::timestamptz BETWEEN %s AND %s"
    assert leaves(pack) == sql(log, between, start, stop - timedelta(microseconds=1)) == [5, 6, 7, 8]
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "no event from leaf 5 to leaf 8 is left out" in said
    to = [0, 1, 2, 3, 4, ERASING]  # because of the words of C-2, at leaf 1
    assert leaves(export(log, away / "to", "from", stop=start)) == to
    assert leaves(export(log, away / "open", "from", start=start)) == list(range(5, len(log.states())))


def test_a_time_that_the_events_are_not_of_is_found_even_if_signed_for(log: Log, away: Path):
    start, stop = NOON + timedelta(hours=6), NOON + timedelta(days=3)
    pack = export(log, away, "from", start=start, stop=stop)
    original = (pack / "pack.json").read_bytes()
    for old, new in (
        ('"from": "2026-03-01T18:00:00Z"', '"from": "2026-03-01T18:00:00.5Z"'),
        ("2026-03-04T12", "2026-03-01T18"),
    ):
        change(pack / "pack.json", old, new)
        sign(pack, owner(log))
        assert problem(pack, log) == "entries.jsonl, leaf 5: it was recorded at another time"
        (pack / "pack.json").write_bytes(original)


def test_what_nobody_recorded_is_refused(log: Log, away: Path):
    for by, value in (("customer", "C-none"), ("case", "case-none"), ("promise", "P-none")):
        with pytest.raises(ExportRefused, match="no event"):
            export(log, away, by, value)
    with pytest.raises(ExportRefused, match="no checkpoint of 3 events"):
        export(log, away, size=3)
    assert not away.parent.exists() or list(away.parent.iterdir()) == []


def test_findings_and_promises_are_those_of_the_report_as_of_the_checkpoint(log: Log, packs: Packs, away: Path):
    Runner(log.url, log.secrets).catch_up()
    pack = packs.copy(away, "all")
    as_of = json.loads((pack / "pack.json").read_bytes())["as_of"]
    opened = "opened_at <= %s AND NOT prevented"
    known = log.ask(f"SELECT code, subject, opened_by, closed_by FROM audit.finding_history WHERE {opened}", as_of)
    rows = verify_pack.rows_of((pack / "findings.csv").read_bytes())
    found = [(row["code"], row["subject"], row["opened_by"], row["closed_by"]) for row in rows]
    assert sorted(found) == sorted(tuple("" if each is None else str(each) for each in row) for row in known)
    assert {"overdue", "claimed-not-verified"} <= {row["code"] for row in rows}
    stood = (
        "SELECT promise_id, standing, fulfilment, timeliness, version::text FROM audit.promises_as_of(known_at => %s)"
    )
    rows = verify_pack.rows_of((pack / "promises.csv").read_bytes())
    names = ("promise_id", "standing", "fulfilment", "timeliness", "events")
    assert sorted(tuple(row[name] for name in names) for row in rows) == sorted(log.ask(stood, as_of))


def test_findings_of_a_pack_touch_its_customers_and_nobody_else(case: Path, packs: Packs, away: Path):
    found, caused_elsewhere = {}, ("rests-on-falsehood", "undisclosed-problem")
    for by, value in (("case", "case-77"), ("promise", "P-1"), ("customer", "C-1"), ("customer", "C-3")):
        pack = case if by == "case" else packs.copy(away / f"{by}-{value}", by, value)
        rows = verify_pack.rows_of((pack / "findings.csv").read_bytes())
        assert {row["customer_id"] for row in rows} == {"C-3" if value == "C-3" else "C-1"}
        found[value] = {(row["subject"], row["proven_here"]) for row in rows if row["code"] in caused_elsewhere}
        assert verify_pack.check(str(pack))["entries"] == len(leaves(pack))
    falsehood, problem = ("disclosure:D-4", "no"), ("problem:X-1", "no")  # recorded of C-3
    assert found["case-77"] == set()
    assert found["P-1"] == {falsehood}
    assert found["C-1"] == {falsehood, problem}
    assert found["C-3"] == {("problem:X-1", "yes")}
    rows = verify_pack.rows_of((away / "customer-C-3/findings.csv").read_bytes())
    assert "correction-owed" in {row["code"] for row in rows}


# ---- Samples, and the same again


def test_a_sample_is_the_smallest_hashes_of_the_seed_and_can_be_drawn_again(log: Log, away: Path):
    pack = export(log, away / "one", sample=Sample(5, "2026-audit"))
    by_hash = sorted(range(len(log.states())), key=lambda leaf: sha256(f"2026-audit\n{leaf}".encode()).digest())
    drawn = {int(name[7:-11]) for name in files(pack) if name.startswith("proofs/")}
    also = set(json.loads((pack / "pack.json").read_bytes())["also"])
    assert drawn - also <= set(by_hash[:5]) <= drawn
    assert also <= set(sql(log, "entry ->> 'type' = 'subject.erasure_requested'"))
    assert verified(pack, "--vkey", log.vkey)[0] == 0
    assert files(export(log, away / "two", sample=Sample(5, "2026-audit"))) == files(pack)
    assert leaves(export(log, away / "other", sample=Sample(5, "2027-audit"))) != leaves(pack)
    assert leaves(export(log, away / "many", sample=Sample(99, "x"))) == list(range(len(log.states())))


def test_another_sample_than_the_seed_draws_is_found_even_if_signed_for(log: Log, away: Path):
    pack = export(log, away, sample=Sample(3, "s"))
    change(pack / "pack.json", '"seed": "s"', '"seed": "t"')
    sign(pack, owner(log))
    assert verified(pack, "--vkey", log.vkey)[0] == 1


# ---- What a changed pack is found by


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
    (pack / "pack.json").write_bytes(verify_pack.pretty(found))


def _of_leaf_10(pack: Path) -> None:
    shutil.copy(pack / "proofs/10.tlog-proof", pack / "proofs/0.tlog-proof")


CHEATS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an entry that says something else": (_edit("entries.jsonl", '"channel":"phone"', '"channel":"email"'), "leaf 0"),
    "an entry spelled otherwise": (_edit("entries.jsonl", '"v":1', '"v": 1'), "leaf 0"),
    "two entries exchanged": (_exchange("entries.jsonl", 0, 2), "leaf"),
    "an entry left out": (_drop_entry, "entries.jsonl"),
    "an entry left out that is not said to be here": (_drop_entry_and_claim, "disclosure:D-1 is to be here as a whole"),
    "a proof of another leaf": (_of_leaf_10, "proofs/0.tlog-proof"),
    "a proof with another hash": (_exchange("proofs/0.tlog-proof", 2, 3), "proofs/0.tlog-proof"),
    "two texts exchanged": (_exchange("texts.txt", 0, 1), "leaf 0: it is not the text that the entry commits to"),
    "a text with another word": (_edit("texts.txt", "HYPERLINK", "HYPERLANE"), "leaf 0"),
    "a text said to be erased": (_edit("texts.txt", "\n3 ", "\n3 erased 0 [erased on 2026-03-01]\n"), "texts.txt"),
    "a table with another word": (_edit("timeline.csv", "HYPERLINK", "HYPERLANE"), "timeline.csv"),
    "a promise that is not here": (_edit("promises.csv", "\nP-1,", "\nP-8,"), "promises.csv"),
    "a promise of other length": (_edit("promises.csv", ",3,0,11", ",2,0,11"), "promises.csv"),
    "a finding shown elsewhere": (_edit("findings.csv", ",yes,", ",no,"), "findings.csv"),
    "a finding left out": (_edit("findings.csv", "no-warning", "overdue"), "totals.json"),
    "other totals": (_edit("totals.json", '"entries": 6', '"entries": 7'), "totals.json"),
    "a page with an event less": (_edit("report.html", '<tr id="leaf-4">', "<tr>"), "report.html"),
    "a page with an event more": (_edit("report.html", "</tbody>", '<tr id="leaf-5"></tbody>'), "report.html"),
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


def test_what_another_key_signed_is_refused_and_without_a_key_the_warning_is_loud(log: Log, case: Path):
    sign(case, NOBODY)
    assert "manifest: it is not signed by" in problem(case, log)
    key = (case / "keys.txt").read_text()
    (case / "keys.txt").write_text(f"log {NOBODY.vkey}\n")
    sign(case, NOBODY)
    assert problem(case, log) == "keys.txt: it names another key of the log than the one that you gave"
    checkpoint = Note.parse((case / "checkpoint").read_bytes()).text.split("\n", 1)[1]
    (case / "checkpoint").write_bytes(NOBODY.sign(f"{NOBODY.name}\n{checkpoint}"))
    for path in (case / "proofs").iterdir():
        head = path.read_bytes().split(b"\n\n")[0]
        path.write_bytes(head + b"\n\n" + (case / "checkpoint").read_bytes())
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
            with suppress(verify_pack.Wrong):  # a word of the page alone, say, is nowhere else to compare with
                verify_pack.check(str(case), log.vkey)
        (case / name).write_bytes(original[name])
    for content in hostile:
        (case / "manifest").write_bytes(content)
        assert problem(case, log).startswith("manifest: ")


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
        (case / "pack.json").write_bytes(verify_pack.pretty(found | {"population": population, "sample": sample}))
        sign(case, owner(log))
        assert problem(case, log)


def test_an_entry_that_can_be_read_in_two_ways_is_refused_in_whatever_log_it_is(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    change(pack / "entries.jsonl", '{"actor":"u-1"', '{"actor":"u-2","actor":"u-1"')
    hashes = [verify_pack.leaf_hash(line) for line in (pack / "entries.jsonl").read_bytes().split(b"\n")[:-1]]
    root = verify_pack.root_over(hashes)
    (pack / "checkpoint").write_bytes(Checkpoint(log.settings.origin, len(hashes), root).sign(owner(log)))
    found = json.loads((pack / "pack.json").read_bytes())
    found["checkpoint"]["root"] = base64.b64encode(root).decode()
    (pack / "pack.json").write_bytes(verify_pack.pretty(found))
    sign(pack, owner(log))
    assert problem(pack, log) == "entries.jsonl, leaf 0: it is not in its one legal spelling"


def _mutated(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + chance.randbytes(3) + content[at + chance.randrange(9) + 1 :]


# ---- What the tables and the page do to their readers


def test_no_cell_is_a_formula_and_no_word_of_the_page_is_markup(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    found = {row["leaf_index"]: row for row in verify_pack.rows_of((pack / "timeline.csv").read_bytes())}
    assert found["0"]["text"] == "'" + FORMULA
    assert found["10"]["text"] == "'-done"
    for name in ("timeline.csv", "promises.csv", "findings.csv"):
        for row in csv.reader(io.StringIO((pack / name).read_text(encoding="utf-8"), newline="")):
            assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    page = (pack / "report.html").read_text(encoding="utf-8")
    assert not re.search(
        r"<(script|img|link|iframe|object|a|form|base)\b|\bon\w+=|javascript:|https?:", page.split("<body>")[0]
    )
    body = page.split("<body>")[1]
    assert {*re.findall(r"<(\w+)", body)} == {
        "h1",
        "h2",
        "p",
        "code",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
    }
    assert html.escape(FORMULA) in body
    assert "default-src 'none'" in page


def test_words_with_markup_newlines_and_hidden_signs_stay_words():
    assert verify_pack.cell(MARKUP) == MARKUP.replace("\u202e", "\\u202e")
    for formula in ("=1", "+1", "-1", "@a", "\t=1", " =1", "\n=1", "＝1", "＋1", "－1", "＠1"):
        assert verify_pack.cell(formula) == "'" + formula
    for harmless in ("", None, 0, "1-1", "a=b", "'=1"):
        assert verify_pack.cell(harmless) == ("" if harmless is None else str(harmless))
    assert verify_pack.visible("a\0\r\x1b[2J\u2066b") == "a\\u0000\\u000d\\u001b[2J\\u2066b"
    rows = verify_pack.rows_of(verify_pack.csv_of(["a", "b"], [['x,"y"\n', 'ä;"']]))
    assert rows == [{"a": 'x,"y"\n', "b": 'ä;"'}]


# ---- Erased customers


def test_what_was_erased_is_nowhere_and_its_order_is_proven(log: Log, packs: Packs, away: Path):
    for by, value in (("all", None), ("customer", "C-2"), ("promise", "P-2")):
        pack = packs.copy(away / by, by, value)
        everything = b"".join(files(pack).values())
        assert MARKUP.split()[0].encode() not in everything
        assert b"Done." not in everything
        assert f"1 erased {ERASING} [erased on 2026-03-04]\n" in (pack / "texts.txt").read_text()
        assert "[erased on 2026-03-04]" in (pack / "report.html").read_text()
        assert verified(pack, "--vkey", log.vkey)[0] == 0
    assert json.loads((away / "promise/pack.json").read_bytes())["also"] == [ERASING]


def test_an_erasure_that_nothing_orders_is_found_even_if_signed_for(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "promise", "P-2")
    for order in ("1", "12", "99", "-1"):
        change(pack / "texts.txt", f"1 erased {ERASING} ", f"1 erased {order} ")
        sign(pack, owner(log))
        assert "texts.txt, leaf 1" in problem(pack, log)
        change(pack / "texts.txt", f"1 erased {order} ", f"1 erased {ERASING} ")
    change(pack / "texts.txt", "[erased on 2026-03-04]", "[erased on 2026-03-05]")
    sign(pack, owner(log))
    assert "does not order its erasure" in problem(pack, log)


# ---- The same again, other checkpoints, witnesses


def test_the_same_is_exported_byte_for_byte_also_after_the_log_has_grown(readable: str, data_dir: Path, away: Path):
    log = Log(readable, data_dir)
    told(log.open(), make(1), make(2))
    log.close()
    first = export(log, away / "first", "customer", "C-1")
    assert files(export(log, away / "again", "customer", "C-1")) == files(first)
    log.now += timedelta(days=2)
    told(log.open(), tell(1), make(8), claim(1))
    log.close()
    assert leaves(export(log, away / "grown", "customer", "C-1")) == [0, 2, 3, 4, 5]
    assert files(export(log, away / "then", "customer", "C-1", size=2)) == files(first)
    log.now += timedelta(days=1)
    told(log.open(), submission("subject.erase", "e-1", customer_id="C-1", grounds="art-17-1-a"))
    log.close()
    with pytest.raises(ExportRefused, match="take a later one"):
        export(log, away / "erased", "customer", "C-1", size=2)


def test_the_newest_cosigned_checkpoint_that_covers_it_is_taken(readable: str, data_dir: Path, away: Path):
    policy = Policy.parse(f"log {NOBODY.vkey}\nwitness w {WITNESS.verifier.vkey}\nquorum w\n".encode())
    log = Log(readable, data_dir)
    told(log.open(), make(1))
    log.close()
    note = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 1")[0][0]
    cosigned = note.encode() + WITNESS.cosign(Checkpoint.parse(Note.parse(note).text), 1_800_000_000).format().encode()
    with psycopg.connect(readable) as connection:
        stored = {"size": 1, "note": cosigned.decode(), "stored_at": NOON}
        connection.execute(QUERIES["store_witnessed"], stored)
    log.now += timedelta(days=2)
    told(log.open(), make(2))
    log.close()
    one = export(log, away / "one", "customer", "C-1", policy=policy)
    assert (one / "checkpoint").read_bytes() == cosigned
    assert (one / "keys.txt").read_text() == f"log {log.vkey}\nwitness {WITNESS.verifier.vkey}\n"
    code, said = verified(one, "--vkey", log.vkey, "--witness", WITNESS.verifier.vkey)
    assert code == 0
    assert "cosigned by witness.example/w" in said
    two = export(log, away / "two", "customer", "C-2", policy=policy)
    assert json.loads((two / "pack.json").read_bytes())["checkpoint"]["size"] == 2
    assert verified(two, "--vkey", log.vkey)[0] == 0
    assert "it is not signed by witness.example/w" in problem(two, log, witnesses=[WITNESS.verifier.vkey])
    change(one / "checkpoint", "witness.example/w ", "witness.example/x ")
    sign(one, owner(log))
    assert "checkpoint: it is not signed by witness.example/w" in problem(one, log)


@pytest.mark.skipif(OPENSSL is None, reason="needs the program openssl for a timestamp authority")
def test_a_checkpoint_that_was_stamped_is_taken_with_its_stamp(readable: str, data_dir: Path, away: Path):
    authority, log = Authority(away.with_name("authority")), Log(readable, data_dir)
    told(log.open(), make(1))
    log.close()
    note = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 1")[0][0]
    text = Note.parse(note).text
    row = {"size": 1, "note": note, "response": authority.reply(request_for(text).as_bytes()), "stored_at": NOON}
    with psycopg.connect(readable) as connection:
        connection.execute(QUERIES["store_timestamp"], row)
    log.now += timedelta(days=2)
    told(log.open(), make(2))
    log.close()
    newer = {"size": 2, "note": log.ask("SELECT note FROM ledger.checkpoints WHERE size = 2")[0][0], "stored_at": NOON}
    with psycopg.connect(readable) as connection:
        connection.execute(QUERIES["store_witnessed"], newer)
    pack = export(log, away / "stamped", "customer", "C-1")
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "a timestamp names this checkpoint" in said
    (away / "text").write_bytes(b"".join((pack / "checkpoint").read_bytes().splitlines(keepends=True)[:3]))
    asked = ["ts", "-verify", "-in", pack / "timestamp.tsr", "-data", away / "text", "-CAfile", authority.root]
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *asked], check=True, capture_output=True)
    assert not (export(log, away / "later", "customer", "C-2") / "timestamp.tsr").exists()
    stamp = (pack / "timestamp.tsr").read_bytes()
    digest = sha512(text.encode()).digest()
    assert digest in stamp
    (pack / "timestamp.tsr").write_bytes(stamp.replace(digest, sha512(b"another").digest()))
    sign(pack, owner(log))
    assert problem(pack, log) == "timestamp.tsr: it is of another checkpoint"


def test_proofs_are_those_of_the_specification(log: Log, case: Path):
    states = log.states()
    for leaf in leaves(case):
        proof = ProofFile.parse((case / f"proofs/{leaf}.tlog-proof").read_bytes())
        assert proof.index == leaf
        proof.verify(verify_pack.leaf_hash(states[leaf]), Verifier.parse(log.vkey))


# ---- Writing it


def test_a_pack_is_for_its_owner_alone_and_replaces_only_one_of_the_same_log(log: Log, case: Path, tmp_path: Path):
    pack = export(log, tmp_path / "new", "promise", "P-1")
    assert {oct(path.stat().st_mode)[-3:] for path in [pack, pack / "proofs"]} == {"700"}
    assert {oct(path.stat().st_mode)[-3:] for path in pack.rglob("*") if path.is_file()} == {"600"}
    assert files(export(log, pack, "case", "case-77")) == files(case)
    (pack / "notes.txt").write_text("mine")
    before = files(pack)
    for refused in (pack, tmp_path):
        with pytest.raises(ExportRefused, match="choose another directory"):
            export(log, refused)
    assert files(pack) == before
    (pack / "notes.txt").unlink()
    sign(pack, NOBODY)
    with pytest.raises(ExportRefused, match="choose another directory"):
        export(log, pack)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case", "new"]


def test_a_log_that_is_not_what_was_signed_is_not_exported(readable: str, data_dir: Path, tmp_path: Path):
    changes = (
        "UPDATE ledger.events SET state = replace(convert_from(state, 'UTF8'), 'phone', 'email')::bytea",
        "UPDATE ledger.sealed SET ciphertext = (SELECT ciphertext FROM ledger.sealed WHERE leaf_index = 1)",
        "DELETE FROM ledger.sealed",
        "DELETE FROM ledger.events WHERE notification_id = 2",
    )
    tables = ("events", "sealed")
    log = Log(readable, data_dir)
    told(log.open(), make(1), make(8))
    log.close()
    with psycopg.connect(readable, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in tables:
            connection.execute(f"CREATE TABLE kept_{table} AS TABLE ledger.{table}".encode())
        for change in changes:
            connection.execute(change.encode())
            with pytest.raises(ExportRefused):
                export(log, tmp_path / "pack", "customer", "C-1")
            assert list(tmp_path.iterdir()) == []
            for table in tables:
                connection.execute(f"DELETE FROM ledger.{table}".encode())
                connection.execute(f"INSERT INTO ledger.{table} SELECT * FROM kept_{table}".encode())
    assert verified(export(log, tmp_path / "pack", "customer", "C-1"), "--vkey", log.vkey)[0] == 0


# ---- The commands


class Command:
    """`promise-ledger` in this process: exit code and both outputs."""

    def __init__(self, log: Log, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capture, self._patch = capture, patch
        patch.setenv("LEDGER_DATABASE_URL", log.url)
        patch.setenv("LEDGER_DATA_DIR", str(log.settings.data_dir))

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["promise-ledger", *map(str, arguments)])
        self._capture.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = self._capture.readouterr()
        return int(end.value.code or 0), said.out, said.err


@pytest.fixture
def command(log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(log, capsys, monkeypatch)


def test_export_and_verify_pack_as_they_are_typed(log: Log, command: Command, case: Path, away: Path):
    code, said, _ = command("export", away, "--case", "case-77")
    assert code == 0
    assert said.endswith(f"\n{log.vkey}\n")
    assert "texts in the clear" in said
    assert files(away) == files(case)
    code, said, _ = command("verify-pack", away, "--vkey", log.vkey)
    assert code == 0
    assert said == verified(away, "--vkey", log.vkey)[1]
    found = json.loads(command("verify-pack", away, "--json")[1])
    assert (found["ok"], found["entries"], found["size"], found["key_was_given"]) == (True, 6, 19, False)
    change(away / "texts.txt", "HYPERLINK", "HYPERLANE")
    code, said, _ = command("verify-pack", away, "--vkey", log.vkey)
    assert (code, said) == (1, "NOT AS SIGNED: texts.txt: it is not the file that was signed for\n")
    found = json.loads(command("verify-pack", away, "--json")[1])
    assert found == {"ok": False, "problem": "texts.txt: it is not the file that was signed for"}


def test_sampled_and_timed_exports_as_they_are_typed(log: Log, command: Command, away: Path):
    drawn = ("--all", "--sample", "5", "--seed", "2026-audit", "--checkpoint", "19", "--json")
    code, said, _ = command("export", away / "sample", *drawn)
    assert code == 0
    assert json.loads(said)["size"] == 19
    assert files(away / "sample") == files(export(log, away / "same", sample=Sample(5, "2026-audit")))
    assert command("export", away / "time", "--from", "2026-03-01T18:00:00Z", "--to", "2026-03-02T00:00:00Z")[0] == 0
    assert leaves(away / "time") == [5, 6, 7, 8]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--all", "--customer", "C-1"),
        ("--all", "--sample", "3"),
        ("--all", "--seed", "x"),
        ("--all", "--sample", "0", "--seed", "x"),
        ("--all", "--sample", "3", "--seed", "`x`"),
        ("--from", "yesterday"),
    ],
)
def test_exports_that_make_no_sense_are_used_wrongly(command: Command, away: Path, options: tuple[str, ...]):
    assert command("export", away, *options)[0] == 2
    assert not away.exists()


def test_what_cannot_be_exported_or_checked_is_said_in_one_sentence(command: Command, away: Path, tmp_path: Path):
    code, _, said = command("export", away, "--customer", "C-none")
    assert (code, said) == (1, "promise-ledger: no event under the checkpoint is what you asked for\n")
    (tmp_path / "empty").mkdir()
    assert command("verify-pack", tmp_path / "empty")[:2] == (1, "NOT AS SIGNED: README.md is missing\n")
    assert command("verify-pack", tmp_path / "empty", "--vkey", "no key")[0] == 2
    assert command("verify-pack", tmp_path / "empty", "--witness", NOBODY.vkey)[0] == 2
