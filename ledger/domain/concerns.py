"""Concerns: questions and worries that a customer raised, until they are acknowledged and addressed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.errors import NOT_ALLOWED, Refused
from ledger.domain.lookups import existing, refuse_taken
from ledger.domain.model import Command, Event, Happened, Id, PersonalText, Severity, State, States

RULES: Mapping[str, str] = {}


class RaiseConcern(Command):
    TYPE = "concern.raise"
    concern_id: Id
    customer_id: Id
    text: PersonalText
    severity: Severity | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"concern:{self.concern_id}",)


class AcknowledgeConcern(Command):
    """`restated`: the concern in our words, as the customer agreed that we understood it."""

    TYPE = "concern.acknowledge"
    concern_id: Id
    restated: PersonalText

    def streams(self) -> tuple[str, ...]:
        return (f"concern:{self.concern_id}",)


class AddressConcern(Command):
    """`by`: the id of what, or who, answered it (a disclosure, a promise, a person)."""

    TYPE = "concern.address"
    concern_id: Id
    how: PersonalText
    by: Id

    def streams(self) -> tuple[str, ...]:
        return (f"concern:{self.concern_id}",)


class ConcernEvent(Event):
    """Something that happened to one concern."""

    concern_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"concern:{self.concern_id}"


class ConcernRaised(ConcernEvent):
    TOPIC = "concern.raised"
    text: PersonalText | None = None
    severity: Severity | None = None


class ConcernAcknowledged(ConcernEvent):
    TOPIC = "concern.acknowledged"
    restated: PersonalText | None = None


class ConcernAddressed(ConcernEvent):
    TOPIC = "concern.addressed"
    how: PersonalText | None = None
    by: Id


class ConcernReopened(ConcernEvent):
    """The follow-up found that what addressed the concern does not work: it waits again, in the next cycle."""

    TOPIC = "concern.reopened"
    followup_id: Id


COMMANDS: Final[tuple[type[Command], ...]] = (RaiseConcern, AcknowledgeConcern, AddressConcern)
EVENTS: Final[tuple[type[Event], ...]] = (ConcernRaised, ConcernAcknowledged, ConcernAddressed, ConcernReopened)


class Concern(NamedTuple):
    """One concern. It is open until it is addressed; a reopening starts the next cycle, with neither set."""

    concern_id: str
    customer_id: str
    version: int
    severity: int | None
    raised_at: datetime
    cycle: int = 1
    acknowledged_at: datetime | None = None
    addressed_at: datetime | None = None
    addressed_by: str | None = None


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event that the command becomes.

    Addressing before acknowledging is not refused: it happened, and it is a finding (`solution-before-listening`).
    """
    match command:
        case RaiseConcern(concern_id=concern_id, customer_id=customer_id, text=text, severity=severity):
            refuse_taken(states, f"concern:{concern_id}")
            return (ConcernRaised(concern_id=concern_id, customer_id=customer_id, text=text, severity=severity),)
        case AcknowledgeConcern(concern_id=concern_id, restated=restated):
            concern = existing(states, Concern, f"concern:{concern_id}")
            _refuse_second(concern, "acknowledged", concern.acknowledged_at)
            return (ConcernAcknowledged(concern_id=concern_id, customer_id=concern.customer_id, restated=restated),)
        case AddressConcern(concern_id=concern_id, how=how, by=by):
            concern = existing(states, Concern, f"concern:{concern_id}")
            _refuse_second(concern, "addressed", concern.addressed_at)
            return (ConcernAddressed(concern_id=concern_id, customer_id=concern.customer_id, how=how, by=by),)
    raise AssertionError(command.TYPE)


def _refuse_second(concern: Concern, done: str, done_at: datetime | None) -> None:
    if done_at is not None:
        raise Refused(
            NOT_ALLOWED,
            f"Concern {concern.concern_id} was {done} at {done_at}: if it is open again, complete a follow-up about it "
            "with does_not_work, or raise a new one.",
        )


def evolve(state: State | None, event: Event, happened: Happened) -> Concern:
    """The concern after `event`."""
    if isinstance(event, ConcernRaised):
        return Concern(event.concern_id, event.customer_id, 1, event.severity, happened.occurred_at)
    assert isinstance(state, Concern)
    state = state._replace(version=state.version + 1)
    match event:
        case ConcernAcknowledged():
            return state._replace(acknowledged_at=happened.occurred_at)
        case ConcernAddressed(by=by):
            return state._replace(addressed_at=happened.occurred_at, addressed_by=by)
        case ConcernReopened():
            return state._replace(cycle=state.cycle + 1, acknowledged_at=None, addressed_at=None, addressed_by=None)
    raise AssertionError(event.TOPIC)
