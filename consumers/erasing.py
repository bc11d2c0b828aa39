"""The eraser at work: a round a second, and now and then a look at the dead letters that have come meanwhile."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
import psycopg
import structlog
from eventsourcing.persistence import PersistenceError
from psycopg import Connection
from psycopg.rows import tuple_row

from consumers import deadletters
from ledger.app import Fork, Ledger
from ledger.erasure.eraser import Eraser, NotErased, ReadTables, Whose
from ledger.key_provider import KeyProblem
from ledger.lasting import unforeseen

TICK_SECONDS: Final = 1.0
LETTERS_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 5.0
_FAILURES: Final = (NotErased, Fork, KeyProblem, psycopg.Error, PersistenceError, nats.errors.Error, OSError)
_NO_PRIVILEGE: Final = "give LEDGER_ERASER_URL a database user of the role ledger_eraser"
_log = structlog.get_logger("eraser")


@dataclass(slots=True)
class Progress:
    """What health looks at."""

    completed: int = 0
    failure: str | None = None
    """Why erasures are not carried out at the moment; None while they are."""


@dataclass(frozen=True, slots=True)
class Letters:
    """The dead letters of one queue, as the eraser asks for them."""

    broker_url: str

    def forget(self, whose: Whose, *, after: int) -> tuple[Mapping[str, int], int]:
        """As `deadletters.forget`, in a loop of its own: for a thread that has none."""
        return deadletters.forget(self.broker_url, whose, after=after)


async def run(
    ledger: Ledger,
    database_url: str,
    broker_url: str,
    read_tables: ReadTables,
    stop: asyncio.Event,
    *,
    progress: Progress,
    seconds: float = TICK_SECONDS,
) -> None:
    """Erase what is to be erased until `stop` is set, as the role of `database_url`. Database and queue may go and come
    back; what failed begins again.
    """
    connection: Connection[Any] | None = None
    letters_at = 0.0
    while not stop.is_set():
        try:
            if connection is None:
                connection = await asyncio.to_thread(connect, database_url)
                eraser = Eraser(ledger, connection, read_tables, Letters(broker_url))
            waits: NotErased | None = None
            try:
                progress.completed += await asyncio.to_thread(eraser.round)
            except NotErased as error:
                waits = error  # and the letters of those who were erased before do not
            if time.monotonic() >= letters_at:
                await asyncio.to_thread(eraser.forget_late_letters)
                letters_at = time.monotonic() + LETTERS_SECONDS
            if waits is not None:
                raise waits
            progress.failure = None
        except Exception as error:  # one that nobody foresaw shows in health, and is tried again, like any other
            failure = " ".join(str(error).split()) if isinstance(error, _FAILURES) else unforeseen(error)
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                failure = f"{_NO_PRIVILEGE} ({error.diag.message_primary})"
            if progress.failure is None:
                _log.warning("nothing can be erased", error=failure)
            progress.failure = failure
            if connection is not None and not isinstance(error, NotErased):  # an eraser that waits knows for what
                connection.close()
                connection = None
        try:
            await asyncio.wait_for(stop.wait(), seconds if progress.failure is None else RETRY_SECONDS)
        except TimeoutError:
            continue
    if connection is not None:
        connection.close()


def connect(database_url: str) -> Connection[Any]:
    """The connection that an eraser works on: it waits for no lock longer than the next round can wait for it."""
    return psycopg.connect(
        database_url,
        autocommit=True,
        row_factory=tuple_row,
        connect_timeout=5,
        application_name="promise-ledger eraser",
        options="-c lock_timeout=10s -c timezone=UTC",
    )
