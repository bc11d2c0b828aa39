"""Everything that happened with a customer, event by event: `customer_timeline`."""

from pathlib import Path
from typing import Any

import orjson
from psycopg import Cursor

from ledger.storage.entries import plain_data
from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.log import Batch
from projections.tables import Table
from projections.versions import Definition


class TimelineFold:
    """One row for each event that belongs to a customer, with what the log itself says (nothing personal)."""

    def __init__(self, cursor: Cursor[Any], secrets: Secrets) -> None:
        self._timeline = Table.find(cursor, "timeline")

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        rows = []
        for leaf_index, event, heading, personal in batch.entries:
            if event.customer_id is not None:
                happened = heading.happened
                rows.append(
                    (
                        leaf_index,
                        event.customer_id,
                        happened.occurred_at,
                        happened.recorded_at,
                        event.TOPIC,
                        heading.stream,
                        happened.actor,
                        happened.source,
                        heading.case_id,
                        personal is not None,
                        orjson.dumps(plain_data(event), option=orjson.OPT_UTC_Z).decode(),
                    )
                )
        self._timeline.insert(cursor, rows)


TIMELINE = Definition(
    name="timeline",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"timeline": ("leaf_index",)},
    start=TimelineFold,
)
