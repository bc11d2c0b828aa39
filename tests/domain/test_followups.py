"""followup.schedule, followup.attempt and followup.complete, and what a failure reopens."""

from typing import Any

import pytest

from ledger.domain.concerns import ConcernAddressed, ConcernRaised, ConcernReopened, ConcernWithdrawn
from ledger.domain.followups import (
    AttemptFollowUp,
    CompleteFollowUp,
    FollowUpAbout,
    FollowUpAttempted,
    FollowUpCompleted,
    FollowUpScheduled,
    ScheduleFollowUp,
)
from ledger.domain.problem_messages import ProblemConcernOpened, ResolutionClaimed, ResolutionFailed
from ledger.domain.promise_messages import PromiseBroken, PromiseClaimedKept, PromiseDisputed, PromiseKept
from tests.domain.story import Fact, day, detected, given, made, on, order, raised, scheduled, told

F1 = {"followup_id": "F-1", "customer_id": "C-1"}
P1 = {"promise_id": "P-1", "customer_id": "C-1"}
ABOUT_PROMISE = scheduled(about_promise_id="P-1")
ABOUT_CONCERN = scheduled(about_concern_id="Q-1")
WITHDRAWN = on(4, ConcernWithdrawn(concern_id="Q-1", customer_id="C-1"))
CLAIMED = on(3, PromiseClaimedKept(**P1))
ADDRESSED = on(3, ConcernAddressed(concern_id="Q-1", customer_id="C-1", by="D-1"))


def schedule(**about: str) -> Any:
    return order(ScheduleFollowUp, **F1, about=FollowUpAbout(**about), due_at=day(12), owner="u-1")


def complete(outcome: str, text: str | None = None) -> Any:
    return order(CompleteFollowUp, followup_id="F-1", outcome=outcome, text=text)


def completed(outcome: Any, text: str | None = None) -> FollowUpCompleted:
    return FollowUpCompleted(**F1, outcome=outcome, text=text)


@pytest.mark.parametrize(
    ("member", "name"), [("promise_id", "P-1"), ("concern_id", "Q-1"), ("disclosure_id", "D-1"), ("problem_id", "X-1")]
)
def test_a_follow_up_is_owed_about_one_thing(member: str, name: str) -> None:
    command = schedule(**{member: name})
    event = FollowUpScheduled(**F1, due_at=day(12), owner="u-1", **{f"about_{member}": name})
    given(made(), raised(), told(), detected()).when(command).then(event).so(
        "followup:F-1", due_at=day(12), owner="u-1", attempts=0, completed_at=None
    )
    assert command.streams() == ("followup:F-1", f"{member.removesuffix('_id')}:{name}")


def test_about_nothing_or_two_things() -> None:
    given(made()).when(schedule()).refused("about-one-thing", "0")
    given(made()).when(schedule(promise_id="P-1", problem_id="X-1")).refused("about-one-thing", "2")


def test_about_a_problem_that_nobody_detected() -> None:
    given().when(schedule(problem_id="X-1")).refused("unknown-problem", "X-1")


@pytest.mark.parametrize(("member", "name"), [("promise_id", "P-1"), ("concern_id", "Q-1"), ("disclosure_id", "D-1")])
def test_about_what_does_not_exist_or_is_somebody_elses(member: str, name: str) -> None:
    given().when(schedule(**{member: name})).refused(f"unknown-{member.removesuffix('_id')}", name)
    others = (made(customer_id="C-2"), raised(customer_id="C-2"), told(customer_id="C-2"))
    given(*others).when(schedule(**{member: name})).refused("wrong-customer", name, "C-1")


def test_due_before_it_was_scheduled() -> None:
    command = order(ScheduleFollowUp, 13, **F1, about=FollowUpAbout(problem_id="X-1"), due_at=day(12), owner="u-1")
    given(detected()).when(command).refused("due-before-made", "F-1")


def test_an_id_names_one_follow_up_for_ever() -> None:
    given(scheduled()).when(schedule(problem_id="X-2")).refused("id-taken", "There is a follow-up F-1 already")


def test_attempts_are_counted_and_the_first_success_remembered() -> None:
    attempt = order(AttemptFollowUp, followup_id="F-1", channel="phone", reached=True)
    missed = on(3, FollowUpAttempted(**F1, channel="phone", reached=False))
    reached = FollowUpAttempted(**F1, channel="phone", reached=True)
    given(scheduled(), missed).when(attempt).then(reached).so(
        "followup:F-1", attempts=2, reached_at=day(5), completed_at=None
    )
    given(scheduled(), on(4, reached)).when(attempt).then(reached).so("followup:F-1", attempts=2, reached_at=day(4))
    late = (
        given(scheduled(), on(6, reached)).when(attempt).then(reached)
    )  # that of day 5 is recorded after that of day 6
    late.so("followup:F-1", attempts=2, reached_at=day(5))


@pytest.mark.parametrize("outcome", ["works", "does_not_work", "update_given"])
def test_completing_closes_it(outcome: str) -> None:
    given(scheduled()).when(complete(outcome, "Fine.")).then(completed(outcome, "Fine.")).so(
        "followup:F-1", completed_at=day(5), outcome=outcome
    )


def test_what_does_not_work_disputes_the_claim() -> None:
    events = completed("does_not_work", "No light."), PromiseDisputed(**P1, text="No light.")
    command = complete("does_not_work", "No light.")
    given(made(), CLAIMED, ABOUT_PROMISE).when(command).then(*events).so(
        "promise:P-1", fulfilment="none", cycle=2, standing="active"
    )
    unverified = made(verification="not_required")
    given(unverified, CLAIMED, ABOUT_PROMISE).when(command).then(*events).so("promise:P-1", standing="active", cycle=2)


def test_what_does_not_work_reopens_the_concern() -> None:
    reopened = ConcernReopened(concern_id="Q-1", customer_id="C-1", followup_id="F-1")
    given(raised(), ADDRESSED, ABOUT_CONCERN).when(complete("does_not_work")).then(
        completed("does_not_work"), reopened
    ).so("concern:Q-1", cycle=2, acknowledged_at=None, addressed_at=None, addressed_by=None)


PROBLEM = {"problem_id": "X-1", "customer_id": "C-1"}
REOPENED_CONCERN = ConcernReopened(concern_id="Q-1", customer_id="C-1", followup_id="F-1")


def test_a_concern_about_a_problem_is_open_for_the_problem_too() -> None:
    about = on(1, ConcernRaised(concern_id="Q-1", customer_id="C-1", problem_id="X-1"))
    opened = ProblemConcernOpened(**PROBLEM, concern_id="Q-1")
    given(detected(), about, ADDRESSED, ABOUT_CONCERN).when(complete("does_not_work")).then(
        completed("does_not_work"), REOPENED_CONCERN, opened
    ).so("problem:X-1", open_concerns={"Q-1"})


def test_what_does_not_work_reopens_the_problem() -> None:
    resolved = on(3, ResolutionClaimed(problem_id="X-1", root_cause_addressed=True))
    failed = ResolutionFailed(**PROBLEM, followup_id="F-1")
    given(detected(), resolved, scheduled()).when(complete("does_not_work")).then(
        completed("does_not_work"), failed
    ).so("problem:X-1", resolved_at=None, cycle=2).so("followup:F-1", about_problem_id="X-1")
    others = detected(affected=("C-2",))
    given(others, resolved, scheduled()).when(complete("does_not_work")).then(completed("does_not_work"))


KEPT = on(4, PromiseKept(**P1, verified_by="C-1"))
BROKEN = on(4, PromiseBroken(**P1, reason_code="x"))


@pytest.mark.parametrize(
    "facts",
    [
        (made(), ABOUT_PROMISE),
        (made(), CLAIMED, KEPT, ABOUT_PROMISE),
        (made(), CLAIMED, BROKEN, ABOUT_PROMISE),
        (raised(), ABOUT_CONCERN),
        (raised(), ADDRESSED, WITHDRAWN, ABOUT_CONCERN),
        (told(), scheduled(about_disclosure_id="D-1")),
        (detected(), scheduled()),
        (scheduled(),),
    ],
    ids=[
        "not claimed",
        "verified",
        "broken",
        "still open",
        "withdrawn",
        "disclosure",
        "not resolved",
        "problem of before problems",
    ],
)
def test_where_nothing_can_be_reopened_the_answer_stands_alone(facts: tuple[Fact, ...]) -> None:
    given(*facts).when(complete("does_not_work")).then(completed("does_not_work"))


@pytest.mark.parametrize("outcome", ["works", "update_given"])
def test_only_a_failure_reopens(outcome: str) -> None:
    given(made(), CLAIMED, ABOUT_PROMISE).when(complete(outcome)).then(completed(outcome))
    given(raised(), ADDRESSED, ABOUT_CONCERN).when(complete(outcome)).then(completed(outcome))


COMMANDS = [order(AttemptFollowUp, followup_id="F-1", channel="phone", reached=True), complete("works")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.TYPE)
def test_what_was_completed_or_never_scheduled(command: Any) -> None:
    given(scheduled(), on(4, completed("works"))).when(command).refused("not-allowed", "F-1", "2026-03-04")
    given().when(command).refused("unknown-followup", "F-1")
