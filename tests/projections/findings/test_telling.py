"""Findings about how things were told: way forward, owner, apologies, channels, outages as the reason."""

from typing import Any

import pytest

from ledger.domain.apologies import ApologyMade
from ledger.domain.erasures import ErasureRequested
from ledger.domain.followups import FollowUpAttempted, FollowUpScheduled
from ledger.domain.outages import OutageDeclared, OutageEnded
from ledger.domain.problem_messages import ResolutionClaimed, ResolutionFailed
from ledger.domain.promise_messages import PromiseBroken, PromiseRescheduled, PromiseSuperseded
from tests.domain.story import Fact, day, detected, made, on, raised
from tests.projections.findings.story import disclosed, given, promise
from tests.projections.findings.test_truth import corrected

BARE = disclosed(2, solution_ref=None, about_promise_id="P-1")


def followup(number: int, **about: str) -> Fact:
    event = FollowUpScheduled(followup_id="F-1", customer_id="C-1", due_at=day(20), owner="u-1", **about)
    return on(number, event)


def attempted(number: int, channel: Any, reached: bool = True) -> Fact:
    return on(number, FollowUpAttempted(followup_id="F-1", customer_id="C-1", channel=channel, reached=reached))


def apology(number: int, next_step: str | None = "We mend it.", **about: str) -> Fact:
    about = about or {"for_promise_id": "P-1"}
    return on(number, ApologyMade(apology_id=f"A-{number}", customer_id="C-1", next_step=next_step, **about))


@pytest.mark.parametrize(
    "way",
    [
        promise(PromiseRescheduled, 4, old_due_at=day(10), new_due_at=day(15), disclosure_id="D-1"),
        promise(PromiseSuperseded, 4, superseded_by="P-2", disclosure_id="D-1"),
        disclosed(4, "D-2", about_promise_id="P-1"),
        disclosed(4, "D-2", about_promise_id="P-1", solution_ref=None, next_update_at=day(9)),
        followup(4, about_promise_id="P-1"),
        followup(4, about_disclosure_id="D-1"),
        apology(4),
        corrected(4)[1],
    ],
)
def test_a_way_forward_closes_what_had_none(way: Fact) -> None:
    assert given(made(), BARE, way).intervals("disclosure-without-way-forward", "disclosure:D-1") == [(day(2), day(4))]


def test_without_a_solution_or_a_date_it_has_no_way_forward() -> None:
    assert given(made(), BARE).intervals("disclosure-without-way-forward") == [(day(2), None)]
    undated = disclosed(2, solution_ref=None, next_step="We look into it.")
    assert given(undated).intervals("disclosure-without-way-forward") == [(day(2), None)]
    assert given(disclosed(2)).intervals("disclosure-without-way-forward") == []
    assert (
        given(disclosed(2, solution_ref=None, next_update_at=day(9))).intervals("disclosure-without-way-forward") == []
    )
    elsewhere = disclosed(4, "D-2", "C-2", about_problem_id="X-1")
    bare = disclosed(2, solution_ref=None, about_problem_id="X-1")
    told = given(detected(), bare, elsewhere)  # another customer was told the way forward
    assert told.intervals("disclosure-without-way-forward") == [(day(2), None)]


def test_a_disclosure_owned_by_its_customer_is_unowned() -> None:
    assert given(disclosed(2, owner="C-1")).intervals("unowned") == [(day(2), None)]
    assert given(disclosed(2, owner="C-1"), corrected(4)).intervals("unowned") == [(day(2), day(4))]
    assert given(disclosed(2)).intervals("unowned") == []


BROKEN = promise(PromiseBroken, 5, reason_code="stock", text="None left.")
BROKEN_BY = promise(PromiseBroken, 5, reason_code="stock", text="None left.", problem_id="X-1")


def test_a_broken_promise_wants_an_apology() -> None:
    assert given(made(), BROKEN).intervals("unapologised") == [(day(7), None)]
    assert given(made(), BROKEN, apology(9)).intervals("unapologised") == [(day(7), day(9))]
    assert given(made(), BROKEN, apology(6)).intervals("unapologised") == []
    sorry = disclosed(6, about_promise_id="P-1", apology=True)
    assert given(made(), BROKEN, sorry).intervals("unapologised") == []
    unsorry = disclosed(6, about_promise_id="P-1")
    assert given(made(), BROKEN, unsorry).intervals("unapologised") == [(day(7), None)]
    assert given(made()).intervals("unapologised") == []


def test_an_apology_shortly_before_counts_and_an_old_one_does_not() -> None:
    assert given(made(), apology(3), BROKEN).intervals("unapologised") == []
    assert given(made(), apology(2), BROKEN).intervals("unapologised") == [(day(7), None)]


def test_an_apology_for_the_problem_is_one_for_what_broke_because_of_it() -> None:
    facts = [detected(), made(), BROKEN_BY]
    assert given(facts, apology(9, for_problem_id="X-1")).intervals("unapologised") == [(day(7), day(9))]
    assert given(detected(), made(), apology(4, for_problem_id="X-1"), BROKEN_BY).intervals("unapologised") == []
    assert given(detected(), made(), BROKEN, apology(9, for_problem_id="X-1")).intervals("unapologised") == [
        (day(7), None)
    ]


def test_a_failed_resolution_wants_an_apology() -> None:
    resolved = on(4, ResolutionClaimed(problem_id="X-1", root_cause_addressed=True))
    failed = on(6, ResolutionFailed(problem_id="X-1", customer_id="C-1"))
    facts = [detected(), resolved, failed]
    assert given(facts).intervals("unapologised", "problem:X-1", "C-1") == [(day(8), None)]
    assert given(facts).intervals("unapologised", "problem:X-1", "C-2") == []
    assert given(facts, apology(9, for_problem_id="X-1")).intervals("unapologised") == [(day(8), day(9))]
    assert given(facts, apology(7, for_problem_id="X-1")).intervals("unapologised") == []


def test_an_apology_without_a_step_waits_for_one() -> None:
    assert given(made(), apology(3, None)).intervals("apology-without-step", "apology:A-3") == [(day(3), None)]
    assert given(made(), apology(3)).intervals("apology-without-step") == []
    assert given(made(), apology(3, None), apology(6)).intervals("apology-without-step") == [(day(3), day(6))]
    assert given(made(), apology(3, None), disclosed(6, about_promise_id="P-1")).intervals("apology-without-step") == [
        (day(3), day(6))
    ]
    assert given(made(), apology(3, None), apology(6, None)).intervals("apology-without-step", "apology:A-3") == [
        (day(3), None)
    ]


def test_an_apology_to_an_erased_customer_counts_and_wants_no_step() -> None:
    erased = on(6, ErasureRequested(customer_id="C-1", grounds="art-17-1-a"))
    before = given(made(), BROKEN, apology(5, None), erased)
    assert before.intervals("apology-without-step") == [(day(5), day(6))]
    late = given(made(), BROKEN, erased, apology(9, None))  # its words, if it had any, were not recorded
    assert late.intervals("apology-without-step") == []
    assert late.intervals("unapologised") == [(day(7), day(9))]


def written(number: int, disclosure_id: str = "D-1", channel: str = "email", **about: str) -> Fact:
    about = about or {"about_problem_id": "X-1"}
    return disclosed(number, disclosure_id, channel=channel, **about)


def test_what_is_grave_is_not_handled_in_writing_alone() -> None:
    grave = detected(severity=2)
    assert given(grave, written(3)).intervals("written-only-severe", "problem:X-1", "C-1") == [(day(3), None)]
    assert given(grave, written(3), written(5, "D-2", "phone")).intervals("written-only-severe") == [(day(3), day(5))]
    assert given(grave, written(3, channel="phone"), written(5, "D-2")).intervals("written-only-severe") == []
    assert given(detected(severity=3), written(3)).intervals("written-only-severe") == []
    concern = Fact(raised().event.model_copy(update={"severity": 1}), day(1))
    by_letter = written(3, channel="letter", about_concern_id="Q-1")
    assert given(concern, by_letter).intervals("written-only-severe", "concern:Q-1") == [(day(3), None)]
    assert given(raised(), by_letter).intervals("written-only-severe") == []


def test_reaching_them_by_phone_is_speaking_with_them() -> None:
    facts = [detected(severity=1), written(3), followup(4, about_problem_id="X-1")]
    assert given(facts, attempted(6, "phone")).intervals("written-only-severe") == [(day(3), day(6))]
    assert given(facts, attempted(6, "phone", reached=False)).intervals("written-only-severe") == [(day(3), None)]
    assert given(facts, attempted(6, "email")).intervals("written-only-severe") == [(day(3), None)]
    by_email = given(facts[0], facts[2], attempted(6, "email"))
    assert by_email.intervals("written-only-severe") == [(day(6), None)]


DECLARED = on(4, OutageDeclared(outage_id="O-1", tool="crm"))
ENDED = on(6, OutageEnded(outage_id="O-1"))


def test_an_outage_that_nobody_declared_is_no_reason() -> None:
    assert given(disclosed(5, outage_id="O-1")).intervals("false-outage-claim") == [(day(5), None)]
    assert given(disclosed(5, reason_class="outage")).intervals("false-outage-claim") == [(day(5), None)]
    assert given(DECLARED, disclosed(5, outage_id="O-1")).intervals("false-outage-claim") == []
    assert given(DECLARED, disclosed(5, reason_class="Outage")).intervals("false-outage-claim") == []
    assert given(DECLARED, disclosed(5, outage_id="O-2")).intervals("false-outage-claim") == [(day(5), None)]
    assert given(disclosed(5, reason_class="transport")).intervals("false-outage-claim") == []
    assert given(disclosed(5, outage_id="O-1"), corrected(7)).intervals("false-outage-claim") == [(day(5), day(7))]


def test_an_outage_is_a_reason_for_what_came_up_before_it_ended() -> None:
    claim = disclosed(8, outage_id="O-1", about_promise_id="P-1")
    assert given(made(), DECLARED, ENDED, claim).intervals("false-outage-claim") == []
    late = Fact(made(due_at=day(20)).event, day(7))
    assert given(DECLARED, ENDED, late, claim).intervals("false-outage-claim") == [(day(8), None)]
    assert given(DECLARED, ENDED, disclosed(8, outage_id="O-1")).intervals("false-outage-claim") == [(day(8), None)]
    problem = disclosed(8, outage_id="O-1", about_problem_id="X-1")
    assert given(detected(known_since=day(5)), DECLARED, ENDED, problem).intervals("false-outage-claim") == []
    concern = disclosed(8, outage_id="O-1", about_concern_id="Q-1")
    assert given(raised(), DECLARED, ENDED, concern).intervals("false-outage-claim") == []


def test_a_declaration_that_reached_us_late_clears_the_claim() -> None:
    assert given(disclosed(5, outage_id="O-1"), DECLARED).intervals("false-outage-claim") == []
    assert given(disclosed(5, reason_class="outage"), DECLARED).intervals("false-outage-claim") == []
    after = on(6, OutageDeclared(outage_id="O-1", tool="crm"))
    assert given(disclosed(5, outage_id="O-1"), after).intervals("false-outage-claim") == [(day(5), None)]
    assert given(after, disclosed(5, outage_id="O-1")).intervals("false-outage-claim") == [(day(5), None)]
    assert given(disclosed(5, outage_id="O-2"), DECLARED).intervals("false-outage-claim") == [(day(5), None)]


@pytest.mark.parametrize("reason", [{"outage_id": "O-1"}, {"reason_class": "outage"}])
def test_an_end_that_reached_us_late_shows_that_the_claim_was_false(reason: dict[str, str]) -> None:
    def intervals(*facts: Fact) -> list[Any]:
        return given(*facts).intervals("false-outage-claim")

    claim, soon = disclosed(8, **reason), disclosed(5, **reason)
    assert intervals(DECLARED, claim) == []
    assert intervals(DECLARED, claim, ENDED) == [(day(8), None)]
    assert intervals(DECLARED, soon, ENDED) == []
    assert intervals(claim, DECLARED, ENDED) == [(day(8), None)]
    assert intervals(DECLARED, claim, corrected(9)[0], corrected(9)[1], ENDED) == [(day(8), day(9))]
    assert intervals(made(), DECLARED, disclosed(8, about_promise_id="P-1", **reason), ENDED) == []


def test_an_outage_that_ended_leaves_another_as_the_reason() -> None:
    other = on(7, OutageDeclared(outage_id="O-2", tool="phone"))
    claim = disclosed(8, reason_class="outage")
    assert given(DECLARED, other, claim, ENDED).intervals("false-outage-claim") == []
    assert given(DECLARED, claim, ENDED, other).intervals("false-outage-claim") == []
    named = disclosed(8, outage_id="O-1")
    assert given(DECLARED, other, named, ENDED).intervals("false-outage-claim") == [(day(8), None)]
