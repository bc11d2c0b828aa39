"""After an erasure a customer's words are nowhere: a service told every kind of them is searched before and after."""

import asyncio
import base64
import hashlib
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import orjson
import psycopg
import pytest
from nats.js.errors import NotFoundError
from psycopg.sql import SQL, Identifier
from typer.testing import CliRunner

from consumers.recording import record_file
from deploy.cli import app
from deploy.embedded import _environment
from deploy.finding import located
from deploy.places import binaries, server_user
from ledger.domain.dispatch import EVENTS
from ledger.settings import Settings
from ledger.tlog.note import Verifier
from ledger.tlog.proof_file import ProofFile
from projections.runner import status
from tests.projections.world import wait_for
from tests.service.running import running

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(days=10)
CUSTOMER = "C-7"
MARK = "zqxjkvbw"
"""What all the words begin with: a content that does not hold it in any spelling holds none of them."""
TEXTS: list[str] = []


def said() -> str:
    """Words that were never said before, each with a token that stands nowhere else."""
    token = MARK + base64.b32encode(hashlib.sha256(f"words {len(TEXTS)}".encode()).digest())[:20].decode().lower()
    TEXTS.append(token)
    return f"I told you, {token}, that it hurts"


def at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def commands(customer: str = CUSTOMER, words: Any = said) -> Iterator[bytes]:
    """One customer's long story, with every kind of words that there is."""
    promise = {
        "customer_id": customer,
        "kind": "fix",
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
    }
    told = {"customer_id": customer, "owner": "u-1", "apology": True, "channel": "phone", "basis": "known"}
    name = customer
    story: list[tuple[str, dict[str, Any]]] = [
        ("outage.declare", {"outage_id": f"O-{name}", "tool": "crm"}),
        *(
            ("promise.make", promise | {"promise_id": f"P-{name}-{n}", "text": words(), "due_at": at(400 + n)} | extra)
            for n, extra in enumerate(({"condition": {"text": words(), "by": at(300)}}, {}, {}))
        ),
        ("promise.read_back", {"promise_id": f"P-{name}-1", "confirmed": False, "correction": words()}),
        ("promise.warn", {"promise_id": f"P-{name}-1", "reason": words()}),
        ("promise.suspend", {"promise_id": f"P-{name}-1", "reason": words(), "review_at": at(200)}),
        ("promise.resume", {"promise_id": f"P-{name}-1"}),
        ("promise.claim_kept", {"promise_id": f"P-{name}-1", "text": words()}),
        ("promise.dispute", {"promise_id": f"P-{name}-1", "text": words()}),
        ("promise.break", {"promise_id": f"P-{name}-2", "reason_code": "stock", "text": words()}),
        (
            "problem.detect",
            {
                "problem_id": f"X-{name}",
                "known_since": at(0),
                "detected_by": "us",
                "summary": words(),
                "severity": 2,
                "affected": [customer],
                "owner": "u-1",
            },
        ),
        (
            "problem.record_cause",
            {
                "problem_id": f"X-{name}",
                "cause_class": "stock",
                "cause": words(),
                "control": "within",
                "basis": "verified",
            },
        ),
        ("problem.reported", {"problem_id": f"X-{name}", "customer_id": customer, "text": words()}),
        (
            "disclosure.withhold",
            {
                "disclosure_id": f"W-{name}",
                "problem_id": f"X-{name}",
                "customer_id": customer,
                "why": words(),
                "approver": "u-9",
                "review_at": at(100),
            },
        ),
        (
            "disclosure.make",
            told
            | {
                "disclosure_id": f"D-{name}",
                "about": {"problem_id": f"X-{name}"},
                "text": words(),
                "next_step": words(),
                "next_update_at": at(500),
            },
        ),
        ("disclosure.falsify", {"disclosure_id": f"D-{name}", "known_since": at(1), "why": words()}),
        (
            "disclosure.correct",
            told | {"disclosure_id": f"E-{name}", "corrects": f"D-{name}", "text": words(), "next_step": words()},
        ),
        ("concern.raise", {"concern_id": f"Q-{name}", "customer_id": customer, "text": words()}),
        ("concern.acknowledge", {"concern_id": f"Q-{name}", "restated": words()}),
        ("concern.address", {"concern_id": f"Q-{name}", "how": words(), "by": "u-1"}),
        ("problem.resolve", {"problem_id": f"X-{name}", "root_cause_addressed": True, "text": words()}),
        (
            "followup.schedule",
            {
                "followup_id": f"F-{name}",
                "customer_id": customer,
                "about": {"promise_id": f"P-{name}-1"},
                "due_at": at(50),
                "owner": "u-1",
            },
        ),
        ("followup.complete", {"followup_id": f"F-{name}", "outcome": "update_given", "text": words()}),
        (
            "contact.record",
            {
                "contact_id": f"K-{name}",
                "customer_id": customer,
                "channel": "chat",
                "outcome": "answered",
                "text": words(),
            },
        ),
        ("survey.send", {"contact_id": f"K-{name}", "question": words()}),
        ("survey.answer", {"contact_id": f"K-{name}", "answer": "no", "text": words()}),
        (
            "note.take",
            {
                "outage_id": f"O-{name}",
                "capture_id": f"N-{name}",
                "captured_at": at(0),
                "customer_id": customer,
                "text": words(),
                "read_back": True,
            },
        ),
        (
            "apology.make",
            {
                "apology_id": f"A-{name}",
                "customer_id": customer,
                "for": {"promise_id": f"P-{name}-1"},
                "next_step": words(),
            },
        ),
        ("need.decline", {"need_id": f"B-{name}", "customer_id": customer, "why": words()}),
        (
            "question.ask",
            {"question_id": f"R-{name}", "customer_id": customer, "text": words(), "concern_id": f"Q-{name}"},
        ),
        ("question.answer", {"question_id": f"R-{name}", "text": words()}),
        ("remark.add", {"remark_id": f"M-{name}", "customer_id": customer, "text": words()}),
        ("exposure.note", {"exposure_id": f"U-{name}", "customer_id": customer, "url": words()}),
        ("customer.lost", {"customer_id": customer, "attributed_to": "price", "text": words()}),
    ]
    for number, (kind, data) in enumerate(story):
        yield event(f"{customer}-{number}", kind, {"actor": "u-2", "occurred_at": at(2 + number / 100)} | data)


def event(name: str, kind: str, data: dict[str, Any]) -> bytes:
    return orjson.dumps({"specversion": "1.0", "id": name, "source": "crm", "type": kind, "data": data})


def needles(word: str) -> list[bytes]:
    """The word as it is, in hexadecimal, and in base64 wherever in its rhythm it begins."""
    plain = word.encode()
    found = [plain, plain.hex().encode(), plain.hex().upper().encode(), word.encode("utf-16-le")]
    for offset in range(3):
        spelled = base64.b64encode(bytes(offset) + plain)
        found.append(spelled[(offset * 8 + 5) // 6 : (offset + len(plain)) * 8 // 6])
    return found


@dataclass
class Haystack:
    """Where words may be, and which of them are found where."""

    words: list[str]
    found: dict[str, set[str]] = field(default_factory=dict)

    def search(self, place: str, content: bytes) -> None:
        assert all(word.startswith(MARK) for word in self.words)
        if holds(content, MARK):
            for word in self.words:
                if holds(content, word):
                    self.found.setdefault(place, set()).add(word)


def holds(content: bytes, word: str) -> bool:
    return any(needle in content for needle in needles(word))


def everywhere(settings: Settings, home: Path, words: list[str], exports: Path) -> dict[str, set[str]]:
    """The words that are found in each place that holds some."""
    hay = Haystack(words)
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT relnamespace::regnamespace::text, relname FROM pg_class"
            " WHERE relkind IN ('r', 'm') AND relpersistence <> 't'"
        ).fetchall()
        assert len(tables) > 80
        for schema, name in tables:
            query = SQL("SELECT t::text FROM {} AS t").format(Identifier(schema, name))
            rows = "\n".join(row[0] or "" for row in connection.execute(query))
            hay.search(f"table {schema}.{name}", rows.encode())
        connection.execute("CHECKPOINT")
    dump = [binaries(server_user()) / "pg_dump", "--dbname", settings.database_url]
    dumped = subprocess.run(dump, env=_environment(), capture_output=True, check=True, cwd="/")
    assert b"COPY ledger.events" in dumped.stdout
    hay.search("pg_dump", dumped.stdout)
    for path in (home / "postgres").resolve().joinpath("base").rglob("*"):
        if path.is_file():
            hay.search("PostgreSQL's files", path.read_bytes())
    for stream, message in asyncio.run(messages(settings.broker_url or "")):
        hay.search(f"stream {stream}", message)
    said = CliRunner().invoke(app, ["export-tiles", str(exports), "--data-dir", str(home)])
    assert said.exit_code == 0, said.output
    for folder in (home / "log", home / "notepad", home / "keys", exports, home.parent):
        for path in folder.rglob("*") if folder != home.parent else folder.iterdir():
            if path.is_file():
                hay.search(f"file {path.name}", path.read_bytes())
    return hay.found


async def messages(broker_url: str) -> list[tuple[str, bytes]]:
    """Every message of every stream, with its headers."""
    connection = await nats.connect(broker_url)
    try:
        js = connection.jetstream()
        found = []
        for info in await js.streams_info():
            name = info.config.name
            assert name is not None
            for number in range(max(1, info.state.first_seq), info.state.last_seq + 1):  # an empty one says 0
                try:
                    message = await js.get_msg(name, number)
                except NotFoundError:
                    continue
                found.append((name, json.dumps(message.headers or {}).encode() + (message.data or b"")))
        return found
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with running() as up:
        yield up.data_dir
        assert up.stop() == 0


def run(home: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(home)])
    assert result.exit_code == code, result.output
    return result.output


def send(settings: Settings, *lines: bytes) -> list[dict[str, Any]]:
    found = record_file(settings.broker_url or "", io.BytesIO(b"\n".join(lines)))
    return [orjson.loads(answer.body) for answer in found]


async def stray(broker_url: str, *bodies: bytes) -> None:
    """These messages come to the queue as commands, from whoever may publish there, and are dead letters by now."""
    connection = await nats.connect(broker_url)
    try:
        js = connection.jetstream()
        before = (await js.stream_info("LEDGER_DEADLETTERS")).state.messages
        for body in bodies:
            await js.publish("ledger.commands.promise.make", body, stream="LEDGER_COMMANDS")
        while (await js.stream_info("LEDGER_DEADLETTERS")).state.messages < before + len(bodies):
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


def caught_up(settings: Settings) -> bool:
    return not any(each.lag_events for each in status(settings.database_url or ""))


def test_the_words_of_an_erased_customer_are_nowhere_and_every_proof_holds(home: Path, tmp_path: Path) -> None:
    settings = located(home)
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")  # with the parameters of each
        connection.execute("SELECT pg_reload_conf()")
    receipts = send(settings, *commands())
    assert [answer for answer in receipts if answer["status"] != "recorded"] == []
    kept = f"{MARK}thewordsofsomebodyelse"
    assert {answer["status"] for answer in send(settings, *commands("C-8", lambda: kept))} == {"recorded"}
    run(home, "note", "--outage", f"O-{CUSTOMER}", "--customer", CUSTOMER, said())
    (malformed,) = send(settings, event("m-1", "promise.make", {"customer_id": CUSTOMER, "text": said()}))
    assert malformed["status"] == "malformed"
    said()
    lost = {"actor": "u-2", "occurred_at": at(9), "customer_id": CUSTOMER, "attributed_to": "price", TEXTS[-1]: 1}
    (named,) = send(settings, event("m-2", "customer.lost", lost))
    assert named["code"] == "unknown-member", "and the answer does not repeat the name"
    cut = {"text": said(), "more": "x" * 70_000, "customer_id": CUSTOMER}
    never_kept = TEXTS[-1]
    nameless = {"text": said()}
    asyncio.run(stray(settings.broker_url or "", orjson.dumps(cut), orjson.dumps(nameless)))
    wait_for(lambda: caught_up(settings))
    words = list(TEXTS)

    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("ANALYZE")  # the planner samples tables; what it keeps of them is searched as well
        sealed = connection.execute(
            "SELECT DISTINCT topic FROM ledger.sealed JOIN ledger.events ON notification_id = leaf_index + 1"
            " WHERE customer_id = %s",
            (CUSTOMER,),
        ).fetchall()
    assert {topic for (topic,) in sealed} == {topic for topic, kind in EVENTS.items() if kind.PERSONAL}
    before = everywhere(settings, home, words, tmp_path / "before")
    assert before["table read_texts_v1.texts"] | before["stream LEDGER_DEADLETTERS"] == set(words) - {never_kept}
    assert before["pg_dump"] == before["PostgreSQL's files"] == before["table read_texts_v1.texts"]
    assert set(before) == {"table read_texts_v1.texts", "stream LEDGER_DEADLETTERS", "pg_dump", "PostgreSQL's files"}

    assert "refused (unknown-customer)" in run(home, "erase", "C-77", "--grounds", "art-17-1-a", code=1)
    account = json.loads(run(home, "erase", CUSTOMER, "--grounds", "art-17-1-a", "--actor", "u-9", "--json"))
    assert (account["standing"], account["keys"], account["letters"]) == ("completed", 1, 2)
    assert (
        account["texts"]
        == sum(1 for answer in receipts for each in answer["events"] if EVENTS[each["type"]].PERSONAL) + 1
    )
    late = {"actor": "u-2", "occurred_at": at(9), "promise_id": f"P-{CUSTOMER}-1", "reason": said()}
    (refused,) = send(settings, event("late", "promise.warn", late))
    assert refused["code"] == "customer-erased"
    note = run(home, "note", "--outage", f"O-{CUSTOMER}", "--customer", CUSTOMER, said(), code=1)
    assert "customer-erased" in note
    wait_for(lambda: caught_up(settings))
    assert everywhere(settings, home, list(TEXTS), tmp_path / "after") == {}
    assert everywhere(settings, home, [kept], tmp_path / "after")["pg_dump"] == {kept}

    mark = f"[erased on {datetime.now(UTC):%Y-%m-%d}]"
    assert mark in run(home, "erase", CUSTOMER, "--grounds", "again")
    assert mark in run(home, "customer", CUSTOMER)
    assert mark in run(home, "outstanding")
    assert mark in run(home, "trail", f"promise:P-{CUSTOMER}-1")
    assert mark not in run(home, "customer", "C-8")
    assert json.loads(run(home, "verify", "--projections", "--json"))["ok"]
    verifier = Verifier.parse(run(home, "vkey").strip())
    for answer in receipts:
        for number, each in enumerate(answer["events"]):
            proof = ProofFile.parse(answer["proof"] if number == 0 else each["proof"])
            proof.verify(base64.b64decode(each["leaf_hash"]), verifier)


def test_the_key_is_rotated_beside_the_running_service(home: Path) -> None:
    settings = located(home)
    before = (settings.keys_dir / "kek").read_bytes()
    rotated = json.loads(run(home, "keys", "rotate", "--json"))
    assert len(rotated["kek"]) == 16
    assert (settings.keys_dir / "kek").read_bytes() != before
    answers = send(settings, *commands("C-9", lambda: "recorded afterwards"))
    assert {answer["status"] for answer in answers} == {"recorded"}
    wait_for(lambda: caught_up(settings))
    assert "recorded afterwards" in run(home, "customer", "C-9")
    assert json.loads(run(home, "verify", "--projections", "--json"))["ok"]


def test_an_erasure_that_a_hold_defers_is_told_and_begins_when_it_is_lifted(home: Path) -> None:
    settings = located(home)
    hold = {"actor": "u-2", "occurred_at": at(1), "hold_id": "H-1", "customer_id": "C-8", "grounds": "4 C 12/26"}
    (placed,) = send(settings, event("h-1", "hold.place", hold | {"approver": "u-9"}))
    assert placed["status"] == "recorded"
    assert "held by H-1" in run(home, "erase", "C-8", "--grounds", "art-17-1-a", code=1)
    (lifted,) = send(settings, event("h-2", "hold.lift", hold | {"approver": "u-9"}))
    assert [each["type"] for each in lifted["events"]] == ["hold.lifted", "subject.erasure_requested"]
    assert "[erased on" in run(home, "erase", "C-8", "--grounds", "art-17-1-a")
