"""Promises as they stand and as they came to stand so: `outstanding_promises` and `promise_history`.

One projection with two tables: both are one fold of a promise's events, so derived together they cannot disagree.
Timeliness is no column: it is computed from due time and clock by audit.timeliness, as ledger.domain.promises does.
"""

from pathlib import Path

from ledger.domain.promises import Promise
from ledger.storage.sql import queries
from projections.states import folding
from projections.versions import Definition

PROMISES = Definition(
    name="promises",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"promises": ("promise_id",), "history": ("leaf_index",)},
    start=folding("promise", Promise, current="promises", history="history"),
)
