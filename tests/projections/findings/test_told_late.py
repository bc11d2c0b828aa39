"""What is recorded late counts from when it occurred: the same facts told in another order, the same findings.

Each case is told in the order in which it happened, and as an outage's notepad tells it. A proof is an index.
"""

from collections.abc import Sequence

import pytest

from ledger.domain.assumptions import AssumptionRefuted
from ledger.domain.customers import CustomerLost, CustomerReportedProblem
from ledger.domain.followups import FollowUpAttempted, FollowUpScheduled
from ledger.domain.outages import NoteCleared, NoteFollowedUp, NoteTaken, OutageDeclared, OutageEnded, OutageListDone
from ledger.domain.promise_messages import PromiseBroken, PromiseDisputed, PromiseKept
from tests.domain.story import Fact, day, detected, made, on
from tests.projections.findings.story import claimed, contact, disclosed, falsified, given, promise
from tests.projections.findings.test_telling import apology, written
from tests.projections.findings.test_troubles import (
    ACKNOWLEDGED,
    ADDRESSED,
    affected,
    failed,
    raised,
    resolved,
    told,
    withheld,
)
from tests.projections.findings.test_truth import cause, corrected


def proven(code: str, facts: Sequence[Fact]) -> list[tuple[int, int | None, int | None]]:
    """The day on which each finding of that code opened and closed, and the entry that closed it."""
    return [
        (each.opened_at.day, each.closed_at and each.closed_at.day, each.closed_by)
        for each in given(facts).all()
        if each.code == code and (each.closed_at is None or each.closed_at > each.opened_at)
    ]


TOLD = disclosed(2, solution_ref=None)
SCHEDULED = on(
    2, FollowUpScheduled(followup_id="F-1", customer_id="C-1", about_disclosure_id="D-1", due_at=day(3), owner="u-1")
)


def attempted(number: int) -> Fact:
    return on(number, FollowUpAttempted(followup_id="F-1", customer_id="C-1", channel="phone", reached=True))


def test_an_attempt_before_it_was_known_false_is_no_attempt_to_correct_it() -> None:
    before = [attempted(3), falsified(5, 4)]
    for order in (before, before[::-1]):
        assert proven("correction-owed", [TOLD, SCHEDULED, *order]) == [(4, None, None)]


def test_an_attempt_since_it_was_known_false_counts_though_it_was_not_yet_falsified_on_record() -> None:
    for at in (4, 6):
        late = [TOLD, SCHEDULED, falsified(7, 4), attempted(at)]
        early = [TOLD, SCHEDULED, attempted(at), falsified(7, 4)]
        assert proven("correction-owed", late) == ([(4, 6, 3)] if at == 6 else [])
        assert proven("correction-owed", early) == ([(4, 6, 2)] if at == 6 else [])


BASES = [disclosed(1, "D-2"), disclosed(1, "D-3")]
RESTING = disclosed(2, based_on=("D-2", "D-3"))


def test_an_attempt_between_two_falsehoods_answers_the_first_alone() -> None:
    first, second = falsified(9, 3, "D-2"), falsified(9, 6, "D-3")
    orders = [
        [first, attempted(5), second],
        [first, second, attempted(5)],
        [second, first, attempted(5)],
        [second, attempted(5), first],
        [attempted(5), second, first],
        [attempted(5), first, second],
    ]
    for order in orders:
        told = given(BASES, RESTING, SCHEDULED, order)
        assert sorted(told.intervals("correction-owed", "disclosure:D-1"), key=str) == [
            (day(3), day(5)),
            (day(6), None),
        ]


def test_a_falsehood_known_earlier_counts_from_then_on_in_whichever_order_they_are_told() -> None:
    first, second = falsified(9, 4, "D-2"), falsified(9, 6, "D-3")
    for order in ([first, second], [second, first]):
        told = given(BASES, RESTING, order)
        for code in ("correction-owed", "rests-on-falsehood"):
            assert told.intervals(code, "disclosure:D-1") == [(day(4), None)]
        assert told.intervals("correction-owed", "disclosure:D-1") == [(day(4), None)]


def report(number: int) -> Fact:
    return on(number, CustomerReportedProblem(customer_id="C-1", problem_id="X-1", text="It stands."))


def test_whom_we_had_told_discovers_nothing_though_that_was_recorded_late() -> None:
    assert proven("discovered-by-customer", [detected(), told(3), report(4)]) == []
    assert proven("discovered-by-customer", [detected(), report(4), told(3)]) == []
    assert proven("discovered-by-customer", [detected(), report(4), told(5)]) == [(4, None, None)]
    assert proven("discovered-by-customer", [detected(), report(6), report(4), told(5)]) == [(4, None, None)]
    assert proven("discovered-by-customer", [detected(), report(6), told(5), report(4)]) == [(4, None, None)]
    (prevented,) = (each for each in given(detected(), report(4), told(3)).all() if each.code.startswith("discovered"))
    assert (prevented.opened_by, prevented.closed_at, prevented.closed_by) == (1, day(3), 2)


def test_who_was_told_too_late_was_undisclosed_till_then_though_found_affected_on_record_afterwards() -> None:
    late = disclosed(6, "D-6", "C-3", about_problem_id="X-1")
    assert given(detected(), affected(2, "C-3"), late).intervals("undisclosed-problem", None, "C-3") == [
        (day(3), day(6))
    ]
    assert given(detected(), late, affected(2, "C-3")).intervals("undisclosed-problem", None, "C-3") == [
        (day(3), day(6))
    ]
    (found,) = (
        each
        for each in given(detected(), late, affected(2, "C-3")).all()
        if each.customer_id == "C-3" and each.code == "undisclosed-problem"
    )
    assert (found.opened_by, found.closed_by) == (2, 1)
    intime = disclosed(3, "D-6", "C-3", about_problem_id="X-1")
    assert given(detected(), intime, affected(2, "C-3")).intervals("undisclosed-problem", None, "C-3") == []


BARE = disclosed(4, "D-4", solution_ref=None, about_promise_id="P-1")


def test_a_way_forward_is_shown_by_what_comes_later_alone() -> None:
    code = "disclosure-without-way-forward"
    before, after = disclosed(3, "D-3", about_promise_id="P-1"), disclosed(6, "D-6", about_promise_id="P-1")
    assert proven(code, [made(), before, BARE]) == [(4, None, None)]
    assert proven(code, [made(), BARE, before]) == [(4, None, None)]
    assert proven(code, [made(), BARE, before, after]) == [(4, 6, 3)]
    assert proven(code, [made(), after, BARE]) == [(4, 6, 1)]
    assert proven(code, [made(), after, BARE, before]) == [(4, 6, 1)]
    assert proven(code, [made(), after, apology(5), before, BARE]) == [(4, 5, 2)]


def test_an_apology_without_a_step_waits_for_what_comes_later() -> None:
    code, bare = "apology-without-step", apology(4, None)
    assert proven(code, [made(), bare, apology(3)]) == [(4, None, None)]
    assert proven(code, [made(), apology(6), bare]) == [(4, 6, 1)]


BROKEN = promise(PromiseBroken, 5, reason_code="stock", text="None left.")


def test_an_apology_counts_from_when_it_was_made() -> None:
    for orders, expected in [
        ([[apology(9), BROKEN], [BROKEN, apology(9)]], [(7, 9)]),
        ([[apology(2), BROKEN], [BROKEN, apology(2)]], [(7, None)]),  # long before it was broken
        ([[apology(3), BROKEN], [BROKEN, apology(3)]], []),  # shortly before
        ([[apology(2), apology(9), BROKEN], [apology(9), BROKEN, apology(2)]], [(7, 9)]),
    ]:
        for order in orders:
            assert [each[:2] for each in proven("unapologised", [made(), *order])] == expected
    unresolved = [detected(), resolved(4)]
    sorry = apology(3, for_problem_id="X-1")
    for order in ([sorry, failed(6)], [failed(6), sorry]):
        assert proven("unapologised", [*unresolved, *order]) == [(8, None, None)]


def test_what_was_written_before_anybody_spoke_is_a_finding_until_then() -> None:
    code, grave = "written-only-severe", detected(severity=1)
    spoken, letter = written(5, "D-5", "phone"), written(3)
    assert proven(code, [grave, spoken, letter]) == [(3, 5, 1)]
    assert proven(code, [grave, letter, spoken]) == [(3, 5, 2)]
    assert proven(code, [grave, letter, written(2, "D-2", "phone")]) == []
    assert proven(code, [grave, letter, written(2, "D-2")]) == [(2, None, None)]
    assert proven(code, [grave, spoken, written(2, "D-2", "phone"), letter]) == []


def test_a_withholding_recorded_after_the_next_one_is_over() -> None:
    first, second = withheld(3, 5), withheld(8, 15)
    for order in ([first, second], [second, first]):
        assert given(detected(), order).intervals("withheld-past-review", "withholding:W-3") == [(day(5), day(8))]
        assert given(detected(), order).intervals("withheld-past-review", "withholding:W-8") == [(day(15), None)]
        untold = given(detected(), order).intervals("undisclosed-problem", None, "C-1")
        assert (day(5), day(8)) in untold
        assert (day(15), None) in untold


def test_a_concern_acknowledged_later_was_answered_before_it_was_listened_to() -> None:
    late = Fact(ACKNOWLEDGED.event, day(7))
    assert proven("solution-before-listening", [raised(), ADDRESSED, late]) == [(5, 7, 2)]
    assert proven("solution-before-listening", [raised(), late, ADDRESSED]) == [(5, 7, 1)]


def test_a_customer_found_affected_after_the_resolution_waits_from_that_on() -> None:
    for order in ([affected(3, "C-3"), resolved(4)], [resolved(4), affected(3, "C-3")]):
        told = given(detected(), order)
        assert told.intervals("claimed-not-verified", None, "C-3") == [(day(4), None)]
        assert told.intervals("closed-by-silence", None, "C-3") == [(day(11), None)]


def test_the_newest_cause_is_the_one_that_was_found_last() -> None:
    reason = disclosed(2, reason_class="weather", about_problem_id="X-1")
    for order in ([cause(3), cause(6, "weather")], [cause(6, "weather"), cause(3)]):
        assert given(detected(), reason, order).open_at(day(8)) == given(
            detected(), reason, cause(6, "weather")
        ).open_at(day(8))
    for order in ([cause(3, "weather"), cause(6)], [cause(6), cause(3, "weather")]):
        assert given(detected(), reason, order).intervals("divergent-reason") == [(day(6), None)]


def test_a_promise_that_had_not_ended_when_it_was_found_to_rest_on_a_falsehood() -> None:
    resting = [disclosed(1), made(based_on=("D-1",)), claimed(6)]
    kept = promise(PromiseKept, 9, verified_by="u-9")
    for order in ([falsified(8, 7), kept], [kept, falsified(8, 7)]):
        assert given(resting, order).intervals("rests-on-falsehood") == [(day(7), day(9))]
    for order in ([kept, falsified(10, 7)],):
        assert given(resting, order).intervals("rests-on-falsehood") == []


def test_a_promise_on_an_assumption_and_on_a_falsehood_is_in_doubt_since_the_earlier_of_the_two() -> None:
    resting = [disclosed(1), made(based_on=("D-1",), basis="assumed")]
    for refuted_on, known_on in ((4, 6), (6, 4)):
        facts = [
            on(refuted_on, AssumptionRefuted(promise_id="P-1", customer_id="C-1", evidence="x")),
            falsified(7, known_on),
        ]
        for order in (facts, facts[::-1]):
            assert given(resting, order).intervals("rests-on-falsehood") == [(day(4), None)]


def test_a_promise_that_had_not_ended_when_its_assumption_was_refuted() -> None:
    resting = [made(basis="assumed"), claimed(6)]
    kept = promise(PromiseKept, 9, verified_by="u-9")
    refuted, later = (
        on(number, AssumptionRefuted(promise_id="P-1", customer_id="C-1", evidence="x")) for number in (8, 10)
    )
    for order in ([refuted, kept], [kept, refuted]):
        assert given(resting, order).intervals("rests-on-falsehood") == [(day(8), day(9))]
    assert given(resting, kept, later).intervals("rests-on-falsehood") == []


def test_the_earlier_of_two_corrections_counts() -> None:
    first, second = corrected(5, by="D-8"), corrected(7, by="D-9")
    for order in ([*first, *second], [*second, *first]):
        assert given(disclosed(2), order, falsified(8, 4)).intervals("correction-owed", "disclosure:D-1") == [
            (day(4), day(5))
        ]


LIST = [
    on(1, OutageDeclared(outage_id="O-1", tool="crm")),
    on(2, NoteTaken(outage_id="O-1", capture_id="N-1", captured_at=day(2), customer_id="C-1", read_back=True)),
]
ENDED = on(4, OutageEnded(outage_id="O-1"))
CLEARED = on(6, NoteCleared(outage_id="O-1", capture_id="N-1", customer_id="C-1", by=("P-1",)))
BACK = on(7, NoteFollowedUp(outage_id="O-1", capture_id="N-1", customer_id="C-1"))


def done(number: int) -> Fact:
    return on(number, OutageListDone(outage_id="O-1"))


@pytest.mark.parametrize(
    "order",
    [
        [*LIST, ENDED, CLEARED, BACK, done(7)],
        [*LIST, ENDED, BACK, CLEARED, done(6)],
        [*LIST, CLEARED, BACK, ENDED, done(4)],
        [LIST[0], ENDED, done(4), LIST[1], BACK, CLEARED, done(6)],
    ],
)
def test_the_list_of_an_outage_is_done_with_the_last_thing_that_was_done(order: list[Fact]) -> None:
    assert given(order).intervals("outage-list-open") == [(day(5), day(7))]


LOST = on(5, CustomerLost(customer_id="C-1", attributed_to="price"))


def test_a_customer_lost_before_they_spoke_with_us_again_is_not_lost() -> None:
    promised = made(due_at=day(28))
    for order in ([LOST, contact(8)], [contact(8), LOST]):
        assert given(promised, order).intervals("silent-customer")[-1] == (day(15), None)
    for order in ([contact(3), LOST], [LOST, contact(3)]):
        assert given(promised, order).intervals("silent-customer") == []


def test_a_word_before_anything_was_owed_again_moves_nothing() -> None:
    again = [made(verification="not_required"), claimed(5), promise(PromiseDisputed, 8)]
    for order in ([*again[:2], contact(6), again[2]], [*again, contact(6)]):
        assert given(order).intervals("silent-customer")[-1] == (day(15), None)
