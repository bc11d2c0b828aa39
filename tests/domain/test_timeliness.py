"""The third axis, worked out by hand. P-1 was made on day 1 and is due on day 10."""

import pytest

from ledger.domain.deadlines import ConditionExpired
from ledger.domain.promise_messages import (
    PromiseActivated,
    PromiseAtRisk,
    PromiseBroken,
    PromiseClaimedKept,
    PromiseDisputed,
    PromiseKept,
    PromiseReadBack,
    PromiseReleased,
    PromiseRescheduled,
    PromiseSuspended,
)
from ledger.domain.promise_state import Timeliness, late_against_original, timeliness
from ledger.domain.turns import MOST_TURNS, course
from tests.domain.story import Fact, day, made, on, promise_after

P1 = {"promise_id": "P-1", "customer_id": "C-1"}


def claimed(number: int) -> Fact:
    return on(number, PromiseClaimedKept(**P1))


def disputed(number: int) -> Fact:
    return on(number, PromiseDisputed(**P1))


def moved(number: int, old: int, new: int) -> Fact:
    return on(number, PromiseRescheduled(**P1, old_due_at=day(old), new_due_at=day(new), disclosure_id="D-1"))


def broken(number: int) -> Fact:
    return on(number, PromiseBroken(**P1, reason_code="x"))


READ_BACK_LATE = on(12, PromiseReadBack(**P1, confirmed=True))
WARNED = on(5, PromiseAtRisk(**P1))
SUSPENDED = on(5, PromiseSuspended(**P1, review_at=day(25)))
RELEASED_12 = on(12, PromiseReleased(**P1, evidence="x"))
EXPIRED = on(8, ConditionExpired(**P1, condition_by=day(8)))
MET_7 = on(7, PromiseActivated(**P1))
MADE = made()
CONDITIONAL = made(condition_by=day(8))

TABLE: list[tuple[str, tuple[Fact, ...], int, Timeliness]] = [
    # what happened, facts, asked on day, expected
    ("nothing yet", (MADE,), 9, "running"),
    ("on the due moment it is not past due", (MADE,), 10, "running"),
    ("past due", (MADE,), 11, "overdue"),
    ("warned, before due", (MADE, WARNED), 9, "warned"),
    ("warned, past due", (MADE, WARNED), 11, "overdue"),
    ("suspension does not stop the clock", (MADE, SUSPENDED), 11, "overdue"),
    ("claimed before due", (MADE, claimed(9)), 30, "on_time"),
    ("claimed on the due moment", (MADE, claimed(10)), 30, "on_time"),
    ("claimed after due", (MADE, claimed(11)), 30, "late"),
    ("warned and claimed before due", (MADE, WARNED, claimed(9)), 30, "on_time"),
    ("verified late, claimed on time", (MADE, claimed(9), on(12, PromiseKept(**P1, verified_by="C-1"))), 30, "on_time"),
    ("claimed on time, disputed after due", (MADE, claimed(9), disputed(12)), 12, "overdue"),
    ("… and claimed again", (MADE, claimed(9), disputed(12), claimed(13)), 30, "late"),
    ("claimed early, disputed before due", (MADE, claimed(3), disputed(5)), 9, "running"),
    ("… and claimed again in time", (MADE, claimed(3), disputed(5), claimed(8)), 30, "on_time"),
    ("… and not claimed again", (MADE, claimed(3), disputed(5)), 11, "overdue"),
    ("claimed late, disputed", (MADE, claimed(11), disputed(12)), 13, "overdue"),
    ("rescheduled in time", (MADE, moved(9, 10, 20)), 15, "running"),
    ("rescheduled in time, past the new due", (MADE, moved(9, 10, 20)), 21, "overdue"),
    ("rescheduled in time, kept by the new due", (MADE, moved(9, 10, 20), claimed(15)), 30, "on_time"),
    ("rescheduled after due: overdue stays", (MADE, moved(11, 10, 20)), 15, "overdue"),
    ("rescheduled after due, kept by the new due", (MADE, moved(11, 10, 20), claimed(15)), 30, "late"),
    ("claimed late, then rescheduled", (MADE, claimed(11), moved(12, 10, 20)), 30, "late"),
    ("… disputed, claimed again", (MADE, claimed(11), moved(12, 10, 20), disputed(13), claimed(14)), 30, "late"),
    ("rescheduled to earlier", (MADE, moved(2, 10, 5)), 6, "overdue"),
    ("disputed after due, rescheduled", (MADE, claimed(9), disputed(12), moved(13, 10, 20)), 15, "overdue"),
    ("claimed on time, rescheduled after due", (MADE, claimed(9), moved(12, 10, 20)), 30, "on_time"),
    ("broken before due: never overdue", (MADE, broken(8)), 30, "running"),
    ("broken after due", (MADE, broken(11)), 30, "overdue"),
    ("claimed on time, broken after due", (MADE, claimed(9), broken(11)), 30, "overdue"),
    ("released before due", (MADE, on(9, PromiseReleased(**P1, evidence="x"))), 30, "running"),
    ("conditional, past due: nothing was owed", (CONDITIONAL,), 30, "running"),
    ("conditional, rescheduled after due: nothing was owed", (CONDITIONAL, moved(11, 10, 20)), 15, "running"),
    ("conditional, released after due: nothing was owed", (CONDITIONAL, RELEASED_12), 30, "running"),
    ("… nor was it broken late", (CONDITIONAL, broken(12)), 30, "running"),
    ("condition met, released after due", (CONDITIONAL, MET_7, RELEASED_12), 30, "overdue"),
    ("condition met, past due", (CONDITIONAL, on(7, PromiseActivated(**P1))), 11, "overdue"),
    ("a late word that is no claim latches nothing", (MADE, READ_BACK_LATE, claimed(9)), 30, "on_time"),
    # recorded in another order than they occurred
    ("claimed in time, told after it was rescheduled", (MADE, moved(11, 10, 20), claimed(9)), 30, "on_time"),
    ("… and told of a dispute as well", (MADE, moved(12, 10, 20), claimed(9), disputed(11)), 15, "overdue"),
    ("rescheduled in time, told after the claim", (MADE, claimed(12), moved(9, 10, 20)), 30, "on_time"),
    ("rescheduled in time, told after the next one", (MADE, moved(12, 10, 20), moved(9, 10, 15)), 18, "running"),
    ("… and past the due time agreed last", (MADE, moved(12, 10, 20), moved(9, 10, 15)), 21, "overdue"),
    ("the condition was met before it was rescheduled", (CONDITIONAL, moved(11, 10, 20), MET_7), 15, "overdue"),
    ("the condition was met before its expiry was announced", (CONDITIONAL, EXPIRED, MET_7), 9, "running"),
    ("… and it is past due", (CONDITIONAL, EXPIRED, MET_7), 11, "overdue"),
    ("… or kept in time", (CONDITIONAL, EXPIRED, MET_7, claimed(9)), 30, "on_time"),
    ("two claims told before the first", (MADE, claimed(12), disputed(11), claimed(9)), 30, "late"),
    ("a dispute dated before its claim", (MADE, claimed(9), disputed(8)), 9, "running"),
    ("… is overdue as any other", (MADE, claimed(9), disputed(8)), 11, "overdue"),
    ("… of a late claim", (MADE, claimed(12), disputed(9)), 9, "overdue"),
]


@pytest.mark.parametrize(("facts", "asked", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_timeliness(facts: tuple[Fact, ...], asked: int, expected: Timeliness) -> None:
    assert timeliness(promise_after(*facts), day(asked)) == expected


@pytest.mark.parametrize(
    ("facts", "against_present", "against_original"),
    [
        ((MADE, claimed(9)), "on_time", False),
        ((MADE, claimed(11)), "late", True),
        ((MADE, moved(9, 10, 20), claimed(15)), "on_time", True),
        ((MADE, moved(9, 10, 20), claimed(10)), "on_time", False),
        ((MADE, moved(9, 10, 20), claimed(21)), "late", True),
        ((MADE, moved(2, 10, 5), claimed(8)), "late", False),
        ((MADE, moved(9, 10, 20)), "running", False),
    ],
)
def test_lateness_is_judged_against_both_due_times(
    facts: tuple[Fact, ...], against_present: Timeliness, against_original: bool
) -> None:
    promise = promise_after(*facts)
    assert timeliness(promise, day(12)) == against_present
    assert late_against_original(promise) is against_original


def test_of_very_many_turns_the_older_ones_stand_as_recorded() -> None:
    moves = [moved(2, 10, 20)] * (MOST_TURNS - 2)
    assert timeliness(promise_after(MADE, *moves, claimed(25), moved(12, 10, 30)), day(30)) == "on_time"
    many = promise_after(MADE, *moves, *moves, claimed(25), moved(12, 10, 30))
    assert len(many.turns) <= MOST_TURNS
    assert (timeliness(many, day(30)), many.due_at) == ("on_time", day(30))
    owed = promise_after(CONDITIONAL, MET_7, *moves, *moves, RELEASED_12)
    assert ("activated" in owed.turns, timeliness(owed, day(30))) == (False, "running")
    assert timeliness(owed._replace(due_at=day(11)), day(30)) == "overdue", "it was owed all the same"
    led = course(many)
    assert (led.due_at, led.claimed_at, led.latched) == (many.due_at, many.claimed_at, many.latched)
