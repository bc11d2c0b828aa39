"""Escalations on the queue: whom an overdue promise is called out to, step by step, until somebody looks after it.

A step is announced once its moment has come while the promise is still owed, unclaimed and not acknowledged. After
hours of being off all missed steps are announced, unless it was looked after meanwhile. Nothing is recorded: that a
promise is overdue is a query, and that somebody acknowledged it is an event.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from psycopg import AsyncCursor
from psycopg.rows import DictRow

from consumers.announcing import QUERIES, known
from consumers.channels import ESCALATION_SUBJECT, ESCALATIONS, Stream
from consumers.publishing import Announcement, cloud_event
from ledger.storage.sql import queries

MOST: Final = 1_000
"""Steps of escalations in one step of ours."""
_SQL = queries(Path(__file__).with_name("escalations.sql"))
_SAID: Final = ("promise_id", "customer_id", "owner", "case_id", "due_at", "step", "to", "after_hours")


class EscalationsAnnouncer:
    """Announces escalations of the log named `origin`."""

    name: Final = "escalations"
    stream: Final[Stream] = ESCALATIONS

    def __init__(self, origin: str) -> None:
        self.origin = origin

    async def take(self, cursor: AsyncCursor[DictRow], now: datetime) -> Sequence[Announcement]:
        """The steps that are due at `now`, as far as the read tables of promises have come."""
        found = await known(cursor, "promises", now)
        if found is None:
            return []
        rows = await (await cursor.execute(_SQL["due"], found | {"most": MOST})).fetchall()
        await cursor.execute(QUERIES["announce"], {"ids": [row["id"] for row in rows]})
        return [self._announcement(row) for row in rows]

    def _announcement(self, row: DictRow) -> Announcement:
        body = cloud_event(
            id=row["id"],
            type=ESCALATION_SUBJECT,
            source=self.origin,
            time=row["at"],
            subject=row["customer_id"],
            data={name: row[name] for name in _SAID if row[name] is not None},
        )
        return Announcement(ESCALATION_SUBJECT, row["id"], body)
