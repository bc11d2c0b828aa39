"""Findings about problems and concerns. X-1 affects C-1 and C-2 and is known since day 1, unless said otherwise."""

from ledger.domain.concerns import (
    ConcernAcknowledged,
    ConcernAddressed,
    ConcernConfirmed,
    ConcernEvent,
    ConcernReopened,
    ConcernWithdrawn,
)
from ledger.domain.customers import CustomerReportedProblem
from ledger.domain.disclosures import DisclosureWithheld
from ledger.domain.erasures import ErasureRequested
from ledger.domain.problem_messages import (
    CustomersAffected,
    OwnershipTaken,
    ResolutionClaimed,
    ResolutionFailed,
    ResolutionVerified,
)
from ledger.domain.promise_messages import PromiseKept
from tests.domain.story import Fact, day, detected, made, on, raised
from tests.projections.findings.story import claimed, disclosed, given, promise
from tests.projections.findings.test_truth import cause


def told(number: int, customer_id: str = "C-1") -> Fact:
    return disclosed(number, f"D-{number}", customer_id, about_problem_id="X-1")


def withheld(number: int, review: int, approver: str = "u-9", actor: str = "u-2") -> Fact:
    event = DisclosureWithheld(
        disclosure_id=f"W-{number}",
        customer_id="C-1",
        problem_id="X-1",
        why="Not yet.",
        approver=approver,
        review_at=day(review),
    )
    return on(number, event, actor)


def affected(number: int, *customers: str) -> Fact:
    return on(number, CustomersAffected(problem_id="X-1", affected=customers))


def resolved(number: int, addressed: bool = True, problem_id: str = "X-1") -> Fact:
    return on(number, ResolutionClaimed(problem_id=problem_id, root_cause_addressed=addressed))


def verified(number: int, customer_id: str = "C-1") -> Fact:
    return on(number, ResolutionVerified(problem_id="X-1", customer_id=customer_id))


def failed(number: int, customer_id: str = "C-1", problem_id: str = "X-1") -> Fact:
    return on(number, ResolutionFailed(problem_id=problem_id, customer_id=customer_id))


def erased(number: int, customer_id: str = "C-1") -> Fact:
    return on(number, ErasureRequested(customer_id=customer_id, grounds="art-17-1-a"))


def test_what_only_telling_an_erased_customer_could_close_ends_with_the_erasure() -> None:
    told_of = given(detected(), erased(5))
    assert told_of.intervals("undisclosed-problem", "problem:X-1", "C-1") == [(day(2), day(5))]
    assert told_of.intervals("undisclosed-problem", "problem:X-1", "C-2") == [(day(2), None)]
    found_later = given(detected(affected=("C-2",)), erased(5), affected(6, "C-1"))
    assert found_later.intervals("undisclosed-problem", "problem:X-1", "C-1") == []
    known_before = given(detected(affected=("C-2",)), erased(5), Fact(affected(6, "C-1").event, day(3)))
    assert known_before.intervals("undisclosed-problem", "problem:X-1", "C-1") == [(day(4), day(5))]
    approved = (detected(), withheld(3, 9, approver="u-1"))
    assert given(*approved, erased(5)).intervals("undisclosed-problem", customer_id="C-1") == [(day(2), day(3))]
    assert given(*approved, erased(5)).intervals("withheld-self-approved") == [(day(3), day(5))]
    assert given(*approved, erased(5)).intervals("withheld-past-review") == []
    assert given(*approved, erased(12)).intervals("withheld-past-review") == [(day(9), day(12))]
    owned = on(14, OwnershipTaken(problem_id="X-1", owner="u-9"))
    taken = (detected(), withheld(3, 9), erased(5), Fact(owned.event, day(2)))
    assert given(*taken).intervals("withheld-self-approved") == [(day(3), day(5))]


def test_nobody_waits_for_the_word_of_an_erased_customer() -> None:
    facts = [detected(), told(2), told(2, "C-2"), resolved(3)]
    waits = given(facts, erased(12))
    assert waits.intervals("claimed-not-verified", "problem:X-1", "C-1") == [(day(3), day(12))]
    assert waits.intervals("closed-by-silence", "problem:X-1", "C-1") == [(day(10), day(12))]
    assert waits.intervals("claimed-not-verified", "problem:X-1", "C-2") == [(day(3), None)]
    assert given(facts, erased(5)).intervals("closed-by-silence", customer_id="C-1") == []
    again = given(facts, erased(5), failed(6, "C-2"), resolved(7))
    assert again.intervals("claimed-not-verified", customer_id="C-1") == [(day(3), day(5))]
    assert again.intervals("claimed-not-verified", customer_id="C-2") == [(day(3), day(6)), (day(7), None)]
    affected_later = given(detected(affected=("C-2",)), resolved(3), erased(5), affected(6, "C-1"))
    assert affected_later.intervals("claimed-not-verified", customer_id="C-1") == []


def test_a_resolution_failed_for_an_erased_customer_until_the_erasure() -> None:
    facts = [detected(), told(2), told(2, "C-2"), resolved(3), failed(4), failed(4, "C-2")]
    assert given(facts, erased(6)).intervals("resolution-failed", customer_id="C-1") == [(day(4), day(6))]
    assert given(facts, erased(6)).intervals("resolution-failed", customer_id="C-2") == [(day(4), None)]
    assert given(facts[:4], erased(6), failed(7)).intervals("resolution-failed", customer_id="C-1") == []


def test_a_promise_to_an_erased_customer_waits_for_an_observer() -> None:
    facts = [made(), claimed(3), erased(5)]
    assert given(facts).intervals("claimed-not-verified") == [(day(3), None)]
    kept = promise(PromiseKept, 9, verified_by="u-9")
    assert given(facts, kept).intervals("claimed-not-verified") == [(day(3), day(9))]


def test_each_affected_customer_is_to_be_told_in_time() -> None:
    facts = [detected(), told(5)]
    assert given(facts).intervals("undisclosed-problem", "problem:X-1", "C-1") == [(day(2), day(5))]
    assert given(facts).intervals("undisclosed-problem", "problem:X-1", "C-2") == [(day(2), None)]
    assert given(detected(), told(2)).intervals("undisclosed-problem", "problem:X-1", "C-1") == []


def test_who_is_found_affected_later_is_to_be_told_from_then_on() -> None:
    assert given(detected(), affected(6, "C-3")).intervals("undisclosed-problem", None, "C-3") == [(day(7), None)]
    early = told(3, "C-3")
    assert given(detected(), early, affected(6, "C-3")).intervals("undisclosed-problem", None, "C-3") == []


def test_a_withholding_is_lawful_until_its_review() -> None:
    facts = [detected(), withheld(3, 9)]
    assert given(facts).intervals("undisclosed-problem", None, "C-1") == [(day(2), day(3)), (day(9), None)]
    assert given(facts).intervals("withheld-past-review", "withholding:W-3", "C-1") == [(day(9), None)]
    assert given(facts, told(8)).intervals("withheld-past-review") == []
    assert given(facts, told(8)).intervals("undisclosed-problem", None, "C-1") == [(day(2), day(3))]
    assert given(facts, told(11)).intervals("withheld-past-review") == [(day(9), day(11))]
    again = given(facts, withheld(8, 15))
    assert again.intervals("withheld-past-review", "withholding:W-3") == []
    assert again.intervals("withheld-past-review", "withholding:W-8") == [(day(15), None)]
    noon = on(1, withheld(1, 9).event.model_copy(update={"review_at": day(1, 12)}))
    assert given(detected(), noon).intervals("withheld-past-review") == [(day(1, 12), None)]
    assert given(detected(), noon).intervals("undisclosed-problem", None, "C-1") == [(day(2), None)]  # not before


def test_who_approves_of_a_withholding_is_neither_who_asks_nor_who_owns_the_problem() -> None:
    assert given(detected(), withheld(3, 9)).intervals("withheld-self-approved") == []
    owner = withheld(3, 9, approver="u-1")
    assert given(detected(), owner).intervals("withheld-self-approved", "withholding:W-3") == [(day(3), None)]
    same = withheld(3, 9, approver="u-2")
    assert given(detected(), same).intervals("withheld-self-approved") == [(day(3), None)]
    assert given(detected(), same, told(5)).intervals("withheld-self-approved") == [(day(3), day(5))]
    assert given(detected(), same, withheld(4, 9)).intervals("withheld-self-approved") == [(day(3), day(4))]
    taken = on(2, OwnershipTaken(problem_id="X-1", owner="u-5"))
    assert given(detected(), taken, owner).intervals("withheld-self-approved") == []
    assert given(detected(), taken, withheld(3, 9, approver="u-5")).intervals("withheld-self-approved") == [
        (day(3), None)
    ]


def reported(number: int, problem_id: str | None = "X-1") -> Fact:
    return on(number, CustomerReportedProblem(customer_id="C-1", problem_id=problem_id, text="It stands."))


def test_a_customer_who_finds_what_we_knew_leaves_a_mark_for_good() -> None:
    assert given(detected(), reported(4)).intervals("discovered-by-customer", "problem:X-1", "C-1") == [(day(4), None)]
    assert given(detected(), reported(4), told(5), reported(6)).intervals("discovered-by-customer") == [(day(4), None)]
    assert given(detected(), told(3), reported(4)).intervals("discovered-by-customer") == []
    assert given(detected(known_since=day(5)), reported(4)).intervals("discovered-by-customer") == []
    later = given(detected(), told(6), reported(4))  # they were told on day 6, and reported it on day 4
    assert later.intervals("discovered-by-customer") == [(day(4), None)]
    assert given(detected(), reported(4, None)).intervals("discovered-by-customer") == []
    assert given(detected(), reported(1)).intervals("discovered-by-customer") == []  # known since, for they said so


def test_detected_by_a_customer_though_known_before() -> None:
    late = Fact(detected(detected_by="customer").event, day(3))
    assert given(late).intervals("discovered-by-customer", "problem:X-1", "C-1") == [(day(3), None)]
    assert given(detected(detected_by="customer")).intervals("discovered-by-customer") == []  # news to us as well
    assert given(Fact(detected().event, day(3))).intervals("discovered-by-customer") == []


def test_a_resolution_waits_for_each_customer_and_is_then_closed_by_silence() -> None:
    facts = [detected(), resolved(4), verified(6)]
    assert given(facts).intervals("claimed-not-verified", "problem:X-1", "C-1") == [(day(4), day(6))]
    assert given(facts).intervals("closed-by-silence", "problem:X-1", "C-1") == []
    assert given(facts).intervals("closed-by-silence", "problem:X-1", "C-2") == [(day(11), None)]
    assert given(facts, verified(13, "C-2")).intervals("closed-by-silence", None, "C-2") == [(day(11), day(13))]
    assert given(facts, affected(7, "C-3")).intervals("claimed-not-verified", None, "C-3") == [(day(7), None)]
    assert given(detected(), affected(3, "C-3")).intervals("claimed-not-verified") == []


def test_a_failure_opens_the_problem_again_for_all() -> None:
    facts = [detected(), resolved(4), failed(6)]
    assert given(facts).intervals("resolution-failed", "problem:X-1", "C-1") == [(day(6), None)]
    assert given(facts).intervals("resolution-failed", "problem:X-1", "C-2") == []
    assert given(facts).intervals("claimed-not-verified", None, "C-2") == [(day(4), day(6))]
    assert given(facts).intervals("closed-by-silence") == []
    again = given(facts, resolved(8), verified(9))
    assert again.intervals("resolution-failed") == [(day(6), day(9))]
    assert again.intervals("closed-by-silence", None, "C-2") == [(day(15), None)]
    assert given(detected(), resolved(4), verified(6)).intervals("resolution-failed") == []


FIXED = [detected(), cause(2), resolved(4)]


def second(known: int) -> Fact:
    return Fact(detected("X-2", known_since=day(known)).event, day(known))


def test_a_fixed_root_cause_that_comes_back_is_a_recurrence() -> None:
    told = given(FIXED, second(8), cause(9, problem_id="X-2"))
    assert told.intervals("recurrence", "problem:X-2") == [(day(9), None)]
    assert told.detail("recurrence") == {"cause_class": "transport", "fixed_with": "X-1"}
    late_cause = [detected(), resolved(4), cause(5)]
    assert given(late_cause, second(8), cause(9, problem_id="X-2")).intervals("recurrence") == [(day(9), None)]


def test_a_recurrence_closes_when_its_root_cause_is_addressed_or_was_another() -> None:
    facts = [*FIXED, second(8), cause(9, problem_id="X-2")]
    assert given(facts, resolved(12, problem_id="X-2")).intervals("recurrence") == [(day(9), day(12))]
    assert given(facts, resolved(12, False, "X-2")).intervals("recurrence") == [(day(9), None)]
    assert given(facts, cause(11, "stock", problem_id="X-2")).intervals("recurrence") == [(day(9), day(11))]


def test_a_fix_that_failed_leaves_the_one_before_it_said() -> None:
    second_fix = [second(8), cause(9, problem_id="X-2"), resolved(12, problem_id="X-2")]
    third = Fact(detected("X-3", known_since=day(15)).event, day(15))
    told = given(FIXED, second_fix, failed(13, problem_id="X-2"), third, cause(16, problem_id="X-3"))
    assert told.intervals("recurrence", "problem:X-3") == [(day(16), None)]
    (first,) = (each.detail for each in told.all() if each.subject == "problem:X-3" and each.code == "recurrence")
    assert first["fixed_with"] == "X-1"
    meanwhile = Fact(detected("X-3", known_since=day(11)).event, day(13))  # known before the second fix, not the first
    told = given(FIXED, second_fix, meanwhile, cause(14, problem_id="X-3"))
    assert told.intervals("recurrence", "problem:X-3") == [(day(14), None)]


def test_what_was_not_fixed_or_is_older_or_other_is_no_recurrence() -> None:
    again = cause(9, problem_id="X-2")
    assert given(detected(), cause(2), resolved(4, False), second(8), again).intervals("recurrence") == []
    assert given(FIXED, failed(6), second(8), again).intervals("recurrence") == []
    assert given(FIXED, second(3), again).intervals("recurrence") == []
    assert given(FIXED, second(8), cause(9, "stock", problem_id="X-2")).intervals("recurrence") == []
    assert given(FIXED, cause(9)).intervals("recurrence") == []
    assert given(FIXED, cause(6, "stock"), second(8), again).intervals("recurrence") == []  # it was never that
    was_that = given(FIXED, cause(6, "stock"), second(8), cause(9, "stock", problem_id="X-2"))
    assert was_that.intervals("recurrence") == [(day(9), None)]
    at_once = Fact(detected(known_since=day(4)).event, day(4))
    assert given(at_once, cause(4), resolved(4), cause(5)).intervals("recurrence") == []


def concern(kind: type[ConcernEvent], number: int, **members: str) -> Fact:
    return on(number, kind(concern_id="Q-1", customer_id="C-1", **members))


ACKNOWLEDGED = concern(ConcernAcknowledged, 3, restated="You ask when.")
ADDRESSED = concern(ConcernAddressed, 5, how="So.", by="u-1")


def test_a_concern_is_acknowledged_in_time() -> None:
    assert given(raised()).intervals("concern-unacknowledged") == [(day(2), None)]
    assert given(raised(), ACKNOWLEDGED).intervals("concern-unacknowledged") == [(day(2), day(3))]
    assert given(raised(), Fact(ACKNOWLEDGED.event, day(2))).intervals("concern-unacknowledged") == []
    assert given(raised(), concern(ConcernWithdrawn, 4)).intervals("concern-unacknowledged") == [(day(2), day(4))]
    assert given(raised(), ADDRESSED).intervals("concern-unacknowledged") == [(day(2), None)]


def test_a_concern_is_addressed_in_time() -> None:
    assert given(raised()).intervals("concern-unaddressed") == [(day(4), None)]
    assert given(raised(), ACKNOWLEDGED, ADDRESSED).intervals("concern-unaddressed") == [(day(4), day(5))]
    assert given(raised(), ACKNOWLEDGED).intervals("concern-unaddressed") == [(day(4), None)]
    assert given(raised(), Fact(ADDRESSED.event, day(4))).intervals("concern-unaddressed") == []
    assert given(raised(), concern(ConcernWithdrawn, 2)).intervals("concern-unaddressed") == []


def test_listening_comes_before_the_solution() -> None:
    assert given(raised(), ADDRESSED).intervals("solution-before-listening") == [(day(5), None)]
    assert given(raised(), ACKNOWLEDGED, ADDRESSED).intervals("solution-before-listening") == []
    late = concern(ConcernAcknowledged, 7, restated="You ask when.")
    assert given(raised(), ADDRESSED, late).intervals("solution-before-listening") == [(day(5), day(7))]
    assert given(raised(), ADDRESSED, concern(ConcernConfirmed, 8)).intervals("solution-before-listening") == [
        (day(5), day(8))
    ]


def test_a_reopened_concern_waits_anew() -> None:
    facts = [raised(), ACKNOWLEDGED, ADDRESSED, concern(ConcernReopened, 8, followup_id="F-1")]
    assert given(facts).intervals("concern-unacknowledged") == [(day(2), day(3)), (day(9), None)]
    assert given(facts).intervals("concern-unaddressed") == [(day(4), day(5)), (day(11), None)]
