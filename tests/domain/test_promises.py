"""Every command to a promise that exists: what it becomes, and each rule that refuses it."""

from typing import Any

import pytest

from ledger.domain.deadlines import ConditionExpired
from ledger.domain.model import Event
from ledger.domain.promise_messages import (
    AcceptPromise,
    BreakPromise,
    ClaimPromiseKept,
    DisputePromise,
    MeetCondition,
    PromiseAccepted,
    PromiseActivated,
    PromiseAtRisk,
    PromiseBroken,
    PromiseClaimedKept,
    PromiseDisputed,
    PromiseKept,
    PromiseReadBack,
    PromiseReassigned,
    PromiseReleased,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuspended,
    ReadBackPromise,
    ReassignPromise,
    ReleasePromise,
    ReschedulePromise,
    ResumePromise,
    SuspendPromise,
    VerifyPromise,
    WarnOfPromise,
)
from tests.domain.story import Fact, day, given, made, on, order, told

P1 = {"promise_id": "P-1", "customer_id": "C-1"}
CLAIMED = on(4, PromiseClaimedKept(**P1), actor="u-3")
CONDITIONAL = made(condition_text="You pay.", condition_by=day(6))
SUSPENDED = on(3, PromiseSuspended(**P1, reason="Strike.", review_at=day(8)))
NOT_REQUIRED = made(verification="not_required")


def test_claiming_kept_waits_for_verification() -> None:
    command = order(ClaimPromiseKept, evidence="delivery note 88", text="Delivered.")
    event = PromiseClaimedKept(**P1, evidence="delivery note 88", text="Delivered.")
    given(made()).when(command).then(event).so(
        "promise:P-1", standing="active", fulfilment="claimed", claimed_at=day(5), claimed_by="u-2", ended_as=None
    )


def test_claiming_kept_ends_it_where_no_verification_is_required() -> None:
    given(NOT_REQUIRED).when(order(ClaimPromiseKept)).then(PromiseClaimedKept(**P1)).so(
        "promise:P-1", standing="ended", ended_as="kept", ended_at=day(5), fulfilment="claimed"
    )


def test_a_suspended_promise_can_be_claimed_kept() -> None:
    given(made(), SUSPENDED).when(order(ClaimPromiseKept)).then(PromiseClaimedKept(**P1)).so(
        "promise:P-1", standing="suspended", fulfilment="claimed"
    )


def test_claiming_twice() -> None:
    given(made(), CLAIMED).when(order(ClaimPromiseKept)).refused("not-allowed", "active", "claimed", "promise.verify")


def test_claiming_before_the_condition_is_met() -> None:
    given(CONDITIONAL).when(order(ClaimPromiseKept)).refused("not-allowed", "conditional", "promise.meet_condition")


@pytest.mark.parametrize("verifier", ["C-1", "u-9"])
def test_verifying_ends_it_as_kept(verifier: str) -> None:
    event = PromiseKept(**P1, verified_by=verifier)
    given(made(), CLAIMED).when(order(VerifyPromise, verified_by=verifier)).then(event).so(
        "promise:P-1", standing="ended", ended_as="kept", ended_at=day(5), fulfilment="verified", claimed_at=day(4)
    )


def test_verifying_what_ended_by_its_claim_keeps_the_day_it_ended() -> None:
    event = PromiseKept(**P1, verified_by="C-1")
    given(NOT_REQUIRED, CLAIMED).when(order(VerifyPromise, verified_by="C-1")).then(event).so(
        "promise:P-1", fulfilment="verified", ended_as="kept", ended_at=day(4)
    )


PENDING = on(3, PromiseReassigned(**P1, owner="u-5"))


@pytest.mark.parametrize(
    ("verifier", "who"), [("u-1", "the owner"), ("u-5", "the pending owner"), ("u-3", "who claimed it")]
)
def test_nobody_verifies_their_own_promise(verifier: str, who: str) -> None:
    given(made(), PENDING, CLAIMED).when(order(VerifyPromise, verified_by=verifier)).refused(
        "self-verification", verifier
    )


def test_verifying_what_nobody_claimed() -> None:
    given(made()).when(order(VerifyPromise, verified_by="C-1")).refused("not-allowed", "promise.claim_kept")


def test_verifying_twice() -> None:
    kept = on(5, PromiseKept(**P1, verified_by="C-1"))
    given(made(), CLAIMED, kept).when(order(VerifyPromise, verified_by="C-1")).refused("not-allowed", "ended (kept)")


def test_a_dispute_opens_the_next_cycle_and_forgets_no_claim_silently() -> None:
    event = PromiseDisputed(**P1, text="Nothing came.")
    given(made(), CLAIMED).when(order(DisputePromise, text="Nothing came.")).then(event).so(
        "promise:P-1", standing="active", fulfilment="none", cycle=2, disputes=1, claimed_at=None, claimed_by=None
    )


def test_a_dispute_reopens_what_ended_by_an_unverified_claim() -> None:
    event = PromiseDisputed(**P1, text="x")
    given(NOT_REQUIRED, CLAIMED).when(order(DisputePromise, text="x")).then(event).so(
        "promise:P-1", standing="active", ended_as=None, ended_at=None, fulfilment="none", cycle=2
    )


def test_a_verified_promise_is_not_disputed() -> None:
    kept = on(5, PromiseKept(**P1, verified_by="C-1"))
    given(made(), CLAIMED, kept).when(order(DisputePromise, text="x")).refused("not-allowed", "make a new promise")


def test_what_was_released_while_claimed_is_not_disputed() -> None:
    released = on(5, PromiseReleased(**P1, evidence="call 7"))
    given(made(), CLAIMED, released).when(order(DisputePromise, text="x")).refused("not-allowed", "ended (released)")


def test_disputing_before_any_claim() -> None:
    given(made()).when(order(DisputePromise, text="x")).refused("not-allowed", "fulfilment none")


def test_meeting_the_condition_activates() -> None:
    given(CONDITIONAL).when(order(MeetCondition, 6)).then(PromiseActivated(**P1)).so("promise:P-1", standing="active")


def test_a_condition_met_in_time_is_recorded_after_it_was_announced_as_expired() -> None:
    expired = on(7, ConditionExpired(**P1, condition_by=day(6)))
    met = given(CONDITIONAL, expired).when(order(MeetCondition, 6), now=day(12)).then(PromiseActivated(**P1))
    met.so("promise:P-1", standing="active", ended_as=None, ended_at=None, due_at=day(10), latched=False)
    given(CONDITIONAL, expired).when(order(MeetCondition, 7)).refused("condition-passed", "P-1")
    given(CONDITIONAL, expired, on(6, PromiseActivated(**P1))).when(order(MeetCondition, 6)).refused("not-allowed")
    given(CONDITIONAL, on(3, PromiseReleased(**P1, evidence="x"))).when(order(MeetCondition, 5)).refused("not-allowed")


def test_meeting_the_condition_too_late() -> None:
    given(CONDITIONAL).when(order(MeetCondition, 7)).refused("condition-passed", "P-1")


def test_meeting_a_condition_that_was_never_set() -> None:
    given(made()).when(order(MeetCondition)).refused("not-allowed", "active")


def test_suspending_needs_a_review_and_resuming_ends_it() -> None:
    event = PromiseSuspended(**P1, reason="Strike.", review_at=day(8))
    command = order(SuspendPromise, reason="Strike.", review_at=day(8))
    given(made()).when(command).then(event).so("promise:P-1", standing="suspended", review_at=day(8))
    given(made(), SUSPENDED).when(order(ResumePromise)).then(PromiseResumed(**P1)).so(
        "promise:P-1", standing="active", review_at=None
    )


def test_the_review_lies_after_the_suspension() -> None:
    given(made()).when(order(SuspendPromise, 8, reason="x", review_at=day(8))).refused("review-in-past")


def test_suspending_twice_or_while_claimed() -> None:
    command = order(SuspendPromise, reason="x", review_at=day(9))
    given(made(), SUSPENDED).when(command).refused("not-allowed", "suspended")
    given(made(), CLAIMED).when(command).refused("not-allowed", "claimed")


def test_resuming_what_runs() -> None:
    given(made()).when(order(ResumePromise)).refused("not-allowed")


def test_the_first_warning_is_remembered() -> None:
    event = PromiseAtRisk(**P1, reason="Stock is low.", expected_at=day(12))
    first = order(WarnOfPromise, 5, reason="Stock is low.", expected_at=day(12))
    given(made()).when(first).then(event).so("promise:P-1", warned_at=day(5), standing="active", due_at=day(10))
    given(made(), on(5, event)).when(order(WarnOfPromise, 7, reason="x")).then(PromiseAtRisk(**P1, reason="x")).so(
        "promise:P-1", warned_at=day(5)
    )


def test_a_warning_that_arrives_late_but_was_given_first_counts() -> None:
    later = on(7, PromiseAtRisk(**P1, reason="x"))
    given(made(), later).when(order(WarnOfPromise, 3, reason="x")).then(PromiseAtRisk(**P1, reason="x")).so(
        "promise:P-1", warned_at=day(3)
    )


def test_reading_back_is_remembered() -> None:
    event = PromiseReadBack(**P1, confirmed=False, correction="Tuesday, not Monday.")
    command = order(ReadBackPromise, confirmed=False, correction="Tuesday, not Monday.")
    given(made()).when(command).then(event).so("promise:P-1", confirmed_read_back=False, standing="active")


def test_reassigning_takes_effect_on_acceptance_only() -> None:
    given(made()).when(order(ReassignPromise, owner="u-5")).then(PromiseReassigned(**P1, owner="u-5")).so(
        "promise:P-1", owner="u-1", pending_owner="u-5"
    )
    given(made(), PENDING).when(order(AcceptPromise, owner="u-5")).then(PromiseAccepted(**P1, owner="u-5")).so(
        "promise:P-1", owner="u-5", pending_owner=None
    )


def test_a_promise_made_for_another_team_is_accepted_by_whoever_takes_it() -> None:
    imposed = made(for_team="T-1")
    given(imposed).when(order(AcceptPromise, owner="u-6")).then(PromiseAccepted(**P1, owner="u-6")).so(
        "promise:P-1", owner="u-6", accepted=True, for_team="T-1"
    )
    accepted = on(4, PromiseAccepted(**P1, owner="u-6"))
    given(imposed, accepted).when(order(AcceptPromise, owner="u-6")).refused("nothing-to-accept")


def test_accepting_what_nobody_hands_over() -> None:
    given(made()).when(order(AcceptPromise, owner="u-5")).refused("nothing-to-accept", "u-1")


def test_accepting_in_the_place_of_somebody_else() -> None:
    given(made(), PENDING).when(order(AcceptPromise, owner="u-6")).refused("not-pending-owner", "u-5")


def test_reassigning_to_the_owner() -> None:
    given(made()).when(order(ReassignPromise, owner="u-1")).refused("already-owner", "u-1")


def test_rescheduling_keeps_the_old_due_time_on_record() -> None:
    event = PromiseRescheduled(**P1, old_due_at=day(10), new_due_at=day(20), disclosure_id="D-1")
    command = order(ReschedulePromise, new_due_at=day(20), disclosure_id="D-1")
    given(made(), told()).when(command).then(event).so(
        "promise:P-1", due_at=day(20), original_due_at=day(10), reschedules=1, latched=False, standing="active"
    )


@pytest.mark.parametrize("disclosed", [(), (told("D-1", "C-2"),)])
def test_rescheduling_without_having_told_that_customer(disclosed: tuple[Fact, ...]) -> None:
    command = order(ReschedulePromise, new_due_at=day(20), disclosure_id="D-1")
    given(made(), *disclosed).when(command).refused("undisclosed-reschedule", "D-1", "C-1")


def test_rescheduling_into_the_past() -> None:
    command = order(ReschedulePromise, 5, new_due_at=day(5), disclosure_id="D-1")
    given(made(), told()).when(command).refused("due-before-made", ": name a later one")


def test_rescheduling_a_conditional_promise_to_before_its_condition_is_decided() -> None:
    early = order(ReschedulePromise, 3, new_due_at=day(5), disclosure_id="D-1")
    given(CONDITIONAL, told()).when(early).refused("condition-after-due", ": name a later one")
    event = PromiseRescheduled(**P1, old_due_at=day(10), new_due_at=day(5), disclosure_id="D-1")
    given(CONDITIONAL, told(), on(2, PromiseActivated(**P1))).when(early).then(event)


def test_breaking_withdraws_the_claim() -> None:
    command = order(BreakPromise, reason_code="no-stock", text="We cannot.", problem_id="X-1")
    event = PromiseBroken(**P1, reason_code="no-stock", text="We cannot.", problem_id="X-1")
    given(made(), CLAIMED).when(command).then(event).so(
        "promise:P-1", standing="ended", ended_as="broken", ended_at=day(5), fulfilment="none", claimed_at=None, cycle=1
    )


def test_releasing_is_the_customers_and_on_evidence() -> None:
    event = PromiseReleased(**P1, evidence="call 7")
    given(made(), SUSPENDED).when(order(ReleasePromise, evidence="call 7")).then(event).so(
        "promise:P-1", standing="ended", ended_as="released", review_at=None
    )


ORDERS: list[Any] = [
    order(ReadBackPromise, confirmed=True),
    order(AcceptPromise, owner="u-5"),
    order(ReassignPromise, owner="u-5"),
    order(MeetCondition),
    order(WarnOfPromise, reason="x"),
    order(ReschedulePromise, new_due_at=day(20), disclosure_id="D-1"),
    order(SuspendPromise, reason="x", review_at=day(8)),
    order(ResumePromise),
    order(ClaimPromiseKept),
    order(VerifyPromise, verified_by="C-1"),
    order(DisputePromise, text="x"),
    order(BreakPromise, reason_code="x", text="x"),
    order(ReleasePromise, evidence="x"),
]
ENDS: list[Event] = [PromiseBroken(**P1, reason_code="x"), PromiseReleased(**P1, evidence="x")]


@pytest.mark.parametrize("command", ORDERS, ids=lambda command: command.TYPE)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.TOPIC)
def test_what_has_ended_stays_ended(command: Any, end: Event) -> None:
    given(made(), told(), on(3, end)).when(command).refused("not-allowed", "make a new promise")


@pytest.mark.parametrize("command", ORDERS, ids=lambda command: command.TYPE)
def test_there_must_be_a_promise(command: Any) -> None:
    given(told()).when(command).refused("unknown-promise", "P-1")
    assert command.streams()[0] == "promise:P-1"
