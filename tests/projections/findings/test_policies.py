"""The policy in effect when the cause happened decides, and the documented hours before any."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain.calendars import later
from ledger.domain.outages import OutageDeclared, OutageEnded
from ledger.domain.policies import PolicyPublished, Times
from ledger.domain.problem_messages import ResolutionClaimed, ResolutionFailed
from ledger.domain.promise_messages import PromiseBroken, PromiseDisputed
from projections.findings.facts import DEFAULT_HOURS
from tests.domain.story import Fact, day, detected, made, on, raised
from tests.projections.findings.story import claimed, disclosed, falsified, given, hours, promise

LAST = datetime.max.replace(tzinfo=UTC)


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


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_what_falls_due_beyond_all_years_falls_due_with_the_last_of_them(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    members: dict[str, Any] = {"about_problem_id": "X-1", "basis": "assumed", "apology": True}
    story = [
        made(for_team="T-1", basis="assumed", due_at=LAST),
        detected(known_since=moment),
        raised(),
        disclosed(1, **members),
        falsified(1, 1),
        claimed(1),
        promise(PromiseDisputed, 1),
        on(1, PromiseBroken(promise_id="P-1", customer_id="C-1", reason_code="stock", problem_id="X-1")),
        on(1, ResolutionClaimed(problem_id="X-1", root_cause_addressed=True)),
        on(1, ResolutionFailed(problem_id="X-1", customer_id="C-1")),
        on(1, OutageDeclared(outage_id="O-1", tool="crm")),
        on(1, OutageEnded(outage_id="O-1")),
    ]
    told = given([Fact(fact.event, moment) for fact in story])
    assert told.intervals("concern-unaddressed") == [(later(moment, hours(72)), None)]
    assert told.intervals("outage-list-open") == [(later(moment, hours(24)), None)]
