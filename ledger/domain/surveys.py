"""Surveys: one question after a contact, and the customer's answer. One survey a contact, one answer a survey."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from ledger.domain.contacts import Contact
from ledger.domain.errors import NOT_ALLOWED, Refused
from ledger.domain.lookups import existing
from ledger.domain.model import Command, Event, Happened, Id, PersonalText, State, States

Answer = Literal["yes", "no"]

UNKNOWN_CONTACT: Final = "unknown-contact"
UNKNOWN_SURVEY: Final = "unknown-survey"
ONE_SURVEY: Final = "one-survey-a-contact"
RULES: Mapping[str, str] = {
    UNKNOWN_CONTACT: "A contact must have been recorded before anything is asked about it.",
    UNKNOWN_SURVEY: "A survey must have been sent before it is answered.",
    ONE_SURVEY: "One question, one survey a contact: customers are not worn out.",
}


class SendSurvey(Command):
    """`question`: the one question, such as whether they would hire whom they spoke to."""

    TYPE = "survey.send"
    contact_id: Id
    question: PersonalText

    def streams(self) -> tuple[str, ...]:
        return (f"survey:{self.contact_id}", f"contact:{self.contact_id}")


class AnswerSurvey(Command):
    TYPE = "survey.answer"
    contact_id: Id
    answer: Answer
    text: PersonalText | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"survey:{self.contact_id}",)


class SurveyEvent(Event):
    """Something that happened to the survey of one contact."""

    contact_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"survey:{self.contact_id}"


class SurveySent(SurveyEvent):
    TOPIC = "survey.sent"
    question: PersonalText | None = None


class SurveyAnswered(SurveyEvent):
    TOPIC = "survey.answered"
    answer: Answer
    text: PersonalText | None = None


COMMANDS: Final[tuple[type[Command], ...]] = (SendSurvey, AnswerSurvey)
EVENTS: Final[tuple[type[Event], ...]] = (SurveySent, SurveyAnswered)


class Survey(NamedTuple):
    """The survey of one contact."""

    contact_id: str
    customer_id: str
    version: int
    sent_at: datetime
    answered_at: datetime | None = None
    answer: Answer | None = None


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event that the command becomes."""
    match command:
        case SendSurvey(contact_id=contact_id, question=question):
            contact = existing(states, Contact, f"contact:{contact_id}")
            if states(f"survey:{contact_id}") is not None:
                raise Refused(ONE_SURVEY, f"Contact {contact_id} was asked about already: ask nothing more about it.")
            return (SurveySent(contact_id=contact_id, customer_id=contact.customer_id, question=question),)
        case AnswerSurvey(contact_id=contact_id, answer=answer, text=text):
            survey = existing(states, Survey, f"survey:{contact_id}")
            if survey.answered_at is not None:
                raise Refused(NOT_ALLOWED, f"The survey of contact {contact_id} was answered at {survey.answered_at}.")
            answered = SurveyAnswered(contact_id=contact_id, customer_id=survey.customer_id, answer=answer, text=text)
            return (answered,)
    raise AssertionError(command.TYPE)


def evolve(state: State | None, event: Event, happened: Happened) -> Survey:
    """The survey after `event`."""
    if isinstance(event, SurveySent):
        return Survey(event.contact_id, event.customer_id, 1, happened.occurred_at)
    assert isinstance(state, Survey)
    assert isinstance(event, SurveyAnswered)
    return state._replace(version=state.version + 1, answered_at=happened.occurred_at, answer=event.answer)
