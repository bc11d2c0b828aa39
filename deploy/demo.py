"""`up --demo`: plays the story through the queue, its notes through the notepad, and gives the account of it."""

import io
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import psycopg
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from consumers import asking, recording
from consumers.spool import Spool
from deploy import account, noting, story
from deploy.tables import printer
from ledger.settings import Settings
from ledger.storage import keys
from ledger.tlog.note import Signer
from projections.runner import status

CATCH_UP_SECONDS = 60.0
COLUMNS = 100
_WORDS = ("text", "summary", "restated", "cause", "how", "why", "refer_to", "question", "next_step")
_FACTS = (
    *("evidence", "verified_by", "confirmed", "works", "answer", "outcome"),
    *("lead_time", "due_at", "new_due_at", "approver", "tool"),
)
"""Members of a command that say what happened: words as they were said, and facts."""


def play(settings: Settings) -> None:
    """Send the story and print the account of it. Sent again it is answered with its first receipts."""
    assert settings.database_url is not None
    assert settings.broker_url is not None
    out = printer()
    out.width = min(out.width, COLUMNS)
    vkey = _vkey(settings, settings.database_url)
    told_before = (settings.data_dir / "story.jsonl").exists()
    lines = _story(settings.data_dir / "story.jsonl")
    out.rule("the story, through the queue")
    if told_before:
        out.print("This ledger was told the story before: the same commands are answered with their first receipts.")
    for source, group in groupby(lines, key=lambda line: orjson.loads(line)["source"] == story.NOTEPAD):
        if source:
            _note_down(out, list(group), settings.data_dir / "story.notepad", settings.broker_url, vkey)
        else:
            _send(out, list(group), settings.broker_url)
    _await_projections(settings.database_url)
    account.give(out, settings, settings.database_url, vkey)


def _vkey(settings: Settings, url: str) -> str:
    with psycopg.connect(url) as connection:
        origin = connection.execute("SELECT origin FROM ledger.head").fetchone()
    assert origin is not None
    return Signer(origin[0], keys.secrets_of(settings).log).vkey


def _story(path: Path) -> list[bytes]:
    """The lines as they were first sent from this data directory."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(b"\n".join(orjson.dumps(event) for event in story.commands(datetime.now(UTC))))
        fresh.replace(path)
    return path.read_bytes().splitlines()


def _send(out: Console, lines: Sequence[bytes], broker_url: str) -> None:
    for sent, answer in zip(lines, recording.record_file(broker_url, io.BytesIO(b"\n".join(lines))), strict=True):
        said = orjson.loads(answer.body)
        if said["status"] == "recorded":
            leaves = [event["leaf_index"] for event in said["events"]]
            _tell(
                out,
                sent,
                Text("leaf " + "-".join(str(leaf) for leaf in dict.fromkeys((leaves[0], leaves[-1]))), "green"),
            )
        else:
            _tell(out, sent, Text(said["status"], "bold red"), f"{said['code']}: {said['message']}")


def _note_down(out: Console, lines: Sequence[bytes], pad: Path, broker_url: str, vkey: str) -> None:
    """The lines are on disk before anything is sent, then delivered; told again, they get their first receipts."""
    for line in lines:
        Spool(pad).append(line)
        _tell(out, line, Text("on disk", "yellow"))
    told = noting.deliver_to(broker_url, pad, vkey)
    if told.waiting:
        raise asking.NoAnswer(told.reason)
    out.print(Padding(Text(f"delivered from the notepad: {told.recorded} recorded", "green"), (0, 0, 0, 37)))


def _tell(out: Console, line: bytes, outcome: Text, refusal: str | None = None) -> None:
    """One command as one row, under the title of its chapter where it begins one."""
    sent = orjson.loads(line)
    at = datetime.fromisoformat(sent["time"])
    if (title := story.TITLES.get(sent["id"])) is not None:
        out.print(Text(f"\n{at:%A %d %B} · {title}", "bold"))
    row = Table.grid(padding=(0, 1), expand=True)
    for width in (5, 7, 22):
        row.add_column(width=width, no_wrap=True)
    row.add_column(ratio=1)
    row.add_column(min_width=10, no_wrap=True, justify="right")
    row.add_row(f"{at:%H:%M}", sent["source"], sent["type"], _gist(sent["data"]), outcome)
    if refusal is not None:
        row.add_row("", "", "", Text(refusal, "red"), "")
    out.print(row)


def _gist(data: dict[str, Any]) -> Text:
    """What it is about, and what was said or done."""
    about = next(value for name, value in data.items() if name.endswith("_id"))
    said = [data.get("promise", data), *data.get("steps", ())]
    words = " · ".join(each[name] for each in said for name in _WORDS if name in each)
    facts = ", ".join(f"{name.replace('_', ' ')} {_spelled(data[name])}" for name in _FACTS if name in data)
    return Text.assemble((about, "cyan"), f" “{words}”" if words else "", f" {facts}" if facts else "")


def _spelled(value: str | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        return f"{datetime.fromisoformat(value):%d %b %H:%M}"
    except ValueError:
        return value


def _await_projections(url: str) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while any(projection.lag_events for projection in status(url)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the projections did not catch up within {CATCH_UP_SECONDS:g} s")
        time.sleep(0.05)
