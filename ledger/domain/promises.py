"""Promises: what we owe a customer, by when, and how it went. Which command may follow stands in lifecycle.py.

What it says on the wire is in promise_messages.py, how a promise stands in promise_state.py; the announcements of the
timer are in deadlines.py.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ledger.domain.calendars import Calendar, NotCovered, add_working, due_in, working_between
from ledger.domain.errors import DUE_BEFORE_MADE, NOT_ALLOWED, WRONG_CUSTOMER, Refused
from ledger.domain.lifecycle import allows, possible
from ledger.domain.lookups import existing, refuse_past_review, refuse_taken, refuse_unknown_basis
from ledger.domain.model import Command, Event, States
from ledger.domain.policies import calendar_for, calendar_version
from ledger.domain.promise_messages import (
    AcceptPromise,
    BreakPromise,
    ClaimPromiseKept,
    Condition,
    DisputePromise,
    MakePromise,
    MeetCondition,
    PromiseAccepted,
    PromiseActivated,
    PromiseAtRisk,
    PromiseBroken,
    PromiseClaimedKept,
    PromiseCommand,
    PromiseDisputed,
    PromiseEvent,
    PromiseKept,
    PromiseMade,
    PromiseReadBack,
    PromiseReassigned,
    PromiseReleased,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuperseded,
    PromiseSuspended,
    PromiseTerms,
    ReadBackPromise,
    ReassignPromise,
    ReleasePromise,
    ReschedulePromise,
    ResumePromise,
    SupersedePromise,
    SuspendPromise,
    VerifyPromise,
    WarnOfPromise,
)
from ledger.domain.promise_state import Promise, evolve, late_against_original, timeliness
from ledger.domain.turns import recorded_due_at

__all__ = ["COMMANDS", "EVENTS", "RULES", "Condition", "decide", "evolve", "late_against_original", "timeliness"]

ONE_DUE: Final = "one-due"
BEYOND_CALENDAR: Final = "beyond-calendar"
DUE_MISSING: Final = "due-missing"
CONDITION_AFTER_DUE: Final = "condition-after-due"
CONDITION_PASSED: Final = "condition-passed"
UNDISCLOSED_RESCHEDULE: Final = "undisclosed-reschedule"
UNDISCLOSED_SUPERSEDE: Final = "undisclosed-supersede"
NOTHING_TO_ACCEPT: Final = "nothing-to-accept"
NOT_PENDING_OWNER: Final = "not-pending-owner"
ALREADY_OWNER: Final = "already-owner"
SELF_VERIFICATION: Final = "self-verification"

RULES: Mapping[str, str] = {
    ONE_DUE: "A promise is due at a moment (`due_at`), or in business time (`due_in` with `calendar_id`), never both.",
    BEYOND_CALENDAR: "Business time is counted as far as the calendar knows its holidays.",
    DUE_MISSING: "Every promise has a due time, so that it can be violated.",
    CONDITION_AFTER_DUE: "A condition is decided (`condition.by`) no later than the promise is due.",
    CONDITION_PASSED: "A condition met after its deadline activates nothing, and none is set with a deadline passed.",
    UNDISCLOSED_RESCHEDULE: "Nobody moves a due time without having told that customer: the disclosure is named.",
    UNDISCLOSED_SUPERSEDE: "Nobody replaces a promise without having told that customer: the disclosure is named.",
    NOTHING_TO_ACCEPT: "Only a promise made for another team, or one that is being reassigned, is accepted.",
    NOT_PENDING_OWNER: "A reassigned promise is accepted by the owner whom it was reassigned to.",
    ALREADY_OWNER: "A promise is reassigned to somebody else than its owner.",
    SELF_VERIFICATION: "Who owns a promise, is about to own it or claimed it kept does not verify it.",
}


COMMANDS: Final[tuple[type[Command], ...]] = (
    MakePromise,
    ReadBackPromise,
    AcceptPromise,
    ReassignPromise,
    MeetCondition,
    WarnOfPromise,
    ReschedulePromise,
    SuspendPromise,
    ResumePromise,
    ClaimPromiseKept,
    VerifyPromise,
    DisputePromise,
    BreakPromise,
    ReleasePromise,
    SupersedePromise,
)
EVENTS: Final[tuple[type[Event], ...]] = (
    PromiseMade,
    PromiseReadBack,
    PromiseAccepted,
    PromiseReassigned,
    PromiseActivated,
    PromiseAtRisk,
    PromiseRescheduled,
    PromiseSuspended,
    PromiseResumed,
    PromiseClaimedKept,
    PromiseKept,
    PromiseDisputed,
    PromiseBroken,
    PromiseReleased,
    PromiseSuperseded,
)


def promise_made(terms: PromiseTerms, made_at: datetime, states: States) -> PromiseMade:
    """The event of making the promise; refused as `RULES` say. Every command that makes one comes through here."""
    business = {} if terms.due_in is None and terms.calendar_id is None else _business_due(terms, made_at, states)
    due_at = business.pop("due_at", terms.due_at)
    if due_at is None:
        raise Refused(DUE_MISSING, f"Promise {terms.promise_id} has no due time: give due_at.")
    if due_at < made_at:
        raise Refused(DUE_BEFORE_MADE, f"Promise {terms.promise_id} is due {due_at}, before it was made: correct that.")
    condition = terms.condition
    if condition is not None and condition.by > due_at:
        raise Refused(
            CONDITION_AFTER_DUE, f"The condition is to be met by {condition.by}, after the due time: move one."
        )
    if condition is not None and condition.by < made_at:
        raise Refused(
            CONDITION_PASSED,
            f"The condition was to be met by {condition.by}, before the promise was made: correct that.",
        )
    refuse_taken(states, f"promise:{terms.promise_id}")
    refuse_unknown_basis(states, terms.based_on)
    return PromiseMade(
        promise_id=terms.promise_id,
        customer_id=terms.customer_id,
        kind=terms.kind,
        text=terms.text,
        owner=terms.owner,
        channel=terms.channel,
        basis=terms.basis,
        due_at=due_at,
        condition_text=None if condition is None else condition.text,
        condition_by=None if condition is None else condition.by,
        verification=terms.verification,
        based_on=terms.based_on,
        offering_id=terms.offering_id,
        for_team=terms.for_team,
        customer_kind=terms.customer_kind,
        **business,
    )


def _business_due(terms: PromiseTerms, made_at: datetime, states: States) -> dict[str, Any]:
    """The due time in business time, resolved now and for good, and the version of the calendar that it rests on."""
    if terms.due_in is None or terms.calendar_id is None or terms.due_at is not None:
        raise Refused(ONE_DUE, f"Promise {terms.promise_id}: give due_at alone, or due_in and calendar_id together.")
    calendar = calendar_for(states, terms.calendar_id, made_at)
    try:
        due_at = due_in(calendar.rules, made_at, terms.due_in)
    except NotCovered as error:
        raise Refused(
            BEYOND_CALENDAR,
            f"The calendar {terms.calendar_id} ends on {calendar.rules.covers_until}, before {terms.due_in} is over: "
            "publish its next version, or give due_at.",
        ) from error
    return {
        "due_at": due_at,
        "due_in": terms.due_in,
        "calendar_id": terms.calendar_id,
        "calendar_version": calendar.number,
        "tzdata_version": calendar.tzdata_version,
    }


def require(command: str, promise: Promise) -> None:
    """Refused `not-allowed` where the table has no row for `command` (a type) in the promise's present state."""
    if not allows(command, promise):
        standing = f"ended ({promise.ended_as})" if promise.standing == "ended" else promise.standing
        instead = ", ".join(possible(promise)) or "nothing more; make a new promise"
        raise Refused(
            NOT_ALLOWED,
            f"Promise {promise.promise_id} is {standing} with fulfilment {promise.fulfilment}, so {command} is not "
            f"possible; possible now: {instead}.",
        )


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes; refused as `RULES` say."""
    if isinstance(command, MakePromise):
        return (promise_made(command, command.occurred_at, states),)
    assert isinstance(command, PromiseCommand)
    promise = existing(states, Promise, f"promise:{command.promise_id}")
    require(command.TYPE, promise)
    if isinstance(command, SupersedePromise):
        return _supersede(command, promise, states)
    event = _event(command, promise, states)
    if isinstance(command, ClaimPromiseKept) and promise.paused_at is not None:
        # Straight from a pause to done: the business time that stood still comes first, so that the claim is judged
        # by the due time that it leads to. Where the calendar ends before, the claim comes alone, and the pause goes
        # on: it was not past due when it was suspended, so it is on time, whatever that due time were.
        try:
            return _resumed(promise, command.occurred_at, states), event
        except NotCovered:
            return (event,)
    return (event,)


def _event(command: PromiseCommand, promise: Promise, states: States) -> PromiseEvent:
    """What a command that concerns this promise alone becomes."""
    promise_id, customer_id = promise.promise_id, promise.customer_id
    match command:
        case ClaimPromiseKept(evidence=evidence, text=text):
            return PromiseClaimedKept(promise_id=promise_id, customer_id=customer_id, evidence=evidence, text=text)
        case VerifyPromise():
            _refuse_self_verification(command, promise)
            return PromiseKept(promise_id=promise_id, customer_id=customer_id, verified_by=command.verified_by)
        case DisputePromise(text=text):
            return PromiseDisputed(promise_id=promise_id, customer_id=customer_id, text=text)
        case ReschedulePromise():
            return _reschedule(command, promise, states)
        case WarnOfPromise(reason=reason, expected_at=expected_at):
            return PromiseAtRisk(promise_id=promise_id, customer_id=customer_id, reason=reason, expected_at=expected_at)
        case MeetCondition():
            _refuse_late_condition(command, promise)
            return PromiseActivated(promise_id=promise_id, customer_id=customer_id)
        case SuspendPromise(reason=reason, review_at=review_at):
            refuse_past_review(review_at, command.occurred_at)
            return PromiseSuspended(promise_id=promise_id, customer_id=customer_id, reason=reason, review_at=review_at)
        case ResumePromise():
            try:
                return _resumed(promise, command.occurred_at, states)
            except NotCovered as error:
                raise Refused(
                    BEYOND_CALENDAR,
                    f"The calendar that promise {promise_id} was made under ends before what was left of it is over: "
                    "tell the customer a new due time, and reschedule it first.",
                ) from error
        case ReadBackPromise(confirmed=confirmed, correction=correction):
            return PromiseReadBack(
                promise_id=promise_id, customer_id=customer_id, confirmed=confirmed, correction=correction
            )
        case ReassignPromise(owner=owner):
            if owner == promise.owner:
                raise Refused(ALREADY_OWNER, f"Promise {promise_id} is owned by {owner} already: name somebody else.")
            return PromiseReassigned(promise_id=promise_id, customer_id=customer_id, owner=owner)
        case AcceptPromise(owner=owner):
            _refuse_acceptance(command, promise)
            return PromiseAccepted(promise_id=promise_id, customer_id=customer_id, owner=owner)
        case BreakPromise(reason_code=reason_code, text=text, problem_id=problem_id):
            return PromiseBroken(
                promise_id=promise_id,
                customer_id=customer_id,
                reason_code=reason_code,
                text=text,
                problem_id=problem_id,
            )
        case ReleasePromise(evidence=evidence):
            return PromiseReleased(promise_id=promise_id, customer_id=customer_id, evidence=evidence)
    raise AssertionError(command.TYPE)


def _refuse_self_verification(command: VerifyPromise, promise: Promise) -> None:
    if command.verified_by in (promise.owner, promise.pending_owner, promise.claimed_by):
        raise Refused(
            SELF_VERIFICATION,
            f"{command.verified_by} owns promise {promise.promise_id}, is about to own it or claimed it kept: the "
            "customer or somebody else must verify it.",
        )


def _refuse_late_condition(command: MeetCondition, promise: Promise) -> None:
    assert promise.condition_by is not None, "the table lets only a conditional promise come here"
    if command.occurred_at > promise.condition_by:
        raise Refused(
            CONDITION_PASSED,
            f"The condition of {promise.promise_id} was to be met by {promise.condition_by}: make a new promise.",
        )


def _refuse_acceptance(command: AcceptPromise, promise: Promise) -> None:
    if promise.pending_owner is None and promise.accepted:
        raise Refused(
            NOTHING_TO_ACCEPT,
            f"Promise {promise.promise_id} is owned by {promise.owner} and not being handed over: reassign it first.",
        )
    if promise.pending_owner not in (None, command.owner):
        raise Refused(
            NOT_PENDING_OWNER,
            f"Promise {promise.promise_id} is being handed over to {promise.pending_owner}, who alone accepts it.",
        )


def _reschedule(command: ReschedulePromise, promise: Promise, states: States) -> PromiseRescheduled:
    _told(states, command.disclosure_id, promise, UNDISCLOSED_RESCHEDULE)
    if command.new_due_at <= command.occurred_at:
        raise Refused(
            DUE_BEFORE_MADE,
            f"The new due time {command.new_due_at} does not lie after the rescheduling at {command.occurred_at}: "
            "name a later one.",
        )
    condition_by = promise.condition_by if promise.standing == "conditional" else None
    if condition_by is not None and condition_by > command.new_due_at:
        raise Refused(
            CONDITION_AFTER_DUE,
            f"The condition is to be met by {condition_by}, after the new due time: name a later one.",
        )
    return PromiseRescheduled(
        promise_id=promise.promise_id,
        customer_id=promise.customer_id,
        old_due_at=recorded_due_at(promise),
        new_due_at=command.new_due_at,
        disclosure_id=command.disclosure_id,
    )


def calendar_of(promise: Promise, states: States) -> Calendar | None:
    """The rules that its due time is counted by; None where it is due at a moment."""
    if promise.calendar_id is None:
        return None
    assert promise.calendar_version is not None
    return calendar_version(states, promise.calendar_id, promise.calendar_version).rules


def _resumed(promise: Promise, at: datetime, states: States) -> PromiseResumed:
    """The resumption; what was due in business time is due later by the business time that it was suspended for.

    Raises NotCovered.
    """
    resumed = PromiseResumed(promise_id=promise.promise_id, customer_id=promise.customer_id)
    if promise.paused_at is None:
        return resumed
    rules, old_due_at = calendar_of(promise, states), recorded_due_at(promise)
    assert rules is not None, "only business time stands still"
    paused = working_between(rules, promise.paused_at, at)
    if not paused:
        return resumed
    new_due_at = add_working(rules, old_due_at, paused)
    return resumed.model_copy(update={"old_due_at": old_due_at, "new_due_at": new_due_at})


def _supersede(command: SupersedePromise, promise: Promise, states: States) -> tuple[Event, ...]:
    _told(states, command.disclosure_id, promise, UNDISCLOSED_SUPERSEDE)
    if command.promise.customer_id != promise.customer_id:
        raise Refused(
            WRONG_CUSTOMER,
            f"Promise {promise.promise_id} was made to customer {promise.customer_id}: what replaces it must be too.",
        )
    made = promise_made(command.promise, command.occurred_at, states)
    superseded = PromiseSuperseded(
        promise_id=promise.promise_id,
        customer_id=promise.customer_id,
        superseded_by=made.promise_id,
        disclosure_id=command.disclosure_id,
    )
    return superseded, made


def _told(states: States, disclosure_id: str, promise: Promise, code: str) -> None:
    """Refused with `code` unless that disclosure was made to the promise's customer."""
    disclosure = states(f"disclosure:{disclosure_id}")
    if disclosure is None or disclosure.customer_id != promise.customer_id:
        raise Refused(
            code,
            f"There is no disclosure {disclosure_id} to customer {promise.customer_id}: tell the customer first, and "
            "name that disclosure.",
        )
