"""disclosure.make and disclosure.acknowledge."""

from typing import Any

import pytest

from ledger.domain.disclosures import (
    About,
    AcknowledgeDisclosure,
    DisclosureAcknowledged,
    DisclosureMade,
    MakeDisclosure,
)
from ledger.domain.promises import PromiseMade
from tests.domain.story import day, given, made, on, order, raised, told

MEMBERS: dict[str, Any] = {
    "disclosure_id": "D-2",
    "customer_id": "C-1",
    "text": "The lorry broke down.",
    "owner": "u-1",
    "apology": True,
    "channel": "phone",
    "basis": "known",
}


def tell(**changes: Any) -> MakeDisclosure:
    command: MakeDisclosure = order(MakeDisclosure, **MEMBERS | {"about": About(promise_id="P-1")} | changes)
    return command


def told_event(**changes: Any) -> DisclosureMade:
    return DisclosureMade(**MEMBERS | {"about_promise_id": "P-1"} | changes)


def test_what_was_said_is_on_record_and_so_is_what_it_rests_on() -> None:
    terms = {
        "reason_class": "transport",
        "control": "beyond",
        "solution_ref": "S-1",
        "based_on": ("D-1",),
        "outage_id": "O-1",
        "basis": "unknown",
        "apology": False,
    }
    given(made(), told()).when(tell(**terms)).then(told_event(**terms)).so(
        "disclosure:D-2", customer_id="C-1", owner="u-1", basis="unknown", based_on=("D-1",), made_at=day(5), version=1
    )


@pytest.mark.parametrize(
    ("about", "flat"),
    [
        ({"promise_id": "P-1"}, {"about_promise_id": "P-1"}),
        ({"concern_id": "Q-1"}, {"about_promise_id": None, "about_concern_id": "Q-1"}),
        ({"problem_id": "X-1"}, {"about_promise_id": None, "about_problem_id": "X-1"}),
    ],
)
def test_it_is_about_one_thing(about: dict[str, str], flat: dict[str, Any]) -> None:
    given(made(), raised()).when(tell(about=About(**about))).then(told_event(**flat))


@pytest.mark.parametrize("about", [{}, {"promise_id": "P-1", "concern_id": "Q-1"}])
def test_about_nothing_or_two_things(about: dict[str, str]) -> None:
    given(made(), raised()).when(tell(about=About(**about))).refused("about-one-thing", str(len(about)))


def test_about_what_does_not_exist() -> None:
    given().when(tell()).refused("unknown-promise", "P-1")
    given().when(tell(about=About(concern_id="Q-1"))).refused("unknown-concern", "Q-1")


def test_about_what_is_somebody_elses() -> None:
    given(made(customer_id="C-2")).when(tell()).refused("wrong-customer", "P-1", "C-1")
    given(raised(customer_id="C-2")).when(tell(about=About(concern_id="Q-1"))).refused("wrong-customer", "Q-1")


def test_an_id_names_one_disclosure_for_ever() -> None:
    given(made(), told("D-2")).when(tell()).refused("id-taken", "D-2")


def test_it_rests_on_disclosures_that_were_made_to_anybody() -> None:
    given(made(), told("D-1", "C-2")).when(tell(based_on=("D-1",))).then(told_event(based_on=("D-1",)))
    given(made()).when(tell(based_on=("D-9",))).refused("unknown-disclosure", "D-9")
    given(made()).when(tell(based_on=("D-2",))).refused("unknown-disclosure", "D-2")


@pytest.mark.parametrize("reason", ["personal", "Personal"])
def test_personal_is_no_reason(reason: str) -> None:
    given(made()).when(tell(reason_class=reason)).refused("personal-reason")


def test_a_solution_and_a_next_step() -> None:
    command = tell(solution_ref="S-1", next_step="We look again.")
    given(made()).when(command).refused("solution-or-next-step")


def update(**changes: Any) -> PromiseMade:
    terms: dict[str, Any] = {
        "promise_id": "D-2:next-update",
        "customer_id": "C-1",
        "kind": "update",
        "text": "We call the driver.",
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
        "due_at": day(6),
        "verification": "not_required",
        "based_on": ("D-2",),
    }
    return PromiseMade(**terms | changes)


def test_a_next_update_is_a_promise() -> None:
    command = tell(next_step="We call the driver.", next_update_at=day(6))
    event = told_event(next_step="We call the driver.", next_update_at=day(6))
    given(made()).when(command).then(event, update()).so(
        "promise:D-2:next-update", standing="active", due_at=day(6), made_at=day(5), based_on=("D-2",)
    )
    assert command.streams() == ("disclosure:D-2", "promise:P-1", "promise:D-2:next-update")


def test_a_next_update_without_a_step_says_so_in_our_words() -> None:
    command = tell(next_update_at=day(6))
    event = told_event(next_update_at=day(6))
    given(made()).when(command).then(event, update(text="We will tell you how things stand."))


def test_a_next_update_obeys_the_rules_of_making() -> None:
    given(made()).when(tell(next_update_at=day(4))).refused("due-before-made")
    given(made(), made("D-2:next-update")).when(tell(next_update_at=day(6))).refused("id-taken")


def test_the_id_of_a_next_update_is_an_id_too() -> None:
    longest = tell(disclosure_id="D" * 116, next_update_at=day(6))
    made_update = update(promise_id="D" * 116 + ":next-update", text="We will tell you how things stand.")
    event = told_event(disclosure_id="D" * 116, next_update_at=day(6))
    given(made()).when(longest).then(event, made_update.model_copy(update={"based_on": ("D" * 116,)}))
    given(made()).when(tell(disclosure_id="D" * 117, next_update_at=day(6))).refused("id-too-long", "116")
    given(made()).when(tell(disclosure_id="D" * 117)).then(told_event(disclosure_id="D" * 117))


ACKNOWLEDGED = DisclosureAcknowledged(disclosure_id="D-1", customer_id="C-1")


def test_the_customer_acknowledges() -> None:
    given(told()).when(order(AcknowledgeDisclosure, disclosure_id="D-1")).then(ACKNOWLEDGED).so(
        "disclosure:D-1", acknowledged_at=day(5), version=2
    )


def test_acknowledging_twice_or_what_was_never_said() -> None:
    command = order(AcknowledgeDisclosure, disclosure_id="D-1")
    given(told(), on(3, ACKNOWLEDGED)).when(command).refused("not-allowed", "2026-03-03")
    given().when(command).refused("unknown-disclosure", "D-1")
