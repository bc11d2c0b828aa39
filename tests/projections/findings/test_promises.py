"""Findings about promises. P-1 is made on day 1, due on day 10; all expected moments are worked out by hand."""

import pytest

from ledger.domain.assumptions import AssumptionConfirmed, AssumptionRefuted
from ledger.domain.deadlines import ConditionExpired, DeadlinePassed
from ledger.domain.offerings import OfferingPublished
from ledger.domain.promise_messages import (
    PromiseAccepted,
    PromiseActivated,
    PromiseAtRisk,
    PromiseBroken,
    PromiseDisputed,
    PromiseKept,
    PromiseReassigned,
    PromiseReleased,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuperseded,
    PromiseSuspended,
)
from tests.domain.story import Fact, day, made, on
from tests.projections.findings.story import Interval, claimed, disclosed, falsified, given, hours, promise

WARNED_3 = promise(PromiseAtRisk, 3, reason="The part is late.")
WARNED_11 = promise(PromiseAtRisk, 11, reason="The part is late.")
BROKEN_8 = promise(PromiseBroken, 8, reason_code="stock", text="None left.")
BROKEN_12 = promise(PromiseBroken, 12, reason_code="stock", text="None left.")
RELEASED_5 = promise(PromiseReleased, 5, evidence="letter-1")
RELEASED_12 = promise(PromiseReleased, 12, evidence="letter-1")
DISPUTED_7 = promise(PromiseDisputed, 7, text="It is not.")
DISPUTED_13 = promise(PromiseDisputed, 13, text="It is not.")
VERIFIED_9 = promise(PromiseKept, 9, verified_by="C-1")
SUPERSEDED_6 = promise(PromiseSuperseded, 6, superseded_by="P-2", disclosure_id="D-1")
CONDITIONAL = made(condition_text="if somebody is in", condition_by=day(4))
ACTIVATED_3 = promise(PromiseActivated, 3)
EXPIRED = on(6, ConditionExpired(promise_id="P-1", customer_id="C-1", condition_by=day(4)))
ANNOUNCED = promise(DeadlinePassed, 11, due_at=day(10))
PAUSED_4 = promise(PromiseSuspended, 4, reason="They are away.", review_at=day(20))
BUSINESS = made(due_in="P7D", calendar_id="K-1", calendar_version=1, tzdata_version="2026a")
RESUMED_12 = promise(PromiseResumed, 12, old_due_at=day(10), new_due_at=day(18))


def moved(number: int, old: int, new: int) -> Fact:
    return promise(PromiseRescheduled, number, old_due_at=day(old), new_due_at=day(new), disclosure_id="D-1")


OVERDUE: list[tuple[str, list[Fact], list[Interval]]] = [
    ("opens when due, whoever announces it", [made()], [(day(10), None)]),
    ("is not moved by the timer", [made(), ANNOUNCED], [(day(10), None)]),
    ("closes with a late claim", [made(), claimed(12)], [(day(10), day(12))]),
    ("never opens where claimed in time", [made(), claimed(10)], []),
    ("never opens where released before", [made(), RELEASED_5], []),
    ("closes with the release", [made(), RELEASED_12], [(day(10), day(12))]),
    ("never opens where broken before", [made(), BROKEN_8], []),
    ("closes when it is broken", [made(), BROKEN_12], [(day(10), day(12))]),
    ("never opens where superseded before", [made(), SUPERSEDED_6], []),
    ("opens at the new due time", [made(), disclosed(5), moved(5, 10, 15)], [(day(15), None)]),
    ("is a latch: moved when past due, it stays", [made(), disclosed(12), moved(12, 10, 15)], [(day(10), None)]),
    (
        "is a latch, however often it is moved",
        [made(), disclosed(12), moved(12, 10, 15), moved(13, 15, 20), claimed(14)],
        [(day(10), day(14))],
    ),
    ("opens again with a dispute when past due", [made(), claimed(6), DISPUTED_13], [(day(13), None)]),
    ("opens when due after a dispute in time", [made(), claimed(6), DISPUTED_7], [(day(10), None)]),
    (
        "opens with the dispute of a late claim",
        [made(), claimed(12), DISPUTED_13],
        [(day(10), day(12)), (day(13), None)],
    ),
    (
        "is a latch: the dispute of a late claim finds it overdue, whatever due time was agreed since",
        [made(), claimed(12), moved(13, 10, 20), Fact(DISPUTED_13.event, day(14))],
        [(day(10), day(12)), (day(14), None)],
    ),
    ("never opens where conditional", [CONDITIONAL], []),
    ("never opens where the condition expired", [CONDITIONAL, EXPIRED], []),
    ("opens when due where the condition was met", [CONDITIONAL, ACTIVATED_3], [(day(10), None)]),
    ("opens though suspended, by any clock", [made(), PAUSED_4], [(day(10), None)]),
    ("stands still with business time", [BUSINESS, PAUSED_4], []),
    ("stands still beyond the calendar, claimed and disputed", [BUSINESS, PAUSED_4, claimed(12), DISPUTED_13], []),
    ("opens at the due time that a pause led to", [BUSINESS, PAUSED_4, RESUMED_12], [(day(18), None)]),
    ("ends as late as it is told, from when it was so", [made(), WARNED_11, claimed(9)], []),
]


@pytest.mark.parametrize(("title", "facts", "expected"), OVERDUE, ids=[each[0] for each in OVERDUE])
def test_overdue(title: str, facts: list[Fact], expected: list[Interval]) -> None:
    assert given(facts).intervals("overdue") == expected


NO_WARNING: list[tuple[str, list[Fact], list[Interval]]] = [
    ("opens when due", [made()], [(day(10), None)]),
    ("never opens where warned before", [made(), WARNED_3], []),
    ("a warning after the due time came too late", [made(), WARNED_11], [(day(10), None)]),
    ("closes with the claim", [made(), claimed(12)], [(day(10), day(12))]),
    ("never opens where claimed in time", [made(), claimed(9)], []),
    ("a warning counts for the moved due time too", [made(), WARNED_3, moved(5, 10, 15)], []),
    ("opens at the moved due time", [made(), moved(5, 10, 15)], [(day(15), None)]),
    ("nobody can warn of what a dispute brings", [made(), claimed(6), DISPUTED_13], []),
    ("opens when due after a dispute in time", [made(), claimed(6), DISPUTED_7], [(day(10), None)]),
]


@pytest.mark.parametrize(("title", "facts", "expected"), NO_WARNING, ids=[each[0] for each in NO_WARNING])
def test_no_warning(title: str, facts: list[Fact], expected: list[Interval]) -> None:
    assert given(facts).intervals("no-warning") == expected


def test_kept_late_is_judged_against_both_due_times() -> None:
    late = given(made(), claimed(12))
    assert late.intervals("kept-late") == [(day(12), None)]
    assert late.detail("kept-late") == {"late_against": "due_at", "due_at": day(10), "original_due_at": day(10)}
    moved_in_time = given(made(), moved(5, 10, 15), claimed(14))
    assert moved_in_time.intervals("kept-late") == [(day(14), None)]
    assert moved_in_time.detail("kept-late")["late_against"] == "original_due_at"
    assert given(made(), moved(12, 10, 15), claimed(14)).detail("kept-late")["late_against"] == "due_at"


def test_kept_late_closes_with_a_dispute_and_never_opens_in_time() -> None:
    assert given(made(), claimed(12), DISPUTED_13).intervals("kept-late") == [(day(12), day(13))]
    broken = promise(PromiseBroken, 13, reason_code="stock", text="None left.")
    assert given(made(), claimed(12), broken).intervals("kept-late") == [(day(12), day(13))]
    assert given(made(), claimed(10)).intervals("kept-late") == []
    assert given(made(), moved(5, 10, 15), claimed(9)).intervals("kept-late") == []


def test_a_claim_straight_from_a_pause_is_late_against_the_first_due_time_alone() -> None:
    assert given(BUSINESS, PAUSED_4, claimed(12)).detail("kept-late")["late_against"] == "original_due_at"
    assert given(BUSINESS, PAUSED_4, claimed(9)).intervals("kept-late") == []


def test_rescheduled_after_due_is_for_good_and_once_each() -> None:
    facts = [made(), moved(12, 10, 15), moved(16, 15, 20), claimed(17)]
    assert given(facts).intervals("rescheduled-after-due") == [(day(12), None), (day(16), None)]
    assert given(made(), moved(10, 10, 15)).intervals("rescheduled-after-due") == []
    assert given(made(), claimed(8), moved(12, 10, 15)).intervals("rescheduled-after-due") == []
    assert given(BUSINESS, PAUSED_4, moved(12, 10, 15)).intervals("rescheduled-after-due") == []


def test_a_claim_in_time_that_is_recorded_last_was_in_time() -> None:
    facts = [made(due_at=day(4)), disclosed(5), moved(5, 4, 8)]
    assert given(facts).intervals("rescheduled-after-due") == [(day(5), None)]
    assert given(facts).intervals("overdue") == [(day(4), None)]
    told = given(facts, claimed(3))
    for code in ("overdue", "no-warning", "kept-late", "rescheduled-after-due"):
        assert told.intervals(code) == [], code
    assert told.intervals("claimed-not-verified") == [(day(3), None)]
    (disproved,) = (each for each in told.all() if each.code == "rescheduled-after-due")
    assert (disproved.opened_by, disproved.closed_by) == (2, 3)  # by the rescheduling, and by the claim
    assert disproved.closed_recorded_at == day(5)


def test_a_rescheduling_in_time_that_is_recorded_last_was_in_time() -> None:
    told = given(made(due_at=day(4)), claimed(5), disclosed(3), moved(3, 4, 6))
    assert told.intervals("kept-late") == [(day(5), None)]
    *_, found = (each.detail for each in told.all() if each.code == "kept-late")
    assert found == {"late_against": "original_due_at", "due_at": day(6), "original_due_at": day(4)}
    assert told.intervals("overdue") == [(day(4), day(5))]  # closed before it was known that it never was


def test_of_two_reschedulings_the_later_one_counts_whichever_was_recorded_last() -> None:
    told = given(made(), moved(12, 10, 20), moved(9, 10, 15))
    assert told.intervals("overdue") == [(day(20), None)]
    assert told.intervals("rescheduled-after-due") == []
    again = given(made(), moved(12, 10, 20), moved(9, 10, 11))  # on day 12 it was past day 11 as well
    assert again.intervals("overdue") == [(day(11), None)]
    assert again.intervals("rescheduled-after-due") == [(day(12), None)]
    (*_, found) = (each.detail for each in again.all() if each.code == "rescheduled-after-due")
    assert found == {"old_due_at": day(11), "new_due_at": day(20)}


def test_a_condition_that_was_met_before_is_recorded_last() -> None:
    told = given(CONDITIONAL, moved(12, 10, 20), ACTIVATED_3)
    assert told.intervals("rescheduled-after-due") == [(day(12), None)]
    assert told.intervals("overdue") == [(day(10), None)]


OFFERED = on(1, OfferingPublished(offering_id="O-1", lead_time="P10D", valid_from=day(1)))
OFFERED_7 = on(1, OfferingPublished(offering_id="O-1", lead_time="P7D", valid_from=day(1), valid_to=day(20)))
OVER = on(1, OfferingPublished(offering_id="O-1", lead_time="P10D", valid_from=day(1) - hours(48), valid_to=day(1)))


def test_sooner_than_the_lead_time_is_overpromised() -> None:
    told = given(OFFERED, made(offering_id="O-1"))
    assert told.intervals("overpromised") == [(day(1), None)]
    assert told.detail("overpromised") == {"promised_seconds": 9 * 86_400, "lead_time_seconds": 10 * 86_400}
    assert given(OFFERED_7, made(offering_id="O-1")).intervals("overpromised") == []
    assert given(OVER, made(offering_id="O-1")).intervals("overpromised") == []
    assert given(made(offering_id="O-1"), OFFERED).intervals("overpromised") == []  # not known when it was made
    published_later = Fact(OFFERED.event, day(2))  # to be valid since day 1, and nobody knew that then
    assert given(published_later, made(offering_id="O-1")).intervals("overpromised") == []
    assert (
        given(OFFERED, OFFERED_7, made(offering_id="O-1")).intervals("overpromised") == []
    )  # the newest version counts


def test_an_offering_holds_until_it_is_over_or_replaced_in_the_order_of_publishing() -> None:
    withdrawn = on(5, OFFERED_7.event.model_copy(update={"lead_time": "P10D"}))  # from day 20 on there is none
    late = Fact(made(offering_id="O-1", due_at=day(22)).event, day(21))
    assert given(OFFERED, late).intervals("overpromised") == [(day(21), None)]
    assert given(OFFERED, withdrawn, late).intervals("overpromised") == []
    assert given(withdrawn, OFFERED, late).intervals("overpromised") == []  # the first version was recorded late
    before = Fact(made(offering_id="O-1", due_at=day(20)).event, day(11))
    assert given(OFFERED, withdrawn, before).intervals("overpromised") == [(day(11), None)]
    from_15 = on(6, OfferingPublished(offering_id="O-1", lead_time="P1D", valid_from=day(15)))
    assert given(OFFERED, from_15, before).intervals("overpromised") == [(day(11), None)]  # replaced from day 15 on
    assert given(from_15, OFFERED, late).intervals("overpromised") == []


def test_overpromised_closes_when_moved_to_what_is_realistic_or_kept() -> None:
    facts = [OFFERED, made(offering_id="O-1")]
    assert given(facts, moved(5, 10, 11)).intervals("overpromised") == [(day(1), day(5))]
    assert given(facts, moved(5, 10, 10)).intervals("overpromised") == [(day(1), None)]
    assert given(facts, claimed(9)).intervals("overpromised") == [(day(1), day(9))]
    assert given(facts, BROKEN_8).intervals("overpromised") == [(day(1), day(8))]


def test_a_dispute_shows_that_it_was_overpromised_after_all() -> None:
    facts = [OFFERED, made(offering_id="O-1"), claimed(9), DISPUTED_13]
    told = given(facts)
    assert told.intervals("overpromised") == [(day(1), day(9)), (day(13), None)]
    assert {each.detail["lead_time_seconds"] for each in told.all() if each.code == "overpromised"} == {10 * 86_400}
    assert given(facts, moved(14, 10, 20)).intervals("overpromised") == [(day(1), day(9)), (day(13), day(14))]
    assert given(facts[:2], moved(5, 10, 11), *facts[2:]).intervals("overpromised") == [(day(1), day(5))]


def past(*days: int) -> list[Fact]:
    """Deliveries that took so many days: each made on day 1, and claimed."""
    facts = [made(f"P-{number}", due_at=day(28)) for number in range(100, 100 + len(days))]
    return facts + [claimed(1 + took, f"P-{number}") for number, took in enumerate(days, 100)]


def new(due: int, **changes: str) -> Fact:
    return Fact(made("P-9", due_at=day(due), **changes).event, day(15))


def test_sooner_than_a_fifth_of_past_deliveries_is_overpromised() -> None:
    told = given(
        past(4, 6, 5, 7, 8, 9), new(19)
    )  # of six, the second fastest took five days: 0.2 * 6 = 1.2, rounded up
    assert told.intervals("overpromised", "promise:P-9") == [(day(15), None)]
    assert told.detail("overpromised") == {
        "promised_seconds": 4 * 86_400,
        "percentile_20_seconds": 5 * 86_400,
        "deliveries": 6,
    }
    assert given(past(4, 6, 5, 7, 8, 9), new(20)).intervals("overpromised") == []
    assert given(past(4, 6, 5, 7, 8), new(18)).detail("overpromised")["percentile_20_seconds"] == 4 * 86_400
    assert given(past(4, 6, 5, 7), new(16)).intervals("overpromised") == []  # four deliveries say nothing
    assert given(past(4, 6, 5, 7, 8), new(16, kind="answer")).intervals("overpromised") == []


def test_only_what_was_known_when_it_was_made_counts() -> None:
    *four, fifth = past(4, 6, 5, 7, 8)
    assert given(four, new(16), fifth).intervals("overpromised") == []  # recorded after it
    later = past(4, 6, 5, 7, 20)  # the fifth is claimed on day 21, recorded before P-9, and was not known on day 15
    assert given(later, new(16)).intervals("overpromised") == []
    disputed = promise(PromiseDisputed, 14, "P-100", text="It never came.")
    assert given(past(4, 6, 5, 7, 8), disputed, new(16)).intervals("overpromised") == []  # that was no delivery
    broken = promise(PromiseBroken, 14, "P-100", reason_code="stock", text="None left.")
    assert given(past(4, 6, 5, 7, 8), broken, new(16)).intervals("overpromised") == []  # nor was that


def test_a_claim_waits_for_the_customer_and_is_then_closed_by_silence() -> None:
    told = given(made(), claimed(8))
    assert told.intervals("claimed-not-verified") == [(day(8), None)]
    assert told.intervals("closed-by-silence") == [(day(15), None)]


@pytest.mark.parametrize(
    "answer", [VERIFIED_9, promise(PromiseDisputed, 9, text="It is not."), promise(PromiseReleased, 9, evidence="e")]
)
def test_an_answer_ends_the_waiting(answer: Fact) -> None:
    told = given(made(), claimed(8), answer)
    assert told.intervals("claimed-not-verified") == [(day(8), day(9))]
    assert told.intervals("closed-by-silence") == []


def test_an_answer_after_the_silence_closes_it() -> None:
    told = given(made(), claimed(8), promise(PromiseKept, 17, verified_by="C-1"))
    assert told.intervals("closed-by-silence") == [(day(15), day(17))]


def test_nobody_waits_where_no_verification_was_asked_for() -> None:
    told = given(made(verification="not_required"), claimed(8))
    assert {"claimed-not-verified", "closed-by-silence"}.isdisjoint(each.code for each in told.all())
    assert told.open_at(day(14)) == set()


def test_a_handover_is_to_be_accepted() -> None:
    imposed = made(for_team="t-2")
    accepted = promise(PromiseAccepted, 4, owner="u-2")
    assert given(imposed).intervals("handover-unaccepted") == [(day(2), None)]
    assert given(imposed, accepted).intervals("handover-unaccepted") == [(day(2), day(4))]
    assert given(imposed, Fact(accepted.event, day(1, 23))).intervals("handover-unaccepted") == []
    assert given(imposed, RELEASED_5).intervals("handover-unaccepted") == [(day(2), day(5))]
    assert given(made()).intervals("handover-unaccepted") == []
    reassigned = promise(PromiseReassigned, 3, owner="u-2")
    again = promise(PromiseReassigned, 6, owner="u-3")
    assert given(made(), reassigned).intervals("handover-unaccepted") == [(day(4), None)]
    assert given(made(), reassigned, again).intervals("handover-unaccepted") == [(day(4), day(6)), (day(7), None)]
    assert given(made(), reassigned, again).open_at(day(7, 23)) == {("handover-unaccepted", "promise:P-1")}


def test_an_assumption_stays_open_until_it_is_settled() -> None:
    assumed = made(basis="assumed")
    confirmed = on(6, AssumptionConfirmed(customer_id="C-1", promise_id="P-1", evidence="e"))
    assert given(assumed).intervals("assumption-open") == [(day(4), None)]
    assert given(assumed, confirmed).intervals("assumption-open") == [(day(4), day(6))]
    assert given(assumed, Fact(confirmed.event, day(3))).intervals("assumption-open") == []
    assert given(assumed, claimed(3), VERIFIED_9).intervals("assumption-open") == [(day(4), day(9))]
    assert given(made()).intervals("assumption-open") == []


def test_a_refuted_assumption_is_a_falsehood_that_the_promise_rests_on() -> None:
    refuted = on(6, AssumptionRefuted(customer_id="C-1", promise_id="P-1", evidence="e"))
    told = given(made(basis="assumed"), refuted)
    assert told.intervals("assumption-open") == [(day(4), day(6))]
    assert told.intervals("rests-on-falsehood", "promise:P-1") == [(day(6), None)]
    assert given(made(basis="assumed"), RELEASED_5, refuted).intervals("rests-on-falsehood") == []


def test_a_promise_owned_by_its_customer_is_unowned() -> None:
    accepted = promise(PromiseAccepted, 4, owner="u-2")
    assert given(made(owner="C-1")).intervals("unowned") == [(day(1), None)]
    assert given(made(owner="C-1"), promise(PromiseReassigned, 3, owner="u-2"), accepted).intervals("unowned") == [
        (day(1), day(4))
    ]
    still = promise(PromiseAccepted, 4, owner="C-1")
    assert given(made(owner="C-1", for_team="t-2"), still).intervals("unowned") == [(day(1), None)]
    assert given(made(for_team="t-2"), still).intervals("unowned") == [(day(4), None)]
    assert given(made()).intervals("unowned") == []


def test_what_was_wrong_with_a_promise_is_so_again_where_its_condition_was_met_in_time_after_all() -> None:
    """It was announced as expired at its condition's deadline, on day 4."""
    met = promise(PromiseActivated, 3)
    conditional = {"condition_by": day(4)}
    assert given(made(**conditional), EXPIRED, met).intervals("overdue") == [(day(10), None)]
    in_order = given(made(**conditional, owner="C-1"), met)
    late = given(made(**conditional, owner="C-1"), EXPIRED, met)
    assert late.intervals("unowned") == [(day(1), day(4)), (day(4), None)]
    assert late.open_at(day(20)) == in_order.open_at(day(20)) > {("unowned", "promise:P-1")}
    handed_over = given(made(**conditional, for_team="t-2"), EXPIRED, met)
    assert handed_over.intervals("handover-unaccepted") == [(day(2), day(4)), (day(5), None)]
    refuted = on(12, AssumptionRefuted(customer_id="C-1", promise_id="P-1", evidence="e"))
    assumed = made(**conditional, basis="assumed")
    assert given(assumed, EXPIRED, met).intervals("assumption-open") == [(day(4), None)]
    assert given(assumed, EXPIRED, refuted, met).intervals("rests-on-falsehood") == [(day(12), None)]
    rests = [disclosed(1), made(**conditional, based_on=("D-1",)), EXPIRED]
    in_doubt = given(rests, falsified(3, 3), met)
    assert in_doubt.intervals("rests-on-falsehood", "promise:P-1") == [(day(3), day(4)), (day(4), None)]
    assert given(rests, falsified(9, 9), met).intervals("rests-on-falsehood", "promise:P-1") == [(day(9), None)]


def test_silence_begins_anew_when_a_promise_seemed_to_end() -> None:
    met, conditional = promise(PromiseActivated, 3), made(condition_by=day(10), due_at=day(28))
    expired = on(10, ConditionExpired(promise_id="P-1", customer_id="C-1", condition_by=day(10)))
    assert given(conditional, expired, met).intervals("silent-customer") == [(day(8), day(10)), (day(17), None)]


def test_the_policy_in_force_when_it_happened_decides() -> None:
    from tests.projections.findings.test_policies import published

    facts = [made(), made("P-2"), published(2, verify_within_hours=24), claimed(2), claimed(5, "P-2")]
    assert given(facts).intervals("closed-by-silence", "promise:P-1") == [(day(3), None)]
    early = [made(), claimed(2), published(3, verify_within_hours=24)]
    assert given(early).intervals("closed-by-silence") == [(day(9), None)]
