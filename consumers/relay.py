"""The relay: every event of the log on the queue, once it is committed, in the order of the log.

What is published is the entry as it is stored, byte for byte: who listens can hash it (RFC 9162: SHA-256 of a zero byte
and the canonical JSON) and compare with a proof. Personal texts are no part of an entry.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from consumers.announcing import Stopped
from consumers.channels import EVENTS, Stream, events_subject
from consumers.publishing import Announcement, cloud_event
from ledger.storage.sql import QUERIES, queries

MOST: Final = 1_000
"""Events in one step."""
_SQL = queries(Path(__file__).with_name("relay.sql"))


class EventsAnnouncer:
    """Announces the events of the log named `origin`."""

    name: Final = "events"
    stream: Final[Stream] = EVENTS

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.lag_events = 0
        """How many events were not published yet when a step began."""

    async def take(self, cursor: AsyncCursor[DictRow], now: datetime) -> Sequence[Announcement]:
        """The next events of the log. Raises `Stopped` where one of them is gone."""
        place = await (await cursor.execute(_SQL["place"])).fetchone()
        if place is None:
            return []
        first, size = place["position"], place["size"]
        self.lag_events = max(size - first, 0)
        stop = min(size, first + MOST)
        if stop <= first:
            return []
        await cursor.execute(QUERIES["range"], {"first": first, "stop": stop})
        announcements = [self._announcement(index, row) for index, row in enumerate(await cursor.fetchall(), first)]
        if len(announcements) != stop - first:
            raise Stopped(f"an event from leaf {first} on is missing: run `promise-ledger verify`")
        await cursor.execute(_SQL["move"], {"position": stop})
        return announcements

    def _announcement(self, leaf_index: int, row: DictRow) -> Announcement:
        if row["leaf_index"] != leaf_index:
            raise Stopped(f"leaf {leaf_index} is missing from the log: run `promise-ledger verify`")
        state = bytes(row["state"])
        entry = orjson.loads(state)
        body = cloud_event(
            id=entry["event_id"],
            type=f"ledger.{row['topic']}",
            source=self.origin,
            time=entry["occurred_at"],
            subject=entry.get("customer_id"),
            data=orjson.Fragment(state),
            leafindex=leaf_index,
        )
        return Announcement(events_subject(row["topic"]), entry["event_id"], body)
