"""Questions that we ask a customer instead of assuming, and the answers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.disclosures import refuse_unknown_about
from ledger.domain.errors import NOT_ALLOWED, Refused
from ledger.domain.lookups import existing, refuse_taken
from ledger.domain.model import Command, Event, Happened, Id, PersonalText, State, States

UNKNOWN_QUESTION: Final = "unknown-question"
RULES: Mapping[str, str] = {UNKNOWN_QUESTION: "A question must have been asked before it is answered."}


class AskQuestion(Command):
    """About exactly one of `problem_id` and `concern_id`."""

    TYPE = "question.ask"
    question_id: Id
    customer_id: Id
    text: PersonalText
    problem_id: Id | None = None
    concern_id: Id | None = None

    def about_streams(self) -> tuple[str, ...]:
        """The stream of what is asked about."""
        problem = () if self.problem_id is None else (f"problem:{self.problem_id}",)
        return (*problem, *(() if self.concern_id is None else (f"concern:{self.concern_id}",)))

    def streams(self) -> tuple[str, ...]:
        return (f"question:{self.question_id}", *self.about_streams())


class AnswerQuestion(Command):
    """The customer's answer."""

    TYPE = "question.answer"
    question_id: Id
    text: PersonalText

    def streams(self) -> tuple[str, ...]:
        return (f"question:{self.question_id}",)


class QuestionEvent(Event):
    """Something that happened to one question."""

    question_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"question:{self.question_id}"


class QuestionAsked(QuestionEvent):
    TOPIC = "question.asked"
    text: PersonalText | None = None
    problem_id: Id | None = None
    concern_id: Id | None = None


class QuestionAnswered(QuestionEvent):
    TOPIC = "question.answered"
    text: PersonalText | None = None


COMMANDS: Final[tuple[type[Command], ...]] = (AskQuestion, AnswerQuestion)
EVENTS: Final[tuple[type[Event], ...]] = (QuestionAsked, QuestionAnswered)


class Question(NamedTuple):
    """One question; open until it is answered."""

    question_id: str
    customer_id: str
    version: int
    problem_id: str | None
    concern_id: str | None
    asked_at: datetime
    answered_at: datetime | None = None


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event that the command becomes."""
    match command:
        case AskQuestion():
            refuse_taken(states, f"question:{command.question_id}")
            refuse_unknown_about(states, command.about_streams(), command.customer_id)
            asked = QuestionAsked(
                question_id=command.question_id,
                customer_id=command.customer_id,
                text=command.text,
                problem_id=command.problem_id,
                concern_id=command.concern_id,
            )
            return (asked,)
        case AnswerQuestion(question_id=question_id, text=text):
            question = existing(states, Question, f"question:{question_id}")
            if question.answered_at is not None:
                raise Refused(
                    NOT_ALLOWED, f"Question {question_id} was answered at {question.answered_at}: ask a new one."
                )
            return (QuestionAnswered(question_id=question_id, customer_id=question.customer_id, text=text),)
    raise AssertionError(command.TYPE)


def evolve(state: State | None, event: Event, happened: Happened) -> Question:
    """The question after `event`."""
    if isinstance(event, QuestionAsked):
        return Question(
            question_id=event.question_id,
            customer_id=event.customer_id,
            version=1,
            problem_id=event.problem_id,
            concern_id=event.concern_id,
            asked_at=happened.occurred_at,
        )
    assert isinstance(state, Question)
    assert isinstance(event, QuestionAnswered)
    return state._replace(version=state.version + 1, answered_at=happened.occurred_at)
