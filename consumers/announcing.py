"""Announcers: each publishes one kind of announcement and keeps its place in the database.

A step is one transaction. Its announcer locks its row, notes down what it is about to announce, that is published, and
then the transaction ends. Crash before the publishing, or in the middle of it: nothing was noted down, and the same
announcements go out again under the same ids. Crash between publishing and commit: the same. Crash after the commit:
the next step goes on behind them. So everything is announced at least once, and a second time only after a crash; NATS
stores what comes again soon after only once.

Any number of relays may run: the row is their lock, and whoever does not get it looks again later. Our notes are
committed without waiting for the disk: what a power cut takes of them is announced again.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import psycopg
import structlog
from nats.aio.client import Client
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier

from consumers.channels import Stream
from consumers.publishing import Announcement, NotPublished, publish
from ledger.clock import system_clock
from ledger.storage.recorder import CHANNEL
from ledger.storage.sql import queries

POLL_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0
GRACE: Final = timedelta(seconds=1)
"""So much later than its moment a thing is announced: what is being recorded at that moment may prevent it."""
BUSY_SHARE: Final = 0.05
"""The part of its time that an announcer may spend on looking for what is not there."""
QUERIES = queries(Path(__file__).with_name("announcing.sql"))
_log = structlog.get_logger("relay")


class Announcer(Protocol):
    """One kind of announcement."""

    origin: str
    """The log's name, which a step renews."""

    @property
    def name(self) -> str: ...
    @property
    def stream(self) -> Stream: ...
    async def take(self, cursor: AsyncCursor[DictRow], now: datetime) -> Sequence[Announcement]:
        """What is to be announced at `now`, the oldest first, at most a batch; noted down in the open transaction."""
        ...


class Stopped(Exception):
    """What is to be announced next cannot be read; the message says why. Nothing is announced past it."""


@dataclass(slots=True)
class Progress:
    """What health looks at, of one announcer."""

    published: int = 0
    looked_at: float = field(default_factory=time.time)
    """When a step last came to its end (`time.time()`)."""
    failure: str | None = None


async def step(announcer: Announcer, connection: AsyncConnection[DictRow], queue: Client, now: datetime) -> int:
    """Announce one batch; how many. 0 where there is nothing, or another relay is at it. Raises `NotPublished`."""
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(QUERIES["lock"], {"name": announcer.name})
        place = await cursor.fetchone()
        if place is None:
            return 0
        announcer.origin = place["origin"]
        announcements = await announcer.take(cursor, now)
        if announcements:
            await publish(queue, announcer.stream, announcements)
    return len(announcements)


async def known(cursor: AsyncCursor[DictRow], projection: str, now: datetime) -> DictRow | None:
    """What may be announced from the read tables of `projection`: their `version`, `position` and `horizon`.

    None before `migrate`. Until the `horizon` everything is decided that was recorded.
    """
    await cursor.execute(QUERIES["known"], {"name": projection, "now": now - GRACE})
    return await cursor.fetchone()


async def run(
    announcer: Announcer, database_url: str, queue: Client, stop: asyncio.Event, *, progress: Progress
) -> None:
    """Announce until `stop` is set: after every append, and by itself twice a second. Outlives database and queue."""
    while not stop.is_set():
        try:
            async with AsyncExitStack() as connections:
                listener = await connections.enter_async_context(await connect(database_url))
                await listener.execute(SQL("LISTEN {}").format(Identifier(CHANNEL)))  # first, and then look
                connection = await connections.enter_async_context(await connect(database_url))
                while not stop.is_set():
                    began = time.monotonic()
                    published = await step(announcer, connection, queue, system_clock())
                    progress.published += published
                    progress.looked_at, progress.failure = time.time(), None
                    if not published:
                        await _pause(stop, min((time.monotonic() - began) / BUSY_SHARE, LONGEST_PAUSE_SECONDS))
                        await _notified(listener)
        except (psycopg.Error, NotPublished, Stopped) as error:
            failure = " ".join(str(error).split())
            if progress.failure is None:
                _log.warning("nothing can be announced", announcer=announcer.name, error=failure)
            progress.failure = failure
            await _pause(stop, RETRY_SECONDS)


async def connect(database_url: str) -> AsyncConnection[DictRow]:
    """A connection for announcers."""
    return await AsyncConnection.connect(
        database_url,
        autocommit=True,
        row_factory=dict_row,
        connect_timeout=5,
        application_name="promise-ledger relay",
        options="-c synchronous_commit=off -c timezone=UTC",
    )


async def _notified(listener: AsyncConnection[DictRow]) -> None:
    """An append was committed, or the poll time is over."""
    async for _ in listener.notifies(timeout=POLL_SECONDS, stop_after=1):
        pass


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
