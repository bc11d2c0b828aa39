"""Packs made for tests, and what a bare Python says of them."""

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.pack import verify_pack
from deploy.pack.publishing import export_pack
from deploy.pack.selecting import Wanted
from ledger.app import Submission
from ledger.tlog.note import Note, Signer
from ledger.tlog.witness import Cosigner
from tests.storage.log import Log, submission

ERASING = 13
"""The leaf that orders the erasure of C-2."""
FORMULA = '=HYPERLINK("http://evil.example","open")'
MARKUP = "<script>alert('x')</script> & \"quotes\"\nsecond line, äöü \u202egnirts"
NOBODY = Signer("nobody.example/log", b"n" * 32)
WITNESS = Cosigner("witness.example/w", b"w" * 32)


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
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def leaves(pack: Path) -> list[int]:
    rows = csv.DictReader(io.StringIO((pack / "timeline.csv").read_text(encoding="utf-8"), newline=""))
    return [int(row["leaf_index"]) for row in rows]


def sql(log: Log, condition: str, *parameters: Any) -> list[int]:
    query = "SELECT leaf FROM (SELECT notification_id - 1 AS leaf, originator_id AS stream,"
    query += " convert_from(state, 'UTF8')::jsonb AS entry FROM ledger.events) AS e"
    return [row[0] for row in log.ask(f"{query} WHERE {condition} ORDER BY leaf", *parameters)]
