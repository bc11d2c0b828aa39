"""The notepad on the command line: notes that are on disk before anything else is tried, and their delivery."""

import asyncio
import getpass
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from rich.console import Console

from consumers.client import Client, Delivery
from consumers.cloudevents import event_of
from consumers.spool import Spool
from deploy.finding import running, settings_for
from ledger.clock import system_clock
from ledger.domain.errors import describe
from ledger.domain.model import Command
from ledger.domain.outages import DeclareOutage, TakeNote

SOURCE: Final = "notepad"
_PATIENCE_SECONDS: Final = 10.0

Noted = tuple[str, Command]
"""A command and the id that it is sent under for ever, made when it is written down."""


def commands(
    text: str | None, *, customer: str | None, outage: str | None, tool: str | None, actor: str | None, read: bool
) -> list[Noted]:
    """What is to be noted down now: the declaration of the outage, the note, or both.

    Raises ValueError with one sentence where something is missing or no id; it never repeats the text.
    """
    if outage is None or (text is None and tool is None) or (text is not None and customer is None):
        raise ValueError("a note needs --outage, --customer and a text; --declare TOOL declares the outage itself")
    now = system_clock()
    said: dict[str, Any] = {"actor": actor or user(), "occurred_at": now, "outage_id": outage}
    found: list[Noted] = []
    try:
        if tool is not None:
            found.append((f"outage-{uuid.uuid4().hex}", DeclareOutage(**said, tool=tool)))
        if text is not None:
            capture_id = f"note-{uuid.uuid4().hex}"
            words: dict[str, Any] = {"customer_id": customer, "text": text, "read_back": read}
            found.append((capture_id, TakeNote(**said, capture_id=capture_id, captured_at=now, **words)))
    except ValidationError as error:
        raise ValueError(describe(error)) from None
    return found


def note_down(pad: Path, noted: Sequence[Noted]) -> None:
    """All of `noted` is on disk in `pad`. Raises `SpoolProblem`, `Malformed`."""
    for command_id, command in noted:
        Spool(pad).append(event_of(command, SOURCE, command_id))


def deliver(pad: Path, data_dir: Path | None, vkey: Sequence[str] | None) -> Delivery:
    """What came of delivering `pad` now; where no queue is to be reached, all of it waits."""
    settings = settings_for(data_dir)
    broker_url = settings.broker_url or (running(settings.data_dir) or {}).get("broker_url")
    if broker_url is None:
        waiting = len(Spool(pad).contents().pending)
        return Delivery(0, (), (), waiting, "no ledger runs here, and LEDGER_BROKER_URL names none")
    return deliver_to(broker_url, pad, vkey)


def deliver_to(broker_url: str, pad: Path, vkey: str | Sequence[str] | None) -> Delivery:
    """What came of delivering `pad` to that queue."""
    return asyncio.run(_deliver(broker_url, pad, vkey))


async def _deliver(broker_url: str, pad: Path, vkey: str | Sequence[str] | None) -> Delivery:
    async with Client(broker_url, SOURCE, vkey=vkey, spool=pad, patience_seconds=_PATIENCE_SECONDS) as client:
        return await client.deliver()


def tell(out: Console, pad: Path, told: Delivery) -> None:
    """Say on the terminal what is on record, what waits, and what needs a human."""
    if told.recorded:
        out.print(f"recorded in the ledger: {told.recorded}")
    for sentence in told.refused:
        out.print(f"refused, kept in {pad}.aside: {sentence}")
    for sentence in told.damaged:
        out.print(f"{pad}: {sentence}")
    if told.waiting:
        out.print(f"waiting in {pad}: {told.waiting} ({told.reason})")
    if not (told.recorded or told.refused or told.damaged or told.waiting):
        out.print("the notepad is empty")


def user() -> str:
    """Who is logged in, as far as that is an id."""
    return re.sub(r"[^A-Za-z0-9._:-]", "-", getpass.getuser())[:128]
