"""The scorecard: how candid we were in a period, each number with its denominator; docs/scorecard.md defines them.

The projection keeps what no other read table has: problems as detected, whom they touch, and what customers told us.
The numbers themselves are asked of these and of the others by audit.scorecard, as of the end of the period.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import tuple_row

from ledger.domain.contacts import ContactRecorded
from ledger.domain.customers import CustomerReportedProblem
from ledger.domain.needs import NeedEvent
from ledger.domain.problems import CustomersAffected, ProblemDetected
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


def scorecard(
    connection: Connection[Any], *, start: datetime | None = None, stop: datetime | None = None, by: By | None = None
) -> list[Measure]:
    """The measures from `start` up to, not including, `stop` (None: ever, and now), in all or by group."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute("SELECT * FROM audit.scorecard(%s, %s, %s)", (start, stop, by)).fetchall()
    return [Measure._make(row) for row in rows]


class ScorecardFold:
    """Facts alone: nothing here is ever changed by a later event."""

    def __init__(self, cursor: Cursor[Any], secrets: Secrets) -> None:
        self._tables = {name: Table.find(cursor, name) for name in ("problems", "affected", "heard")}

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        rows: dict[str, list[Row]] = {name: [] for name in self._tables}
        for entry in batch.entries:
            for name, row in _rows(entry):
                rows[name].append(row)
        for name, table in self._tables.items():
            table.insert(cursor, rows[name])


def _rows(entry: StoredEntry) -> Iterator[tuple[str, Row]]:
    """What the event adds, as (table, row)."""
    event, leaf_index, at = entry.event, entry.leaf_index, entry.happened.occurred_at
    match event:
        case ProblemDetected(problem_id=problem_id, known_since=known_since, affected=affected):
            yield (
                "problems",
                (problem_id, event.owner, event.severity, event.detected_by, known_since, at, leaf_index),
            )
            for customer_id in affected:
                yield "affected", (problem_id, customer_id, known_since, at, leaf_index)
        case CustomersAffected(problem_id=problem_id, affected=affected):
            for customer_id in affected:
                yield "affected", (problem_id, customer_id, at, at, leaf_index)
        case CustomerReportedProblem(problem_id=str(about_id)):
            yield "heard", _heard(entry, about_id)
        case ContactRecorded(contact_id=about_id):
            yield "heard", _heard(entry, about_id)
        case SurveyAnswered(contact_id=about_id, answer=answer):
            yield "heard", _heard(entry, about_id, answer)
        case NeedEvent(need_id=about_id):
            yield "heard", _heard(entry, about_id)


def _heard(entry: StoredEntry, about_id: str, answer: str | None = None) -> Row:
    event, happened = entry.event, entry.happened
    return entry.leaf_index, event.TOPIC, about_id, event.customer_id, happened.actor, answer, happened.occurred_at


SCORECARD = Definition(
    name="scorecard",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"problems": ("problem_id",), "affected": ("problem_id", "customer_id"), "heard": ("leaf_index",)},
    start=ScorecardFold,
)
