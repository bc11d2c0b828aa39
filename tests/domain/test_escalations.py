"""Escalation: whom an overdue promise is called out to, and that an acknowledgement ends it, for one round."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain.deadlines import escalations_ahead
from ledger.domain.escalations import AcknowledgeOverdue, PromiseOverdueAcknowledged
from ledger.domain.promise_messages import (
    PromiseBroken,
    PromiseClaimedKept,
    PromiseDisputed,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuspended,
)
from ledger.domain.promise_state import Promise, timeliness
from tests.domain.story import Fact, day, given, made, on, order, promise_after

P1 = {"promise_id": "P-1", "customer_id": "C-1"}
LAST = datetime.max.replace(tzinfo=UTC)
SEEN = PromiseOverdueAcknowledged(**P1)
ACKNOWLEDGED = on(11, SEEN)
MOVED = on(12, PromiseRescheduled(**P1, old_due_at=day(10), new_due_at=day(19), disclosure_id="D-1"))
CLAIMED = on(12, PromiseClaimedKept(**P1))
DISPUTED = on(13, PromiseDisputed(**P1))
SUSPENDED = on(4, PromiseSuspended(**P1, review_at=day(20)))
IN_BUSINESS_TIME = made(calendar_id="de", calendar_version=1)
RESUMED = on(12, PromiseResumed(**P1, old_due_at=day(10), new_due_at=day(19)))


def acknowledge(number: int) -> Any:
    return order(AcknowledgeOverdue, number)


def test_an_overdue_promise_is_acknowledged_and_stays_overdue() -> None:
    given(made()).when(acknowledge(11)).then(SEEN).so("promise:P-1", overdue_acknowledged_at=day(11), standing="active")
    promise: Promise = promise_after(made(), ACKNOWLEDGED)
    assert timeliness(promise, day(12)) == "overdue"


def test_suspension_does_not_stop_the_clock_of_a_moment() -> None:
    given(made(), SUSPENDED).when(acknowledge(11)).then(SEEN)


@pytest.mark.parametrize("number", [9, 10])
def test_what_is_not_past_due_is_not_acknowledged(number: int) -> None:
    given(made()).when(acknowledge(number)).refused("not-past-due", "P-1")


def test_a_new_due_time_has_to_pass_first_also_of_a_promise_that_is_late_for_good() -> None:
    given(made(), MOVED).when(acknowledge(18)).refused("not-past-due", "P-1")
    given(made(), MOVED).when(acknowledge(20)).then(SEEN)


def test_once_is_enough_until_the_next_round() -> None:
    given(made(), ACKNOWLEDGED).when(acknowledge(12)).refused("already-acknowledged", "P-1")
    given(made(), ACKNOWLEDGED, MOVED).when(acknowledge(20)).then(SEEN)
    given(made(), ACKNOWLEDGED, CLAIMED, DISPUTED).when(acknowledge(14)).then(SEEN)


@pytest.mark.parametrize("over", [CLAIMED, on(12, PromiseBroken(**P1, reason_code="x"))], ids=["claimed", "ended"])
def test_what_is_claimed_or_ended_needs_no_acknowledgement(over: Fact) -> None:
    given(made(), over).when(acknowledge(13)).refused("not-allowed", "P-1")


@pytest.mark.parametrize(
    ("facts", "steps"),
    [
        ((made(),), (day(10), day(11))),
        ((made(), SUSPENDED), (day(10), day(11))),
        ((made(), MOVED), (day(19), day(20))),
        ((made(), ACKNOWLEDGED), ()),
        ((made(), CLAIMED), ()),
        ((made(condition_by=day(8)),), ()),
        ((made(due_at=LAST),), (LAST, LAST)),
        ((made(), ACKNOWLEDGED, CLAIMED, DISPUTED), (day(10), day(11))),
        ((made(), ACKNOWLEDGED, MOVED), (day(19), day(20))),
        ((IN_BUSINESS_TIME, SUSPENDED), ()),
        ((IN_BUSINESS_TIME, ACKNOWLEDGED, SUSPENDED, RESUMED), (day(19), day(20))),
    ],
)
def test_the_steps_of_an_escalation_and_what_ends_them(facts: tuple[Fact, ...], steps: tuple[Any, ...]) -> None:
    assert escalations_ahead(promise_after(*facts), (0, 24)) == steps
