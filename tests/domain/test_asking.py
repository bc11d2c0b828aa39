"""question.ask and answer, assumption.confirm and refute, remark.add, exposure.note."""

from typing import Any

import pytest

from ledger.domain.assumptions import AssumptionConfirmed, AssumptionRefuted, ConfirmAssumption, RefuteAssumption
from ledger.domain.disclosures import About, DisclosureFalsified
from ledger.domain.questions import AnswerQuestion, AskQuestion, QuestionAnswered, QuestionAsked
from ledger.domain.remarks import AddRemark, ExposureNoted, NoteExposure, RemarkAdded
from tests.domain.story import Fact, day, detected, given, made, on, order, raised, told

ASK: dict[str, Any] = {"question_id": "W-1", "customer_id": "C-1", "text": "Is the lamp on?"}
ANSWER = order(AnswerQuestion, question_id="W-1", text="No.")
ANSWERED = QuestionAnswered(question_id="W-1", customer_id="C-1", text="No.")


@pytest.mark.parametrize(("member", "name"), [("problem_id", "X-1"), ("concern_id", "Q-1")])
def test_a_question_is_asked_about_one_thing(member: str, name: str) -> None:
    command, event = order(AskQuestion, **ASK, **{member: name}), QuestionAsked(**ASK, **{member: name})
    given(detected(), raised()).when(command).then(event).so("question:W-1", asked_at=day(5), answered_at=None)
    given().when(command).refused(f"unknown-{member.removesuffix('_id')}", name)
    given(detected(), raised(), on(2, event)).when(command).refused("id-taken", "W-1")
    assert command.streams() == ("question:W-1", f"{member.removesuffix('_id')}:{name}")


def test_a_question_about_nothing_or_two_things_or_to_somebody_else() -> None:
    given().when(order(AskQuestion, **ASK)).refused("about-one-thing", "0 things are named")
    both = order(AskQuestion, **ASK, problem_id="X-1", concern_id="Q-1")
    given(detected(), raised()).when(both).refused("about-one-thing", "2")
    given(raised(customer_id="C-2")).when(order(AskQuestion, **ASK, concern_id="Q-1")).refused("wrong-customer", "C-1")


def test_a_question_is_answered_once() -> None:
    asked = on(2, QuestionAsked(**ASK, concern_id="Q-1"))
    given(asked).when(ANSWER).then(ANSWERED).so("question:W-1", answered_at=day(5), version=2)
    given(asked, on(3, ANSWERED)).when(ANSWER).refused("not-allowed", "2026-03-03")
    given().when(ANSWER).refused("unknown-question", "W-1")


ASSUMED = made(basis="assumed")
ASSUMED_DISCLOSURE = Fact(told().event.model_copy(update={"basis": "assumed"}), day(2))
PROMISE = {"promise_id": "P-1", "disclosure_id": None}
DISCLOSURE = {"promise_id": None, "disclosure_id": "D-1"}
SETTLED: dict[str, Any] = {"customer_id": "C-1", "evidence": "stock list 4"}


def settle(command: Any, **about: Any) -> Any:
    return order(command, evidence="stock list 4", **about)


@pytest.mark.parametrize(
    ("about", "stream"), [(PROMISE, "promise:P-1"), (DISCLOSURE, "disclosure:D-1")], ids=["promise", "disclosure"]
)
def test_an_assumption_is_settled_once(about: dict[str, Any], stream: str) -> None:
    facts = (ASSUMED, ASSUMED_DISCLOSURE)
    confirmed, command = AssumptionConfirmed(**SETTLED, **about), settle(ConfirmAssumption, **about)
    given(*facts).when(command).then(confirmed).so(
        f"assumption:{stream}", outcome="confirmed", settled_at=day(5), customer_id="C-1", version=1
    )
    for again in (command, settle(RefuteAssumption, **about)):
        given(*facts, on(3, confirmed)).when(again).refused("not-allowed", stream, "confirmed", "2026-03-03")
    assert command.streams() == (stream, f"assumption:{stream}")
    given().when(command).refused(f"unknown-{stream.partition(':')[0]}")
    given(made(), told()).when(command).refused("not-assumed", stream, "known")


def test_a_promise_whose_assumption_is_refuted_is_not_therefore_one_that_was_warned_of() -> None:
    refuted = AssumptionRefuted(**SETTLED, promise_id="P-1")
    given(ASSUMED).when(settle(RefuteAssumption)).then(refuted).so("promise:P-1", warned_at=None, version=1).so(
        "assumption:promise:P-1", outcome="refuted"
    )


FALSIFIED = DisclosureFalsified(disclosure_id="D-1", customer_id="C-1", known_since=day(5), assumption_refuted=True)


def test_a_disclosure_whose_assumption_is_refuted_is_a_falsehood() -> None:
    refuted = AssumptionRefuted(**SETTLED, disclosure_id="D-1")
    command = settle(RefuteAssumption, **DISCLOSURE)
    given(ASSUMED_DISCLOSURE).when(command).then(refuted, FALSIFIED).so(
        "disclosure:D-1", falsified_at=day(5), known_false_since=day(5)
    )
    given(ASSUMED_DISCLOSURE, on(4, FALSIFIED)).when(command).then(refuted)


def test_an_assumption_behind_nothing_or_two_things() -> None:
    given().when(settle(ConfirmAssumption, promise_id=None)).refused("about-one-thing", "0")
    both = settle(ConfirmAssumption, promise_id="P-1", disclosure_id="D-1")
    given(ASSUMED, ASSUMED_DISCLOSURE).when(both).refused("about-one-thing", "2")


REMARK: dict[str, Any] = {"remark_id": "R-1", "customer_id": "C-1", "text": "Kind on the phone."}


def test_what_colleagues_write_about_a_customer_is_on_record() -> None:
    given().when(order(AddRemark, **REMARK)).then(RemarkAdded(**REMARK)).so("remark:R-1", customer_id="C-1", version=1)
    given(on(2, RemarkAdded(**REMARK))).when(order(AddRemark, **REMARK)).refused("id-taken", "R-1")


@pytest.mark.parametrize(("member", "name"), [("problem_id", "X-1"), ("promise_id", "P-1"), ("concern_id", "Q-1")])
def test_a_remark_may_be_about_one_thing(member: str, name: str) -> None:
    command = order(AddRemark, **REMARK, about=About(**{member: name}))
    given(detected(), made(), raised()).when(command).then(RemarkAdded(**REMARK, **{f"about_{member}": name}))
    given().when(command).refused(f"unknown-{member.removesuffix('_id')}", name)
    assert command.streams() == ("remark:R-1", f"{member.removesuffix('_id')}:{name}")


def test_an_exposure_is_on_record_once() -> None:
    members = {"exposure_id": "E-1", "customer_id": "C-1", "url": "https://reviews.example/77"}
    given().when(order(NoteExposure, **members)).then(ExposureNoted(**members)).so(
        "exposure:E-1", customer_id="C-1", version=1
    )
    given(on(2, ExposureNoted(**members))).when(order(NoteExposure, **members)).refused(
        "id-taken", "There is an exposure E-1 already"
    )
    assert ExposureNoted.PERSONAL == ("url",)
