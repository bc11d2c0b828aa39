"""A database beside the keys and the guard of a log: what happened to it, the recoveries, and what is signed."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from deploy import recovering
from deploy.exporting import export_tiles
from ledger.app import Ledger
from ledger.recovery.diagnosis import Diagnosis, diagnose
from ledger.recovery.steps import Recovery
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import ForkGuard, read_guard
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Verifier
from ledger.tlog.proof_file import ProofFile
from ledger.verification.log import verify
from ledger.verification.report import Report
from tests.storage.log import Answer, Log, claim, make, told


class Place:
    """One database with the keys and the guard of `log`: the log itself, or what was restored in its stead."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self.log = log
        self.settings = settings

    def open(self) -> Ledger:
        return Ledger.open(self.settings, clock=lambda: self.log.now)

    def ask(self, query: str) -> list[Any]:
        assert self.settings.database_url is not None
        with psycopg.connect(self.settings.database_url) as connection:
            return connection.execute(query.encode()).fetchall()

    def harm(self, *statements: str) -> None:
        """As a superuser who takes the triggers away."""
        assert self.settings.database_url is not None
        with psycopg.connect(self.settings.database_url) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement.encode())

    @contextmanager
    def case(self, *sites: Path, kept: Sequence[Path] = ()) -> Iterator[recovering.Case]:
        with recovering.opened_case(self.settings, kept=list(map(str, kept)), sites=list(map(str, sites))) as case:
            yield case

    def diagnosis(self, *, kept: Sequence[Path] = ()) -> Diagnosis:
        with self.case(kept=kept) as case:
            return diagnose(case.found)

    def recovery(self, case: recovering.Case) -> Recovery:
        return case.recovery("ticket 88", lambda: self.log.now)

    def guard(self, *, kept: Sequence[Path] = ()) -> None:
        with self.case(kept=kept) as case:
            self.recovery(case).guard()

    def entries(self, *sites: Path) -> None:
        with self.case(*sites) as case:
            self.recovery(case).entries(case.missing())

    def anew(self, *sites: Path, origin: str = "example/again") -> str:
        with self.case(*sites) as case:
            return self.recovery(case).anew(origin, case.missing(strict=False))

    def verify(self, vkey: str | None = None, **changed: Any) -> Report:
        assert self.settings.database_url is not None
        arguments = {
            "vkey": vkey or self.log.vkey,
            "guard": lambda: read_guard(self.settings.guard_path),
            "key_encryption_key": self.log.secrets.kek,
            "digest_key": self.log.secrets.digest,
            "rules": True,
        }
        return verify(self.settings.database_url, **arguments | changed)

    def check_clean(self, size: int, vkey: str | None = None) -> Report:
        report = self.verify(vkey)
        assert report.problem is None, report.problem
        assert (report.size, report.signed_size) == (size, size)
        return report

    def record(self) -> dict[str, Any]:
        """What the last event of the log says, which is the recovery."""
        ((state,),) = self.ask("SELECT state FROM ledger.events ORDER BY notification_id DESC LIMIT 1")
        entry = orjson.loads(state)
        assert entry["type"] == "log.recovered"
        data: dict[str, Any] = entry["data"]
        return data


class Signatures:
    """Every note that anything signed in this test, by origin; two roots of one size would be a fork."""

    def __init__(self) -> None:
        self.notes: list[bytes] = []

    def check(self) -> None:
        roots: dict[tuple[str, int], bytes] = {}
        for note in self.notes:
            checkpoint = Checkpoint.parse(Note.parse(note).text)
            known = roots.setdefault((checkpoint.origin, checkpoint.size), checkpoint.root)
            assert known == checkpoint.root, f"two trees of {checkpoint.size} were signed"


def older(place: Place, url: str) -> Place:
    """The same keys and the same guard beside another database."""
    return Place(place.log, place.settings.model_copy(update={"database_url": url}))


def grow(place: Place) -> list[Answer]:
    """300 more events, some of customers who come for the first time."""
    with place.open() as ledger:
        receipts = told(ledger, *(make(number, customer_id=f"N-{number % 5}") for number in range(1000, 1290)))
        receipts += told(ledger, *(claim(number) for number in range(10)))
    return receipts


def export(place: Place, directory: Path) -> Path:
    assert place.settings.database_url is not None
    export_tiles(place.settings.database_url, directory, lambda done, total: None)
    return directory


def check_receipts(receipts: Sequence[Answer], vkey: str) -> None:
    """Each still proves its event under the checkpoint that it came with."""
    assert receipts
    for receipt in receipts:
        for event in receipt["events"]:
            proof = ProofFile.parse(event.get("proof", receipt["proof"]))
            proof.verify(base64.b64decode(event["leaf_hash"]), Verifier.parse(vkey))


class Killed(Exception):
    """The process ended here."""


def kill(broken: pytest.MonkeyPatch, at: str) -> None:
    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    match at:
        case "commit":
            broken.setattr("ledger.storage.recorder.Append.write", die)
        case "guard":
            broken.setattr(ForkGuard, "write", die)
        case "answer":
            broken.setattr(Ledger, "answer", die)
        case "begin":
            broken.setattr(Ledger, "begin", die)
        case "key":
            broken.setattr(keys, "replace_log_key", die)
        case "rename":
            broken.setattr("ledger.recovery.steps.flush_directory", die)
