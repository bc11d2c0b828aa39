"""The scorecard: how candid we were in a period, each number with its denominator; docs/scorecard.md defines them.

The projection keeps what no other read table has: what customers told us, and needs that we declined.
The numbers themselves are asked of these and of the others by audit.scorecard, as of the end of the period.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import tuple_row

from ledger.domain.contacts import ContactRecorded
from ledger.domain.customers import CustomerReportedProblem
from ledger.domain.needs import NeedEvent
from ledger.domain.surveys import SurveyAnswered
from ledger.storage.entries import StoredEntry
from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.log import Batch
from projections.tables import Table
from projections.versions import Definition

Row = tuple[Any, ...]
By = Literal["owner", "kind", "customer"]


class Measure(NamedTuple):
    """One row of audit.scorecard. `value` is None where there was nothing to count."""

    group_id: str | None
    measure: str
    value: float | None
    unit: Literal["share", "days"]
    counted: int
    out_of: int
    small: bool

    @property
    def shown(self) -> str:
        """The value for people: a share in percent, less than two days in hours."""
        if self.value is None:
            return "-"
        if self.unit == "share":
            return f"{self.value * 100:.1f} %"
        return f"{self.value:.1f} d" if abs(self.value) >= 2 else f"{self.value * 24:.3g} h"


def scorecard(
    connection: Connection[Any],
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    by: By | None = None,
    known_at: datetime | None = None,
) -> list[Measure]:
    """The measures from `start` up to, not including, `stop` (None: ever, and now), in all or by group.

    With `known_at` of what was recorded by then, and `stop` is that moment where it is None.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute("SELECT * FROM audit.scorecard(%s, %s, %s, %s)", (start, stop, by, known_at)).fetchall()
    return [Measure._make(row) for row in rows]


class ScorecardFold:
    """Facts alone: nothing here is ever changed by a later event."""

    def __init__(self, cursor: Cursor[Any], secrets: Secrets | None) -> None:
        self._heard = Table.find(cursor, "heard")

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        self._heard.insert(cursor, [row for entry in batch.entries if (row := _row(entry)) is not None])


def _row(entry: StoredEntry) -> Row | None:
    """What the event adds, if anything."""
    match entry.event:
        case CustomerReportedProblem(problem_id=str(about_id)):
            return _heard(entry, about_id)
        case ContactRecorded(contact_id=about_id):
            return _heard(entry, about_id)
        case SurveyAnswered(contact_id=about_id, answer=answer):
            return _heard(entry, about_id, answer)
        case NeedEvent(need_id=about_id):
            return _heard(entry, about_id)
    return None


def _heard(entry: StoredEntry, about_id: str, answer: str | None = None) -> Row:
    event, happened = entry.event, entry.happened
    said = event.TOPIC, about_id, event.customer_id, happened.actor, answer
    return entry.leaf_index, *said, happened.occurred_at, happened.recorded_at


SCORECARD = Definition(
    name="scorecard",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"heard": ("leaf_index",)},
    start=ScorecardFold,
)
