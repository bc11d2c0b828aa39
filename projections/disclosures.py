"""Disclosures as they stand, what rests on them, and their corrections: `disclosures`, `corrections_owed`.

Which of them are contaminated is asked of the links when somebody wants to know, never kept: whatever order falsehoods
and what rests on them were recorded in, the answer is the same.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg import Cursor

from ledger.domain.disclosures import CorrectionDelivered, Disclosure, DisclosureMade
from ledger.domain.promise_messages import PromiseMade
from ledger.storage.entries import StoredEntry
from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.log import Batch
from projections.states import StateFold
from projections.tables import Table
from projections.versions import Definition

Row = tuple[Any, ...]


class DisclosureFold:
    """The state of each disclosure, what was said once and for all, and what hangs on which disclosure."""

    def __init__(self, cursor: Cursor[Any], secrets: Secrets | None) -> None:
        self._states = StateFold(cursor, "disclosure", Disclosure, "disclosures", "history")
        self._tellings = Table.find(cursor, "tellings")
        self._links = Table.find(cursor, "links")

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        self._states(cursor, batch)
        self._tellings.insert(cursor, [_telling(e) for e in batch.entries if isinstance(e.event, DisclosureMade)])
        self._links.insert(cursor, [link for entry in batch.entries for link in _links(entry)])


def _telling(entry: StoredEntry) -> Row:
    event = entry.event
    assert isinstance(event, DisclosureMade)
    return (
        event.disclosure_id,
        entry.happened.actor,
        event.channel,
        event.reason_class,
        event.control,
        event.apology,
        event.solution_ref,
        event.next_update_at,
        event.outage_id,
        entry.leaf_index,
    )


def _links(entry: StoredEntry) -> Iterator[Row]:
    """What the event rests on, each once, and what it corrects."""
    event = entry.event
    match event:
        case DisclosureMade():
            kind, dependent_id = "disclosure", event.disclosure_id
        case PromiseMade():
            kind, dependent_id = "promise", event.promise_id
        case _:
            return
    happened = entry.happened
    dependent = (
        dependent_id,
        event.customer_id,
        event.owner,
        happened.occurred_at,
        happened.actor,
        happened.recorded_at,
        entry.leaf_index,
    )
    for basis_id in dict.fromkeys(event.based_on):
        yield basis_id, kind, *dependent
    if isinstance(event, CorrectionDelivered):
        yield event.corrects, "correction", *dependent


DISCLOSURES = Definition(
    name="disclosures",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={
        "disclosures": ("disclosure_id",),
        "history": ("leaf_index",),
        "tellings": ("disclosure_id",),
        "links": ("basis_id", "dependent_id", "kind"),
    },
    start=DisclosureFold,
)
