"""apology.make, goodwill.grant, need.decline, offering.publish: small facts, recorded once."""

from typing import Any

import pytest

from ledger.domain.apologies import ApologyMade, MakeApology
from ledger.domain.disclosures import About
from ledger.domain.goodwill import GoodwillGranted, GrantGoodwill
from ledger.domain.needs import DeclineNeed, NeedDeclined, ReferralMade
from ledger.domain.offerings import OfferingPublished, PublishOffering
from tests.domain.story import day, detected, given, made, on, order, raised


def apologise(**about: str) -> Any:
    members: dict[str, Any] = {
        "apology_id": "A-1",
        "customer_id": "C-1",
        "for": About(**about),
        "next_step": "We call.",
    }
    return order(MakeApology, **members)


def apologised(**about: str) -> ApologyMade:
    return ApologyMade(apology_id="A-1", customer_id="C-1", next_step="We call.", **about)


@pytest.mark.parametrize(("member", "name"), [("problem_id", "X-1"), ("promise_id", "P-1"), ("concern_id", "Q-1")])
def test_an_apology_is_for_one_thing(member: str, name: str) -> None:
    event = apologised(**{f"for_{member}": name})
    given(detected(), made(), raised()).when(apologise(**{member: name})).then(event).so(
        "apology:A-1", customer_id="C-1", version=1
    )
    given().when(apologise(**{member: name})).refused(f"unknown-{member.removesuffix('_id')}", name)


def test_an_apology_is_for_something_of_that_customer_and_made_once() -> None:
    given(made(customer_id="C-2")).when(apologise(promise_id="P-1")).refused("wrong-customer", "C-1")
    given().when(apologise()).refused("about-one-thing")
    given(made(), on(2, apologised(for_promise_id="P-1"))).when(apologise(promise_id="P-1")).refused("id-taken", "A-1")
    assert apologise(promise_id="P-1").streams() == ("apology:A-1", "promise:P-1")


def test_the_member_of_the_message_is_called_for() -> None:
    body = b"""{"actor":"u-1","occurred_at":"2026-03-05T00:00:00Z","apology_id":"A-1","customer_id":"C-1",
        "for":{"promise_id":"P-1"}}"""
    command: Any = MakeApology.__pydantic_validator__.validate_json(body, strict=True)
    assert command.about == About(promise_id="P-1")


GRANT: dict[str, Any] = {
    "goodwill_id": "G-1",
    "customer_id": "C-1",
    "amount": 2500,
    "currency": "EUR",
    "authority_limit": 2500,
}


def grant(**changes: Any) -> Any:
    return order(GrantGoodwill, **GRANT | changes)


def test_goodwill_within_ones_authority_needs_no_approval() -> None:
    given().when(grant()).then(GoodwillGranted(**GRANT)).so("goodwill:G-1", customer_id="C-1", version=1)
    given(on(2, GoodwillGranted(**GRANT))).when(grant()).refused("id-taken", "G-1")
    assert grant().streams() == ("goodwill:G-1",)


def test_goodwill_above_it_needs_somebody_elses() -> None:
    given().when(grant(amount=2501)).refused("approval-needed", "2501", "2500")
    given().when(grant(amount=2501, approver="u-2")).refused("same-person", "u-2")
    given().when(grant(amount=2501, approver="u-9")).then(GoodwillGranted(**GRANT | {"amount": 2501}, approver="u-9"))


N1 = {"need_id": "N-1", "customer_id": "C-1"}


def test_an_honest_no_with_a_competitors_name() -> None:
    declined = NeedDeclined(**N1, why="We build no boats.")
    command = order(DeclineNeed, **N1, why="We build no boats.", refer_to="Seaworthy Ltd.")
    given().when(command).then(declined, ReferralMade(**N1, refer_to="Seaworthy Ltd.")).so(
        "need:N-1", referred_to="Seaworthy Ltd.", version=2
    )
    given().when(order(DeclineNeed, **N1, why="We build no boats.")).then(declined).so("need:N-1", referred_to=None)
    given(on(2, declined)).when(command).refused("id-taken", "N-1")
    assert command.streams() == ("need:N-1",)


def test_an_offering_is_published_and_published_again() -> None:
    members: dict[str, Any] = {"offering_id": "O-1", "lead_time": "P3D", "valid_from": day(6), "valid_to": day(9)}
    command, event = order(PublishOffering, **members), OfferingPublished(**members)
    given().when(command).then(event).so("offering:O-1", lead_time="P3D", valid_from=day(6), version=1)
    faster = members | {"lead_time": "PT4H", "valid_to": None}
    given(on(2, event)).when(order(PublishOffering, **faster)).then(OfferingPublished(**faster)).so(
        "offering:O-1", lead_time="PT4H", valid_to=None, version=2, customer_id=None
    )
    given().when(order(PublishOffering, **members | {"valid_to": day(6)})).refused("valid-backwards", "O-1")
    assert command.streams() == ("offering:O-1",)
