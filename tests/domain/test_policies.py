"""policy.publish: versions that never act backwards, and the calendars that come with them."""

from typing import Any

import pytest

from ledger.domain.calendars import week
from ledger.domain.policies import (
    CalendarPublished,
    CalendarRules,
    EscalationStep,
    Policy,
    PolicyPublished,
    PublishedCalendar,
    PublishPolicy,
    Times,
    calendar_at,
    policy_at,
)
from tests.domain.story import Fact, day, given, on, order, told_states

TIMES: dict[str, Any] = dict.fromkeys(Times.model_fields, 24)
BERLIN: dict[str, Any] = {
    "calendar_id": "de",
    "time_zone": "Europe/Berlin",
    "hours": ("mon 09:00-17:00",),
    "holidays": ("2026-12-25",),
    "covers_until": "2026-12-31",
}


def publish(**changes: Any) -> Any:
    members: dict[str, Any] = {
        "policy_id": "default",
        "approver": "u-9",
        "times": Times(**TIMES),
        "warn_percents": (50, 80),
        "escalation": (EscalationStep(after_hours=0, to="team-1"), EscalationStep(after_hours=24, to="boss")),
        "calendars": (CalendarRules(**BERLIN),),
        "tzdata_version": "2025b",
    }
    return order(PublishPolicy, **members | changes)


def published(effective: int = 5, **changes: Any) -> PolicyPublished:
    members: dict[str, Any] = {
        "policy_id": "default",
        "approver": "u-9",
        "effective_from": day(effective),
        "warn_percents": (50, 80),
        "escalation_to": ("team-1", "boss"),
        "escalation_after_hours": (0, 24),
        "calendars": ("de",),
        "tzdata_version": "2025b",
    }
    return PolicyPublished(**TIMES | members | changes)


def calendar(effective: int = 5, **changes: Any) -> CalendarPublished:
    members = {"policy_id": "default", "effective_from": day(effective), "tzdata_version": "2025b"}
    return CalendarPublished(**BERLIN | members | changes)


def test_a_policy_is_published_with_its_calendars() -> None:
    given().when(publish()).then(published(), calendar()).so("policy:default", version=1, customer_id=None).so(
        "calendar:de", version=1, policy_id="default", customer_id=None
    )
    assert publish().streams() == ("policy:default", "calendar:de")


def test_it_is_in_effect_from_its_recording_on_or_later() -> None:
    given().when(publish(), now=day(6)).then(published(6), calendar(6))
    given().when(publish(effective_from=day(8)), now=day(6)).then(published(8), calendar(8))
    given().when(publish(effective_from=day(6)), now=day(6)).then(published(6), calendar(6))
    given().when(publish(effective_from=day(5)), now=day(6)).refused("policy-backwards", "2026-03-05")


V1 = (on(1, published(1)), on(1, calendar(1)))


def test_a_version_takes_effect_no_earlier_than_the_one_before() -> None:
    later = on(4, published(9))
    given(later).when(publish(effective_from=day(8))).refused("policy-backwards", "Version 1", "2026-03-09")
    given(later).when(publish(effective_from=day(9))).then(published(9), calendar(9)).so("policy:default", version=2)


def states_of_two_versions() -> tuple[Policy, PublishedCalendar]:
    longer = calendar(9, hours=("mon 08:00-18:00",))
    facts: list[Fact] = [*V1, on(5, published(9, disclose_within_hours=48)), on(5, longer)]
    states = told_states(facts)
    policy, hours = states["policy:default"], states["calendar:de"]
    assert isinstance(policy, Policy)
    assert isinstance(hours, PublishedCalendar)
    return policy, hours


@pytest.mark.parametrize(("moment", "number"), [(day(1), 1), (day(8), 1), (day(9), 2), (day(20), 2)])
def test_each_moment_has_the_version_that_was_in_effect_then(moment: Any, number: int) -> None:
    policy, hours = states_of_two_versions()
    assert policy_at(policy, moment) == policy.versions[number - 1]
    found = calendar_at(hours, moment)
    assert found is not None
    assert found.number == number
    assert found.rules.week == week(("mon 09:00-17:00",) if number == 1 else ("mon 08:00-18:00",))


def test_before_the_first_version_there_is_none() -> None:
    policy, hours = states_of_two_versions()
    before = day(1).replace(year=2025)
    assert (policy_at(policy, before), calendar_at(hours, before)) == (None, None)


def test_who_writes_a_policy_does_not_approve_it() -> None:
    given().when(publish(approver="u-2")).refused("same-person", "u-2")


@pytest.mark.parametrize("percents", [(80, 50), (50, 50)])
def test_warnings_rise(percents: tuple[int, ...]) -> None:
    given().when(publish(warn_percents=percents)).refused("warnings-out-of-order")


@pytest.mark.parametrize("after_hours", [(24, 0), (24, 24)])
def test_each_step_of_the_escalation_comes_later(after_hours: tuple[int, int]) -> None:
    steps = tuple(EscalationStep(after_hours=each, to="boss") for each in after_hours)
    given().when(publish(escalation=steps)).refused("escalation-out-of-order")


@pytest.mark.parametrize(
    "wrong",
    [
        {"hours": ("mon 17:00-09:00",)},
        {"hours": ("mon 09:00-12:00", "mon 11:00-13:00")},
        {"holidays": ("2026-02-29",)},
        {"covers_until": "2026-13-01"},
    ],
    ids=str,
)
def test_a_calendar_that_cannot_be(wrong: dict[str, Any]) -> None:
    given().when(publish(calendars=(CalendarRules(**BERLIN | wrong),))).refused("calendar-impossible", "de")


def test_a_time_zone_that_nobody_lives_in() -> None:
    for zone in ("Europe/Atlantis", "Europe"):
        command = publish(calendars=(CalendarRules(**BERLIN | {"time_zone": zone}),))
        given().when(command).refused("unknown-time-zone", "de")


def test_a_calendar_belongs_to_one_policy_and_is_named_once() -> None:
    given(*V1).when(publish(policy_id="other")).refused("id-taken", "de", "default")
    given().when(publish(calendars=(CalendarRules(**BERLIN),) * 2)).refused("id-taken", "de")
