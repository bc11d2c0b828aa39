"""The timer: it announces warnings, missed deadlines and expired conditions, through the same append path as all else.

It only announces: overdue is a query, true without it. Any number of timers may run, since an announcement has one
command id for ever and the inbox takes it once. After hours of being off, what was missed is announced then: of several
warnings of one promise the highest alone, which says what the others would, and none whose due time has passed
meanwhile.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import eventsourcing.persistence
import orjson
import psycopg
import structlog
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from consumers.channels import TIMER_SOURCE
from ledger.app import Fork, Ledger, Submission
from ledger.clock import system_clock
from ledger.domain.deadlines import reached
from ledger.domain.dispatch import COMMANDS
from ledger.key_provider import KeyProblem
from ledger.lasting import unforeseen
from ledger.settings import MAX_BATCH
from ledger.storage.sql import queries

TICK_SECONDS: Final = 1.0
_MARGIN: Final = timedelta(milliseconds=5)
"""Never ask the ledger before its own clock agrees: what is refused as moot is not announced again."""
_MOST_ID: Final = 128
_SQL = queries(Path(__file__).with_name("timer.sql"))
_FAILURES: Final = (Fork, KeyProblem, psycopg.Error, eventsourcing.persistence.PersistenceError)
_log = structlog.get_logger("timer")


@dataclass(slots=True)
class Progress:
    """What health looks at."""

    announced: int = 0
    failure: str | None = None
    """Why nothing can be announced at the moment; None while it can."""


def tick(ledger: Ledger, connection: Connection[DictRow], now: datetime) -> int:
    """Announce what is due at `now`, at most one batch; how many were recorded. Raises database errors."""
    then = now - _MARGIN
    rows = connection.execute(_SQL["due_announcements"], {"now": then, "most": MAX_BATCH})
    due = [_submission(row, then) for row in rows]
    if not due:
        return 0
    return sum(outcome.status == "recorded" for outcome in ledger.submit(due))


async def run(
    ledger: Ledger, database_url: str, stop: asyncio.Event, *, progress: Progress, seconds: float = TICK_SECONDS
) -> None:
    """Tick until `stop` is set. The database may go and come back."""
    connection: Connection[DictRow] | None = None
    while not stop.is_set():
        try:
            if connection is None:
                connection = await asyncio.to_thread(_connect, database_url)
            progress.announced += await asyncio.to_thread(tick, ledger, connection, system_clock())
            progress.failure = None
        except Exception as error:  # one that nobody foresaw shows in health, and is tried again, like any other
            failure = " ".join(str(error).split()) if isinstance(error, _FAILURES) else unforeseen(error)
            if progress.failure is None:
                _log.warning("nothing can be announced", error=failure)
            progress.failure = failure
            if connection is not None:
                connection.close()
            connection = None
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            continue
    if connection is not None:
        connection.close()


def _connect(database_url: str) -> Connection[DictRow]:
    return psycopg.connect(
        database_url, autocommit=True, row_factory=dict_row, connect_timeout=5, application_name="promise-ledger timer"
    )


def _submission(row: Mapping[str, Any], now: datetime) -> Submission:
    """The announcement of one row: the same id and the same bytes from every timer that makes it."""
    kind = row["announcement"]
    data: dict[str, Any] = {"actor": TIMER_SOURCE, "promise_id": row["promise_id"], "occurred_at": row["since"]}
    match kind:
        case "promise.expire_condition":
            data |= {"condition_by": row["since"]}
        case "promise.announce_deadline":
            data |= {"due_at": row["due_at"]}
        case _:
            warning = reached(tuple(zip(row["warn_percents"], row["warn_at"], strict=True)), now)
            assert warning is not None, "the next of them was reached"
            data |= {"due_at": row["due_at"], "percent": warning[0], "occurred_at": warning[1]}
    canonical = orjson.dumps(data, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    command = COMMANDS[kind].__pydantic_validator__.validate_json(canonical, strict=True)
    return Submission(TIMER_SOURCE, _command_id(row, data["occurred_at"]), command, canonical)


def _command_id(row: Mapping[str, Any], at: datetime) -> str:
    """One id for one announcement; a dispute or a reschedule makes room for the next one, also of the same due time."""
    what = row["announcement"].rpartition("_")[2]
    at_us = (at - datetime.fromtimestamp(0, at.tzinfo)) // timedelta(microseconds=1)
    name = f"{row['promise_id']}:{row['cycle']}.{row['reschedules']}:{what}:{at_us}"
    return name if len(name) <= _MOST_ID else f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
