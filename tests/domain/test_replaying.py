"""The rules object to what they did not let happen; that they object to nothing else, story.py asks in every test."""

from typing import Any

import pytest

from ledger.domain.deadlines import DeadlinePassed, DeadlineWarned
from ledger.domain.disclosures import CorrectionDelivered, DisclosureFalsified, DisclosureWithheld
from ledger.domain.dispatch import COMMANDS, EVENTS
from ledger.domain.erasures import ErasureRequested
from ledger.domain.escalations import PromiseOverdueAcknowledged
from ledger.domain.goodwill import GoodwillGranted
from ledger.domain.holds import HoldLifted, HoldPlaced
from ledger.domain.model import Event, Happened
from ledger.domain.policies import CalendarPublished
from ledger.domain.problem_messages import (
    ActionPlanned,
    ProblemConcernOpened,
    ProblemCustomerTold,
    ProblemCustomerWithheld,
    ProblemDetected,
    ResolutionClaimed,
    ResolutionVerified,
)
from ledger.domain.promise_messages import (
    PromiseBroken,
    PromiseClaimedKept,
    PromiseKept,
    PromiseMade,
    PromiseReleased,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuperseded,
    PromiseSuspended,
)
from ledger.domain.refusals import CommandRefused
from ledger.domain.replaying import COMMAND_OF, objection
from tests.domain.story import Fact, day, detected, made, on, raised, told, told_states

P: dict[str, Any] = {"promise_id": "P-1", "customer_id": "C-1"}
X: dict[str, Any] = {"problem_id": "X-1"}
RELEASED = on(3, PromiseReleased(**P, evidence="letter-1"))
ABOUT_X = told().event.model_copy(update={"about_promise_id": None, "about_problem_id": "X-1"})
RESCHEDULED = PromiseRescheduled(**P, old_due_at=day(10), new_due_at=day(12), disclosure_id="D-1")
TELLING: dict[str, Any] = {"owner": "u-1", "apology": True, "channel": "phone", "basis": "known"}
CALENDAR = on(
    1,
    CalendarPublished(
        calendar_id="K-1",
        policy_id="Y-1",
        effective_from=day(1),
        time_zone="Europe/Berlin",
        hours=("mon 09:00-17:00", "tue 09:00-17:00", "wed 09:00-17:00", "thu 09:00-17:00", "fri 09:00-17:00"),
        covers_until="2026-12-31",
        tzdata_version="2025b",
    ),
)
BUSINESS: dict[str, Any] = {
    "due_in": "P3D",
    "calendar_id": "K-1",
    "calendar_version": 1,
    "tzdata_version": "2025b",
    "due_at": day(4, 15),  # by the installed rules of Berlin it were an hour later
}


def said(facts: tuple[Fact, ...], *events: Event, number: int = 5, actor: str = "u-2") -> tuple[int, str] | None:
    """What the rules say where `events` follow `facts`, as they come out of the log: without words."""
    worded = [any(getattr(event, name) is not None for name in event.PERSONAL) for event in events]
    bare = [event.model_copy(update=dict.fromkeys(event.PERSONAL)) for event in events]
    return objection(bare, Happened(day(number), day(number), actor, "crm"), worded, told_states(facts).get)


def warned(percent: int) -> DeadlineWarned:
    return DeadlineWarned(**P, due_at=day(4, 15), percent=percent)


@pytest.mark.parametrize(
    ("facts", "events", "sentence"),
    [
        ((made(), RELEASED), (PromiseClaimedKept(**P),), "(not-allowed): Promise P-1 is ended (released)"),
        ((), (PromiseClaimedKept(**P),), "refuse promise.claim_kept here (unknown-promise)"),
        ((made(),), (made().event,), "refuse promise.make here (id-taken)"),
        ((made(),), (RESCHEDULED,), "(undisclosed-reschedule): There is no disclosure D-1"),
        ((made(), told(customer_id="C-2")), (RESCHEDULED,), "(undisclosed-reschedule)"),
        ((made(due_at=day(9)), told()), (RESCHEDULED,), "another old_due_at here"),
        ((made(), on(2, PromiseClaimedKept(**P))), (PromiseKept(**P, verified_by="u-1"),), "(self-verification)"),
        ((made(),), (PromiseSuspended(**P, review_at=day(9)),), "give promise.suspended another words"),
        ((made(),), (PromiseBroken(**P, reason_code="x", text="x").model_copy(update={"customer_id": "C-2"}),),
         "another customer_id here"),
        ((made(), told()), (PromiseSuperseded(**P, superseded_by="P-2", disclosure_id="D-1"),),
         "no command becomes"),
        ((made(),), (PromiseResumed(**P, old_due_at=day(10), new_due_at=day(11)),), "(not-allowed)"),
        ((made(), on(2, PromiseSuspended(**P, review_at=day(9)))), (PromiseResumed(**P, new_due_at=day(11)),),
         "another new_due_at here"),
        ((made(),), (warned(75),), "(moot)"),
        ((made(), RELEASED), (DeadlinePassed(**P, due_at=day(10)),), "(moot)"),
        ((detected(), on(2, ProblemConcernOpened(**X, customer_id="C-1", concern_id="Q-1"))),
         (ResolutionClaimed(**X, root_cause_addressed=True),), "(concerns-open): Problem X-1 has open concerns"),
        ((detected(),), (ResolutionClaimed(**X, root_cause_addressed=True),), "(customers-untold)"),
        ((detected(),), (ResolutionVerified(**X, customer_id="C-1"),), "(not-allowed)"),
        ((detected(),), (ActionPlanned(**X, steps=("P-1",), addresses=("Q-7",)), made().event), "(concern-of-another)"),
        ((detected(),), (ActionPlanned(**X, steps=("P-2",), addresses=("root_cause",)), made().event),
         "give problem.action_planned another steps"),
        ((detected(),), (ActionPlanned(**X, steps=("P-1",), addresses=("root_cause",)),), "no command becomes"),
        ((detected(),), (ProblemDetected(**{**detected("X-2").event.__dict__, "promises": ("P-1",)}),),
         "(unknown-promise)"),
        ((raised(), detected()), (ABOUT_X,),
         "make disclosure.made and problem.customer_told of disclosure.make here, not disclosure.made"),
        ((detected(),), (ProblemCustomerTold(**X, customer_id="C-1", disclosure_id="D-1"),), "no command becomes"),
        ((), (CorrectionDelivered(disclosure_id="D-2", customer_id="C-1", corrects="D-1", text="x", **TELLING),),
         "(unknown-disclosure)"),
        ((), (DisclosureFalsified(disclosure_id="D-1", customer_id="C-1", known_since=day(1), why="x"),),
         "(unknown-disclosure)"),
        ((detected(),), (DisclosureWithheld(disclosure_id="D-1", customer_id="C-1", **X, why="x", approver="u-2",
                                            review_at=day(9)),), "(same-person)"),
        ((), (GoodwillGranted(goodwill_id="G-1", customer_id="C-1", amount=9, currency="EUR", authority_limit=5),),
         "(approval-needed)"),
        ((on(1, HoldPlaced(hold_id="H-1", customer_id="C-1", grounds="suit", approver="u-9")),),
         (ErasureRequested(customer_id="C-1", grounds="x"),), "make subject.erasure_deferred of subject.erase"),
        ((), (HoldLifted(hold_id="H-1", customer_id="C-1", grounds="suit", approver="u-9"),), "(unknown-hold)"),
    ],
)  # fmt: skip
def test_what_the_rules_did_not_let_happen_is_objected_to(
    facts: tuple[Fact, ...], events: tuple[Event, ...], sentence: str
) -> None:
    found = said(facts, *events)
    assert found is not None
    assert sentence in found[1]


def test_the_event_that_does_not_belong_is_the_one_that_is_named() -> None:
    found = said((made(), told()), told("D-2").event, RESCHEDULED)
    assert found is not None
    assert found[0] == 1
    assert found[1].endswith("of disclosure.make here, not disclosure.made and promise.rescheduled")


SUSPENDED = on(2, PromiseSuspended(**P, review_at=day(9)))
RESUMED = PromiseResumed(**P, old_due_at=day(4, 15), new_due_at=day(9, 7))
CALENDAR_MADE = PromiseMade(**{**made().event.__dict__, **BUSINESS})


@pytest.mark.parametrize(
    ("facts", "event"),
    [((), CALENDAR_MADE), ((made(**BUSINESS), SUSPENDED), RESUMED), ((made(**BUSINESS),), warned(99))],
    ids=["made", "resumed", "warned"],
)
def test_moments_of_business_time_are_those_that_were_counted_at_the_time(
    facts: tuple[Fact, ...], event: Event
) -> None:
    """Other rules of the time zone were known then: what the installed ones would give is no objection."""
    assert said((CALENDAR, *facts), event, number=4) is None


@pytest.mark.parametrize(
    ("facts", "event", "sentence"),
    [
        ((), CALENDAR_MADE.model_copy(update={"calendar_version": 2}), "another calendar_version"),
        ((), CALENDAR_MADE.model_copy(update={"calendar_id": "K-2"}), "(no-calendar)"),
        ((made(**BUSINESS), RELEASED), warned(99), "(moot)"),
        ((made(due_at=BUSINESS["due_at"]), SUSPENDED), RESUMED, "another new_due_at, old_due_at"),
        ((made(due_at=BUSINESS["due_at"]),), warned(99), "(moot)"),
    ],
)
def test_what_no_clock_has_a_say_in_is_judged_in_business_time_too(
    facts: tuple[Fact, ...], event: Event, sentence: str
) -> None:
    found = said((CALENDAR, *facts), event, number=4)
    assert found is not None
    assert sentence in found[1]


CLAIMED = PromiseClaimedKept(**P)
STILL = made(**BUSINESS), SUSPENDED


@pytest.mark.parametrize(
    ("facts", "events", "sentence"),
    [
        (STILL, (CLAIMED,), None),  # the calendar was not known to go as far: with or without, it is on time
        (STILL, (RESUMED, CLAIMED), None),
        (STILL, (RESUMED.model_copy(update={"promise_id": "P-2"}), CLAIMED), "promise_id here"),
        (STILL, (SUSPENDED.event, CLAIMED), "not promise.suspended and promise.claimed_kept"),
        ((made(**BUSINESS),), (RESUMED, CLAIMED), "make promise.claimed_kept of promise.claim_kept here"),
    ],
)
@pytest.mark.parametrize("covers_until", ["2026-12-31", "2026-03-04"])
def test_a_claim_from_a_pause_resumes_it_where_the_calendar_reached_as_far_at_the_time(
    facts: tuple[Fact, ...], events: tuple[Event, ...], sentence: str | None, covers_until: str
) -> None:
    calendar = Fact(CALENDAR.event.model_copy(update={"covers_until": covers_until}), CALENDAR.at)
    found = said((calendar, *facts), *events, number=9)
    assert found is None if sentence is None else sentence in str(found)


def test_what_earlier_releases_announced_again_after_any_reschedule_is_no_objection() -> None:
    moved = on(3, RESCHEDULED)
    again = on(5, RESCHEDULED.model_copy(update={"old_due_at": day(12)}))
    facts = (made(), told(), moved, on(12, DeadlineWarned(**P, due_at=day(12), percent=50)), again)
    assert said(facts, DeadlineWarned(**P, due_at=day(12), percent=50), number=12) is None
    facts = (*facts, on(13, DeadlinePassed(**P, due_at=day(12))), on(13, PromiseOverdueAcknowledged(**P)), again)
    assert said(facts, DeadlinePassed(**P, due_at=day(12)), number=13) is None
    assert said(facts, PromiseOverdueAcknowledged(**P), number=13) is None
    early = said(facts, DeadlinePassed(**P, due_at=day(12)), number=12)
    assert early is not None
    assert "(moot)" in early[1]
    unmoved = (made(), on(11, PromiseOverdueAcknowledged(**P)))
    seen_twice = said(unmoved, PromiseOverdueAcknowledged(**P), number=12)
    assert seen_twice is not None
    assert "(already-acknowledged)" in seen_twice[1]


def test_what_earlier_releases_took_as_withheld_is_no_objection() -> None:
    told_of = on(2, ProblemCustomerTold(**X, customer_id="C-1", disclosure_id="D-1"))
    longer, shorter = (
        on(number, ProblemCustomerWithheld(**X, customer_id="C-2", disclosure_id=f"D-{number}", review_at=day(until)))
        for number, until in ((2, 9), (3, 4))
    )
    resolved = ResolutionClaimed(**X, root_cause_addressed=True)
    assert said((detected(), told_of, shorter, longer), resolved) is None
    untold = said((detected(), told_of, longer, shorter), resolved)
    assert untold is not None
    assert "(customers-untold)" in untold[1]


def test_every_event_is_the_first_of_a_command_or_follows_one() -> None:
    following = {
        "problem.customer_told",
        "problem.customer_withheld",
        "problem.concern_opened",
        "problem.concern_settled",
        "disclosure.corrected",
        "concern.reopened",
        "outage.list_done",
        "need.referred",
        "policy.calendar_published",
        CommandRefused.TOPIC,
    }
    assert set(EVENTS) == set(COMMAND_OF) | following
    assert set(COMMANDS) == set(COMMAND_OF.values())
