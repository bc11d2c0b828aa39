"""`up --demo`: plays the story through the queue, and prints what the ledger makes of it."""

import io
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
from rich.console import Console
from rich.text import Text

from consumers import client
from deploy import story
from deploy.tables import printer, show
from ledger.settings import Settings
from ledger.storage import keys
from ledger.storage.guard import read_guard
from ledger.tlog.note import Signer
from ledger.verification import verify
from projections import queries
from projections.runner import status

CATCH_UP_SECONDS = 60.0


def play(settings: Settings) -> None:
    """Send the story and print the account of it. Sent again it is answered with its first receipts."""
    assert settings.database_url is not None
    assert settings.broker_url is not None
    out = printer()
    told_before = (settings.data_dir / "story.jsonl").exists()
    lines = _story(settings.data_dir / "story.jsonl")
    out.rule("the story, through the queue")
    if told_before:
        out.print("This ledger was told the story before: the same commands are answered with their first receipts.")
    for sent, answer in zip(lines, client.record_file(settings.broker_url, io.BytesIO(b"\n".join(lines))), strict=True):
        _tell(out, orjson.loads(sent), orjson.loads(answer.body))
    _await_projections(settings.database_url)
    _account(out, settings, settings.database_url)


def _story(path: Path) -> list[bytes]:
    """The lines as they were first sent from this data directory."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(b"\n".join(orjson.dumps(event) for event in story.commands(datetime.now(UTC))))
        fresh.replace(path)
    return path.read_bytes().splitlines()


def _tell(out: Console, sent: dict[str, Any], answer: dict[str, Any]) -> None:
    what = f"{sent['time'][:10]} {sent['source']:<8}{sent['type']:<20} "
    if answer["status"] == "recorded":
        leaves = ", ".join(str(event["leaf_index"]) for event in answer["events"])
        out.print(Text.assemble(what, ("recorded", "green"), f" as leaf {leaves}"))
    else:
        out.print(Text.assemble(what, (answer["status"], "red"), f" {answer['code']}: {answer['message']}"))


def _await_projections(url: str) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while any(projection.lag_events for projection in status(url)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the projections did not catch up within {CATCH_UP_SECONDS:g} s")
        time.sleep(0.05)


def _account(out: Console, settings: Settings, url: str) -> None:
    secrets = keys.load(settings.keys_dir)
    with psycopg.connect(url) as connection:
        keyring = queries.keyring(secrets.kek)
        found = queries.customer(connection, keyring, story.CUSTOMER)
        broken = queries.findings(connection, customer=story.CUSTOMER)
        origin = connection.execute("SELECT origin FROM ledger.head").fetchone()
    assert origin is not None
    out.rule(f"what customer {story.CUSTOMER} was promised and told")
    told = [row for row in found["timeline"] if row.get("text")]
    show(out, "in order of what happened", told, ("occurred_at", "type", "actor", "text"))
    columns = ("promise_id", "kind", "owner", "due_at", "standing", "fulfilment", "timeliness", "text")
    show(out, "outstanding promises", found["outstanding"], columns)
    show(out, "follow-ups due", found["followups"], ("followup_id", "due_at", "owner"))
    show(out, "findings: what an auditor should see", broken, ("code", "severity", "subject", "opened_at", "opened_by"))
    report = verify(
        url,
        vkey=Signer(origin[0], secrets.log).vkey,
        guard=lambda: read_guard(settings.guard_path),
        key_encryption_key=secrets.kek,
    )
    out.rule("verification")
    if report.problem is None:
        root = report.root.hex()
        out.print(Text.assemble(("verified", "green"), f": {report.size} events give the signed root {root}"))
    else:
        out.print(Text.assemble(("NOT AS RECORDED", "red"), f": {report.problem.table}: {report.problem.message}"))
    out.print(f"health and metrics: http://127.0.0.1:{settings.http_port}/health and /metrics")
    out.print("ask on:  .venv/bin/promise-ledger outstanding | customer C-1042 | trail promise:P-stove | verify")
    out.print("Ctrl-C stops everything; the next `make run` goes on with this ledger.")
