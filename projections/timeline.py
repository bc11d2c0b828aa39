"""Everything that happened with a customer, event by event: `customer_timeline`."""

from pathlib import Path
from typing import Any

from psycopg import Cursor

from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.log import Batch
from projections.tables import Table
from projections.versions import Definition


class TimelineFold:
    """One row for each event that belongs to a customer. What it says is read from the log itself, by the view."""

    def __init__(self, cursor: Cursor[Any], secrets: Secrets | None) -> None:
        self._timeline = Table.find(cursor, "timeline")

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        rows = [
            (
                leaf_index,
                event.customer_id,
                heading.happened.occurred_at,
                heading.happened.recorded_at,
                event.TOPIC,
                heading.stream,
                heading.happened.actor,
                heading.happened.source,
                heading.case_id,
            )
            for leaf_index, event, heading, _ in batch.entries
            if event.customer_id is not None
        ]
        self._timeline.insert(cursor, rows)


TIMELINE = Definition(
    name="timeline",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"timeline": ("leaf_index",)},
    start=TimelineFold,
    cost=7,
)
