"""Policies: the times that we hold ourselves to, warnings, calendars and the chain of escalation.

A policy is published in versions and never acts backwards: a version is in effect from its recording on, or later. What
was promised in business time keeps the version of the calendar that it was promised under. A calendar belongs to one
policy; each version of it is on the stream `calendar:<id>`, so that a promise reads that alone.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field

from ledger.domain.calendars import LAST_DAY, Calendar, week
from ledger.domain.errors import ID_TAKEN, Refused
from ledger.domain.lookups import refuse_same_person
from ledger.domain.model import (
    DAY_PATTERN,
    HOURS_PATTERN,
    TZDATA_PATTERN,
    ZONE_PATTERN,
    Command,
    Event,
    Happened,
    Id,
    Ids,
    Moment,
    Part,
    State,
    States,
)

Hours = Annotated[int, Field(ge=1, le=24 * 366)]
Percents = Annotated[tuple[Annotated[int, Field(ge=1, le=99)], ...], Field(max_length=16)]
AfterHours = Annotated[tuple[Annotated[int, Field(ge=0, le=24 * 366)], ...], Field(max_length=16)]
WorkingHours = Annotated[tuple[Annotated[str, Field(pattern=HOURS_PATTERN)], ...], Field(min_length=1, max_length=64)]
Day = Annotated[str, Field(pattern=DAY_PATTERN)]
Days = Annotated[tuple[Day, ...], Field(max_length=1024)]
ZoneName = Annotated[str, Field(pattern=ZONE_PATTERN)]
TzdataVersion = Annotated[str, Field(pattern=TZDATA_PATTERN)]

NO_CALENDAR: Final = "no-calendar"
POLICY_BACKWARDS: Final = "policy-backwards"
CALENDAR_IMPOSSIBLE: Final = "calendar-impossible"
UNKNOWN_TIME_ZONE: Final = "unknown-time-zone"
WARNINGS_OUT_OF_ORDER: Final = "warnings-out-of-order"
ESCALATION_OUT_OF_ORDER: Final = "escalation-out-of-order"
RULES: Mapping[str, str] = {
    NO_CALENDAR: "`due_in` is business time of a calendar: one that a published policy has in effect by then.",
    POLICY_BACKWARDS: "A policy never acts backwards: a version takes effect no earlier than it is recorded, and no "
    "earlier than the version before it.",
    CALENDAR_IMPOSSIBLE: "A calendar holds days that exist, and stretches of work that begin, end and do not overlap.",
    UNKNOWN_TIME_ZONE: "A calendar's time zone is one of the IANA database, such as Europe/Berlin.",
    WARNINGS_OUT_OF_ORDER: "The percentages at which warnings are due rise.",
    ESCALATION_OUT_OF_ORDER: "Each step of an escalation comes later than the one before.",
}


class Times(Part):
    """How long we allow ourselves, in hours of any day; past that it is a finding."""

    disclose_within_hours: Hours  # a problem, to each affected customer
    correct_within_hours: Hours  # a falsehood, to each who was told
    acknowledge_within_hours: Hours  # a concern
    address_within_hours: Hours  # a concern
    apologise_within_hours: Hours  # for a broken promise or a failed resolution
    accept_within_hours: Hours  # what was handed over, or made for another team
    verify_within_hours: Hours  # what was claimed, before it is closed by silence
    confirm_within_hours: Hours  # an assumption
    clear_within_hours: Hours  # the list of an outage, after its end
    silent_after_hours: Hours  # a customer to whom something is owed and nothing is said
    neglected_after_hours: Hours  # a customer of whom nothing at all is heard or asked


class EscalationStep(Part):
    """Whom an overdue promise is announced to, so long after its due time, unless somebody acknowledged it."""

    after_hours: Annotated[int, Field(ge=0, le=24 * 366)]
    to: Id


class CalendarRules(Part):
    """`hours`: lines such as `mon 09:00-12:00`. `holidays` are complete up to and including `covers_until`."""

    calendar_id: Id
    time_zone: ZoneName
    hours: WorkingHours
    holidays: Days = ()
    covers_until: Day


class PublishPolicy(Command):
    """Written by the actor, approved by somebody else. Without `effective_from` it is in effect from its recording on.

    `tzdata_version`: the version of the IANA database that the publisher reckons with.
    """

    TYPE = "policy.publish"
    policy_id: Id
    approver: Id
    effective_from: Moment | None = None
    times: Times
    warn_percents: Percents = ()
    escalation: Annotated[tuple[EscalationStep, ...], Field(max_length=16)] = ()
    calendars: Annotated[tuple[CalendarRules, ...], Field(max_length=16)] = ()
    tzdata_version: TzdataVersion

    def streams(self) -> tuple[str, ...]:
        return (f"policy:{self.policy_id}", *(f"calendar:{each.calendar_id}" for each in self.calendars))


class PolicyPublished(Event):
    """`calendars` names those published with it; `escalation_to[i]` comes `escalation_after_hours[i]` after due."""

    TOPIC = "policy.published"
    policy_id: Id
    approver: Id
    effective_from: Moment
    disclose_within_hours: Hours
    correct_within_hours: Hours
    acknowledge_within_hours: Hours
    address_within_hours: Hours
    apologise_within_hours: Hours
    accept_within_hours: Hours
    verify_within_hours: Hours
    confirm_within_hours: Hours
    clear_within_hours: Hours
    silent_after_hours: Hours
    neglected_after_hours: Hours
    warn_percents: Percents = ()
    escalation_to: Ids = ()
    escalation_after_hours: AfterHours = ()
    calendars: Ids = ()
    tzdata_version: TzdataVersion

    @property
    def stream(self) -> str:
        return f"policy:{self.policy_id}"


class CalendarPublished(Event):
    """One version of a calendar: its number is that of the event in the stream."""

    TOPIC = "policy.calendar_published"
    calendar_id: Id
    policy_id: Id
    effective_from: Moment
    time_zone: ZoneName
    hours: WorkingHours
    holidays: Days = ()
    covers_until: Day
    tzdata_version: TzdataVersion

    @property
    def stream(self) -> str:
        return f"calendar:{self.calendar_id}"


COMMANDS: Final[tuple[type[Command], ...]] = (PublishPolicy,)
EVENTS: Final[tuple[type[Event], ...]] = (PolicyPublished, CalendarPublished)


class Policy(NamedTuple):
    """One policy: all its versions, the first one at index 0."""

    policy_id: str
    version: int
    versions: tuple[PolicyPublished, ...]

    @property
    def customer_id(self) -> None:
        """A policy is nobody's."""


class CalendarVersion(NamedTuple):
    """One version of a calendar. `number` counts from 1."""

    number: int
    effective_from: datetime
    tzdata_version: str
    rules: Calendar


class PublishedCalendar(NamedTuple):
    """One calendar: all its versions, the first one at index 0."""

    calendar_id: str
    version: int
    policy_id: str
    versions: tuple[CalendarVersion, ...]

    @property
    def customer_id(self) -> None:
        """A calendar is nobody's."""


def in_effect(effective_from: Sequence[datetime], at: datetime) -> int | None:
    """The index of the version in effect at `at`: of those that took effect by then the last; None before the first.

    `effective_from` rises. It may be of several policies: the one that took effect last counts, and of two that took
    effect at one moment the one that stands later.
    """
    index = bisect_right(effective_from, at)
    return index - 1 if index else None


def policy_at(policy: Policy, at: datetime) -> PolicyPublished | None:
    """The version in effect at `at`; None before the first."""
    index = in_effect([each.effective_from for each in policy.versions], at)
    return None if index is None else policy.versions[index]


def calendar_at(calendar: PublishedCalendar, at: datetime) -> CalendarVersion | None:
    """The version in effect at `at`; None before the first."""
    index = in_effect([each.effective_from for each in calendar.versions], at)
    return None if index is None else calendar.versions[index]


def calendar_for(states: States, calendar_id: str, at: datetime) -> CalendarVersion:
    """The version of that calendar to promise under at `at`; refused `no-calendar` where none is in effect."""
    calendar = states(f"calendar:{calendar_id}")
    assert calendar is None or isinstance(calendar, PublishedCalendar)
    version = None if calendar is None else calendar_at(calendar, at)
    if version is None:
        raise Refused(
            NO_CALENDAR, f"No published policy has a calendar {calendar_id} in effect at {at}: give due_at instead."
        )
    return version


def calendar_version(states: States, calendar_id: str, number: int) -> CalendarVersion:
    """The version of a calendar that something was promised under."""
    calendar = states(f"calendar:{calendar_id}")
    assert isinstance(calendar, PublishedCalendar)
    return calendar.versions[number - 1]


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The next version of the policy, and of each calendar that it brings."""
    assert isinstance(command, PublishPolicy)
    refuse_same_person(command.approver, command.actor)
    effective_from = command.effective_from or now
    _refuse_backwards(command.policy_id, effective_from, states, now)
    if any(later <= earlier for earlier, later in pairwise(command.warn_percents)):
        raise Refused(WARNINGS_OUT_OF_ORDER, "warn_percents do not rise: put them in order, each once.")
    after_hours = tuple(step.after_hours for step in command.escalation)
    if any(later <= earlier for earlier, later in pairwise(after_hours)):
        raise Refused(ESCALATION_OUT_OF_ORDER, "after_hours of the escalation do not rise: put the steps in order.")
    calendar_ids = tuple(each.calendar_id for each in command.calendars)
    published = PolicyPublished(
        policy_id=command.policy_id,
        approver=command.approver,
        effective_from=effective_from,
        **{name: getattr(command.times, name) for name in Times.model_fields},
        warn_percents=command.warn_percents,
        escalation_to=tuple(step.to for step in command.escalation),
        escalation_after_hours=after_hours,
        calendars=calendar_ids,
        tzdata_version=command.tzdata_version,
    )
    for index, calendar_id in enumerate(calendar_ids):
        if calendar_id in calendar_ids[:index]:
            raise Refused(ID_TAKEN, f"Two calendars are {calendar_id}: give each an id of its own.")
    return published, *(_calendar(rules, command, effective_from, states) for rules in command.calendars)


def _refuse_backwards(policy_id: str, effective_from: datetime, states: States, now: datetime) -> None:
    if effective_from < now:
        raise Refused(POLICY_BACKWARDS, f"The policy is to take effect at {effective_from}, which has passed: move it.")
    policy = states(f"policy:{policy_id}")
    assert policy is None or isinstance(policy, Policy)
    if policy is not None and effective_from < policy.versions[-1].effective_from:
        raise Refused(
            POLICY_BACKWARDS,
            f"Version {policy.version} of policy {policy_id} takes effect at {policy.versions[-1].effective_from}: the "
            "next one takes effect no earlier.",
        )


def _calendar(
    rules: CalendarRules, command: PublishPolicy, effective_from: datetime, states: States
) -> CalendarPublished:
    calendar = states(f"calendar:{rules.calendar_id}")
    assert calendar is None or isinstance(calendar, PublishedCalendar)
    if calendar is not None and calendar.policy_id != command.policy_id:
        raise Refused(
            ID_TAKEN, f"The calendar {rules.calendar_id} belongs to policy {calendar.policy_id}: name it otherwise."
        )
    event = CalendarPublished(
        policy_id=command.policy_id,
        effective_from=effective_from,
        tzdata_version=command.tzdata_version,
        **{name: getattr(rules, name) for name in CalendarRules.model_fields},
    )
    try:
        _rules(event)
    except ValueError as error:  # texts of ours and of datetime: days and hours
        raise Refused(
            CALENDAR_IMPOSSIBLE, f"Calendar {rules.calendar_id} is impossible ({error}): correct it."
        ) from error
    try:
        ZoneInfo(rules.time_zone)
    except (KeyError, OSError, ValueError) as error:
        raise Refused(
            UNKNOWN_TIME_ZONE, f"The time zone of calendar {rules.calendar_id} is not one of the IANA database."
        ) from error
    return event


def _rules(event: CalendarPublished) -> Calendar:
    """The rules as they are counted with. Raises ValueError where they are impossible."""
    return Calendar(
        time_zone=event.time_zone,
        week=week(event.hours),
        holidays=frozenset(map(date.fromisoformat, event.holidays)),
        covers_until=min(date.fromisoformat(event.covers_until), LAST_DAY),
    )


def evolve(state: State | None, event: Event, happened: Happened) -> Policy | PublishedCalendar:
    """The policy, or the calendar, with one more version."""
    if isinstance(event, PolicyPublished):
        policy: Any = state or Policy(event.policy_id, 0, ())
        assert isinstance(policy, Policy)
        return policy._replace(version=policy.version + 1, versions=(*policy.versions, event))
    assert isinstance(event, CalendarPublished)
    calendar: Any = state or PublishedCalendar(event.calendar_id, 0, event.policy_id, ())
    assert isinstance(calendar, PublishedCalendar)
    number = calendar.version + 1
    published = CalendarVersion(number, event.effective_from, event.tzdata_version, _rules(event))
    return calendar._replace(version=number, versions=(*calendar.versions, published))
