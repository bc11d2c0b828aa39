"""promise.make and promise.supersede: what may be promised at all."""

from typing import Any

import pytest

from ledger.domain.promise_messages import (
    Condition,
    MakePromise,
    PromiseMade,
    PromiseSuperseded,
    PromiseTerms,
    SupersedePromise,
)
from tests.domain.story import Fact, day, given, made, on, order, told

TERMS: dict[str, Any] = {
    "promise_id": "P-1",
    "customer_id": "C-1",
    "kind": "deliver",
    "text": "The router comes.",
    "owner": "u-1",
    "channel": "phone",
    "basis": "known",
    "due_at": day(10),
}


def make(**changes: Any) -> MakePromise:
    command: MakePromise = order(MakePromise, 1, **TERMS | changes)
    return command


def made_event(**changes: Any) -> PromiseMade:
    return PromiseMade(**TERMS | {"verification": "required"} | changes)


def test_a_promise_starts_active_running_and_in_its_first_cycle() -> None:
    given().when(make()).then(made_event()).so(
        "promise:P-1",
        standing="active",
        fulfilment="none",
        ended_as=None,
        cycle=1,
        made_at=day(1),
        due_at=day(10),
        original_due_at=day(10),
        owner="u-1",
        accepted=True,
        customer_kind="external",
        version=1,
    )


def test_every_term_is_on_record() -> None:
    terms = {
        "verification": "not_required",
        "based_on": ("D-1",),
        "offering_id": "O-1",
        "customer_kind": "internal",
        "basis": "assumed",
        "for_team": "T-1",
    }
    given(told()).when(make(**terms)).then(made_event(**terms)).so("promise:P-1", accepted=False, **terms)


def test_with_a_condition_it_starts_conditional() -> None:
    condition = Condition(text="You pay the deposit.", by=day(5))
    event = made_event(condition_text="You pay the deposit.", condition_by=day(5))
    given().when(make(condition=condition)).then(event).so(
        "promise:P-1", standing="conditional", fulfilment="none", condition_by=day(5)
    )


def test_a_condition_may_be_decided_on_the_due_day_itself() -> None:
    event = made_event(condition_text="x", condition_by=day(10))
    given().when(make(condition=Condition(text="x", by=day(10)))).then(event)


def test_due_at_the_moment_of_making_is_not_before_it() -> None:
    given().when(make(due_at=day(1))).then(made_event(due_at=day(1)))


def test_due_before_it_was_made() -> None:
    given().when(make(due_at=day(1).replace(year=2025))).refused("due-before-made", "before it was made: correct")


def test_no_due_time_at_all() -> None:
    given().when(make(due_at=None)).refused("due-missing", "due_at")


@pytest.mark.parametrize(
    "business",
    [
        {"due_in": "PT8H"},
        {"calendar_id": "de"},
        {"due_in": "PT8H", "calendar_id": "de"},
        {"due_in": "PT8H", "due_at": None},
        {"calendar_id": "de", "due_at": None},
    ],
)
def test_due_at_a_moment_or_in_business_time_of_a_calendar(business: dict[str, Any]) -> None:
    given().when(make(**business)).refused("one-due", "P-1", "due_at", "calendar_id")


def test_business_time_needs_a_published_policy() -> None:
    command = make(due_in="PT8H", calendar_id="de", due_at=None)
    given().when(command).refused("no-calendar", "de", "due_at")
    assert command.streams() == ("promise:P-1", "calendar:de")


def test_an_id_names_one_promise_for_ever() -> None:
    given(made()).when(make(customer_id="C-2")).refused("id-taken", "P-1")


def test_a_condition_is_decided_before_the_due_time() -> None:
    given().when(make(condition=Condition(text="x", by=day(11)))).refused("condition-after-due", ": move one")


def test_a_condition_whose_deadline_has_passed_is_none() -> None:
    command = make(condition=Condition(text="x", by=day(1).replace(year=2025)))
    given().when(command).refused("condition-passed", ": correct")


def test_it_rests_on_disclosures_that_were_made() -> None:
    given(told("D-1")).when(make(based_on=("D-1", "D-2"))).refused("unknown-disclosure", "D-2")


def supersede(**changes: Any) -> SupersedePromise:
    terms = PromiseTerms(**TERMS | {"promise_id": "P-2", "due_at": day(20)} | changes)
    command: SupersedePromise = order(SupersedePromise, disclosure_id="D-1", promise=terms)
    return command


def superseded(**changes: Any) -> tuple[PromiseSuperseded, PromiseMade]:
    old = PromiseSuperseded(promise_id="P-1", customer_id="C-1", superseded_by="P-2", disclosure_id="D-1")
    return old, made_event(promise_id="P-2", due_at=day(20), **changes)


def test_superseding_ends_the_old_promise_and_makes_the_new_one() -> None:
    given(made(), told()).when(supersede()).then(*superseded()).so(
        "promise:P-1", standing="ended", ended_as="superseded", ended_at=day(5)
    ).so("promise:P-2", standing="active", made_at=day(5), due_at=day(20), original_due_at=day(20))


def test_superseding_reads_every_stream_that_it_names() -> None:
    streams = supersede(based_on=("D-7",)).streams()
    assert streams == ("promise:P-1", "disclosure:D-1", "promise:P-2", "disclosure:D-7")


@pytest.mark.parametrize("disclosed", [(), (told("D-1", "C-2"),)])
def test_superseding_without_having_told_that_customer(disclosed: tuple[Fact, ...]) -> None:
    given(made(), *disclosed).when(supersede()).refused("undisclosed-supersede", "D-1", "C-1")


def test_superseding_with_a_promise_to_somebody_else() -> None:
    given(made(), told()).when(supersede(customer_id="C-2")).refused("wrong-customer")


def test_superseding_by_itself() -> None:
    given(made(), told()).when(supersede(promise_id="P-1")).refused("id-taken")


def test_the_new_promise_obeys_the_rules_of_making() -> None:
    given(made(), told()).when(supersede(due_at=day(2))).refused("due-before-made")
    given(made(), told()).when(supersede(based_on=("D-9",))).refused("unknown-disclosure")


def test_superseding_what_has_ended() -> None:
    ended = on(3, superseded()[0])
    given(made(), told(), ended).when(supersede(promise_id="P-3")).refused("not-allowed", "superseded")
