"""What the timer announces about promises, once each: a warning, a missed deadline, a condition not met in time.

Announcements change no answer: `timeliness` is computed without them. They tell those who listen, on record.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from ledger.domain.calendars import Calendar, NotCovered, add_working, later, working_between
from ledger.domain.errors import Refused
from ledger.domain.lifecycle import allows
from ledger.domain.lookups import existing
from ledger.domain.model import Command, Event, Happened, Moment, State, States
from ledger.domain.promise_messages import PromiseCommand, PromiseEvent
from ledger.domain.promise_state import Promise, moved
from ledger.domain.promises import calendar_of
from ledger.domain.turns import recorded_due_at

MOOT: Final = "moot"
RULES: Mapping[str, str] = {
    MOOT: "The timer announces what is so now, and each thing once: whatever came first makes it moot.",
}

Percent = Annotated[int, Field(ge=1, le=99)]


class AnnounceWarning(PromiseCommand):
    """`percent` of the time from making to `due_at` is over: of business time where that was promised."""

    TYPE = "promise.announce_warning"
    INTERNAL = True
    due_at: Moment
    percent: Percent


class AnnounceDeadline(PromiseCommand):
    TYPE = "promise.announce_deadline"
    INTERNAL = True
    due_at: Moment


class ExpireCondition(PromiseCommand):
    TYPE = "promise.expire_condition"
    INTERNAL = True
    condition_by: Moment


class DeadlineWarned(PromiseEvent):
    TOPIC = "promise.deadline_warned"
    due_at: Moment
    percent: Percent


class DeadlinePassed(PromiseEvent):
    TOPIC = "promise.deadline_passed"
    due_at: Moment


class ConditionExpired(PromiseEvent):
    """The condition was not met by `condition_by`: the promise ended then, whenever that was announced."""

    TOPIC = "promise.condition_expired"
    condition_by: Moment


COMMANDS: Final[tuple[type[Command], ...]] = (AnnounceWarning, AnnounceDeadline, ExpireCondition)
EVENTS: Final[tuple[type[Event], ...]] = (DeadlineWarned, DeadlinePassed, ConditionExpired)


DEFAULT_WARN_PERCENTS: Final = (75,)
"""Where no policy was in effect when the promise was made."""


def warning_at(promise: Promise, percent: int, calendar: Calendar | None) -> datetime:
    """The moment at which `percent` of the time from making the promise to its present due time is over.

    `calendar` is the one that the promise is due in. Then business time counts, and pauses do not: they moved the due
    time, so what they took stands between the first due time and the present one. Any clock's share where the calendar
    does not reach that far.
    """
    any_clock = promise.made_at + _share(promise.due_at - promise.made_at, percent)
    if calendar is None:
        return any_clock
    try:
        promised = working_between(calendar, promise.made_at, promise.original_due_at)
        paused = working_between(calendar, promise.original_due_at, promise.due_at)
        return add_working(calendar, promise.made_at, paused + _share(promised, percent))
    except NotCovered:  # the zone's rules changed since: its last day closes before this is due
        return any_clock


def _share(span: timedelta, percent: int) -> timedelta:
    return timedelta(microseconds=span // timedelta(microseconds=1) * percent // 100)


def warnings_ahead(
    promise: Promise, percents: Sequence[int], calendar: Calendar | None
) -> tuple[tuple[int, datetime], ...]:
    """What may still be announced before the present due time, as (percent, moment), rising; `percents` rise.

    Nothing while business time stands still: resuming moves all of it.
    """
    if promise.paused_at is not None or promise.deadline_passed or not allows(AnnounceWarning.TYPE, promise):
        return ()
    highest = promise.deadline_warned_percent or 0
    return tuple((percent, warning_at(promise, percent, calendar)) for percent in percents if percent > highest)


def reached(ahead: Sequence[tuple[int, datetime]], now: datetime) -> tuple[int, datetime] | None:
    """What to announce at `now` of what is ahead: of several that were missed the highest, which says it all."""
    return max((each for each in ahead if each[1] <= now), default=None)


def escalations_ahead(promise: Promise, after_hours: Sequence[int]) -> tuple[datetime, ...]:
    """When each step of an escalation is announced, unless the promise moves on before: so long after it was due.

    None of them once somebody acknowledged that it is overdue.
    """
    looked_after = promise.paused_at is not None or promise.overdue_acknowledged_at is not None
    if looked_after or not allows(AnnounceDeadline.TYPE, promise):
        return ()
    return tuple(later(promise.due_at, timedelta(hours=hours)) for hours in after_hours)


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The announcement; refused `moot` where it is not so at `now`, was made already, or the promise moved on."""
    assert isinstance(command, PromiseCommand)
    promise = existing(states, Promise, f"promise:{command.promise_id}")
    if not allows(command.TYPE, promise) or not _due_now(command, promise, states, now):
        raise Refused(MOOT, f"{command.TYPE} says nothing new about promise {command.promise_id} at {now}.")
    names = {"promise_id": promise.promise_id, "customer_id": promise.customer_id}
    match command:
        case AnnounceWarning(due_at=due_at, percent=percent):
            return (DeadlineWarned(**names, due_at=due_at, percent=percent),)
        case AnnounceDeadline(due_at=due_at):
            return (DeadlinePassed(**names, due_at=due_at),)
        case ExpireCondition(condition_by=condition_by):
            return (ConditionExpired(**names, condition_by=condition_by),)
    raise AssertionError(command.TYPE)


def _due_now(command: PromiseCommand, promise: Promise, states: States, now: datetime) -> bool:
    if promise.paused_at is not None:  # its business time stands still, and with it the due time
        return False
    match command:
        case AnnounceWarning(due_at=due_at, percent=percent):
            ahead = warnings_ahead(promise._replace(due_at=due_at), (percent,), calendar_of(promise, states))
            return due_at in _due_times(promise) and any(at <= now <= due_at for _, at in ahead)
        case AnnounceDeadline(due_at=due_at):
            return due_at in _due_times(promise) and due_at < now and not promise.deadline_passed
        case ExpireCondition(condition_by=condition_by):
            return condition_by == promise.condition_by and condition_by < now
    raise AssertionError(command.TYPE)


def _due_times(promise: Promise) -> tuple[datetime, datetime]:
    """The present due time, and the one recorded last: before both were told apart, that one was announced."""
    return promise.due_at, recorded_due_at(promise)


def evolve(state: State | None, event: Event, happened: Happened) -> Promise:
    """The promise, knowing what has been announced."""
    assert isinstance(state, Promise)
    match event:
        case DeadlineWarned(percent=percent):
            return moved(state, event, happened, {"deadline_warned_percent": percent})
        case DeadlinePassed():
            return moved(state, event, happened, {"deadline_passed": True})
        case ConditionExpired(condition_by=condition_by):
            return moved(state, event, happened, {"ended_at": condition_by})
    raise AssertionError(event.TOPIC)
