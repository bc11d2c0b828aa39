"""The timer's announcements: once each, only when so, and without a say in any axis but an expired condition."""

from typing import Any

import pytest

from ledger.domain.deadlines import (
    AnnounceDeadline,
    AnnounceWarning,
    ConditionExpired,
    DeadlinePassed,
    DeadlineWarned,
    ExpireCondition,
    warning_at,
    warnings_ahead,
)
from ledger.domain.escalations import AcknowledgeOverdue, PromiseOverdueAcknowledged
from ledger.domain.promise_messages import (
    PromiseActivated,
    PromiseBroken,
    PromiseClaimedKept,
    PromiseDisputed,
    PromiseRescheduled,
    ReschedulePromise,
)
from ledger.domain.promise_state import timeliness
from tests.domain.story import Fact, day, given, made, on, order, promise_after, told

P1 = {"promise_id": "P-1", "customer_id": "C-1"}
PASSED = on(11, DeadlinePassed(**P1, due_at=day(10)))
CLAIMED = on(4, PromiseClaimedKept(**P1))
DISPUTED = on(5, PromiseDisputed(**P1))
MOVED = on(6, PromiseRescheduled(**P1, old_due_at=day(10), new_due_at=day(19), disclosure_id="D-1"))
BROKEN = on(6, PromiseBroken(**P1, reason_code="x"))
CONDITIONAL = made(condition_by=day(8))


def deadline(due: int = 10, number: int = 11) -> Any:
    return order(AnnounceDeadline, number, due_at=day(due))


def warning(percent: int = 50, number: int = 7, due: int = 10) -> Any:
    return order(AnnounceWarning, number, due_at=day(due), percent=percent)


def expiry(by: int = 8, number: int = 9) -> Any:
    return order(ExpireCondition, number, condition_by=day(by))


def test_a_missed_deadline_is_announced() -> None:
    given(made()).when(deadline()).then(DeadlinePassed(**P1, due_at=day(10))).so(
        "promise:P-1", deadline_passed=True, latched=False, standing="active"
    )


@pytest.mark.parametrize(
    ("facts", "command"),
    [
        ((made(),), deadline(number=10)),
        ((made(),), deadline(due=9)),
        ((made(), PASSED), deadline(number=12)),
        ((made(), CLAIMED), deadline()),
        ((made(), BROKEN), deadline()),
        ((made(), MOVED), deadline()),
        ((CONDITIONAL,), deadline()),
    ],
    ids=["not yet", "another due time", "announced", "claimed", "ended", "rescheduled", "conditional"],
)
def test_a_deadline_that_is_moot(facts: tuple[Fact, ...], command: Any) -> None:
    given(*facts).when(command).refused("moot", "P-1")


def test_the_deadline_of_the_next_cycle_and_of_a_new_due_time_is_announced_too() -> None:
    given(made(), CLAIMED, DISPUTED).when(deadline()).then(DeadlinePassed(**P1, due_at=day(10)))
    moved = on(12, PromiseRescheduled(**P1, old_due_at=day(10), new_due_at=day(19), disclosure_id="D-1"))
    given(made(), PASSED, moved).when(deadline(19, 20)).then(DeadlinePassed(**P1, due_at=day(19)))


def test_announcing_changes_no_answer_about_the_promise() -> None:
    late_news = on(9, PromiseClaimedKept(**P1))
    for facts in ([made()], [made(), late_news]):
        announced = promise_after(made(), PASSED, *facts[1:])
        for asked in (day(9), day(10), day(11), day(30)):
            assert timeliness(announced, asked) == timeliness(promise_after(*facts), asked)


def test_a_warning_comes_when_that_share_of_the_time_is_over() -> None:
    # from day 1 to day 10 are 216 hours: half of them end on day 5 at noon, 80 per cent (172.8 h) on day 8 at 04:48
    promise = promise_after(made())
    assert warning_at(promise, 50, None) == day(5, 12)
    assert warning_at(promise, 80, None) == day(8, 4).replace(minute=48)
    given(made()).when(warning(50), now=day(5, 12)).then(DeadlineWarned(**P1, due_at=day(10), percent=50)).so(
        "promise:P-1", deadline_warned_percent=50, warned_at=None, standing="active"
    )


WARNED = on(6, DeadlineWarned(**P1, due_at=day(10), percent=50))


@pytest.mark.parametrize(
    ("facts", "command"),
    [
        ((made(),), warning(50, number=5)),
        ((made(),), warning(50, number=11)),
        ((made(),), warning(due=9)),
        ((made(), WARNED), warning(50)),
        ((made(), WARNED), warning(40)),
        ((made(), CLAIMED), warning()),
        ((made(), BROKEN), warning()),
        ((CONDITIONAL,), warning()),
    ],
    ids=["not yet", "past due", "another due time", "warned", "warned higher", "claimed", "ended", "conditional"],
)
def test_a_warning_that_is_moot(facts: tuple[Fact, ...], command: Any) -> None:
    given(*facts).when(command).refused("moot")


def test_a_higher_percentage_warns_again_and_so_does_a_new_due_time() -> None:
    given(made(), WARNED).when(warning(80, 9)).then(DeadlineWarned(**P1, due_at=day(10), percent=80))
    # from day 1 to day 19 half of the time ends on day 10
    given(made(), WARNED, MOVED).when(warning(50, 10, due=19)).then(DeadlineWarned(**P1, due_at=day(19), percent=50))


def test_what_is_ahead_is_what_was_not_announced_yet() -> None:
    # of 216 hours 20 per cent are 43.2: day 2 at 19:12
    half, most = (50, day(5, 12)), (80, day(8, 4).replace(minute=48))
    assert warnings_ahead(promise_after(made()), (20, 50, 80), None) == (
        (20, day(2, 19).replace(minute=12)),
        half,
        most,
    )
    assert warnings_ahead(promise_after(made()), (), None) == ()
    assert warnings_ahead(promise_after(made(), WARNED), (20, 50, 80), None) == (most,)
    for over in (CLAIMED, BROKEN, PASSED):
        assert warnings_ahead(promise_after(made(), over), (50, 80), None) == ()
    assert warnings_ahead(promise_after(CONDITIONAL), (50,), None) == ()
    assert warnings_ahead(promise_after(made(), WARNED, CLAIMED, DISPUTED), (50, 80), None) == (most,)
    assert warnings_ahead(promise_after(made(), WARNED, MOVED), (50,), None) == ((50, day(10)),)


def test_an_expired_condition_ends_the_promise_at_its_deadline_whenever_that_is_announced() -> None:
    given(CONDITIONAL).when(expiry(number=20)).then(ConditionExpired(**P1, condition_by=day(8))).so(
        "promise:P-1", standing="ended", ended_as="expired", ended_at=day(8), fulfilment="none"
    )


@pytest.mark.parametrize(
    ("facts", "command"),
    [
        ((CONDITIONAL,), expiry(number=8)),
        ((CONDITIONAL,), expiry(by=7)),
        ((CONDITIONAL, on(7, PromiseActivated(**P1))), expiry()),
        ((CONDITIONAL, on(9, ConditionExpired(**P1, condition_by=day(8)))), expiry()),
        ((made(),), expiry()),
    ],
    ids=["not yet", "another deadline", "met", "announced", "no condition"],
)
def test_an_expiry_that_is_moot(facts: tuple[Fact, ...], command: Any) -> None:
    given(*facts).when(command).refused("moot")


@pytest.mark.parametrize("command", [deadline(), warning(), expiry()], ids=lambda command: command.TYPE)
def test_the_timer_too_needs_a_promise_and_only_the_timer_may_send_it(command: Any) -> None:
    given().when(command).refused("unknown-promise")
    assert command.INTERNAL


def test_where_a_due_time_was_recorded_late_the_present_one_is_announced_and_what_was_decided_stands() -> None:
    # Moved on day 5 to day 20, and then told of a move on day 3 to day 12: it is due on day 20, and day 12 came last.
    late = (made(), told(), moved_to(5, 20), moved_to(3, 12))
    assert promise_after(*late).due_at == day(20)
    given(*late).when(deadline(20, 21)).then(DeadlinePassed(**P1, due_at=day(20)))
    given(*late).when(deadline(12, 13)).then(DeadlinePassed(**P1, due_at=day(12)))
    given(*late).when(deadline(15, 21)).refused("moot")
    # half of the time from day 1 until day 20, and until day 12
    given(*late).when(warning(number=11, due=20)).then(DeadlineWarned(**P1, due_at=day(20), percent=50))
    given(*late).when(warning(number=7, due=12)).then(DeadlineWarned(**P1, due_at=day(12), percent=50))
    given(*late).when(warning(number=9, due=20)).refused("moot")
    seen = PromiseOverdueAcknowledged(**P1)
    given(*late).when(order(AcknowledgeOverdue, 13)).then(seen)
    given(*late).when(order(AcknowledgeOverdue, 12)).refused("not-past-due", "2026-03-12")
    command = order(ReschedulePromise, 14, new_due_at=day(25), disclosure_id="D-1")
    moved = PromiseRescheduled(**P1, old_due_at=day(12), new_due_at=day(25), disclosure_id="D-1")
    given(*late).when(command).then(moved).so("promise:P-1", due_at=day(25), latched=False)


def test_a_reschedule_that_leaves_the_due_time_as_it_was_repeats_nothing() -> None:
    # Due on day 20 by the reschedule of day 5, whatever is told later of days before; day 11 is past half of that time.
    half = on(11, DeadlineWarned(**P1, due_at=day(20), percent=50))
    passed = on(21, DeadlinePassed(**P1, due_at=day(20)))
    seen = on(22, PromiseOverdueAcknowledged(**P1))
    for again in (moved_to(3, 12), moved_to(12, 20)):
        so_far = (made(), told(), moved_to(5, 20), half, again)
        given(*so_far).when(warning(number=12, due=20)).refused("moot")
        given(*so_far).when(warning(80, 17, due=20)).then(DeadlineWarned(**P1, due_at=day(20), percent=80))
        assert [percent for percent, _ in warnings_ahead(promise_after(*so_far), (50, 80), None)] == [80]
    late = (made(), told(), moved_to(5, 20), passed, seen, moved_to(3, 12))
    given(*late).when(deadline(20, 23)).refused("moot")
    given(*late).when(order(AcknowledgeOverdue, 23)).refused("already-acknowledged")
    given(*late, moved_to(24, 26)).when(deadline(26, 27)).then(DeadlinePassed(**P1, due_at=day(26)))


def moved_to(number: int, due: int) -> Fact:
    return on(number, PromiseRescheduled(**P1, old_due_at=day(10), new_due_at=day(due), disclosure_id="D-1"))
