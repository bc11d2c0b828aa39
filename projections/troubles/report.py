"""Problems, concerns and outages as they stand and as they came to stand so.

One projection for the three: few events are theirs, and every projection costs each batch a transaction. States come
from the last row of a history; lists (the customers of a problem, the notes of an outage) are facts that are counted
when somebody asks, as of now or of any moment.
"""

from pathlib import Path
from typing import Any, Final

from psycopg import Cursor

from ledger.domain import concerns, problems
from ledger.domain.concerns import Concern
from ledger.domain.disclosures import CorrectionDelivered, DisclosureMade
from ledger.domain.model import Event
from ledger.domain.outages import EVENTS as OUTAGE_EVENTS
from ledger.domain.outages import NoteCleared, NoteTaken, OutageDeclared, OutageEvent
from ledger.storage.entries import StoredEntry
from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.log import Batch
from projections.states import StateFold
from projections.tables import Table
from projections.troubles.problems import ProblemRow, Row, evolve, with_customers
from projections.versions import Definition

_PARTS = tuple(queries(Path(__file__).with_name(f"{name}.sql")) for name in ("problems", "concerns", "outages"))
_ASKED: Final[frozenset[type[Event]]] = frozenset(
    (*problems.EVENTS, *concerns.EVENTS, *OUTAGE_EVENTS, DisclosureMade, CorrectionDelivered)
)
"""All that is looked at; what else happened costs a look at its type."""


class TroublesFold:
    """Two folds of states and two tables of facts."""

    def __init__(self, cursor: Cursor[Any], _secrets: Secrets | None) -> None:
        self._problems = StateFold(cursor, "problem", ProblemRow, "problems", "problem_history", evolve=evolve)
        self._concerns = StateFold(cursor, "concern", Concern, "concerns", "concern_history")
        self._customers = Table.find(cursor, "problem_customers")
        self._outages = Table.find(cursor, "outage_history")

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        ours = [entry for entry in batch.entries if type(entry.event) in _ASKED]
        if not ours:
            return
        ours_alone = Batch(batch.first, batch.stop, ours)
        self._problems(cursor, ours_alone)
        self._concerns(cursor, ours_alone)
        self._customers.insert(cursor, [row for entry in ours for row in with_customers(entry)])
        self._outages.insert(cursor, [_of_outage(entry) for entry in ours if isinstance(entry.event, OutageEvent)])


def _of_outage(entry: StoredEntry) -> Row:
    event, happened = entry.event, entry.happened
    assert isinstance(event, OutageEvent)
    taken = event if isinstance(event, NoteTaken) else None
    return (
        entry.leaf_index,
        event.outage_id,
        event.TOPIC,
        event.tool if isinstance(event, OutageDeclared) else None,
        getattr(event, "capture_id", None),
        event.customer_id,
        taken and taken.captured_at,
        taken and taken.read_back,
        list(event.by) if isinstance(event, NoteCleared) else None,
        happened.occurred_at,
        happened.recorded_at,
        happened.actor,
        happened.source,
        entry.heading.case_id,
    )


TROUBLES = Definition(
    name="troubles",
    sql={section: "".join(part[section] for part in _PARTS) for section in ("tables", "indexes", "views")},
    keys={
        "problems": ("problem_id",),
        "problem_history": ("leaf_index",),
        "problem_customers": ("leaf_index", "customer_id"),
        "concerns": ("concern_id",),
        "concern_history": ("leaf_index",),
        "outage_history": ("leaf_index",),
    },
    start=TroublesFold,
)
