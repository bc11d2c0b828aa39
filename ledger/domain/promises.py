"""Promises: what we owe a customer, by when, and how it went. The rules of the axes stand in lifecycle.py.

Three axes, never one status: standing and fulfilment move by events, timeliness is computed from due time and clock.
The announcements of the timer are in deadlines.py. Long for a module because every command of the family is here: an
auditor finds a rule of promises in this file or in the table, nowhere else.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from ledger.domain.calendars import Calendar, NotCovered, add_working, due_in, working_between
from ledger.domain.errors import DUE_BEFORE_MADE, NOT_ALLOWED, WRONG_CUSTOMER, Refused
from ledger.domain.lifecycle import EndedAs, Fulfilment, Standing, Verification, allows, possible, transition
from ledger.domain.lookups import existing, refuse_past_review, refuse_taken, refuse_unknown_basis
from ledger.domain.model import (
    Channel,
    Command,
    Duration,
    Event,
    Evidence,
    Happened,
    Id,
    Ids,
    Moment,
    Part,
    PersonalText,
    State,
    States,
)
from ledger.domain.policies import calendar_for, calendar_version
from ledger.domain.turns import IN_BUSINESS_TIME, Turn, course, going_on, in_order, recorded_due_at, shortened

Kind = Literal["deliver", "answer", "callback", "fix", "refund", "update", "other"]
Basis = Literal["known", "assumed"]
CustomerKind = Literal["external", "internal"]
Timeliness = Literal["running", "warned", "overdue", "late", "on_time"]

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


class Condition(Part):
    """What must happen first, and by when."""

    text: PersonalText
    by: Moment


class PromiseTerms(Part):
    """What is promised: the members that `promise.make` and every promise inside another command share."""

    promise_id: Id
    customer_id: Id
    kind: Kind
    text: PersonalText
    owner: Id
    channel: Channel
    basis: Basis
    due_at: Moment | None = None
    due_in: Duration | None = None
    calendar_id: Id | None = None
    condition: Condition | None = None
    verification: Verification = "required"
    based_on: Ids = ()
    offering_id: Id | None = None
    for_team: Id | None = None
    customer_kind: CustomerKind = "external"

    def terms_streams(self) -> tuple[str, ...]:
        """The streams that making this promise reads: its own, what it rests on, and its calendar."""
        calendar = () if self.calendar_id is None else (f"calendar:{self.calendar_id}",)
        return (f"promise:{self.promise_id}", *(f"disclosure:{each}" for each in self.based_on), *calendar)


class MakePromise(Command, PromiseTerms):
    TYPE = "promise.make"

    def streams(self) -> tuple[str, ...]:
        return self.terms_streams()


class PromiseCommand(Command):
    """A command to one promise that exists."""

    promise_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"promise:{self.promise_id}",)


class ReadBackPromise(PromiseCommand):
    TYPE = "promise.read_back"
    confirmed: bool
    correction: PersonalText | None = None


class AcceptPromise(PromiseCommand):
    TYPE = "promise.accept"
    owner: Id


class ReassignPromise(PromiseCommand):
    TYPE = "promise.reassign"
    owner: Id


class MeetCondition(PromiseCommand):
    TYPE = "promise.meet_condition"


class WarnOfPromise(PromiseCommand):
    TYPE = "promise.warn"
    reason: PersonalText
    expected_at: Moment | None = None


class ReschedulePromise(PromiseCommand):
    TYPE = "promise.reschedule"
    new_due_at: Moment
    disclosure_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"promise:{self.promise_id}", f"disclosure:{self.disclosure_id}")


class SuspendPromise(PromiseCommand):
    TYPE = "promise.suspend"
    reason: PersonalText
    review_at: Moment


class ResumePromise(PromiseCommand):
    TYPE = "promise.resume"


class ClaimPromiseKept(PromiseCommand):
    TYPE = "promise.claim_kept"
    evidence: Evidence | None = None
    text: PersonalText | None = None


class VerifyPromise(PromiseCommand):
    TYPE = "promise.verify"
    verified_by: Id


class DisputePromise(PromiseCommand):
    TYPE = "promise.dispute"
    text: PersonalText


class BreakPromise(PromiseCommand):
    TYPE = "promise.break"
    reason_code: Id
    text: PersonalText
    problem_id: Id | None = None


class ReleasePromise(PromiseCommand):
    TYPE = "promise.release"
    evidence: Evidence


class SupersedePromise(PromiseCommand):
    TYPE = "promise.supersede"
    disclosure_id: Id
    promise: PromiseTerms

    def streams(self) -> tuple[str, ...]:
        return (f"promise:{self.promise_id}", f"disclosure:{self.disclosure_id}", *self.promise.terms_streams())


class PromiseEvent(Event):
    """Something that happened to one promise."""

    promise_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"promise:{self.promise_id}"


class PromiseMade(PromiseEvent):
    """`due_at` was resolved once. Where business time was promised, the four last members say how."""

    TOPIC = "promise.made"
    kind: Kind
    text: PersonalText | None = None
    owner: Id
    channel: Channel
    basis: Basis
    due_at: Moment
    condition_text: PersonalText | None = None
    condition_by: Moment | None = None
    verification: Verification
    based_on: Ids = ()
    offering_id: Id | None = None
    for_team: Id | None = None
    customer_kind: CustomerKind = "external"
    due_in: Duration | None = None
    calendar_id: Id | None = None
    calendar_version: int | None = None
    tzdata_version: str | None = None


class PromiseReadBack(PromiseEvent):
    TOPIC = "promise.read_back"
    confirmed: bool
    correction: PersonalText | None = None


class PromiseAccepted(PromiseEvent):
    TOPIC = "promise.accepted"
    owner: Id


class PromiseReassigned(PromiseEvent):
    """Handed over to `owner`, who answers for it from the acceptance on; until then the old owner does."""

    TOPIC = "promise.reassigned"
    owner: Id


class PromiseActivated(PromiseEvent):
    TOPIC = "promise.activated"


class PromiseAtRisk(PromiseEvent):
    TOPIC = "promise.at_risk"
    reason: PersonalText | None = None
    expected_at: Moment | None = None


class PromiseRescheduled(PromiseEvent):
    TOPIC = "promise.rescheduled"
    old_due_at: Moment
    new_due_at: Moment
    disclosure_id: Id


class PromiseSuspended(PromiseEvent):
    TOPIC = "promise.suspended"
    STANDS_WITHOUT_WORDS = True
    reason: PersonalText | None = None
    review_at: Moment


class PromiseResumed(PromiseEvent):
    """`new_due_at` where the pause moved the due time: it was promised in business time, which stood still."""

    TOPIC = "promise.resumed"
    old_due_at: Moment | None = None
    new_due_at: Moment | None = None


class PromiseClaimedKept(PromiseEvent):
    TOPIC = "promise.claimed_kept"
    STANDS_WITHOUT_WORDS = True
    evidence: Evidence | None = None
    text: PersonalText | None = None


class PromiseKept(PromiseEvent):
    TOPIC = "promise.kept"
    verified_by: Id


class PromiseDisputed(PromiseEvent):
    TOPIC = "promise.disputed"
    STANDS_WITHOUT_WORDS = True
    text: PersonalText | None = None


class PromiseBroken(PromiseEvent):
    TOPIC = "promise.broken"
    STANDS_WITHOUT_WORDS = True
    reason_code: Id
    text: PersonalText | None = None
    problem_id: Id | None = None


class PromiseReleased(PromiseEvent):
    TOPIC = "promise.released"
    evidence: Evidence


class PromiseSuperseded(PromiseEvent):
    TOPIC = "promise.superseded"
    superseded_by: Id
    disclosure_id: Id


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


class Promise(NamedTuple):
    """One promise. Moments are those at which things happened (`occurred_at`), never when they were written down."""

    promise_id: str
    customer_id: str
    version: int
    kind: Kind
    owner: str
    channel: Channel
    verification: Verification
    basis: Basis
    based_on: tuple[str, ...]
    offering_id: str | None
    for_team: str | None
    customer_kind: CustomerKind
    standing: Standing
    fulfilment: Fulfilment
    made_at: datetime
    due_at: datetime
    original_due_at: datetime
    condition_by: datetime | None
    accepted: bool  # False: made for another team, which has not accepted it
    pending_owner: str | None = None
    ended_as: EndedAs | None = None
    ended_at: datetime | None = None
    cycle: int = 1  # a dispute opens the next
    warned_at: datetime | None = None  # the customer's first warning (promise.warn)
    deadline_warned_percent: int | None = None  # highest announced for the present due time
    deadline_passed: bool = False  # announced for the present due time
    latched: bool = False  # a claim or a reschedule found it past due and unkept
    claimed_at: datetime | None = None  # in this cycle
    claimed_by: str | None = None
    review_at: datetime | None = None  # while suspended
    reschedules: int = 0
    disputes: int = 0
    confirmed_read_back: bool | None = None
    calendar_id: str | None = None  # while it is due in business time: a reschedule names a moment instead
    calendar_version: int | None = None  # the one that it was made under
    paused_at: datetime | None = None  # since when its business time stands still: suspended before it was due
    overdue_acknowledged_at: datetime | None = None  # that it is overdue: in this cycle, of the present due time
    turns: tuple[Turn, ...] = ()  # what due_at, latched and claimed_at follow from, in the order of recording
    turned_at: tuple[datetime, ...] = ()
    turned_due_at: tuple[datetime, ...] = ()  # as of the recording of each


def timeliness(promise: Promise, at: datetime) -> Timeliness:
    """The third axis as of `at`, from facts alone: whether a timer announced anything changes nothing.

    Claimed in this cycle: `on_time` or `late`, judged by when it was claimed, and `on_time` where it stands still.
    Otherwise `overdue` once past due, for ever, but not where it ended before; suspension stops the clock of business
    time only. A conditional promise is owed nothing yet, and its condition is decided by the due time at the latest, so
    it is never overdue.
    """
    if promise.claimed_at is not None:
        past_due = promise.claimed_at > promise.due_at and promise.paused_at is None
        return "late" if promise.latched or past_due else "on_time"
    until = at if promise.ended_at is None else min(at, promise.ended_at)
    if promise.paused_at is not None:
        until = min(until, promise.paused_at)
    if promise.latched or (until > promise.due_at and promise.standing != "conditional"):
        return "overdue"
    return "running" if promise.warned_at is None else "warned"


def late_against_original(promise: Promise) -> bool:
    """True when it was claimed kept later than first promised, whatever was agreed since."""
    return promise.claimed_at is not None and promise.claimed_at > promise.original_due_at


def promise_made(terms: PromiseTerms, made_at: datetime, states: States) -> PromiseMade:
    """The event of making the promise; refused as `RULES` say. Every command that makes one comes through here."""
    business = {} if terms.due_in is None and terms.calendar_id is None else _business_due(terms, made_at, states)
    due_at = business.pop("due_at", terms.due_at)
    if due_at is None:
        raise Refused(DUE_MISSING, f"Promise {terms.promise_id} has no due time: give due_at.")
    if due_at < made_at:
        raise Refused(DUE_BEFORE_MADE, f"Promise {terms.promise_id} is due {due_at}, before it was made.")
    condition = terms.condition
    if condition is not None and condition.by > due_at:
        raise Refused(CONDITION_AFTER_DUE, f"The condition is to be met by {condition.by}, after the due time.")
    if condition is not None and condition.by < made_at:
        raise Refused(CONDITION_PASSED, f"The condition was to be met by {condition.by}, before the promise was made.")
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
            f"The new due time {command.new_due_at} does not lie after the rescheduling at {command.occurred_at}.",
        )
    condition_by = promise.condition_by if promise.standing == "conditional" else None
    if condition_by is not None and condition_by > command.new_due_at:
        raise Refused(CONDITION_AFTER_DUE, f"The condition is to be met by {condition_by}, after the new due time.")
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


def evolve(state: State | None, event: Event, happened: Happened) -> Promise:
    """The promise after `event`. Every stored event fits the table: `decide` saw to it."""
    if isinstance(event, PromiseMade):
        return _new(event, happened)
    assert isinstance(state, Promise)
    after = moved(state, event, happened, _facts(state, event, happened))
    turn = _TURNS.get(type(event))
    if turn is None:
        return after
    new_due_at = event.new_due_at if isinstance(event, PromiseRescheduled | PromiseResumed) else None
    return _turned(state, after, turn, happened.occurred_at, new_due_at or recorded_due_at(after))


def _turned(before: Promise, after: Promise, turn: Turn, at: datetime, due_at: datetime) -> Promise:
    """`after` with one more turn: where all of them lead to, in the order in which they occurred."""
    turned = after._replace(
        turns=(*before.turns, turn),
        turned_at=(*before.turned_at, at),
        turned_due_at=(*before.turned_due_at, due_at),
    )
    if in_order(turned) and in_order(before):  # nearly always: then it is one step from where it stood
        led = going_on(before)
        led.take(turn, at, due_at)
    else:
        led = course(turned)
    ended_at = None if turned.ended_at is None else led.claimed_at  # no other turn ends it, and none follows an end
    changes: dict[str, Any] = {
        "due_at": led.due_at,
        "latched": led.latched,
        "claimed_at": led.claimed_at,
        "ended_at": ended_at,
    }
    if turn == "moved" and led.due_at == before.due_at:  # as one recorded late: what was announced of it is not news
        changes |= {name: getattr(before, name) for name in _ANNOUNCED}
    return turned._replace(**changes | shortened(turned))


def moved(promise: Promise, event: Event, happened: Happened, facts: dict[str, Any]) -> Promise:
    """The promise with its axes moved as the table says, and then `facts` (new values by field) set."""
    row = transition(event.TOPIC, promise)
    assert row is not None, f"{event.TOPIC} does not follow {promise}"
    changes: dict[str, Any] = {"version": promise.version + 1}
    if row.to_standing is not None:
        ended_at = (promise.ended_at or happened.occurred_at) if row.to_standing == "ended" else None
        changes |= {"standing": row.to_standing, "ended_as": row.to_ended_as, "ended_at": ended_at, "review_at": None}
    if row.to_fulfilment is not None:
        changes["fulfilment"] = row.to_fulfilment
    if row.to_fulfilment == "none":
        changes |= {"claimed_at": None, "claimed_by": None}
    return promise._replace(**changes | facts)


def _new(event: PromiseMade, happened: Happened) -> Promise:
    in_business_time = event.calendar_id is not None
    return Promise(
        customer_id=event.customer_id,
        version=1,
        promise_id=event.promise_id,
        kind=event.kind,
        owner=event.owner,
        channel=event.channel,
        verification=event.verification,
        basis=event.basis,
        based_on=event.based_on,
        offering_id=event.offering_id,
        for_team=event.for_team,
        customer_kind=event.customer_kind,
        standing="active" if event.condition_by is None else "conditional",
        fulfilment="none",
        made_at=happened.occurred_at,
        due_at=event.due_at,
        original_due_at=event.due_at,
        condition_by=event.condition_by,
        accepted=event.for_team is None,
        calendar_id=event.calendar_id,
        calendar_version=event.calendar_version,
        turns=IN_BUSINESS_TIME if in_business_time else (),
        turned_at=(happened.occurred_at,) if in_business_time else (),
        turned_due_at=(event.due_at,) if in_business_time else (),
    )


def _facts(promise: Promise, event: Event, happened: Happened) -> dict[str, Any]:
    """What `event` says beside moving the axes, by field of the state."""
    at = happened.occurred_at
    match event:
        case PromiseClaimedKept():
            return {"claimed_by": happened.actor}
        case PromiseDisputed():
            return {
                "cycle": promise.cycle + 1,
                "disputes": promise.disputes + 1,
                "overdue_acknowledged_at": None,
                "paused_at": None if promise.standing == "ended" else promise.paused_at,  # it is active again
            }
        case PromiseRescheduled():
            return {
                "reschedules": promise.reschedules + 1,
                "deadline_warned_percent": None,
                "deadline_passed": False,
                "overdue_acknowledged_at": None,
                "calendar_id": None,
                "calendar_version": None,
                "paused_at": None,
            }
        case PromiseAtRisk():
            return {"warned_at": at if promise.warned_at is None else min(at, promise.warned_at)}
        case PromiseReadBack(confirmed=confirmed):
            return {"confirmed_read_back": confirmed}
        case PromiseReassigned(owner=owner):
            return {"pending_owner": owner}
        case PromiseAccepted(owner=owner):
            return {"owner": owner, "pending_owner": None, "accepted": True}
        case PromiseSuspended(review_at=review_at):
            pauses = promise.calendar_id is not None and at < recorded_due_at(promise)
            return {"review_at": review_at, "paused_at": max(at, promise.made_at) if pauses else None}
        case PromiseResumed(new_due_at=None):
            return {"paused_at": None}
        case PromiseResumed():
            # As much of the business time is over as before the pause, so what was warned of is not warned of again.
            return {"paused_at": None, "deadline_passed": False, "overdue_acknowledged_at": None}
    return {}


_ANNOUNCED: Final = ("deadline_warned_percent", "deadline_passed", "overdue_acknowledged_at")
"""What was said of the present due time: a reschedule that leaves it as it was begins no other round."""

_TURNS: Final[Mapping[type[Event], Turn]] = {
    PromiseActivated: "activated",
    PromiseClaimedKept: "claimed",
    PromiseDisputed: "disputed",
    PromiseRescheduled: "moved",
    PromiseSuspended: "suspended",
    PromiseResumed: "resumed",
}
