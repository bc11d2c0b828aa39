"""kill -9 under load, of each part: every answered command is there once and proven, and service goes on by itself."""

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import psycopg
import pytest

from consumers.recording import LineAnswer, record_file
from deploy.finding import located
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.tlog.note import Signer, Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.verification.log import verify
from tests.service.running import Up, running

COMMANDS = 1_000
KILLS = 2


LOOKS_LIKE: dict[str, bytes] = {"intake": b"serve\0intake\0", "postgres": b"/bin/postgres\0", "nats": b"nats-server\0"}


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with running() as up:
        yield up


def process_of(up: Up, part: str) -> int | None:
    """The process id of a running part, None while it is being started again."""
    for pid in up.children():
        try:
            if LOOKS_LIKE[part] in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        except FileNotFoundError:
            continue
    return None


def line(number: int) -> bytes:
    data = {
        "actor": "u-1",
        "promise_id": f"P-{number}",
        "customer_id": f"C-{number % 50}",
        "kind": "answer",
        "text": f"We answer question {number} by Friday.",
        "due_at": "2030-01-04T12:00:00Z",
        "owner": "u-2",
        "channel": "email",
        "basis": "known",
    }
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"kill-{number}",
            "source": "crm",
            "type": "promise.make",
            "time": "2026-11-21T10:00:00Z",
            "data": data,
        }
    )


def send(broker_url: str, numbers: range, answers: list[LineAnswer]) -> None:
    """The commands in a trickle, so that every kill finds some on their way."""

    def lines() -> Iterator[bytes]:
        for number in numbers:
            if number % 50 == 0:
                time.sleep(0.1)
            yield line(number)

    answers.extend(record_file(broker_url, lines(), window=200))


@pytest.mark.parametrize("victim", LOOKS_LIKE)
def test_nothing_answered_is_lost_and_nothing_happens_twice(up: Up, victim: str) -> None:
    up.until(up.healthy)
    first = COMMANDS * list(LOOKS_LIKE).index(victim)
    numbers, answers = range(first, first + COMMANDS), list[LineAnswer]()
    sender = threading.Thread(target=send, args=(located(up.data_dir).broker_url, numbers, answers))
    sender.start()
    killed = 0
    while sender.is_alive() and killed < KILLS:
        time.sleep(1.2)
        if (pid := process_of(up, victim)) is not None:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    sender.join(120)
    assert killed, f"{victim} was never there to be killed"
    assert not sender.is_alive(), "the sender still waits for answers"
    up.until(up.healthy)  # the last kill may have come when all was answered
    check_all_there_once(up, answers, numbers)


def check_all_there_once(up: Up, answers: list[LineAnswer], numbers: range) -> None:
    """Each of the commands was answered, and is recorded once, with a proof that holds; the log is clean."""
    where = located(up.data_dir)
    assert where.database_url is not None
    assert [answer.status for answer in answers] == ["recorded"] * len(numbers)
    with psycopg.connect(where.database_url) as connection:
        made = connection.execute(
            "SELECT originator_id FROM ledger.events WHERE topic = 'promise.made' AND originator_id = ANY(%s)",
            [[f"promise:P-{number}" for number in numbers]],
        ).fetchall()
        origin = connection.execute("SELECT origin FROM ledger.head").fetchone()
    assert len(made) == len(set(made)) == len(numbers)
    assert origin is not None

    secrets = keys.load(up.data_dir / "keys")
    vkey = Signer(origin[0], secrets.log).vkey
    verifier = Verifier.parse(vkey)
    seen = set()
    for answer in answers:
        receipt = json.loads(answer.body)
        event = receipt["events"][0]
        leaf_hash = base64.b64decode(event["leaf_hash"], validate=True)
        proof = ProofFile.parse(receipt["proof"])
        assert proof.index == event["leaf_index"]
        proof.verify(leaf_hash, verifier)
        seen.add(event["leaf_index"])
    assert len(seen) == len(numbers)

    report = verify(
        where.database_url,
        vkey=vkey,
        guard=lambda: read_guard(up.data_dir / "guard"),
        key_encryption_key=secrets.kek,
    )
    assert report.problem is None


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_up_takes_everything_along_and_the_next_starts_again_whatever_is_killed(up: Up) -> None:
    """The last test of this service: stopped at the end, it leaves nothing behind."""
    children = up.children()
    up.kill()
    (up.data_dir / "console-token").chmod(0o644)  # which closes the console and nothing else
    again = Up(up.data_dir)
    try:
        assert "console-token is readable for others" in again.errors.read_text()
        assert not any(alive(pid) for pid in children)
        first = again.children()
        assert len(first) == 5
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        again.until(lambda: len(set(again.children()) - set(first)) == 5 and again.healthy())
        second = again.children()
        assert again.stop() == 0
        assert not any(alive(pid) for pid in second)
        assert not (up.data_dir / "run.json").exists()
    finally:
        again.kill()
