"""The policy in effect when the cause happened decides, and the documented hours before any."""

from typing import Any

from ledger.domain.policies import PolicyPublished, Times
from projections.findings.facts import DEFAULT_HOURS
from tests.domain.story import Fact, day, made, on, raised
from tests.projections.findings.story import claimed, given


def published(number: int, effective: int | None = None, policy_id: str = "Y-1", **changes: int) -> Fact:
    members: dict[str, Any] = {
        "policy_id": policy_id,
        "approver": "u-9",
        "effective_from": day(effective or number),
        "tzdata_version": "2026a",
    }
    return on(number, PolicyPublished(**members | DEFAULT_HOURS | changes))


def test_every_time_of_a_policy_has_its_default() -> None:
    assert set(DEFAULT_HOURS) == set(Times.model_fields)


def test_a_version_counts_from_when_it_takes_effect() -> None:
    facts = [published(1, 3, verify_within_hours=24), made(), claimed(2)]
    assert given(facts).intervals("closed-by-silence") == [(day(9), None)]
    facts = [published(1, 3, verify_within_hours=24), made(), claimed(3)]
    assert given(facts).intervals("closed-by-silence") == [(day(4), None)]


def test_of_several_the_one_that_took_effect_last_counts() -> None:
    late, soon = published(1, 4, verify_within_hours=48), published(1, 3, "Y-2", verify_within_hours=24)
    assert given(late, soon, made(), claimed(5)).intervals("closed-by-silence") == [(day(7), None)]
    assert given(late, soon, made(), claimed(3)).intervals("closed-by-silence") == [(day(4), None)]


def test_a_policy_never_acts_backwards() -> None:
    told = given(raised(), published(2, acknowledge_within_hours=1, address_within_hours=1))
    assert told.intervals("concern-unacknowledged") == [(day(2), None)]
    assert told.intervals("concern-unaddressed") == [(day(4), None)]
