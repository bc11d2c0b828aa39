"""Follow-ups: going back to the customer. Owed, attempted, done.

`does_not_work` reopens what the follow-up was about, in the same transaction: a claimed promise is disputed, an
addressed concern is reopened, the resolution of a problem has failed. Where nothing is closed (a promise not claimed, a
concern or a problem still open) or nothing can be reopened (a verified or broken promise, a disclosure), the answer
stands on record alone.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from ledger.domain.concerns import Concern, reopened
from ledger.domain.disclosures import About, refuse_unknown_about
from ledger.domain.errors import DUE_BEFORE_MADE, NOT_ALLOWED, Refused
from ledger.domain.lifecycle import allows
from ledger.domain.lookups import existing, refuse_taken
from ledger.domain.model import Channel, Command, Event, Happened, Id, Moment, PersonalText, State, States
from ledger.domain.problems import failed
from ledger.domain.promise_messages import DisputePromise, PromiseDisputed
from ledger.domain.promise_state import Promise

Outcome = Literal["works", "does_not_work", "update_given"]

UNKNOWN_FOLLOWUP: Final = "unknown-followup"
RULES: Mapping[str, str] = {
    UNKNOWN_FOLLOWUP: "A follow-up must have been scheduled before it is attempted or completed.",
}


class FollowUpAbout(About):
    """What a follow-up is about: exactly one."""

    disclosure_id: Id | None = None


class ScheduleFollowUp(Command):
    TYPE = "followup.schedule"
    followup_id: Id
    customer_id: Id
    about: FollowUpAbout
    due_at: Moment
    owner: Id

    def streams(self) -> tuple[str, ...]:
        return (f"followup:{self.followup_id}", *self.about.streams())


class AttemptFollowUp(Command):
    TYPE = "followup.attempt"
    followup_id: Id
    channel: Channel
    reached: bool

    def streams(self) -> tuple[str, ...]:
        return (f"followup:{self.followup_id}",)


class CompleteFollowUp(Command):
    TYPE = "followup.complete"
    followup_id: Id
    outcome: Outcome
    text: PersonalText | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"followup:{self.followup_id}",)


class FollowUpEvent(Event):
    """Something that happened to one follow-up."""

    followup_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"followup:{self.followup_id}"


class FollowUpScheduled(FollowUpEvent):
    TOPIC = "followup.scheduled"
    about_problem_id: Id | None = None
    about_promise_id: Id | None = None
    about_concern_id: Id | None = None
    about_disclosure_id: Id | None = None
    due_at: Moment
    owner: Id


class FollowUpAttempted(FollowUpEvent):
    TOPIC = "followup.attempted"
    channel: Channel
    reached: bool


class FollowUpCompleted(FollowUpEvent):
    TOPIC = "followup.completed"
    outcome: Outcome
    text: PersonalText | None = None


COMMANDS: Final[tuple[type[Command], ...]] = (ScheduleFollowUp, AttemptFollowUp, CompleteFollowUp)
EVENTS: Final[tuple[type[Event], ...]] = (FollowUpScheduled, FollowUpAttempted, FollowUpCompleted)


class FollowUp(NamedTuple):
    """One follow-up; owed until `completed_at`."""

    followup_id: str
    customer_id: str
    version: int
    about_promise_id: str | None
    about_concern_id: str | None
    about_problem_id: str | None
    about_disclosure_id: str | None
    due_at: datetime
    owner: str
    attempts: int = 0
    reached_at: datetime | None = None  # first time that somebody was reached
    completed_at: datetime | None = None
    outcome: Outcome | None = None


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes."""
    match command:
        case ScheduleFollowUp():
            return (_schedule(command, states),)
        case AttemptFollowUp(followup_id=followup_id, channel=channel, reached=reached):
            followup = _owed(states, followup_id)
            attempted = FollowUpAttempted(
                followup_id=followup_id, customer_id=followup.customer_id, channel=channel, reached=reached
            )
            return (attempted,)
        case CompleteFollowUp(followup_id=followup_id, outcome=outcome, text=text):
            followup = _owed(states, followup_id)
            completed = FollowUpCompleted(
                followup_id=followup_id, customer_id=followup.customer_id, outcome=outcome, text=text
            )
            return (completed, *(_reopened(followup, text, states) if outcome == "does_not_work" else ()))
    raise AssertionError(command.TYPE)


def _schedule(command: ScheduleFollowUp, states: States) -> FollowUpScheduled:
    refuse_taken(states, f"followup:{command.followup_id}")
    refuse_unknown_about(states, command.about.streams(), command.customer_id)
    if command.due_at < command.occurred_at:
        raise Refused(DUE_BEFORE_MADE, f"Follow-up {command.followup_id} is due before it was scheduled: move it.")
    return FollowUpScheduled(
        followup_id=command.followup_id,
        customer_id=command.customer_id,
        about_problem_id=command.about.problem_id,
        about_promise_id=command.about.promise_id,
        about_concern_id=command.about.concern_id,
        about_disclosure_id=command.about.disclosure_id,
        due_at=command.due_at,
        owner=command.owner,
    )


def _owed(states: States, followup_id: str) -> FollowUp:
    followup = existing(states, FollowUp, f"followup:{followup_id}")
    if followup.completed_at is not None:
        raise Refused(
            NOT_ALLOWED,
            f"Follow-up {followup_id} was completed at {followup.completed_at}: schedule a new one.",
        )
    return followup


def _reopened(followup: FollowUp, text: str | None, states: States) -> tuple[Event, ...]:
    """What a failed solution reopens, if anything; asks for the stream that the follow-up's state names."""
    if followup.about_promise_id is not None:
        promise = existing(states, Promise, f"promise:{followup.about_promise_id}")
        if allows(DisputePromise.TYPE, promise):
            return (PromiseDisputed(promise_id=promise.promise_id, customer_id=promise.customer_id, text=text),)
    if followup.about_concern_id is not None:
        concern = existing(states, Concern, f"concern:{followup.about_concern_id}")
        return reopened(concern, followup.followup_id)
    if followup.about_problem_id is not None:
        return failed(states, followup.about_problem_id, followup.customer_id, followup.followup_id)
    return ()


def evolve(state: State | None, event: Event, happened: Happened) -> FollowUp:
    """The follow-up after `event`."""
    if isinstance(event, FollowUpScheduled):
        return FollowUp(
            followup_id=event.followup_id,
            customer_id=event.customer_id,
            version=1,
            about_promise_id=event.about_promise_id,
            about_concern_id=event.about_concern_id,
            about_problem_id=event.about_problem_id,
            about_disclosure_id=event.about_disclosure_id,
            due_at=event.due_at,
            owner=event.owner,
        )
    assert isinstance(state, FollowUp)
    state = state._replace(version=state.version + 1)
    match event:
        case FollowUpAttempted(reached=reached):
            reached_at = state.reached_at
            if reached:  # an earlier time may be recorded later
                reached_at = min(reached_at or happened.occurred_at, happened.occurred_at)
            return state._replace(attempts=state.attempts + 1, reached_at=reached_at)
        case FollowUpCompleted(outcome=outcome):
            return state._replace(completed_at=happened.occurred_at, outcome=outcome)
    raise AssertionError(event.TOPIC)
