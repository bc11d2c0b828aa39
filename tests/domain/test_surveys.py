"""survey.send and survey.answer."""

from typing import Any

from ledger.domain.contacts import ContactRecorded
from ledger.domain.surveys import AnswerSurvey, SendSurvey, SurveyAnswered, SurveySent
from tests.domain.story import day, given, on, order

K1 = {"contact_id": "K-1", "customer_id": "C-1"}
CONTACT = on(1, ContactRecorded(**K1, channel="phone", outcome="resolved"))
QUESTION = "Would you hire whom you spoke to?"
SEND = order(SendSurvey, contact_id="K-1", question=QUESTION)
SENT = SurveySent(**K1, question=QUESTION)
ANSWER = order(AnswerSurvey, contact_id="K-1", answer="yes", text="At once.")
ANSWERED = SurveyAnswered(**K1, answer="yes", text="At once.")


def test_one_question_after_a_contact_and_its_answer() -> None:
    given(CONTACT).when(SEND).then(SENT).so("survey:K-1", customer_id="C-1", sent_at=day(5), answer=None, version=1)
    given(CONTACT, on(2, SENT)).when(ANSWER).then(ANSWERED).so("survey:K-1", answered_at=day(5), answer="yes")
    assert SEND.streams() == ("survey:K-1", "contact:K-1")
    assert ANSWER.streams() == ("survey:K-1",)


def test_the_second_survey_of_a_contact() -> None:
    other: Any = order(SendSurvey, contact_id="K-1", question="And would you come again?")
    given(CONTACT, on(2, SENT)).when(other).refused("one-survey-a-contact", "K-1")


def test_a_contact_that_never_was_and_an_answer_to_nothing_or_twice() -> None:
    given().when(SEND).refused("unknown-contact", "K-1")
    given(CONTACT).when(ANSWER).refused("unknown-survey", "K-1")
    given(CONTACT, on(2, SENT), on(3, ANSWERED)).when(ANSWER).refused("not-allowed", "2026-03-03")
