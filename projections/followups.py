"""Follow-ups as they stand and as they came to stand so: `followups_due`."""

from pathlib import Path

from ledger.domain.followups import FollowUp
from ledger.storage.sql import queries
from projections.states import folding
from projections.versions import Definition

FOLLOWUPS = Definition(
    name="followups",
    sql=queries(Path(__file__).with_suffix(".sql")),
    keys={"followups": ("followup_id",), "history": ("leaf_index",)},
    start=folding("followup", FollowUp, current="followups", history="history"),
    revision=2,
)
