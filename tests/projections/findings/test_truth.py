"""Findings about truth: reasons and causes, falsehoods and what rests on them, corrections. Worked out by hand."""

from typing import Any

import pytest

from ledger.domain.assumptions import AssumptionConfirmed, AssumptionRefuted
from ledger.domain.concerns import ConcernRaised
from ledger.domain.disclosures import CorrectionDelivered, DisclosureCorrected
from ledger.domain.erasures import ErasureRequested
from ledger.domain.followups import FollowUpAttempted, FollowUpScheduled
from ledger.domain.problem_messages import CauseRecorded, CustomersAffected
from ledger.domain.promise_messages import PromiseBroken, PromiseReleased
from tests.domain.story import Fact, day, detected, made, on, raised
from tests.projections.findings.story import disclosed, falsified, given, promise


def cause(number: int, cause_class: str = "transport", control: str = "within", problem_id: str = "X-1") -> Fact:
    return on(
        number,
        CauseRecorded(
            problem_id=problem_id,
            customer_id="C-1",
            cause_class=cause_class,
            cause="So.",
            control=control,
            basis="verified",
        ),
    )


def told_reason(number: int, disclosure_id: str = "D-1", **reason: Any) -> Fact:
    return disclosed(number, disclosure_id, about_problem_id="X-1", **reason)


def corrected(
    number: int, corrects: str = "D-1", by: str = "D-9", customer_id: str = "C-1", **changes: Any
) -> list[Fact]:
    """The correction and the link back to what it corrects."""
    telling = disclosed(number, by, customer_id, **changes).event
    delivered = CorrectionDelivered(**telling.model_dump(), corrects=corrects)
    link = DisclosureCorrected(disclosure_id=corrects, customer_id=customer_id, corrected_by=by)
    return [on(number, delivered), on(number, link)]


def test_a_reason_other_than_the_cause_is_divergent_whichever_came_second() -> None:
    first = given(detected(), cause(3), told_reason(5, reason_class="weather"))
    assert first.intervals("divergent-reason", "disclosure:D-1", "C-1") == [(day(5), None)]
    second = given(detected(), told_reason(5, reason_class="weather"), cause(7))
    assert second.intervals("divergent-reason", "disclosure:D-1", "C-1") == [(day(7), None)]
    assert second.detail("divergent-reason") == {
        "problem_id": "X-1",
        "told": {"reason_class": "weather", "control": None},
        "cause": {"cause_class": "transport", "control": "within"},
    }
    beyond = given(detected(), told_reason(5, reason_class="transport", control="beyond"), cause(7))
    assert beyond.intervals("divergent-reason") == [(day(7), None)]


def test_what_is_told_as_it_is_or_without_a_reason_is_not_divergent() -> None:
    assert (
        given(detected(), told_reason(5, reason_class="transport", control="within"), cause(7)).intervals(
            "divergent-reason"
        )
        == []
    )
    assert given(detected(), told_reason(5), cause(7)).intervals("divergent-reason") == []
    assert given(detected(), told_reason(5, reason_class="weather")).intervals("divergent-reason") == []
    other = given(detected(), detected("X-2"), told_reason(5, reason_class="weather"), cause(7, problem_id="X-2"))
    assert other.intervals("divergent-reason") == []


def test_a_correction_closes_a_divergent_reason_and_so_does_a_later_cause() -> None:
    facts = [detected(), told_reason(5, reason_class="weather"), cause(7)]
    assert given(facts, corrected(9)).intervals("divergent-reason") == [(day(7), day(9))]
    assert given(facts, cause(8, "weather")).intervals("divergent-reason") == [(day(7), day(8))]
    assert given(facts[:2], corrected(6), cause(7)).intervals("divergent-reason") == []
    again = given(facts[:2], corrected(6, reason_class="stock", about_problem_id="X-1"), cause(7))
    assert again.intervals("divergent-reason") == [(day(7), None)]  # the correction is no better
    assert again.intervals("divergent-reason", "disclosure:D-9") == [(day(7), None)]


def test_a_reason_about_a_promise_is_held_against_the_problem_that_touches_it() -> None:
    reason = disclosed(5, about_promise_id="P-1", reason_class="weather")
    touched = detected(promises=("P-1",))
    assert given(made(), touched, reason, cause(7)).intervals("divergent-reason") == [(day(7), None)]
    assert given(made(), touched, cause(3), reason).intervals("divergent-reason") == [(day(5), None)]
    touching = on(8, CustomersAffected(problem_id="X-1", affected=(), promises=("P-1",)))
    assert given(made(), detected(), reason, cause(7), touching).intervals("divergent-reason") == [(day(7), None)]
    assert given(made(), detected(), reason, cause(7)).intervals("divergent-reason") == []
    two = [made(), touched, detected("X-2", promises=("P-1",)), reason]
    as_told = cause(8, "weather", problem_id="X-2")
    assert given(two, cause(7), as_told).intervals("divergent-reason") == [(day(7), None)]  # whichever came second
    assert given(two, as_told, cause(9)).intervals("divergent-reason") == [(day(9), None)]
    assert given(two, cause(7), as_told, cause(9, "weather")).intervals("divergent-reason") == [(day(7), day(9))]


def test_a_reason_about_a_promise_is_held_against_the_problem_that_it_was_broken_by() -> None:
    reason = disclosed(5, about_promise_id="P-1", reason_class="weather")
    broken = promise(PromiseBroken, 8, reason_code="stock", text="None left.", problem_id="X-1")
    assert given(made(), detected(), reason, cause(7), broken).intervals("divergent-reason") == [(day(7), None)]
    assert given(made(), detected(), reason, broken, cause(9)).intervals("divergent-reason") == [(day(9), None)]
    assert given(made(), detected(), reason, broken, cause(9, "weather")).intervals("divergent-reason") == []


def test_a_reason_about_a_concern_is_held_against_the_problem_that_the_concern_is_about() -> None:
    worry = on(1, ConcernRaised(concern_id="Q-1", customer_id="C-1", text="Why?", problem_id="X-1"))
    reason = disclosed(5, about_concern_id="Q-1", reason_class="weather")
    assert given(detected(), worry, reason, cause(7)).intervals("divergent-reason") == [(day(7), None)]
    assert given(detected(), cause(3), worry, reason).intervals("divergent-reason") == [(day(5), None)]
    assert given(detected(), cause(3, "weather"), worry, reason).intervals("divergent-reason") == []
    assert given(detected(), raised(), reason, cause(7)).intervals("divergent-reason") == []


CHAIN = [disclosed(2), disclosed(3, "D-2", "C-2", based_on=("D-1",)), disclosed(4, "D-3", "C-3", based_on=("D-2",))]


def test_a_falsehood_contaminates_what_rests_on_it_through_others() -> None:
    told = given(CHAIN, falsified(8, 6))
    assert told.intervals("rests-on-falsehood") == [(day(6), None), (day(6), None)]
    assert told.intervals("rests-on-falsehood", "disclosure:D-3", "C-3") == [(day(6), None)]
    assert told.intervals("rests-on-falsehood", "disclosure:D-1") == []  # it is the falsehood
    assert given(CHAIN).intervals("rests-on-falsehood") == []
    assert given(CHAIN, falsified(8, 6, "D-3", "C-3")).intervals("rests-on-falsehood") == []


def test_a_circle_of_falsehoods_ends() -> None:
    circle = [disclosed(2, based_on=("D-2",)), disclosed(3, "D-2", based_on=("D-1",))]
    assert given(circle, falsified(8, 6)).intervals("rests-on-falsehood") == [(day(6), None)]


def test_every_person_told_is_owed_a_correction() -> None:
    told = given(CHAIN, falsified(8, 6))
    for number in (1, 2, 3):
        assert told.intervals("correction-owed", f"disclosure:D-{number}", f"C-{number}") == [(day(6), None)]
    assert given(CHAIN).intervals("correction-owed") == []
    later = disclosed(9, "D-4", "C-4", based_on=("D-1",))
    assert given(CHAIN, falsified(8, 6), later).intervals("correction-owed", "disclosure:D-4") == [(day(9), None)]


def test_a_correction_closes_what_its_own_disclosure_owes_and_no_more() -> None:
    told = given(CHAIN, falsified(8, 6), corrected(9, "D-2", "D-9", "C-2"))
    assert told.intervals("correction-owed", "disclosure:D-2") == [(day(6), day(9))]
    assert told.intervals("rests-on-falsehood", "disclosure:D-2") == [(day(6), day(9))]
    assert told.intervals("correction-owed", "disclosure:D-1") == [(day(6), None)]
    assert told.intervals("correction-owed", "disclosure:D-3") == [(day(6), None)]


def test_corrected_before_it_was_falsified_on_record_is_corrected() -> None:
    told = given(disclosed(2), corrected(7), falsified(8, 6))
    assert told.intervals("correction-owed", "disclosure:D-1") == [(day(6), day(7))]
    assert given(disclosed(2), corrected(5), falsified(8, 6)).intervals("correction-owed") == []


def test_an_attempt_to_reach_the_person_told_closes_the_correction_owed() -> None:
    followup = on(
        8,
        FollowUpScheduled(followup_id="F-1", customer_id="C-1", about_disclosure_id="D-1", due_at=day(12), owner="u-1"),
    )
    tried = on(10, FollowUpAttempted(followup_id="F-1", customer_id="C-1", channel="phone", reached=False))
    told = given(disclosed(2), falsified(7, 6), followup, tried)
    assert told.intervals("correction-owed") == [(day(6), day(10))]
    assert given(disclosed(2), falsified(7, 6), followup).intervals("correction-owed") == [(day(6), None)]


def test_it_says_until_when_a_correction_is_due() -> None:
    told = given(disclosed(2), falsified(7, 6))
    assert told.detail("correction-owed") == {"falsehood": "D-1", "correct_by": day(7)}


def test_what_is_made_after_it_was_known_false_repeats_it() -> None:
    repeating = disclosed(7, "D-2", "C-2", based_on=("D-1",))
    assert given(disclosed(2), repeating, falsified(8, 6)).intervals("repeated-falsehood") == [(day(7), None)]
    assert given(disclosed(2), falsified(8, 6), Fact(repeating.event, day(9))).intervals("repeated-falsehood") == [
        (day(9), None)
    ]
    assert given(disclosed(2), repeating, falsified(9, 8)).intervals("repeated-falsehood") == []  # nobody knew
    assert given(CHAIN, falsified(8, 6)).intervals("repeated-falsehood") == []
    through = disclosed(9, "D-4", "C-4", based_on=("D-3",))
    assert given(CHAIN, falsified(8, 6), through).intervals("repeated-falsehood", "disclosure:D-4") == [(day(9), None)]
    told = given(disclosed(2), repeating, falsified(8, 6), corrected(10, "D-2", "D-9", "C-2"))
    assert told.intervals("repeated-falsehood") == [(day(7), day(10))]


def test_a_second_falsehood_known_earlier_shows_that_it_was_repeated() -> None:
    both = [disclosed(2), disclosed(2, "D-2"), disclosed(5, "D-3", "C-3", based_on=("D-1", "D-2"))]
    facts = [*both, falsified(8, 6), falsified(9, 4, "D-2")]
    assert given(facts).intervals("repeated-falsehood", "disclosure:D-3") == [(day(5), None)]
    late = Fact(disclosed(5, "D-4", "C-4", based_on=("D-3",)).event, day(5))  # told on day 5, recorded after all others
    assert given(facts, late).intervals("repeated-falsehood", "disclosure:D-4") == [(day(5), None)]


def test_a_promise_rests_on_a_falsehood_while_it_is_owed() -> None:
    resting = made(based_on=("D-1",))
    assert given(disclosed(1), resting, falsified(8, 6)).intervals("rests-on-falsehood", "promise:P-1") == [
        (day(6), None)
    ]
    released = promise(PromiseReleased, 9, evidence="letter-1")
    assert given(disclosed(1), resting, falsified(8, 6), released).intervals("rests-on-falsehood") == [(day(6), day(9))]
    assert (
        given(disclosed(1), resting, Fact(released.event, day(5)), falsified(8, 6)).intervals("rests-on-falsehood")
        == []
    )
    assert given(disclosed(1), made(), falsified(8, 6)).intervals("rests-on-falsehood") == []
    assert given(disclosed(1), resting, falsified(8, 6)).intervals("repeated-falsehood") == []
    later = Fact(resting.event, day(9))
    told = given(disclosed(1), falsified(8, 6), later)
    assert told.intervals("rests-on-falsehood", "promise:P-1") == [(day(9), None)]
    assert told.intervals("repeated-falsehood", "promise:P-1") == [(day(9), None)]
    assert told.intervals("correction-owed", "promise:P-1") == []  # nothing was told


def test_an_assumption_told_stays_open_until_it_is_settled_or_corrected() -> None:
    assumed = disclosed(2, basis="assumed")
    members = {"customer_id": "C-1", "disclosure_id": "D-1", "evidence": "e"}
    assert given(assumed).intervals("assumption-open") == [(day(5), None)]
    assert given(assumed, on(7, AssumptionConfirmed(**members))).intervals("assumption-open") == [(day(5), day(7))]
    assert given(assumed, on(4, AssumptionConfirmed(**members))).intervals("assumption-open") == []
    refuted = given(assumed, on(7, AssumptionRefuted(**members)), falsified(7, 7))
    assert refuted.intervals("assumption-open") == [(day(5), day(7))]
    assert refuted.intervals("correction-owed") == [(day(7), None)]
    assert given(assumed, falsified(4, 4)).intervals("assumption-open") == []
    assert given(assumed, corrected(6)).intervals("assumption-open", "disclosure:D-1") == [(day(5), day(6))]


ERASED = on(12, ErasureRequested(customer_id="C-1", grounds="art-17-1-a"))
UNTRUE = [disclosed(1, "D-0", "C-2"), falsified(3, 2, "D-0", "C-2")]


@pytest.mark.parametrize(
    ("code", "facts"),
    [
        ("divergent-reason", [detected(), told_reason(4, reason_class="weather"), cause(5)]),
        ("rests-on-falsehood", [*UNTRUE, disclosed(5, based_on=("D-0",))]),
        ("rests-on-falsehood", [*UNTRUE[:1], disclosed(2, based_on=("D-0",)), falsified(6, 5, "D-0", "C-2")]),
        ("repeated-falsehood", [*UNTRUE, disclosed(5, based_on=("D-0",))]),
        ("false-outage-claim", [disclosed(5, reason_class="outage")]),
        ("unowned", [disclosed(5, owner="C-1")]),
    ],
)
def test_what_only_a_correction_to_an_erased_customer_could_close_ends_with_the_erasure(
    code: str, facts: list[Fact]
) -> None:
    assert given(facts, ERASED).intervals(code, "disclosure:D-1", "C-1") == [(day(5), day(12))]
    other = on(12, ErasureRequested(customer_id="C-9", grounds="art-17-1-a"))
    assert given(facts, other).intervals(code, "disclosure:D-1", "C-1") == [(day(5), None)]
    again = [cause(13, "stock"), falsified(13, 13, "D-0", "C-2")]
    assert given(detected(), disclosed(1, "D-0", "C-2"), facts, ERASED, again).intervals(code, "disclosure:D-1") == [
        (day(5), day(12))
    ]


def test_what_is_found_untrue_of_an_erased_customer_afterwards_opens_what_an_attempt_can_close() -> None:
    told_before = [detected(), told_reason(4, reason_class="weather", based_on=("D-0",))]
    found = given(disclosed(1, "D-0", "C-2"), told_before, ERASED, falsified(13, 13, "D-0", "C-2"), cause(13))
    assert found.open_at(day(20)) >= {("correction-owed", "disclosure:D-1"), ("correction-owed", "disclosure:D-0")}
    assert not {code for code, subject in found.open_at(day(20)) if subject == "disclosure:D-1"} - {"correction-owed"}


def test_a_promise_to_an_erased_customer_rests_on_a_falsehood_until_it_ends() -> None:
    facts = [*UNTRUE, made(based_on=("D-0",)), ERASED]
    assert given(facts).intervals("rests-on-falsehood", "promise:P-1") == [(day(2), None)]
    assert given(facts, promise(PromiseReleased, 14, evidence="letter-1")).intervals("rests-on-falsehood") == [
        (day(2), day(14))
    ]
