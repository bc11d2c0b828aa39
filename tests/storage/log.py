"""A log on a real database, with a clock that the test moves, and what an outsider can check about its answers."""

import base64
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import metamorphic_log
import orjson
import psycopg
from psycopg.sql import SQL, Identifier

from ledger.app import Ledger, Submission
from ledger.domain.dispatch import COMMANDS
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.storage.migrations import create_log
from ledger.tlog.note import Signer, Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.verification.log import verify
from ledger.verification.report import Report

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORDS = "the blue sofa comes"

Answer = dict[str, Any]


def submission(command_type: str, command_id: str, /, *, source: str = "crm", **data: Any) -> Submission:
    """A command as intake hands it over; actor u-1, at noon, unless said otherwise."""
    canonical = orjson.dumps({"actor": "u-1", "occurred_at": NOON, **data}, option=orjson.OPT_SORT_KEYS)
    command = COMMANDS[command_type].model_validate_json(canonical)
    return Submission(source, command_id, command, canonical)


def make(number: int, /, *, command_id: str | None = None, source: str = "crm", **data: Any) -> Submission:
    """Promise P-<number> to one of seven customers, with words that must never be found in the clear."""
    terms = {
        "promise_id": f"P-{number}",
        "customer_id": f"C-{number % 7}",
        "kind": "deliver",
        "text": f"{WORDS} {number}",
        "due_at": NOON + timedelta(days=1),
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
    }
    return submission("promise.make", command_id or f"m-{number}", source=source, **terms | data)


def claim(number: int, /, **data: Any) -> Submission:
    """P-<number> is claimed kept."""
    return submission("promise.claim_kept", f"k-{number}", promise_id=f"P-{number}", **data)


def tell(number: int, /, **data: Any) -> Submission:
    """D-<number> tells the customer of P-<number> of a delay; the next news of it is a promise, so two events."""
    terms = {
        "disclosure_id": f"D-{number}",
        "customer_id": f"C-{number % 7}",
        "about": {"promise_id": f"P-{number}"},
        "text": f"{WORDS} later {number}",
        "owner": "u-1",
        "apology": True,
        "channel": "phone",
        "basis": "known",
        "next_step": f"{WORDS} or we call {number}",
        "next_update_at": NOON + timedelta(hours=20),
    }
    return submission("disclosure.make", f"d-{number}", **terms | data)


class Log:
    """One log, and as many ledgers on it as are opened. `now` is what their clocks say."""

    def __init__(self, url: str, data_dir: Path, **given: Any) -> None:
        self.url = url
        self.settings = Settings(data_dir=data_dir, database_url=url, **given)
        self.now = NOON
        create_log(self.settings)
        self.secrets = keys.secrets_of(self.settings)
        self.vkey = Signer(self.settings.origin, self.secrets.log).vkey
        self._opened: list[Ledger] = []

    def open(self) -> Ledger:
        """A ledger on this log, closed at the end of the test."""
        ledger = Ledger.open(self.settings, clock=lambda: self.now)
        self._opened.append(ledger)
        return ledger

    def close(self) -> None:
        for ledger in self._opened:
            ledger.close()
        self._opened.clear()

    def guard_note(self) -> bytes | None:
        return read_guard(self.settings.guard_path)

    def verify(self, **changed: Any) -> Report:
        arguments = {
            "vkey": self.vkey,
            "guard": self.guard_note,
            "key_encryption_key": self.secrets.kek,
            "digest_key": self.secrets.digest,
            "rules": True,
        }
        return verify(self.url, **arguments | changed)

    def ask(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def states(self) -> list[bytes]:
        """The entries in order."""
        return [row[0] for row in self.ask("SELECT state FROM ledger.events ORDER BY notification_id")]

    def check_clean(self, size: int) -> None:
        """The log verifies, is signed to its end, and has `size` leaves."""
        report = self.verify()
        assert report.problem is None, report.problem
        assert (report.size, report.signed_size) == (size, size)

    def check_receipt(self, receipt: Answer) -> None:
        """Every proof of `receipt` holds: by our library, and by one that we did not write."""
        assert receipt["status"] == "recorded", receipt
        states = self.states()
        for event in receipt["events"]:
            index, leaf = event["leaf_index"], base64.b64decode(event["leaf_hash"])
            text = event.get("proof", receipt["proof"])
            proof = ProofFile.parse(text)
            assert proof.index == index
            checkpoint, _ = proof.verify(leaf, Verifier.parse(self.vkey))
            note = proof.checkpoint_note.decode()
            head = metamorphic_log.checkpoint_verify(note, [self.vkey])
            assert (head.size, bytes(head.root)) == (checkpoint.size, checkpoint.root)
            metamorphic_log.checkpoint_verify_inclusion(note, [self.vkey], index, leaf, list(proof.proof))
            assert sha256(b"\0" + states[index]).digest() == leaf
            entry = orjson.loads(states[index])
            assert (entry["event_id"], entry["type"]) == (event["event_id"], event["type"])


def told(ledger: Ledger, *batch: Submission) -> list[Answer]:
    """The answers to one batch, as their senders get them."""
    return answers(ledger.submit(batch))


def answers(outcomes: Sequence[Any]) -> list[Answer]:
    return [orjson.loads(outcome.to_json()) for outcome in outcomes]


def recorded(receipt: Answer) -> Any:
    """What a second receipt of the same command must repeat: all but the proof, which may lead to a newer root."""
    events = [{key: value for key, value in event.items() if key != "proof"} for event in receipt["events"]]
    return receipt["source"], receipt["id"], receipt["recorded_at"], events


@contextmanager
def copied(url: str, name: str) -> Iterator[str]:
    """The URL of a copy of the database at `url` as it is now: a backup. Nobody may be connected to it."""
    parts = urlsplit(url)
    with psycopg.connect(parts._replace(path="/postgres").geturl(), autocommit=True) as connection:
        original = Identifier(parts.path.removeprefix("/"))
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), original))
        yield parts._replace(path=f"/{name}").geturl()
        connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def copy_directory(source: Path, target: Path) -> None:
    """Copy keys and guard beside a copied database."""
    shutil.copytree(source, target, dirs_exist_ok=True)
