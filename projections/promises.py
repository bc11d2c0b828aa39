"""Promises as they stand and as they came to stand so: `outstanding_promises` and `promise_history`.

One projection with two tables: both are one fold of a promise's events, so derived together they cannot disagree.
Timeliness is no column: audit.timeliness computes it from due time and clock, as ledger.domain.promise_state does.
What the timer has still to warn of is one: SQL cannot count business time, and looks for it once a second. Whom it is
escalated to is another, since SQL knows nothing of policies.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Cursor

from ledger.domain.deadlines import escalations_ahead, warnings_ahead
from ledger.domain.promise_state import Promise
from ledger.storage.keys import Secrets
from ledger.storage.sql import queries
from projections.log import Batch
from projections.published import Published, warn_percents
from projections.states import StateFold
from projections.versions import Definition


class PromisesFold(StateFold):
    """Folds promises, and beside each its warnings and escalations to come, under the policy that it was made under."""

    def __init__(self, cursor: Cursor[Any], _secrets: Secrets | None) -> None:
        beside = ("warn_percents", "warn_at", "escalate_to", "escalate_at")
        super().__init__(cursor, "promise", Promise, "promises", "history", beside=beside)
        self._published: Published | None = None

    def __call__(self, cursor: Cursor[Any], batch: Batch) -> None:
        if self._published is None:  # only what was applied already: a batch that cannot be read stops before itself
            self._published = Published.read(cursor, batch.first)
        for entry in batch.entries:
            self._published.add(entry)
        super().__call__(cursor, batch)

    def further(self, state: Any, made_leaf_index: int) -> tuple[list[int], list[datetime], list[str], list[datetime]]:
        assert self._published is not None
        policy = self._published.policy_of(state, made_leaf_index)
        ahead = warnings_ahead(state, warn_percents(policy), self._published.calendar_of(state))
        steps = escalations_ahead(state, () if policy is None else policy.escalation_after_hours)
        to = [] if policy is None or not steps else list(policy.escalation_to)
        return [percent for percent, _ in ahead], [at for _, at in ahead], to, list(steps)


PROMISES = Definition(
    name="promises",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"promises": ("promise_id",), "history": ("leaf_index",)},
    start=PromisesFold,
    cost=35,
)
