"""The command line against a running `up --demo`, as its users type it; and the README, word for word."""

import base64
import io
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import metamorphic_log
import psycopg
import pytest

from consumers.cloudevents import OWN_SOURCES
from consumers.recording import record_file
from deploy import cli, demo
from deploy.finding import located
from deploy.tables import printer
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.merkle import leaf_hash
from ledger.tlog.note import Verifier
from ledger.tlog.proof_file import ProofFile
from projections.runner import status
from tests.service.running import running
from tests.service.serving import ask

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The data directory of an `up --demo` whose story was told, after the timer said what it had to say about it."""
    with running("--demo") as up:
        up.until(lambda: "goes on with this ledger" in up.output.read_text())
        up.until(lambda: at_rest(located(up.data_dir).database_url or ""))
        yield up.data_dir
        assert up.stop() == 0


def at_rest(url: str) -> bool:
    """Whether the timer, which looks each second, has had nothing to announce, and all is signed and applied."""
    with psycopg.connect(url) as reader:
        settled = reader.execute(
            "SELECT head.recorded_at < now() - interval '3 s' AND head.size = max(checkpoints.size)"
            " FROM ledger.head, ledger.checkpoints GROUP BY head.recorded_at, head.size"
        ).fetchone()
    return settled == (True,) and not any(projection.lag_events for projection in status(url))


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """`promise-ledger` in this process: exit code and both outputs."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> None:
        self._capture, self._patch = capture, patch
        patch.setenv("LEDGER_DATA_DIR", str(home))

    def __call__(self, *arguments: str) -> Said:
        self._patch.setattr(sys, "argv", ["promise-ledger", *arguments])
        self._capture.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        found = self._capture.readouterr()
        return Said(int(end.value.code or 0), found.out.decode(), found.err.decode())


@pytest.fixture
def ledger(home: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(home, capfdbinary, monkeypatch)


def test_the_demo_tells_what_was_promised_said_and_refused(home: Path) -> None:
    told = (home.parent / "output").read_text()
    for code in ("undisclosed-reschedule", "self-verification", "one-survey-a-contact"):
        assert f"{code}: " in told
    assert re.search(r"D-1 +“.*\n.*\n +FALSIFIED: known to be untrue since .*\n +corrected by D-4", told)
    assert "We had booked the van twice" in told
    assert "delivered from the notepad: 2 recorded" in told
    assert "referred to: Herd & Heim" in told
    assert re.search(r"P-stove +u-jonas +.* overdue", told)
    assert re.search(r"correction-owed +D-3 \(C-3105\)  A person was told a falsehood", told)
    assert "told C-1042, C-2077, C-3105; repeated by u-tom after it was known false" in told
    assert re.search(r"asked before .* would raise( [a-z-]+,)*\s+(divergent-reason|repeated-falsehood)", told)
    assert re.search(r"verified: \d+ events give the signed root", told)
    assert max(len(line) for line in told.splitlines()) <= 100


def test_a_story_told_twice_is_on_record_once(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    first, before = (home.parent / "output").read_text(), recorded(home)
    demo.play(located(home))
    assert recorded(home) == before
    again = capfdbinary.readouterr().out.decode()
    leaves = re.findall(r"leaf \d+(?:-\d+)?", first)
    assert len(leaves) > 30
    assert re.findall(r"leaf \d+(?:-\d+)?", again) == leaves
    assert "told the story before" in again
    assert "delivered from the notepad: 2 recorded" in again


def recorded(home: Path) -> list[tuple[str, str]]:
    """The commands that are on record, but for the ledger's own."""
    with psycopg.connect(located(home).database_url or "") as reader:
        query = "SELECT source, command_id FROM ledger.inbox WHERE source <> ALL(%s) ORDER BY 1, 2"
        return reader.execute(query, [[*OWN_SOURCES]]).fetchall()


def test_health_is_good_and_names_every_projection(ledger: Command) -> None:
    said = ledger("health", "--json")
    assert said.code == 0
    assert said.json["status"] == "ok"
    assert {row["lag_events"] for row in said.json["projections"]} == {0}
    assert set(said.json["parts"]) == {"intake", "timer", "eraser", "projections", "relay", "checks"}


def test_outstanding_has_the_named_members(ledger: Command) -> None:
    rows = {row["promise_id"]: row for row in ledger("outstanding", "--json").json}
    stove = rows["P-stove"]
    named = {"promise_id", "customer_id", "kind", "owner", "due_at", "standing", "fulfilment", "timeliness"}
    assert named | {"leaf_index", "text"} <= set(stove)
    assert (stove["standing"], stove["fulfilment"], stove["timeliness"]) == ("active", "none", "overdue")
    assert stove["text"].startswith("Your new stove")
    assert "P-refund" not in rows, "it was verified by the customer"


def test_as_of_a_past_moment_the_stove_was_on_its_way(ledger: Command) -> None:
    trail = ledger("trail", "promise:P-stove", "--json").json
    made = trail[0]["occurred_at"]
    rows = ledger("outstanding", "--as-of", made, "--json").json
    assert [(row["promise_id"], row["timeliness"]) for row in rows] == [("P-stove", "running")]
    assert ledger("outstanding", "--known-at", "2001-01-01T00:00:00Z", "--json").json == []


def test_a_customer_is_one_page(ledger: Command) -> None:
    said = ledger("customer", "C-1042", "--json").json
    assert {"outstanding", "followups", "timeline"} <= set(said)
    assert said["followups"][0]["followup_id"] == "F-1"
    assert [row["leaf_index"] for row in said["timeline"]] == sorted(row["leaf_index"] for row in said["timeline"])


def test_findings_are_what_the_story_deserves(ledger: Command) -> None:
    rows = ledger("findings", "--json").json
    assert {"code", "severity", "subject", "customer_id", "opened_at", "opened_by", "detail"} <= set(rows[0])
    assert ("overdue", "promise:P-stove") in {(row["code"], row["subject"]) for row in rows}
    made = ledger("trail", "promise:P-stove", "--json").json[0]["occurred_at"]
    assert ledger("findings", "--code", "overdue", "--as-of", made, "--json").json == []
    assert {row["customer_id"] for row in ledger("findings", "--customer", "C-1042", "--json").json} == {"C-1042"}
    assert "overdue" in ledger("findings", "--code", "overdue").out
    assert ledger("findings", "--code", "nothing").code == 2


def test_a_trail_nobody_left_is_bad_news(ledger: Command) -> None:
    said = ledger("trail", "promise:P-nobody", "--json")
    assert (said.code, said.json) == (1, [])


def test_verify_covers_log_and_read_tables(ledger: Command) -> None:
    said = ledger("verify", "--projections", "--rules", "--json")
    assert said.code == 0
    assert said.json["ok"] is True
    assert said.json["rules_replayed"] is True
    assert "decided again: every command" in ledger("verify", "--rules").out
    assert "use --rules" in ledger("verify").out
    assert said.json["projections"] == "ok"
    assert said.json["unsigned_events"] == 0


def test_a_proof_stands_on_its_own(ledger: Command) -> None:
    verifier = Verifier.parse(ledger("vkey").out.strip())
    checkpoint, _ = open_checkpoint(ledger("checkpoint").out, verifier)
    proof = ProofFile.parse(ledger("prove", "0").out)
    proven, _ = proof.verify(stored_leaf(ledger, 0), verifier)
    assert proven.origin == checkpoint.origin
    assert proven.size >= checkpoint.size, "the service runs: it may have signed once more in between"
    beyond = ledger("prove", "999999")
    assert beyond.code == 1
    assert "leaf 999999 is not under a checkpoint" in beyond.err


def test_what_is_printed_is_utf_8_in_every_locale(home: Path) -> None:
    elsewhere = os.environ | {"LEDGER_DATA_DIR": str(home)}
    elsewhere |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for arguments, sign in ((["prove", "0"], "\n— localhost/promise-ledger "), (["customer", "C-1042"], " · ")):
        command = [sys.executable, "-m", "deploy.cli", *arguments]
        done = subprocess.run(command, env=elsewhere, cwd=ROOT, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        assert sign in done.stdout.decode()


def test_a_verifier_that_we_did_not_write_accepts_checkpoint_and_receipts(ledger: Command, home: Path) -> None:
    vkey, note = ledger("vkey").out.strip(), ledger("checkpoint").out
    head = metamorphic_log.checkpoint_verify(note, [vkey])
    assert head.origin == "localhost/promise-ledger"
    told = (home / "story.jsonl").read_bytes()
    receipts = list(record_file(located().broker_url or "", io.BytesIO(told)))
    recorded = [json.loads(answer.body) for answer in receipts if answer.status == "recorded"]
    assert len(recorded) > 10
    for receipt in recorded:
        for event in receipt["events"]:
            proof = ProofFile.parse(event.get("proof") or receipt["proof"])
            leaf = base64.b64decode(event["leaf_hash"], validate=True)
            assert leaf == stored_leaf(ledger, event["leaf_index"])
            metamorphic_log.checkpoint_verify_inclusion(
                proof.checkpoint_note.decode(), [vkey], event["leaf_index"], leaf, list(proof.proof)
            )
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify(note.replace("\n", "1\n", 2), [vkey])


def stored_leaf(ledger: Command, index: int) -> bytes:
    with psycopg.connect(located().database_url or "") as connection:
        row = connection.execute("SELECT state FROM ledger.events WHERE notification_id = %s", (index + 1,)).fetchone()
    assert row is not None
    return leaf_hash(row[0])


def test_recording_answers_each_line_in_order(ledger: Command, tmp_path: Path) -> None:
    contact = {
        "specversion": "1.0",
        "id": "cli-1",
        "source": "crm",
        "type": "contact.record",
        "time": "2026-11-21T10:00:00Z",
        "data": {"actor": "u-1", "contact_id": "T-1", "customer_id": "C-9", "channel": "phone", "outcome": "informed"},
    }
    lines = [contact, {**contact, "id": "cli-2"}, {**contact, "id": "cli 3", "specversion": "0.3"}]
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "no json\n")
    said = ledger("record", str(file))
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [answer["status"] for answer in answers] == ["recorded", "refused", "malformed", "malformed"]
    assert answers[1]["code"] == "id-taken"
    assert said.code == 1
    letters = ledger("deadletters", "list", "--json").json
    assert any(letter["code"] == answers[2]["code"] for letter in letters)
    assert ledger("deadletters", "replay", "987654").code == 1


def test_rebuilding_switches_to_a_new_version(ledger: Command) -> None:
    before = {row["name"]: row["version"] for row in ledger("health", "--json").json["projections"]}
    names = sorted(before)[:2]
    versions = ledger("rebuild", *names, "--json").json
    after = {row["name"]: row["version"] for row in ledger("health", "--wait", "20", "--json").json["projections"]}
    assert {row["name"]: row["version"] for row in versions} == {name: after[name] for name in names}
    assert all(after[name] > before[name] for name in names)
    assert {name for name in after if after[name] != before[name]} == set(names)
    assert ledger("rebuild", names[0], "nothing").code == 2


def test_migrate_again_changes_nothing(ledger: Command) -> None:
    said = ledger("migrate")
    assert said.code == 0
    assert "tables: up to date" in said.out


def test_the_contract_is_one_document(ledger: Command) -> None:
    contract = ledger("schema", "--json").json
    assert set(contract) == {"commands", "events", "findings"}
    assert contract["findings"]["overdue"]["severity"] == "medium"
    assert contract["commands"]["promise.make"]["properties"]["due_at"]
    assert "promise.announce_deadline" not in contract["commands"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["outstanding", "--as-of", "2026-11-21T10:00:00"], 2, "has no offset"),
        (["outstanding", "--data-dir", "/nowhere"], 1, "no ledger runs in /nowhere"),
        (["verify", "--data-dir", "/nowhere"], 1, "no ledger runs in /nowhere"),
        (["record", "/nowhere.jsonl"], 1, "No such file"),
        (["no-such-command"], 2, "No such command"),
        (["prove", "-1"], 2, "-1"),
        (["findings", "--customer", "a@b"], 2, "is no id"),
        (["customer", "a@b"], 2, "is no id"),
        (["trail", "promise:a@b"], 2, "is no id"),
        (["problems", "X 1"], 2, "is no id"),
        (["findings", "--code", "overdu"], 2, "there is no finding"),
        (["verify", "--vkey", "not a key"], 2, "as `promise-ledger vkey` prints it"),
    ],
)
def test_used_wrongly_it_says_so_in_one_sentence(
    ledger: Command, arguments: list[str], code: int, sentence: str
) -> None:
    said = ledger(*arguments)
    assert (said.code, said.out) == (code, "")
    assert sentence in said.err
    assert "Traceback" not in said.err


def test_of_whom_nothing_is_on_record_the_answer_is_empty(ledger: Command) -> None:
    said = ledger("findings", "--customer", "C-nobody", "--json")
    assert (said.code, said.json) == (0, [])


@pytest.fixture
def elsewhere(ledger: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """An auditor's machine: the database's address, and none of the ledger's files."""
    where = located()
    monkeypatch.setenv("LEDGER_DATABASE_URL", where.database_url or "")
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path / "auditor"))
    return ledger


def test_an_auditor_elsewhere_needs_no_secret_and_no_queue(
    ledger: Command, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    vkey, kept = ledger("vkey").out.strip(), tmp_path / "kept"
    kept.write_text(ledger("checkpoint").out)
    elsewhere: Command = request.getfixturevalue("elsewhere")
    assert any(row["promise_id"] == "P-stove" and row["text"] for row in elsewhere("outstanding", "--json").json)
    assert elsewhere("trail", "promise:P-stove", "--json").json[0]["text"] is None, "texts of the log need the key"
    alone = elsewhere("verify", "--vkey", vkey, "--json")
    assert (alone.code, alone.json["compared_with_something_kept_outside"]) == (0, False)
    said = elsewhere("verify", "--vkey", vkey, "--against", str(kept), "--json")
    assert (said.code, said.json["compared_with_something_kept_outside"]) == (0, True)
    assert "--vkey" in elsewhere("verify").err
    kept.write_text("<!doctype html>")
    refused = elsewhere("verify", "--vkey", vkey, "--against", str(kept))
    assert (refused.code, "NOT AS RECORDED: what --against names" in refused.out) == (1, True)


def test_a_deleted_log_is_called_deleted_by_everyone(home: Path, ledger: Command) -> None:
    url = located(home).database_url or ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no trigger stops a superuser
        head = connection.execute("DELETE FROM ledger.head RETURNING origin, size, frontier, recorded_at").fetchone()
        try:
            verified, migrated, health = ledger("verify", "--json"), ledger("migrate"), ledger("health", "--json")
        finally:
            connection.execute(
                "INSERT INTO ledger.head (origin, size, frontier, recorded_at) VALUES (%s, %s, %s, %s)", head
            )
    assert (verified.code, verified.json["problem"]["table"]) == (1, "head")
    assert migrated.code == 1
    assert "it was deleted; run `promise-ledger recover`" in migrated.err
    assert health.code == 1
    assert "the log's head row is gone" in health.json["problems"][0]


def test_an_open_door_is_bad_news_before_anybody_goes_through_it(home: Path, ledger: Command) -> None:
    with psycopg.connect(located(home).database_url or "", autocommit=True) as owner:
        owner.execute("ALTER TABLE ledger.sealed DISABLE TRIGGER append_only")
        owner.execute("ALTER VIEW audit.texts SET (security_barrier = true)")
        for setting in ("client_encoding = 'SQL_ASCII'", "datestyle = 'SQL, DMY'"):  # what the answers are written in
            owner.execute(f"ALTER DATABASE ledger SET {setting}".encode())
        try:
            said, written = ledger("verify", "--projections", "--json"), ledger("verify")
        finally:
            owner.execute("ALTER DATABASE ledger RESET ALL")
            owner.execute("ALTER TABLE ledger.sealed ENABLE TRIGGER append_only")
            owner.execute("ALTER VIEW audit.texts RESET (security_barrier)")
    assert (said.code, said.json["ok"], said.json["problem"], said.json["projections"]) == (1, False, None, "ok")
    assert [(each["place"], each["what"]) for each in said.json["definitions"]] == [
        ("ledger.sealed", "trigger append_only"),
        ("audit.texts", "options"),
    ]
    assert written.code == 1
    assert "NOT AS DEFINED: ledger.sealed: trigger append_only was changed: disabled: CREATE TRIGGER" in written.out
    assert ledger("verify", "--projections", "--json").json["definitions"] == []


def test_what_is_shown_is_spelled_as_it_is(ledger: Command, tmp_path: Path) -> None:
    shown = ledger("customer", "C:heart:1").out
    assert "outstanding promises to C:heart:1" in shown
    console = printer()
    with console.capture() as plain:
        console.print("stream promise:x: [bold]")
    assert plain.get() == "stream promise:x: [bold]\n"
    trail = ledger("trail", "promise:P-stove").out
    assert "datetime" not in trail
    assert re.search(r"due_at \d{4}-\d\d-\d\d \d\d:\d\dZ", trail)


def test_the_console_opens_at_the_address_that_is_printed(ledger: Command, home: Path) -> None:
    address = ledger("console").out.strip()
    assert address in (home.parent / "output").read_text()
    assert ledger("console", "--json").json == {"address": address}
    assert stat.S_IMODE((home / "console-token").stat().st_mode) == 0o600
    port, path = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/console/enter\?token=.*)", address).groups()  # type: ignore[union-attr]
    entered = ask(int(port), path)
    assert entered.status == 303
    cookie = entered.headers["set-cookie"].partition(";")[0]
    page = ask(int(port), "/console/stream/customer:C-1042", Cookie=cookie)
    assert "We had booked the van twice" in page.body.decode()
    trail = ask(int(port), "/console/stream/promise:P-stove", Cookie=cookie)
    assert "Your new stove stands in your kitchen" in trail.body.decode()
    assert ledger("console", "--new").out.strip() != address
    assert ask(int(port), "/console/", Cookie=cookie).status == 401


def test_every_reading_command_gives_json(ledger: Command) -> None:
    assert ledger("vkey", "--json").json["vkey"].startswith("localhost/promise-ledger+")
    assert {"origin", "size", "root", "note"} == set(ledger("checkpoint", "--json").json)
    assert ledger("prove", "0", "--json").json["proof"].startswith("c2sp.org/tlog-proof@v1")


def test_the_first_message_of_the_readme_works_as_written(home: Path, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## A first message of your own")[1].split("\n## ")[0]
    script = "\n".join(line.removeprefix("    ") for line in section.splitlines() if line.startswith("    "))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = os.environ | {"LEDGER_DATA_DIR": str(home)}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert '"status":"recorded"' in done.stdout
    assert re.search(r"P-1 +C-1 +callback +u-17", done.stdout)
    assert "verified:" in done.stdout
