"""How a promise stands: what its events make of it. The rules of the axes stand in lifecycle.py.

Three axes, never one status: standing and fulfilment move by events, timeliness is computed from due time and clock.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from ledger.domain.lifecycle import EndedAs, Fulfilment, Standing, Verification, transition
from ledger.domain.model import Channel, Event, Happened, State
from ledger.domain.promise_messages import (
    Basis,
    CustomerKind,
    Kind,
    PromiseAccepted,
    PromiseActivated,
    PromiseAtRisk,
    PromiseClaimedKept,
    PromiseDisputed,
    PromiseMade,
    PromiseReadBack,
    PromiseReassigned,
    PromiseRescheduled,
    PromiseResumed,
    PromiseSuspended,
)
from ledger.domain.turns import IN_BUSINESS_TIME, Turn, course, going_on, in_order, recorded_due_at, shortened

Timeliness = Literal["running", "warned", "overdue", "late", "on_time"]


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
    time only. What was never owed is never overdue: a condition is decided by the due time at the latest.
    """
    if promise.claimed_at is not None:
        past_due = promise.claimed_at > promise.due_at and promise.paused_at is None
        return "late" if promise.latched or past_due else "on_time"
    until = at if promise.ended_at is None else min(at, promise.ended_at)
    if promise.paused_at is not None:
        until = min(until, promise.paused_at)
    if promise.latched or (until > promise.due_at and owed(promise)):
        return "overdue"
    return "running" if promise.warned_at is None else "warned"


def owed(promise: Promise) -> bool:
    """Whether it is, or was, owed: it had no condition, or that was met. However it ended otherwise, it never was."""
    return promise.condition_by is None or not _OWED.isdisjoint(promise.turns)


def late_against_original(promise: Promise) -> bool:
    """True when it was claimed kept later than first promised, whatever was agreed since."""
    return promise.claimed_at is not None and promise.claimed_at > promise.original_due_at


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

_OWED: Final[frozenset[Turn]] = frozenset({"activated", "was_owed"})

_TURNS: Final[Mapping[type[Event], Turn]] = {
    PromiseActivated: "activated",
    PromiseClaimedKept: "claimed",
    PromiseDisputed: "disputed",
    PromiseRescheduled: "moved",
    PromiseSuspended: "suspended",
    PromiseResumed: "resumed",
}
