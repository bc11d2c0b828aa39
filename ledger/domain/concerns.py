"""Concerns: questions and worries that a customer raised, until they are acknowledged and addressed.

A concern about a problem is written to the problem's stream as well whenever it opens or is settled: a problem is not
resolved while a concern about it is open.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.errors import NOT_ALLOWED, WRONG_CUSTOMER, Refused
from ledger.domain.lookups import existing, refuse_taken
from ledger.domain.model import Command, Event, Happened, Id, PersonalText, Severity, State, States
from ledger.domain.problem_messages import ProblemConcernOpened, ProblemConcernSettled
from ledger.domain.problems import Problem
from ledger.domain.promise_messages import PromiseTerms
from ledger.domain.promises import promise_made

NOT_AN_ANSWER: Final = "not-an-answer"
RULES: Mapping[str, str] = {
    NOT_AN_ANSWER: "Who admits not to know promises an answer: the promise is of the kind `answer`.",
}


class ConcernCommand(Command):
    """A command to one concern that exists."""

    concern_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"concern:{self.concern_id}",)


class RaiseConcern(Command):
    TYPE = "concern.raise"
    concern_id: Id
    customer_id: Id
    text: PersonalText
    severity: Severity | None = None
    problem_id: Id | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"concern:{self.concern_id}", *(() if self.problem_id is None else (f"problem:{self.problem_id}",)))


class AcknowledgeConcern(ConcernCommand):
    """`restated`: the concern in our words, as the customer agreed that we understood it."""

    TYPE = "concern.acknowledge"
    restated: PersonalText


class AddressConcern(ConcernCommand):
    """`by`: the id of what, or who, answered it (a disclosure, a promise, a person)."""

    TYPE = "concern.address"
    how: PersonalText
    by: Id


class WithdrawConcern(ConcernCommand):
    """The customer takes it back."""

    TYPE = "concern.withdraw"


class ConfirmConcern(ConcernCommand):
    """The customer says that it is addressed."""

    TYPE = "concern.confirm"


class AdmitUnknown(ConcernCommand):
    """ "I do not know, but I will find out": it cannot be admitted without the promise of an answer."""

    TYPE = "concern.admit_unknown"
    promise: PromiseTerms

    def streams(self) -> tuple[str, ...]:
        return (f"concern:{self.concern_id}", *self.promise.terms_streams())


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
    problem_id: Id | None = None


class ConcernAcknowledged(ConcernEvent):
    TOPIC = "concern.acknowledged"
    STANDS_WITHOUT_WORDS = True
    restated: PersonalText | None = None


class ConcernAddressed(ConcernEvent):
    TOPIC = "concern.addressed"
    STANDS_WITHOUT_WORDS = True
    how: PersonalText | None = None
    by: Id


class ConcernWithdrawn(ConcernEvent):
    TOPIC = "concern.withdrawn"


class ConcernConfirmed(ConcernEvent):
    TOPIC = "concern.confirmed"


class UnknownAdmitted(ConcernEvent):
    """`promise_id`: the promise to find out, made with it."""

    TOPIC = "concern.unknown_admitted"
    promise_id: Id


class ConcernReopened(ConcernEvent):
    """The follow-up found that what addressed the concern does not work: it waits again, in the next cycle."""

    TOPIC = "concern.reopened"
    followup_id: Id


COMMANDS: Final[tuple[type[Command], ...]] = (
    RaiseConcern,
    AcknowledgeConcern,
    AddressConcern,
    WithdrawConcern,
    ConfirmConcern,
    AdmitUnknown,
)
EVENTS: Final[tuple[type[Event], ...]] = (
    ConcernRaised,
    ConcernAcknowledged,
    ConcernAddressed,
    ConcernWithdrawn,
    ConcernConfirmed,
    UnknownAdmitted,
    ConcernReopened,
)


class Concern(NamedTuple):
    """One concern. It is open until it is addressed or withdrawn; a reopening starts the next cycle."""

    concern_id: str
    customer_id: str
    version: int
    severity: int | None
    raised_at: datetime
    cycle: int = 1
    acknowledged_at: datetime | None = None
    addressed_at: datetime | None = None
    addressed_by: str | None = None
    problem_id: str | None = None
    confirmed_at: datetime | None = None
    withdrawn_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.addressed_at is None and self.withdrawn_at is None


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes.

    Addressing before acknowledging is not refused: it happened, and it is a finding (`solution-before-listening`).
    """
    if isinstance(command, RaiseConcern):
        return _raise(command, states)
    assert isinstance(command, ConcernCommand)
    concern = existing(states, Concern, f"concern:{command.concern_id}")
    _refuse_withdrawn(concern)
    concern_id, customer_id = concern.concern_id, concern.customer_id
    match command:
        case AcknowledgeConcern(restated=restated):
            _refuse_second(concern, "acknowledged", concern.acknowledged_at)
            return (ConcernAcknowledged(concern_id=concern_id, customer_id=customer_id, restated=restated),)
        case AddressConcern(how=how, by=by):
            _refuse_second(concern, "addressed", concern.addressed_at)
            return ConcernAddressed(concern_id=concern_id, customer_id=customer_id, how=how, by=by), *_settled(concern)
        case WithdrawConcern():
            _refuse_second(concern, "confirmed", concern.confirmed_at)
            return ConcernWithdrawn(concern_id=concern_id, customer_id=customer_id), *_settled(concern)
        case ConfirmConcern():
            if concern.addressed_at is None:
                raise Refused(NOT_ALLOWED, f"Concern {concern_id} is not addressed yet: send concern.address first.")
            _refuse_second(concern, "confirmed", concern.confirmed_at)
            return (ConcernConfirmed(concern_id=concern_id, customer_id=customer_id),)
        case AdmitUnknown():
            return _admit(command, concern, states)
    raise AssertionError(command.TYPE)


def _raise(command: RaiseConcern, states: States) -> tuple[Event, ...]:
    concern_id, customer_id, problem_id = command.concern_id, command.customer_id, command.problem_id
    refuse_taken(states, f"concern:{concern_id}")
    raised = ConcernRaised(
        concern_id=concern_id,
        customer_id=customer_id,
        text=command.text,
        severity=command.severity,
        problem_id=problem_id,
    )
    if problem_id is None:
        return (raised,)
    existing(states, Problem, f"problem:{problem_id}")
    return raised, ProblemConcernOpened(problem_id=problem_id, customer_id=customer_id, concern_id=concern_id)


def _admit(command: AdmitUnknown, concern: Concern, states: States) -> tuple[Event, ...]:
    _refuse_second(concern, "addressed", concern.addressed_at)
    if command.promise.kind != "answer":
        raise Refused(
            NOT_AN_ANSWER, f"The promise {command.promise.promise_id} is not of the kind answer: promise an answer."
        )
    if command.promise.customer_id != concern.customer_id:
        raise Refused(
            WRONG_CUSTOMER,
            f"Concern {concern.concern_id} was raised by customer {concern.customer_id}: promise the answer to them.",
        )
    made = promise_made(command.promise, command.occurred_at, states)
    admitted = UnknownAdmitted(
        concern_id=concern.concern_id, customer_id=concern.customer_id, promise_id=made.promise_id
    )
    return admitted, made


def _settled(concern: Concern) -> tuple[Event, ...]:
    """What the stream of its problem, if it has one, must know when an open concern is settled."""
    if concern.problem_id is None or not concern.is_open:
        return ()
    settled = ProblemConcernSettled(
        problem_id=concern.problem_id, customer_id=concern.customer_id, concern_id=concern.concern_id
    )
    return (settled,)


def reopened(concern: Concern, followup_id: str) -> tuple[Event, ...]:
    """What a follow-up that found it not to work becomes: nothing, unless the concern stands as addressed."""
    if concern.addressed_at is None or concern.withdrawn_at is not None:
        return ()
    again = ConcernReopened(concern_id=concern.concern_id, customer_id=concern.customer_id, followup_id=followup_id)
    if concern.problem_id is None:
        return (again,)
    opened = ProblemConcernOpened(
        problem_id=concern.problem_id, customer_id=concern.customer_id, concern_id=concern.concern_id
    )
    return again, opened


def _refuse_withdrawn(concern: Concern) -> None:
    if concern.withdrawn_at is not None:
        raise Refused(
            NOT_ALLOWED,
            f"Concern {concern.concern_id} was withdrawn at {concern.withdrawn_at}: raise a new one.",
        )


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
        return Concern(
            concern_id=event.concern_id,
            customer_id=event.customer_id,
            version=1,
            severity=event.severity,
            raised_at=happened.occurred_at,
            problem_id=event.problem_id,
        )
    assert isinstance(state, Concern)
    state = state._replace(version=state.version + 1)
    match event:
        case ConcernAcknowledged():
            return state._replace(acknowledged_at=happened.occurred_at)
        case ConcernAddressed(by=by):
            return state._replace(addressed_at=happened.occurred_at, addressed_by=by)
        case ConcernConfirmed():
            return state._replace(confirmed_at=happened.occurred_at)
        case ConcernWithdrawn():
            return state._replace(withdrawn_at=happened.occurred_at)
        case ConcernReopened():
            return state._replace(
                cycle=state.cycle + 1, acknowledged_at=None, addressed_at=None, addressed_by=None, confirmed_at=None
            )
    assert isinstance(event, UnknownAdmitted)
    return state
