"""The lifecycle table: against a matrix written by hand, and against the diagram that readers see."""

from pathlib import Path

import pytest

from ledger.domain import lifecycle
from ledger.domain.deadlines import ConditionExpired
from ledger.domain.dispatch import COMMANDS, EVENTS
from ledger.domain.promise_messages import (
    PromiseBroken,
    PromiseClaimedKept,
    PromiseKept,
    PromiseReleased,
    PromiseSuperseded,
    PromiseSuspended,
)
from ledger.domain.promise_state import Promise
from tests.domain.story import Fact, day, made, on, promise_after

P1 = {"promise_id": "P-1", "customer_id": "C-1"}
SUSPENDED = on(2, PromiseSuspended(**P1, review_at=day(9)))
CLAIMED = on(3, PromiseClaimedKept(**P1))
UNVERIFIED = made(verification="not_required")

PLACES: dict[str, tuple[Fact, ...]] = {
    "conditional": (made(condition_by=day(8)),),
    "active": (made(),),
    "active, claimed": (made(), CLAIMED),
    "suspended": (made(), SUSPENDED),
    "suspended, claimed": (made(), SUSPENDED, CLAIMED),
    "kept, claimed": (UNVERIFIED, CLAIMED),
    "kept, verified": (made(), CLAIMED, on(4, PromiseKept(**P1, verified_by="C-1"))),
    "broken": (made(), on(4, PromiseBroken(**P1, reason_code="x"))),
    "released": (made(), on(4, PromiseReleased(**P1, evidence="x"))),
    "released, claimed": (made(), CLAIMED, on(4, PromiseReleased(**P1, evidence="x"))),
    "expired": (made(condition_by=day(8)), on(8, ConditionExpired(**P1, condition_by=day(8)))),
    "superseded": (made(), on(4, PromiseSuperseded(**P1, superseded_by="P-2", disclosure_id="D-1"))),
}
ANY = "read_back warn accept reassign reschedule break release supersede"
ALLOWED = {
    "conditional": f"{ANY} meet_condition expire_condition",
    "active": f"{ANY} claim_kept suspend acknowledge_overdue announce_warning announce_deadline",
    "active, claimed": f"{ANY} verify dispute",
    "suspended": f"{ANY} claim_kept resume acknowledge_overdue announce_warning announce_deadline",
    "suspended, claimed": f"{ANY} verify dispute resume",
    "kept, claimed": "verify dispute",
    "expired": "meet_condition",
}


@pytest.mark.parametrize("place", PLACES)
def test_the_table_allows_in_each_place_what_the_matrix_says(place: str) -> None:
    promise = promise_after(*PLACES[place])
    commands = {row.command for row in lifecycle.TABLE} - {"promise.make"}
    allowed = {command.removeprefix("promise.") for command in commands if lifecycle.allows(command, promise)}
    assert allowed == set(ALLOWED.get(place, "").split())


def test_the_sentences_offer_backend_services_what_they_may_send() -> None:
    promise: Promise = promise_after(made(verification="not_required"), CLAIMED)
    assert lifecycle.possible(promise) == ("promise.verify", "promise.dispute")
    offered = lifecycle.possible(promise_after(made(condition_by=day(8))))
    assert "promise.meet_condition" in offered
    assert "promise.expire_condition" not in offered


def test_the_table_names_every_command_and_event_of_a_promise() -> None:
    assert {row.command for row in lifecycle.TABLE} == {name for name in COMMANDS if name.startswith("promise.")}
    assert {row.event for row in lifecycle.TABLE} == {name for name in EVENTS if name.startswith("promise.")}


def test_the_diagram_in_the_docs_is_drawn_from_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lifecycle.md").read_text()
    assert f"```mermaid\n{lifecycle.diagram()}```\n" in page
    assert f"\n{', '.join(f'`{event}`' for event in lifecycle.unmoving())}.\n" in page


def test_the_diagram_shows_each_move() -> None:
    lines = lifecycle.diagram().splitlines()
    assert "    [*] --> conditional : promise.made (with a condition)" in lines
    assert "    kept_claimed --> active : promise.disputed" in lines
    assert "    suspended_claimed --> suspended : promise.disputed" in lines
    assert "    active_claimed --> broken : promise.broken" in lines
    assert not [line for line in lines if line.strip().startswith(("broken", "released", "superseded"))]
    assert [line for line in lines if line.strip().startswith("expired")] == [
        "    expired --> active : promise.activated (told late)"
    ]
    assert not [line for line in lines if "conditional_claimed" in line]
