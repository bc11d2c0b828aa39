"""Promises in business time: resolved once, under the version in effect, and standing still while suspended.

The calendar works Monday to Thursday, 9 to 12 and 13 to 17 in Berlin, which is an hour ahead of UTC; 1 March 2026 is a
Sunday. PT14H from Monday the 2nd at 9 (08:00 UTC) are the seven hours of Monday and of Tuesday: due on the 3rd at 17.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain.deadlines import AnnounceDeadline, AnnounceWarning, DeadlinePassed, DeadlineWarned, warnings_ahead
from ledger.domain.model import Event
from ledger.domain.policies import CalendarPublished
from ledger.domain.promise_messages import (
    BreakPromise,
    ClaimPromiseKept,
    MakePromise,
    PromiseBroken,
    PromiseClaimedKept,
    PromiseDisputed,
    PromiseMade,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuspended,
    ReschedulePromise,
    ResumePromise,
)
from ledger.domain.promise_state import timeliness
from ledger.domain.promises import calendar_of
from ledger.domain.turns import course
from tests.domain.story import Fact, day, given, on, order, promise_after, told, told_states

P1 = {"promise_id": "P-1", "customer_id": "C-1"}
TERMS: dict[str, Any] = {
    **P1,
    "kind": "deliver",
    "text": "The router comes.",
    "owner": "u-1",
    "channel": "phone",
    "basis": "known",
    "due_in": "PT14H",
    "calendar_id": "de",
}
DUE = day(3, 16)
LAST = datetime.max.replace(tzinfo=UTC)


def calendar(effective: int = 1, **changes: Any) -> Fact:
    members: dict[str, Any] = {
        "calendar_id": "de",
        "policy_id": "default",
        "effective_from": day(effective),
        "time_zone": "Europe/Berlin",
        "hours": tuple(
            f"{each} {hours}" for each in ("mon", "tue", "wed", "thu") for hours in ("09:00-12:00", "13:00-17:00")
        ),
        "covers_until": "2026-03-15",
        "tzdata_version": "2025b",
    }
    return on(1, CalendarPublished(**members | changes))


def made_event(**changes: Any) -> PromiseMade:
    resolved: dict[str, Any] = {
        "due_at": DUE,
        "verification": "required",
        "calendar_version": 1,
        "tzdata_version": "2025b",
    }
    return PromiseMade(**TERMS | resolved | changes)


def make(number: int = 2, **changes: Any) -> Any:
    return order(MakePromise, **TERMS | {"occurred_at": day(number, 8)} | changes)


def at(moment: datetime, event: Event) -> Fact:
    return Fact(event, moment)


MADE = at(day(2, 8), made_event())
SUSPENDED = at(day(2, 13), PromiseSuspended(**P1, review_at=day(9)))  # Monday 14:00: four of fourteen hours are over
PAUSED = (calendar(), MADE, SUSPENDED)
# Resumed on Wednesday at 10: three hours of Monday, seven of Tuesday and one of Wednesday stood still. Eleven hours
# after Tuesday's close are the seven of Wednesday and four of Thursday: 14:00, which is 13:00 UTC.
MOVED = PromiseResumed(**P1, old_due_at=DUE, new_due_at=day(5, 13))


def test_the_due_time_is_resolved_once_and_says_what_it_rests_on() -> None:
    given(calendar()).when(make()).then(made_event()).so(
        "promise:P-1", due_at=DUE, original_due_at=DUE, calendar_id="de", calendar_version=1, paused_at=None
    )


def test_a_promise_keeps_the_version_that_was_in_effect_when_it_was_made() -> None:
    longer = calendar(3, hours=("mon 00:00-24:00", "tue 00:00-24:00", "wed 00:00-24:00"), tzdata_version="2026a")
    given(calendar(), longer).when(make()).then(made_event())
    second = made_event(due_at=day(3, 22), calendar_version=2, tzdata_version="2026a")
    given(calendar(), longer).when(make(3)).then(second)  # 9 to 23 on Tuesday
    resume = order(ResumePromise, occurred_at=day(4, 9))
    given(calendar(), longer, MADE, SUSPENDED).when(resume).then(MOVED)


def test_before_the_calendar_is_in_effect() -> None:
    given(calendar(3)).when(make()).refused("no-calendar", "de")


def test_beyond_what_the_calendar_covers() -> None:
    given(calendar(covers_until="2026-03-02")).when(make()).refused("beyond-calendar", "PT14H", "2026-03-02")


@pytest.mark.parametrize("made_at", [LAST, LAST.replace(month=1, day=1), LAST.replace(year=9998)])
@pytest.mark.parametrize("due_in", ["P3D", "PT99H"])
def test_no_calendar_is_counted_to_the_end_of_all_years(made_at: datetime, due_in: str) -> None:
    for_ever = calendar(covers_until="9999-12-31", time_zone="Asia/Tokyo")
    given(for_ever).when(make(occurred_at=made_at, due_in=due_in)).refused("beyond-calendar")


def test_a_pause_from_before_the_promise_was_made_is_none_before_it() -> None:
    first = at(datetime(1, 1, 1, tzinfo=UTC), SUSPENDED.event)
    moved = PromiseResumed(**P1, old_due_at=DUE, new_due_at=day(4, 10))  # Monday from 9 to 11: two hours
    given(calendar(), MADE, first).when(order(ResumePromise, occurred_at=day(2, 10))).then(moved)


def test_a_pause_moves_the_due_time_by_the_business_time_that_stood_still() -> None:
    given(*PAUSED).when(order(ResumePromise, occurred_at=day(4, 9))).then(MOVED).so(
        "promise:P-1", due_at=day(5, 13), original_due_at=DUE, standing="active", paused_at=None, reschedules=0
    )


def test_a_pause_of_a_night_or_a_weekend_moves_nothing() -> None:
    evening = at(day(2, 16), PromiseSuspended(**P1, review_at=day(9)))
    morning = order(ResumePromise, occurred_at=day(3, 8))
    given(calendar(), MADE, evening).when(morning).then(PromiseResumed(**P1)).so("promise:P-1", due_at=DUE)


def test_a_pause_over_a_holiday_and_a_weekend() -> None:
    # Thursday the 5th is a holiday and Friday to Sunday are free: from Wednesday 16:00 to Monday 10:00 there are two
    # hours. The promise of Tuesday 9:00 was due on Wednesday at its close; two hours later is Monday at 11:00.
    holiday = calendar(holidays=("2026-03-05",))
    promise = at(day(3, 8), made_event(due_at=day(4, 16)))
    suspended = at(day(4, 15), PromiseSuspended(**P1, review_at=day(9)))
    resumed = PromiseResumed(**P1, old_due_at=day(4, 16), new_due_at=day(9, 10))
    given(holiday, promise, suspended).when(order(ResumePromise, occurred_at=day(9, 9))).then(resumed)


def test_a_pause_over_a_change_of_the_clock() -> None:
    # Thursday the 26th at 9 (08:00 UTC), fourteen hours: Monday the 30th at 17, which is 15:00 UTC in summer time.
    # Paused from Thursday at 16 until Monday at 10 (08:00 UTC) are two hours of work: Tuesday at 11, 09:00 UTC.
    longer = calendar(covers_until="2026-04-30")
    given(longer).when(make(26)).then(made_event(due_at=day(30, 15)))
    promise = at(day(26, 8), made_event(due_at=day(30, 15)))
    suspended = at(day(26, 15), PromiseSuspended(**P1, review_at=day(30)))
    resumed = PromiseResumed(**P1, old_due_at=day(30, 15), new_due_at=day(31, 9))
    given(longer, promise, suspended).when(order(ResumePromise, occurred_at=day(30, 8))).then(resumed)
    claim = order(ClaimPromiseKept, occurred_at=day(30, 8))
    given(longer, promise, suspended).when(claim).then(resumed, PromiseClaimedKept(**P1))


def test_a_paused_promise_is_not_overdue_and_its_deadline_is_not_announced() -> None:
    paused = promise_after(*PAUSED)
    assert timeliness(paused, day(6)) == "running"
    deadline = order(AnnounceDeadline, due_at=DUE)
    given(*PAUSED).when(deadline, now=day(6)).refused("moot")
    given(*PAUSED).when(order(AnnounceWarning, due_at=DUE, percent=50), now=day(3, 15)).refused("moot")
    given(calendar(), MADE).when(deadline, now=day(6)).then(DeadlinePassed(**P1, due_at=DUE))
    resumed = (*PAUSED, at(day(4, 9), MOVED))
    assert timeliness(promise_after(*resumed), day(5, 13)) == "running"
    assert timeliness(promise_after(*resumed), day(5, 14)) == "overdue"
    moved = order(AnnounceDeadline, due_at=day(5, 13))
    given(*resumed).when(moved, now=day(6)).then(DeadlinePassed(**P1, due_at=day(5, 13)))


def test_what_was_due_before_the_pause_stays_overdue() -> None:
    late = at(day(3, 16), PromiseSuspended(**P1, review_at=day(9)))
    assert timeliness(promise_after(calendar(), MADE, late), day(4)) == "overdue"
    given(calendar(), MADE, late).when(order(ResumePromise, 6)).then(PromiseResumed(**P1)).so("promise:P-1", due_at=DUE)


def test_paused_straight_to_done_is_on_time() -> None:
    claim = order(ClaimPromiseKept, occurred_at=day(4, 9))
    then = given(*PAUSED).when(claim).then(MOVED, PromiseClaimedKept(**P1))
    then.so(
        "promise:P-1", standing="active", fulfilment="claimed", claimed_at=day(4, 9), due_at=day(5, 13), latched=False
    )
    claimed = (*PAUSED, at(day(4, 9), MOVED), at(day(4, 9), PromiseClaimedKept(**P1)))
    assert timeliness(promise_after(*claimed), day(9)) == "on_time"
    disputed = promise_after(*claimed, at(day(5, 9), PromiseDisputed(**P1)))
    assert (timeliness(disputed, day(5, 13)), timeliness(disputed, day(5, 14))) == ("running", "overdue")


def test_what_ends_while_it_is_paused_was_not_overdue() -> None:
    broken = PromiseBroken(**P1, reason_code="no-stock", text="x")
    given(*PAUSED).when(order(BreakPromise, 6, reason_code="no-stock", text="x")).then(broken)
    assert timeliness(promise_after(*PAUSED, on(6, broken)), day(9)) == "running"


def test_a_reschedule_names_a_moment_and_ends_business_time() -> None:
    command = order(ReschedulePromise, 6, new_due_at=day(8), disclosure_id="D-1")
    moved = PromiseRescheduled(**P1, old_due_at=DUE, new_due_at=day(8), disclosure_id="D-1")
    given(*PAUSED, told()).when(command).then(moved).so(
        "promise:P-1", due_at=day(8), latched=False, calendar_id=None, calendar_version=None, paused_at=None
    )
    given(*PAUSED, on(6, moved)).when(order(ResumePromise, 12)).then(PromiseResumed(**P1)).so(
        "promise:P-1", due_at=day(8)
    )
    given(calendar(), MADE, told()).when(command).then(moved).so("promise:P-1", latched=True)


def test_a_pause_beyond_the_calendar_ends_with_a_new_due_time() -> None:
    given(*PAUSED).when(order(ResumePromise, 17)).refused("beyond-calendar", "P-1", "reschedule")


def test_a_claim_straight_from_a_pause_beyond_the_calendar_is_on_time() -> None:
    then = given(*PAUSED).when(order(ClaimPromiseKept, 17)).then(PromiseClaimedKept(**P1))
    then.so("promise:P-1", standing="suspended", fulfilment="claimed", claimed_at=day(17), due_at=DUE, latched=False)
    claimed = (*PAUSED, on(17, PromiseClaimedKept(**P1)))
    assert timeliness(promise_after(*claimed), day(20)) == "on_time"
    given(*claimed).when(order(ResumePromise, 18)).refused("beyond-calendar", "P-1", "reschedule")
    # What was due before the pause stays overdue, and is claimed late.
    late = (calendar(), MADE, at(day(3, 16), PromiseSuspended(**P1, review_at=day(9))))
    given(*late).when(order(ClaimPromiseKept, 17)).then(PromiseClaimedKept(**P1)).so("promise:P-1", latched=True)


def test_what_was_claimed_beyond_the_calendar_and_is_disputed_stands_still_until_it_is_active() -> None:
    claimed, disputed = on(17, PromiseClaimedKept(**P1)), on(18, PromiseDisputed(**P1))
    required = promise_after(*PAUSED, claimed, disputed)
    assert (required.standing, timeliness(required, day(20))) == ("suspended", "running")
    moved = order(ReschedulePromise, 19, new_due_at=day(25), disclosure_id="D-1")
    on_record = PromiseRescheduled(**P1, old_due_at=DUE, new_due_at=day(25), disclosure_id="D-1")
    given(*PAUSED, claimed, disputed, told()).when(moved).then(on_record).so("promise:P-1", latched=False)
    not_required = (calendar(), at(day(2, 8), made_event(verification="not_required")), SUSPENDED, claimed)
    assert timeliness(promise_after(*not_required), day(20)) == "on_time"
    # It ended with the claim, and so the dispute makes it active: nothing stands still, and it was due on the 3rd.
    active = promise_after(*not_required, disputed)
    assert (active.standing, active.paused_at, timeliness(active, day(18))) == ("active", None, "overdue")
    assert (course(active).overdue_at, course(required).overdue_at) == (day(18), None)


@pytest.mark.parametrize("paused", [True, False])
def test_a_moment_never_moves(paused: bool) -> None:
    absolute = made_event(due_in=None, calendar_id=None, calendar_version=None, tzdata_version=None)
    facts = (calendar(), at(day(2, 8), absolute), *((SUSPENDED,) if paused else ()))
    assert timeliness(promise_after(*facts), day(6)) == "overdue"
    if paused:
        given(*facts).when(order(ResumePromise, 4)).then(PromiseResumed(**P1)).so("promise:P-1", due_at=DUE)


def ahead(*facts: Fact, percents: tuple[int, ...]) -> list[tuple[int, datetime]]:
    rules = calendar_of(promise_after(*facts), told_states(facts).get)
    return list(warnings_ahead(promise_after(*facts), percents, rules))


def test_of_business_time_a_warning_comes_when_that_share_of_it_is_over() -> None:
    # A quarter of fourteen hours are three and a half: 9 to 12, and 13:00 to 13:30. Half are the seven of Monday: its
    # close. Three quarters are ten and a half: Tuesday 9 to 12, and 13:00 to 13:30. Of any time, three quarters of the
    # 32 hours would be over on Tuesday at 9, when half of the work is still to be done.
    assert ahead(calendar(), MADE, percents=(25, 50, 75)) == [
        (25, day(2, 12).replace(minute=30)),
        (50, day(2, 16)),
        (75, day(3, 12).replace(minute=30)),
    ]
    warn = order(AnnounceWarning, due_at=DUE, percent=75)
    given(calendar(), MADE).when(warn, now=day(3, 12)).refused("moot")
    at_last = given(calendar(), MADE).when(warn, now=day(3, 12).replace(minute=30))
    at_last.then(DeadlineWarned(**P1, due_at=DUE, percent=75)).so("promise:P-1", deadline_warned_percent=75)


def test_a_pause_moves_the_warnings_to_come_and_repeats_none() -> None:
    quarter = at(day(2, 13), DeadlineWarned(**P1, due_at=DUE, percent=25))
    facts = (calendar(), MADE, quarter, SUSPENDED)
    assert ahead(*facts, percents=(25, 50, 75)) == []
    # Four hours were over at the pause. Three more make half: Wednesday 10 to 12, and 13 to 14. Three and a half after
    # those make three quarters: 14 to 17, and Thursday 9:00 to 9:30.
    resumed = (*facts, at(day(4, 9), MOVED))
    assert ahead(*resumed, percents=(25, 50, 75)) == [(50, day(4, 13)), (75, day(5, 8).replace(minute=30))]
    again = order(AnnounceWarning, due_at=day(5, 13), percent=25)
    given(*resumed).when(again, now=day(4, 13)).refused("moot")
    # A second pause, of Thursday 9:00 to 11:00, moves the due time to 16:00 and three quarters to 11:30.
    second = at(day(5, 8), PromiseSuspended(**P1, review_at=day(9)))
    moved = PromiseResumed(**P1, old_due_at=day(5, 13), new_due_at=day(5, 15))
    given(*resumed, second).when(order(ResumePromise, occurred_at=day(5, 10))).then(moved)
    assert ahead(*resumed, second, at(day(5, 10), moved), percents=(50, 75)) == [
        (50, day(4, 15)),
        (75, day(5, 10).replace(minute=30)),
    ]


def test_the_warnings_of_a_named_moment_are_of_any_time() -> None:
    moved = PromiseRescheduled(**P1, old_due_at=DUE, new_due_at=day(6, 8), disclosure_id="D-1")
    # from Monday 08:00 to Friday 08:00 are 96 hours
    assert ahead(calendar(), MADE, on(3, moved), percents=(75,)) == [(75, day(5, 8))]


def test_a_zone_whose_rules_changed_since_stops_no_warning() -> None:
    """Made on Monday the 2nd at 9:00 in Berlin, due on Thursday the 12th, the calendar's last working day.

    At its close, 16:00 UTC: 56 hours of work, and half of them are over on Thursday the 5th at the close. At 17:00 UTC,
    the close where the zone's rules were others then: of 249 hours by any clock half are 5 days, 4 hours, 30 minutes.
    """
    by_then, before = (at(day(2, 8), made_event(due_at=day(12, hour), due_in="PT56H")) for hour in (16, 17))
    assert ahead(calendar(), by_then, percents=(50,)) == [(50, day(5, 16))]
    assert ahead(calendar(), before, percents=(50,)) == [(50, day(7, 12).replace(minute=30))]
    warn = order(AnnounceWarning, due_at=day(12, 17), percent=50)
    given(calendar(), before).when(warn, now=day(7, 13)).then(DeadlineWarned(**P1, due_at=day(12, 17), percent=50))
