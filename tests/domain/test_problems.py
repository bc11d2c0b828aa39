"""Problems: detection, cause, plan, ownership, resolution, and what each customer says of it."""

import time
from typing import Any

import pytest

from ledger.domain.customers import CustomerReportedProblem
from ledger.domain.erasures import ErasureDeferred, ErasureRequested
from ledger.domain.model import Event, Happened
from ledger.domain.problem_messages import (
    ActionPlanned,
    AffectCustomers,
    CauseRecorded,
    CustomersAffected,
    DetectProblem,
    OwnershipTaken,
    PlanAction,
    ProblemConcernOpened,
    ProblemConcernSettled,
    ProblemCustomerTold,
    ProblemCustomerWithheld,
    ProblemDetected,
    RecordCause,
    ReportProblem,
    ResolutionClaimed,
    ResolutionFailed,
    ResolutionVerified,
    ResolveProblem,
    TakeOwnership,
    VerifyResolution,
)
from ledger.domain.problems import evolve
from ledger.domain.promise_messages import PromiseMade, PromiseTerms
from tests.domain.story import Fact, day, detected, given, made, on, order

X1 = {"problem_id": "X-1"}
DETECT: dict[str, Any] = {
    "problem_id": "X-1",
    "known_since": day(4),
    "detected_by": "us",
    "summary": "The lorries stand still.",
    "severity": 2,
    "affected": ("C-1", "C-2"),
    "owner": "u-1",
}


def detect(**changes: Any) -> Any:
    return order(DetectProblem, **DETECT | changes)


def told_of(customer_id: str) -> Fact:
    return on(2, ProblemCustomerTold(**X1, customer_id=customer_id, disclosure_id=f"D-{customer_id}"))


def kept_from(customer_id: str, until: int, number: int = 2) -> Fact:
    return on(number, ProblemCustomerWithheld(**X1, customer_id=customer_id, disclosure_id="D-9", review_at=day(until)))


BOTH_TOLD = (detected(), told_of("C-1"), told_of("C-2"))
CLAIMED = on(4, ResolutionClaimed(**X1, root_cause_addressed=True))
RESOLVED = (*BOTH_TOLD, CLAIMED)
OPEN_CONCERN = on(3, ProblemConcernOpened(**X1, customer_id="C-1", concern_id="Q-1"))


def test_a_problem_is_detected() -> None:
    event = ProblemDetected(**DETECT, customer_id="C-1")
    given().when(detect()).then(event).so(
        "problem:X-1",
        customer_id="C-1",
        version=1,
        owner="u-1",
        severity=2,
        known_since=day(4),
        affected={"C-1", "C-2"},
        told=set(),
        resolved_at=None,
        cycle=1,
    )


def test_a_customer_named_twice_is_affected_once() -> None:
    event = ProblemDetected(**DETECT, customer_id="C-1")
    given().when(detect(affected=("C-1", "C-2", "C-1"))).then(event)


def test_an_id_names_one_problem_for_ever() -> None:
    given(detected()).when(detect()).refused("id-taken", "X-1")


def test_nobody_knows_of_a_problem_before_they_do() -> None:
    given().when(detect(known_since=day(5))).then(
        ProblemDetected(**DETECT | {"known_since": day(5)}, customer_id="C-1")
    )
    given().when(detect(known_since=day(5, 1))).refused("in-future", "known_since")


def test_the_promises_at_stake_were_made_to_affected_customers() -> None:
    command = detect(promises=("P-1",))
    given(made()).when(command).then(ProblemDetected(**DETECT, promises=("P-1",), customer_id="C-1")).so(
        "problem:X-1", promises={"P-1"}
    )
    given().when(command).refused("unknown-promise", "P-1")
    given(made(customer_id="C-3")).when(command).refused("not-affected", "P-1", "C-3", "X-1")
    assert command.streams() == ("problem:X-1", "promise:P-1")


def test_a_customer_owns_no_problem() -> None:
    given().when(detect(owner="C-2")).refused("owner-not-ours", "C-2")
    given(detected()).when(order(TakeOwnership, **X1, owner="C-2")).refused("owner-not-ours", "C-2")
    given(detected()).when(order(AffectCustomers, **X1, affected=("u-1",))).refused("owner-not-ours", "u-1")


def test_more_customers_turn_out_to_be_affected() -> None:
    command = order(AffectCustomers, **X1, affected=("C-3", "C-2", "C-3"), promises=("P-1",))
    event = CustomersAffected(**X1, affected=("C-3",), promises=("P-1",))
    given(detected(), made(customer_id="C-3")).when(command).then(event).so(
        "problem:X-1", affected={"C-1", "C-2", "C-3"}, promises={"P-1"}
    )
    given(detected(), made(customer_id="C-4")).when(command).refused("not-affected", "C-4")
    assert command.streams() == ("problem:X-1", "promise:P-1")


def test_only_promises_turn_out_to_be_at_stake() -> None:
    command = order(AffectCustomers, **X1, affected=(), promises=("P-1", "P-1"))
    event = CustomersAffected(**X1, affected=(), promises=("P-1",))
    given(detected(), made()).when(command).then(event)
    given(detected(), made(), on(2, event)).when(command).refused("already-affected", "X-1")


def test_nobody_new_is_affected() -> None:
    given(detected()).when(order(AffectCustomers, **X1, affected=("C-1",))).refused("already-affected", "X-1")
    given(detected()).when(order(AffectCustomers, **X1, affected=())).refused("already-affected", "X-1")


CAUSE: dict[str, Any] = {"problem_id": "X-1", "cause_class": "transport", "basis": "verified"}


def test_a_cause_is_recorded_and_a_later_one_beside_it() -> None:
    first = CauseRecorded(**CAUSE, customer_id="C-1", cause="We forgot to refuel.", control="within")
    command = order(RecordCause, **CAUSE, cause="We forgot to refuel.", control="within")
    given(detected()).when(command).then(first).so("problem:X-1", causes=1)
    given(detected(), on(3, first)).when(command).then(first).so("problem:X-1", causes=2)


def test_a_cause_without_words_is_sealed_for_nobody() -> None:
    command = order(RecordCause, **CAUSE, control="within")
    given(detected()).when(command).then(CauseRecorded(**CAUSE, control="within"))


def test_beyond_our_control_is_so_on_evidence_only() -> None:
    beyond = {"cause": "The bridge fell.", "control": "beyond"}
    given(detected()).when(order(RecordCause, **CAUSE, **beyond)).refused("beyond-without-evidence", "X-1")
    event = CauseRecorded(**CAUSE, **beyond, customer_id="C-1", evidence="police report 7")
    given(detected()).when(order(RecordCause, **CAUSE, **beyond, evidence="police report 7")).then(event)


def step(promise_id: str = "P-1", **changes: Any) -> dict[str, Any]:
    terms: dict[str, Any] = {
        "promise_id": promise_id,
        "customer_id": "C-1",
        "kind": "fix",
        "text": "We refuel.",
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
        "due_at": day(10),
    }
    return terms | changes


def plan(*steps: dict[str, Any], addresses: tuple[str, ...] = ("root_cause",)) -> Any:
    return order(PlanAction, **X1, steps=tuple(PromiseTerms(**each) for each in steps), addresses=addresses)


def test_every_step_of_a_plan_is_a_promise() -> None:
    inside = step("P-2", customer_id="C-9", customer_kind="internal")
    command = plan(step(), inside, addresses=("root_cause", "Q-1"))
    planned = ActionPlanned(**X1, steps=("P-1", "P-2"), addresses=("root_cause", "Q-1"))
    promises = [PromiseMade(**each, verification="required") for each in (step(), inside)]
    given(detected(), OPEN_CONCERN).when(command).then(planned, *promises).so(
        "promise:P-2", standing="active", made_at=day(5)
    ).so("problem:X-1", version=3)
    assert command.streams() == ("problem:X-1", "promise:P-1", "promise:P-2")


def test_a_plan_addresses_open_concerns_of_its_own_problem() -> None:
    command = plan(step(), addresses=("Q-1",))
    given(detected()).when(command).refused("concern-of-another", "Q-1", "root_cause")
    settled = on(4, ProblemConcernSettled(**X1, customer_id="C-1", concern_id="Q-1"))
    given(detected(), OPEN_CONCERN, settled).when(command).refused("concern-of-another", "Q-1")


def test_the_steps_of_a_plan_obey_the_rules_of_making() -> None:
    given(detected()).when(plan(step(), step())).refused("id-taken", "P-1")
    given(detected(), made()).when(plan(step())).refused("id-taken", "P-1")
    given(detected()).when(plan(step(due_at=day(4)))).refused("due-before-made")
    given(detected()).when(plan(step(customer_id="C-3"))).refused("not-affected", "C-3")


@pytest.mark.parametrize("kind", ["person", "role"])
def test_somebody_on_our_side_takes_ownership(kind: Any) -> None:
    event = OwnershipTaken(**X1, owner="u-5", owner_kind=kind)
    given(detected()).when(order(TakeOwnership, **X1, owner="u-5", owner_kind=kind)).then(event).so(
        "problem:X-1", owner="u-5"
    )


@pytest.mark.parametrize("kind", ["vendor", "customer"])
def test_no_vendor_and_no_customer_owns_a_problem(kind: str) -> None:
    given(detected()).when(order(TakeOwnership, **X1, owner="v-1", owner_kind=kind)).refused("owner-not-ours", kind)


RESOLVE = order(ResolveProblem, **X1, root_cause_addressed=True, text="All drive again.")


def test_a_problem_is_claimed_resolved_once_everybody_was_told() -> None:
    event = ResolutionClaimed(**X1, customer_id="C-1", root_cause_addressed=True, text="All drive again.")
    given(*BOTH_TOLD).when(RESOLVE).then(event).so("problem:X-1", resolved_at=day(5), root_cause_addressed=True)
    silent = order(ResolveProblem, **X1, root_cause_addressed=False)
    given(*BOTH_TOLD).when(silent).then(ResolutionClaimed(**X1, root_cause_addressed=False)).so(
        "problem:X-1", root_cause_addressed=False
    )


def test_a_problem_is_not_resolved_while_somebody_is_untold() -> None:
    given(detected(), told_of("C-1")).when(RESOLVE).refused("customers-untold", "C-2")
    late = on(3, CustomersAffected(**X1, affected=("C-3",)))
    given(*BOTH_TOLD, late).when(RESOLVE).refused("customers-untold", "C-3")
    many = detected(affected=tuple(f"C-{number}" for number in range(1, 9)))
    given(many).when(RESOLVE).refused("customers-untold", "C-1, C-2, C-3, C-4, C-5 and 3 more")


def test_who_was_erased_need_not_be_told() -> None:
    erased = on(3, ErasureRequested(customer_id="C-2", grounds="art-17-1-a"))
    given(detected(), told_of("C-1"), erased).when(RESOLVE).then(
        ResolutionClaimed(**X1, customer_id="C-1", root_cause_addressed=True, text="All drive again.")
    )
    deferred = on(3, ErasureDeferred(customer_id="C-2", grounds="art-17-1-a", holds=("H-1",)))
    given(detected(), told_of("C-1"), deferred).when(RESOLVE).refused("customers-untold", "C-2")
    given(detected(), erased).when(RESOLVE).refused("customers-untold", "from C-1: ")


def test_what_is_lawfully_withheld_need_not_be_told_until_its_review() -> None:
    given(detected(), told_of("C-1"), kept_from("C-2", 5)).when(RESOLVE).then(
        ResolutionClaimed(**X1, customer_id="C-1", root_cause_addressed=True, text="All drive again.")
    )
    given(detected(), told_of("C-1"), kept_from("C-2", 4)).when(RESOLVE).refused("customers-untold", "C-2")


def test_the_withholding_that_occurred_last_counts_whichever_was_recorded_last() -> None:
    resolved = ResolutionClaimed(**X1, customer_id="C-1", root_cause_addressed=True, text="All drive again.")
    for order_of_two in (slice(None), slice(None, None, -1)):
        longer = (kept_from("C-2", 4, 2), kept_from("C-2", 9, 3))[order_of_two]
        given(detected(), told_of("C-1"), *longer).when(RESOLVE).then(resolved)
        shorter = (kept_from("C-2", 9, 2), kept_from("C-2", 4, 3))[order_of_two]
        given(detected(), told_of("C-1"), *shorter).when(RESOLVE).refused("customers-untold", "C-2")
    same = (kept_from("C-2", 4, 3), kept_from("C-2", 9, 3))
    given(detected(), told_of("C-1"), *same).when(RESOLVE).then(resolved)


def test_a_problem_is_not_resolved_while_a_concern_about_it_is_open() -> None:
    given(*BOTH_TOLD, OPEN_CONCERN).when(RESOLVE).refused("concerns-open", "Q-1")


def test_a_problem_is_claimed_resolved_once_a_cycle() -> None:
    given(*RESOLVED).when(RESOLVE).refused("not-allowed", "2026-03-04")


def verify(customer_id: str, works: bool) -> Any:
    return order(VerifyResolution, **X1, customer_id=customer_id, works=works)


def test_each_customer_verifies_for_themselves() -> None:
    verified = ResolutionVerified(**X1, customer_id="C-1")
    given(*RESOLVED).when(verify("C-1", True)).then(verified).so("problem:X-1", verified={"C-1"}, resolved_at=day(4))
    other = ResolutionVerified(**X1, customer_id="C-2")
    given(*RESOLVED, on(5, verified)).when(verify("C-2", True)).then(other).so("problem:X-1", verified={"C-1", "C-2"})


def test_a_failure_reopens_the_problem_for_all() -> None:
    verified = on(5, ResolutionVerified(**X1, customer_id="C-1"))
    failed = ResolutionFailed(**X1, customer_id="C-1")
    given(*RESOLVED, verified).when(verify("C-1", False)).then(failed).so(
        "problem:X-1", resolved_at=None, root_cause_addressed=None, verified=set(), cycle=2
    )
    given(*RESOLVED, on(5, failed)).when(RESOLVE).then(
        ResolutionClaimed(**X1, customer_id="C-1", root_cause_addressed=True, text="All drive again.")
    )


def test_verifying_what_is_not_claimed_or_was_verified_or_is_somebody_elses() -> None:
    given(*BOTH_TOLD).when(verify("C-1", True)).refused("not-allowed", "problem.resolve")
    verified = on(5, ResolutionVerified(**X1, customer_id="C-1"))
    given(*RESOLVED, verified).when(verify("C-1", True)).refused("not-allowed", "C-1")
    given(*RESOLVED).when(verify("C-3", True)).refused("not-affected", "C-3")


def test_the_customer_reports_a_problem() -> None:
    event = CustomerReportedProblem(customer_id="C-1", text="No lorry comes.")
    given().when(order(ReportProblem, customer_id="C-1", text="No lorry comes.")).then(event).so(
        "customer:C-1", reports=1, version=1
    )
    named = order(ReportProblem, customer_id="C-1", text="No lorry comes.", problem_id="X-1")
    given(detected()).when(named).then(event.model_copy(update=X1))
    given().when(named).refused("unknown-problem", "X-1")
    assert named.streams() == ("customer:C-1", "problem:X-1")


def test_who_reports_a_problem_is_affected_by_it() -> None:
    command = order(ReportProblem, customer_id="C-3", text="No lorry comes.", problem_id="X-1")
    report = CustomerReportedProblem(customer_id="C-3", text="No lorry comes.", problem_id="X-1")
    given(detected()).when(command).then(report, CustomersAffected(**X1, affected=("C-3",))).so(
        "problem:X-1", affected={"C-1", "C-2", "C-3"}, told=set()
    )


COMMANDS: list[Any] = [
    order(AffectCustomers, **X1, affected=("C-3",)),
    order(RecordCause, **CAUSE, control="within"),
    plan(step()),
    order(TakeOwnership, **X1, owner="u-5"),
    RESOLVE,
    verify("C-1", True),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.TYPE)
def test_there_must_be_a_problem(command: Any) -> None:
    given().when(command).refused("unknown-problem", "X-1")
    assert command.streams()[0] == "problem:X-1"


def test_what_others_say_of_a_problem_is_counted_in_its_versions() -> None:
    events: list[Event] = [
        ProblemConcernOpened(**X1, customer_id="C-1", concern_id="Q-1"),
        ProblemConcernSettled(**X1, customer_id="C-1", concern_id="Q-1"),
    ]
    given(*RESOLVED, *(on(5, event) for event in events)).when(verify("C-1", True)).then(
        ResolutionVerified(**X1, customer_id="C-1")
    ).so("problem:X-1", version=7, open_concerns=set())


def test_a_problem_that_very_many_hear_of_stays_quick() -> None:
    """One event each, and each makes a new state: copies would cost a minute here, and hold up every other sender."""
    happened = Happened(day(1), day(1), "u-1", "crm")
    state = evolve(None, detected().event, happened)
    began = time.process_time()
    for number in range(50_000):
        state = evolve(state, ProblemCustomerTold(**X1, customer_id=f"C-{number}", disclosure_id="D-1"), happened)
    assert len(state.told) == 50_000
    assert time.process_time() - began < 10.0
