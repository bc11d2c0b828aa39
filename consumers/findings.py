"""Findings on the queue: each is announced when it opens, and again when it closes.

A finding is known before it opens, and one that opened may turn out to have been closed before. So an opening is
announced once its moment has come and nothing prevented it; a closing once its moment has come and the opening was
announced, also where it closed before it opened (an event that was recorded late): `closed_at` says so.

What was announced is remembered by the events that prove it (`opened_by`, the number of the finding among those of that
event, code and subject), so a rebuild of the read tables announces nothing twice. A release with other rules announces
what is new by them; of what they do not find any more nothing further is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from psycopg import AsyncCursor
from psycopg.rows import DictRow

from consumers.announcing import QUERIES, known
from consumers.channels import FINDING_CLOSED, FINDING_OPENED, FINDINGS, Stream
from consumers.publishing import Announcement, cloud_event
from ledger.storage.sql import queries

MOST: Final = 1_000
"""Findings in one step."""
_SQL = queries(Path(__file__).with_name("findings.sql"))


class FindingsAnnouncer:
    """Announces findings of the log named `origin`; `rules` has the sentence behind each code."""

    name: Final = "findings"
    stream: Final[Stream] = FINDINGS

    def __init__(self, origin: str, rules: Mapping[str, str]) -> None:
        self.origin = origin
        self._rules = rules

    async def take(self, cursor: AsyncCursor[DictRow], now: datetime) -> Sequence[Announcement]:
        """Openings and closings up to `now`, as far as the read tables of findings have come."""
        found = await known(cursor, "findings", now)
        if found is None:
            return []
        rows = await (await cursor.execute(_SQL["due"], found | {"most": MOST})).fetchall()
        announcements = [each for row in rows for each in self._announcements(row)]
        await cursor.execute(QUERIES["announce"], {"ids": [each.id for each in announcements]})
        if len(rows) < MOST:
            await cursor.execute(_SQL["all_announced"], found)
        return announcements

    def _announcements(self, row: DictRow) -> Iterator[Announcement]:
        finding = {
            "code": row["code"],
            "severity": row["severity"],
            "rule": self._rules.get(row["code"]),
            "subject": row["subject"],
            "customer_id": row["customer_id"],
            "case_id": row["case_id"],
            "opened_at": row["opened_at"],
            "opened_by": row["opened_by"],
            "detail": row["detail"],
        }
        if row["opens"]:
            yield self._announcement(FINDING_OPENED, f"{row['id']}:opened", row["opened_at"], finding)
        if row["closes"]:
            closed = finding | {"closed_at": row["closed_at"], "closed_by": row["closed_by"]}
            yield self._announcement(FINDING_CLOSED, f"{row['id']}:closed", row["closed_at"], closed)

    def _announcement(self, kind: str, id: str, time: datetime, finding: Mapping[str, Any]) -> Announcement:
        data = {name: value for name, value in finding.items() if value is not None}
        body = cloud_event(id=id, type=kind, source=self.origin, time=time, subject=finding["customer_id"], data=data)
        return Announcement(kind, id, body)
