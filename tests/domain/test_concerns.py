"""concern.raise, acknowledge, address, withdraw, confirm and admit_unknown."""

from typing import Any

import pytest

from ledger.domain.concerns import (
    AcknowledgeConcern,
    AddressConcern,
    AdmitUnknown,
    ConcernAcknowledged,
    ConcernAddressed,
    ConcernConfirmed,
    ConcernRaised,
    ConcernReopened,
    ConcernWithdrawn,
    ConfirmConcern,
    RaiseConcern,
    UnknownAdmitted,
    WithdrawConcern,
)
from ledger.domain.problem_messages import ProblemConcernOpened, ProblemConcernSettled
from ledger.domain.promise_messages import PromiseMade, PromiseTerms
from tests.domain.story import day, detected, given, made, on, order, raised

Q1 = {"concern_id": "Q-1", "customer_id": "C-1"}
RAISE = order(RaiseConcern, **Q1, text="Will it ever come?", severity=2)
ACKNOWLEDGE = order(AcknowledgeConcern, concern_id="Q-1", restated="You fear it is lost.")
ADDRESS = order(AddressConcern, concern_id="Q-1", how="We showed where it is.", by="D-1")
ACKNOWLEDGED = ConcernAcknowledged(**Q1, restated="You fear it is lost.")
ADDRESSED = ConcernAddressed(**Q1, how="We showed where it is.", by="D-1")
REOPENED = ConcernReopened(**Q1, followup_id="F-1")
WITHDRAW = order(WithdrawConcern, concern_id="Q-1")
WITHDRAWN = ConcernWithdrawn(**Q1)
CONFIRM = order(ConfirmConcern, concern_id="Q-1")
CONFIRMED = ConcernConfirmed(**Q1)
ABOUT_PROBLEM = on(1, ConcernRaised(**Q1, text="Will it ever come?", problem_id="X-1"))
OPENED = ProblemConcernOpened(**Q1, problem_id="X-1")
SETTLED = ProblemConcernSettled(**Q1, problem_id="X-1")
ANSWER: dict[str, Any] = {
    "promise_id": "P-1",
    "customer_id": "C-1",
    "kind": "answer",
    "text": "We find out.",
    "owner": "u-1",
    "channel": "phone",
    "basis": "known",
    "due_at": day(7),
}


def admit(**changes: Any) -> Any:
    return order(AdmitUnknown, concern_id="Q-1", promise=PromiseTerms(**ANSWER | changes))


def test_a_concern_is_raised_acknowledged_and_addressed() -> None:
    given().when(RAISE).then(ConcernRaised(**Q1, text="Will it ever come?", severity=2)).so(
        "concern:Q-1", raised_at=day(5), severity=2, cycle=1, acknowledged_at=None, addressed_at=None
    )
    given(raised()).when(ACKNOWLEDGE).then(ACKNOWLEDGED).so("concern:Q-1", acknowledged_at=day(5), addressed_at=None)
    given(raised(), on(3, ACKNOWLEDGED)).when(ADDRESS).then(ADDRESSED).so(
        "concern:Q-1", acknowledged_at=day(3), addressed_at=day(5), addressed_by="D-1", version=3
    )


def test_a_solution_before_listening_is_recorded_and_may_be_acknowledged_later() -> None:
    given(raised()).when(ADDRESS).then(ADDRESSED).so("concern:Q-1", acknowledged_at=None, addressed_at=day(5))
    given(raised(), on(3, ADDRESSED)).when(ACKNOWLEDGE).then(ACKNOWLEDGED)


@pytest.mark.parametrize(("command", "done"), [(ACKNOWLEDGE, ACKNOWLEDGED), (ADDRESS, ADDRESSED)])
def test_each_is_done_once_a_cycle(command: Any, done: Any) -> None:
    given(raised(), on(3, done)).when(command).refused("not-allowed", "Q-1", "2026-03-03")
    given(raised(), on(3, done), on(4, REOPENED)).when(command).then(done).so("concern:Q-1", cycle=2)


def test_an_id_names_one_concern_for_ever() -> None:
    given(raised(customer_id="C-2")).when(RAISE).refused("id-taken", "Q-1")


@pytest.mark.parametrize("command", [ACKNOWLEDGE, ADDRESS, WITHDRAW, CONFIRM, admit()])
def test_there_must_be_a_concern(command: Any) -> None:
    given().when(command).refused("unknown-concern", "Q-1")


def test_the_customer_confirms_what_was_addressed_once_a_cycle() -> None:
    given(raised(), on(3, ADDRESSED)).when(CONFIRM).then(CONFIRMED).so("concern:Q-1", confirmed_at=day(5))
    given(raised()).when(CONFIRM).refused("not-allowed", "concern.address")
    given(raised(), on(3, ADDRESSED), on(4, CONFIRMED)).when(CONFIRM).refused("not-allowed", "2026-03-04")
    again = (on(3, ADDRESSED), on(4, CONFIRMED), on(4, REOPENED), on(4, ADDRESSED))
    given(raised(), *again).when(CONFIRM).then(CONFIRMED)


def test_the_customer_takes_a_concern_back() -> None:
    given(raised()).when(WITHDRAW).then(WITHDRAWN).so("concern:Q-1", withdrawn_at=day(5), is_open=False)
    given(raised(), on(3, ADDRESSED)).when(WITHDRAW).then(WITHDRAWN)
    given(raised(), on(3, ADDRESSED), on(4, CONFIRMED)).when(WITHDRAW).refused("not-allowed", "2026-03-04")


@pytest.mark.parametrize("command", [ACKNOWLEDGE, ADDRESS, CONFIRM, WITHDRAW, admit()])
def test_nothing_more_happens_to_what_was_taken_back(command: Any) -> None:
    given(raised(), on(4, WITHDRAWN)).when(command).refused("not-allowed", "withdrawn", "2026-03-04")


def test_not_knowing_is_admitted_with_the_promise_of_an_answer() -> None:
    admitted = UnknownAdmitted(**Q1, promise_id="P-1")
    given(raised()).when(admit()).then(admitted, PromiseMade(**ANSWER, verification="required")).so(
        "promise:P-1", kind="answer", made_at=day(5), due_at=day(7)
    ).so("concern:Q-1", is_open=True, version=2)
    assert admit(based_on=("D-1",)).streams() == ("concern:Q-1", "promise:P-1", "disclosure:D-1")


def test_an_answer_is_promised_to_whoever_asked_and_obeys_the_rules_of_making() -> None:
    given(raised()).when(admit(kind="fix")).refused("not-an-answer", "P-1")
    given(raised()).when(admit(customer_id="C-2")).refused("wrong-customer", "C-1")
    given(raised()).when(admit(due_at=day(4))).refused("due-before-made")
    given(raised(), made()).when(admit()).refused("id-taken", "P-1")
    given(raised(), on(3, ADDRESSED)).when(admit()).refused("not-allowed", "addressed")


def test_the_problem_knows_which_concerns_about_it_are_open() -> None:
    command = order(RaiseConcern, **Q1, text="Will it ever come?", problem_id="X-1")
    given(detected()).when(command).then(ABOUT_PROBLEM.event, OPENED).so("problem:X-1", open_concerns={"Q-1"})
    given().when(command).refused("unknown-problem", "X-1")
    assert command.streams() == ("concern:Q-1", "problem:X-1")


@pytest.mark.parametrize(("command", "event"), [(ADDRESS, ADDRESSED), (WITHDRAW, WITHDRAWN)])
def test_the_problem_knows_when_they_are_settled(command: Any, event: Any) -> None:
    given(detected(), ABOUT_PROBLEM, on(2, OPENED)).when(command).then(event, SETTLED).so(
        "problem:X-1", open_concerns=set()
    )


def test_a_concern_is_settled_once() -> None:
    facts = (detected(), ABOUT_PROBLEM, on(2, OPENED), on(3, ADDRESSED), on(3, SETTLED))
    given(*facts).when(WITHDRAW).then(WITHDRAWN)
