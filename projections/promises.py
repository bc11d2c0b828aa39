"""Promises as they stand and as they came to stand so: `outstanding_promises` and `promise_history`.

One projection with two tables: both are one fold of a promise's events, so derived together they cannot disagree.
Timeliness is no column: it is computed from due time and clock by audit.timeliness, as ledger.domain.promises does.
What the timer has still to warn of is one: SQL cannot count business time, and looks for it once a second.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Cursor

from ledger.domain.deadlines import warnings_ahead
from ledger.domain.promises import Promise
from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.log import Batch
from projections.published import Published
from projections.states import StateFold
from projections.versions import Definition


class PromisesFold(StateFold):
    """Folds promises, and beside each what is still to be warned of under the policy that it was made under."""

    def __init__(self, cursor: Cursor[Any], _secrets: Secrets) -> None:
        super().__init__(cursor, "promise", Promise, "promises", "history", beside=("warn_percents", "warn_at"))
        self._published: Published | None = None

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        if self._published is None:  # only what was applied already: a batch that cannot be read stops before itself
            self._published = Published.read(cursor, batch.first)
        for entry in batch.entries:
            self._published.add(entry)
        super().__call__(cursor, batch)

    def further(self, state: Any, made_leaf_index: int) -> tuple[list[int], list[datetime]]:
        assert self._published is not None
        percents = self._published.warn_percents(state, made_leaf_index)
        ahead = warnings_ahead(state, percents, self._published.calendar_of(state))
        return [percent for percent, _ in ahead], [at for _, at in ahead]


PROMISES = Definition(
    name="promises",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"promises": ("promise_id",), "history": ("leaf_index",)},
    start=PromisesFold,
)
