"""disclosure.make, correct, withhold, falsify and acknowledge."""

from typing import Any

import pytest

from ledger.domain.disclosures import (
    About,
    AcknowledgeDisclosure,
    CorrectDisclosure,
    CorrectionDelivered,
    DisclosureAcknowledged,
    DisclosureCorrected,
    DisclosureFalsified,
    DisclosureMade,
    DisclosureWithheld,
    FalsifyDisclosure,
    MakeDisclosure,
    WithholdDisclosure,
)
from ledger.domain.problem_messages import ProblemCustomerTold, ProblemCustomerWithheld
from ledger.domain.promise_messages import PromiseMade
from tests.domain.story import day, detected, given, made, on, order, raised, told

MEMBERS: dict[str, Any] = {
    "disclosure_id": "D-2",
    "customer_id": "C-1",
    "text": "The lorry broke down.",
    "owner": "u-1",
    "apology": True,
    "channel": "phone",
    "basis": "known",
}


def tell(**changes: Any) -> MakeDisclosure:
    command: MakeDisclosure = order(MakeDisclosure, **MEMBERS | {"about": About(promise_id="P-1")} | changes)
    return command


def told_event(**changes: Any) -> DisclosureMade:
    return DisclosureMade(**MEMBERS | {"about_promise_id": "P-1"} | changes)


def test_what_was_said_is_on_record_and_so_is_what_it_rests_on() -> None:
    terms = {
        "reason_class": "transport",
        "control": "beyond",
        "solution_ref": "S-1",
        "based_on": ("D-1",),
        "outage_id": "O-1",
        "basis": "unknown",
        "apology": False,
    }
    given(made(), told()).when(tell(**terms)).then(told_event(**terms)).so(
        "disclosure:D-2", customer_id="C-1", owner="u-1", basis="unknown", based_on=("D-1",), made_at=day(5), version=1
    )


@pytest.mark.parametrize(
    ("about", "flat"),
    [
        ({"promise_id": "P-1"}, {"about_promise_id": "P-1"}),
        ({"concern_id": "Q-1"}, {"about_promise_id": None, "about_concern_id": "Q-1"}),
    ],
)
def test_it_is_about_one_thing(about: dict[str, str], flat: dict[str, Any]) -> None:
    given(made(), raised()).when(tell(about=About(**about))).then(told_event(**flat))


@pytest.mark.parametrize("about", [{}, {"promise_id": "P-1", "concern_id": "Q-1"}])
def test_about_nothing_or_two_things(about: dict[str, str]) -> None:
    given(made(), raised()).when(tell(about=About(**about))).refused("about-one-thing", str(len(about)))


def test_about_what_does_not_exist() -> None:
    given().when(tell()).refused("unknown-promise", "P-1")
    given().when(tell(about=About(concern_id="Q-1"))).refused("unknown-concern", "Q-1")
    given().when(tell(about=About(problem_id="X-1"))).refused("unknown-problem", "X-1")


def test_about_what_is_somebody_elses() -> None:
    given(made(customer_id="C-2")).when(tell()).refused("wrong-customer", "P-1", "C-1")
    given(raised(customer_id="C-2")).when(tell(about=About(concern_id="Q-1"))).refused("wrong-customer", "Q-1")


def test_an_id_names_one_disclosure_for_ever() -> None:
    given(made(), told("D-2")).when(tell()).refused("id-taken", "D-2")


def test_it_rests_on_disclosures_that_were_made_to_anybody() -> None:
    given(made(), told("D-1", "C-2")).when(tell(based_on=("D-1",))).then(told_event(based_on=("D-1",)))
    given(made()).when(tell(based_on=("D-9",))).refused("unknown-disclosure", "D-9")
    given(made()).when(tell(based_on=("D-2",))).refused("unknown-disclosure", "D-2")


@pytest.mark.parametrize("reason", ["personal", "Personal"])
def test_personal_is_no_reason(reason: str) -> None:
    given(made()).when(tell(reason_class=reason)).refused("personal-reason")


def test_a_solution_and_a_next_step() -> None:
    command = tell(solution_ref="S-1", next_step="We look again.")
    given(made()).when(command).refused("solution-or-next-step")


def update(**changes: Any) -> PromiseMade:
    terms: dict[str, Any] = {
        "promise_id": "D-2:next-update",
        "customer_id": "C-1",
        "kind": "update",
        "text": "We call the driver.",
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
        "due_at": day(6),
        "verification": "not_required",
        "based_on": ("D-2",),
    }
    return PromiseMade(**terms | changes)


def test_a_next_update_is_a_promise() -> None:
    command = tell(next_step="We call the driver.", next_update_at=day(6))
    event = told_event(next_step="We call the driver.", next_update_at=day(6))
    given(made()).when(command).then(event, update()).so(
        "promise:D-2:next-update", standing="active", due_at=day(6), made_at=day(5), based_on=("D-2",)
    )
    assert command.streams() == ("disclosure:D-2", "promise:P-1", "promise:D-2:next-update")


def test_a_next_update_without_a_step_says_so_in_our_words() -> None:
    command = tell(next_update_at=day(6))
    event = told_event(next_update_at=day(6))
    given(made()).when(command).then(event, update(text="We will tell you how things stand."))


def test_a_next_update_obeys_the_rules_of_making() -> None:
    given(made()).when(tell(next_update_at=day(4))).refused("due-before-made")
    given(made(), made("D-2:next-update")).when(tell(next_update_at=day(6))).refused("id-taken")


def test_the_id_of_a_next_update_is_an_id_too() -> None:
    longest = tell(disclosure_id="D" * 116, next_update_at=day(6))
    made_update = update(promise_id="D" * 116 + ":next-update", text="We will tell you how things stand.")
    event = told_event(disclosure_id="D" * 116, next_update_at=day(6))
    given(made()).when(longest).then(event, made_update.model_copy(update={"based_on": ("D" * 116,)}))
    given(made()).when(tell(disclosure_id="D" * 117, next_update_at=day(6))).refused("id-too-long", "116")
    given(made()).when(tell(disclosure_id="D" * 117)).then(told_event(disclosure_id="D" * 117))


ACKNOWLEDGED = DisclosureAcknowledged(disclosure_id="D-1", customer_id="C-1")


def test_the_customer_acknowledges() -> None:
    given(told()).when(order(AcknowledgeDisclosure, disclosure_id="D-1")).then(ACKNOWLEDGED).so(
        "disclosure:D-1", acknowledged_at=day(5), version=2
    )


def test_acknowledging_twice_or_what_was_never_said() -> None:
    command = order(AcknowledgeDisclosure, disclosure_id="D-1")
    given(told(), on(3, ACKNOWLEDGED)).when(command).refused("not-allowed", "2026-03-03")
    given().when(command).refused("unknown-disclosure", "D-1")


def told_of(disclosure_id: str = "D-2", customer_id: str = "C-1") -> ProblemCustomerTold:
    return ProblemCustomerTold(problem_id="X-1", customer_id=customer_id, disclosure_id=disclosure_id)


ABOUT_PROBLEM: dict[str, Any] = {"about_promise_id": None, "about_problem_id": "X-1"}


def test_the_problem_knows_whom_it_was_told_to_first() -> None:
    command = tell(about=About(problem_id="X-1"))
    given(detected()).when(command).then(told_event(**ABOUT_PROBLEM), told_of()).so("problem:X-1", told={"C-1"})
    given(detected(), on(2, told_of("D-1"))).when(command).then(told_event(**ABOUT_PROBLEM))
    given(detected(affected=("C-2",))).when(command).then(told_event(**ABOUT_PROBLEM), told_of())


def test_a_disclosure_of_a_problem_may_promise_a_next_update() -> None:
    command = tell(about=About(problem_id="X-1"), next_update_at=day(6))
    event = told_event(**ABOUT_PROBLEM, next_update_at=day(6))
    given(detected()).when(command).then(event, update(text="We will tell you how things stand."), told_of())


def correct(**changes: Any) -> Any:
    return order(CorrectDisclosure, **MEMBERS | {"corrects": "D-1"} | changes)


def corrected(**changes: Any) -> tuple[CorrectionDelivered, DisclosureCorrected]:
    delivered = CorrectionDelivered(**MEMBERS | {"about_promise_id": "P-1", "corrects": "D-1"} | changes)
    return delivered, DisclosureCorrected(disclosure_id="D-1", customer_id="C-1", corrected_by="D-2")


FALSIFIED = DisclosureFalsified(
    disclosure_id="D-1", customer_id="C-1", known_since=day(3), why="There was no breakdown."
)


def test_a_correction_never_hides_the_original() -> None:
    given(told(), on(4, FALSIFIED)).when(correct()).then(*corrected()).so(
        "disclosure:D-2", corrects="D-1", about_promise_id="P-1", made_at=day(5), owner="u-1"
    ).so("disclosure:D-1", corrected_by=("D-2",), falsified_at=day(4), made_at=day(2), version=3)


def test_the_truth_may_be_told_before_the_falsehood_is_on_record() -> None:
    given(told()).when(correct()).then(*corrected())


def test_a_correction_obeys_the_rules_of_telling() -> None:
    given(told(), told("D-2")).when(correct()).refused("id-taken", "D-2")
    given(told()).when(correct(based_on=("D-9",))).refused("unknown-disclosure", "D-9")
    given(told()).when(correct(reason_class="personal")).refused("personal-reason")
    given(told()).when(correct(solution_ref="S-1", next_step="x")).refused("solution-or-next-step")
    assert correct(based_on=("D-7",)).streams() == ("disclosure:D-2", "disclosure:D-1", "disclosure:D-7")


def test_a_correction_goes_to_whoever_was_told() -> None:
    given().when(correct()).refused("unknown-disclosure", "D-1")
    given(told(customer_id="C-2")).when(correct()).refused("wrong-customer", "D-1", "C-1")


def test_a_correction_is_a_disclosure_that_others_rest_on_and_that_is_corrected_in_turn() -> None:
    delivered = on(3, corrected()[0])
    given(made(), told(), delivered).when(tell(disclosure_id="D-3", based_on=("D-2",))).then(
        told_event(disclosure_id="D-3", based_on=("D-2",))
    )
    again = correct(disclosure_id="D-3", corrects="D-2")
    link = DisclosureCorrected(disclosure_id="D-2", customer_id="C-1", corrected_by="D-3")
    given(told(), delivered).when(again).then(corrected(disclosure_id="D-3", corrects="D-2")[0], link)


def test_one_falsehood_may_be_corrected_twice() -> None:
    first = [on(3, event) for event in corrected()]
    link = DisclosureCorrected(disclosure_id="D-1", customer_id="C-1", corrected_by="D-3")
    given(told(), *first).when(correct(disclosure_id="D-3")).then(corrected(disclosure_id="D-3")[0], link).so(
        "disclosure:D-1", corrected_by=("D-2", "D-3")
    )


def test_correcting_what_was_said_of_a_problem_promises_and_tells_as_any_disclosure() -> None:
    first = on(2, told_event(disclosure_id="D-1", **ABOUT_PROBLEM))
    command = correct(next_update_at=day(6))
    delivered, link = corrected(**ABOUT_PROBLEM, next_update_at=day(6))
    promise = update(text="We will tell you how things stand.")
    given(detected(), first).when(command).then(delivered, link, promise, told_of())


def falsify(**changes: Any) -> Any:
    members = {"disclosure_id": "D-1", "known_since": day(3), "why": "There was no breakdown."}
    return order(FalsifyDisclosure, **members | changes)


def test_a_falsehood_is_known_and_the_disclosure_stays() -> None:
    given(told()).when(falsify()).then(FALSIFIED).so(
        "disclosure:D-1", falsified_at=day(5), known_false_since=day(3), made_at=day(2), corrected_by=()
    )


def test_falsifying_twice_or_before_it_is_known_or_what_was_never_said() -> None:
    given(told(), on(4, FALSIFIED)).when(falsify()).refused("not-allowed", "2026-03-04")
    given(told()).when(falsify(known_since=day(6))).refused("in-future", "known_since")
    given().when(falsify()).refused("unknown-disclosure", "D-1")


WITHHOLDING: dict[str, Any] = {
    "disclosure_id": "D-2",
    "customer_id": "C-1",
    "problem_id": "X-1",
    "why": "The police ask for silence.",
    "approver": "u-9",
    "review_at": day(9),
}


def withhold(**changes: Any) -> Any:
    return order(WithholdDisclosure, **WITHHOLDING | changes)


def withheld() -> tuple[DisclosureWithheld, ProblemCustomerWithheld]:
    known = ProblemCustomerWithheld(problem_id="X-1", customer_id="C-1", disclosure_id="D-2", review_at=day(9))
    return DisclosureWithheld(**WITHHOLDING), known


def test_withholding_is_approved_by_somebody_else_and_reviewed() -> None:
    given(detected()).when(withhold()).then(*withheld()).so(
        "withholding:D-2", customer_id="C-1", problem_id="X-1", review_at=day(9), version=1
    ).so("problem:X-1", withheld_until={"C-1": day(9)})
    given(detected()).when(withhold(approver="u-2")).refused("same-person", "u-2")
    given(detected()).when(withhold(review_at=day(5))).refused("review-in-past")
    assert withhold().streams() == ("withholding:D-2", "problem:X-1")


def test_withholding_from_nobody_concerned() -> None:
    given().when(withhold()).refused("unknown-problem", "X-1")
    given(detected(affected=("C-2",))).when(withhold()).refused("not-affected", "C-1")
    given(detected(), on(2, told_of("D-1"))).when(withhold()).refused("not-allowed", "C-1", "X-1")


def test_withholding_again_needs_an_id_of_its_own_and_moves_the_review() -> None:
    facts = [on(2, event) for event in withheld()]
    given(detected(), *facts).when(withhold()).refused("id-taken", "D-2")
    command = withhold(disclosure_id="D-3", review_at=day(12))
    again = DisclosureWithheld(**WITHHOLDING | {"disclosure_id": "D-3", "review_at": day(12)})
    known = ProblemCustomerWithheld(problem_id="X-1", customer_id="C-1", disclosure_id="D-3", review_at=day(12))
    given(detected(), *facts).when(command).then(again, known).so("problem:X-1", withheld_until={"C-1": day(12)})


def test_nothing_rests_on_what_was_withheld_and_it_may_be_told_later_under_its_id() -> None:
    facts = [on(2, event) for event in withheld()]
    given(made(), detected(), *facts).when(tell(disclosure_id="D-3", based_on=("D-2",))).refused("unknown-disclosure")
    given(detected(), *facts).when(tell(about=About(problem_id="X-1"))).then(told_event(**ABOUT_PROBLEM), told_of())
