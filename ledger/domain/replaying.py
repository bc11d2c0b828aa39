"""Deciding again: whether the rules make of a command, once more, the events that the log has for it.

The log keeps no commands. But each event says nearly all of the command that it came from, so that the command can be
put together again and given to the same `decide`, over the states that the log gives; no rule is written a second time.
What is not known are words: they are sealed, and no rule looks at them.

Business time is counted by the installed version of the time zones, which may be a later one than that by which a due
time was once resolved. So the moments counted are taken from the log, and what is refused by them alone is let pass.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime
from functools import cache
from itertools import zip_longest
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import ValidationError

from ledger.domain import lifecycle
from ledger.domain.deadlines import MOOT
from ledger.domain.disclosures import About
from ledger.domain.dispatch import COMMANDS, decide
from ledger.domain.erasures import as_recorded, is_erased
from ledger.domain.errors import Refused
from ledger.domain.escalations import ALREADY_ACKNOWLEDGED
from ledger.domain.followups import FollowUpAbout
from ledger.domain.model import Command, Event, Happened, State, States, is_personal
from ledger.domain.needs import ReferralMade
from ledger.domain.policies import CalendarPublished, CalendarRules, EscalationStep, Times
from ledger.domain.problem_messages import ResolutionVerified, ResolveProblem
from ledger.domain.problems import CUSTOMERS_UNTOLD, Problem
from ledger.domain.promise_messages import (
    ClaimPromiseKept,
    Condition,
    PromiseClaimedKept,
    PromiseCommand,
    PromiseMade,
    PromiseResumed,
    PromiseTerms,
)
from ledger.domain.promise_state import Promise
from ledger.domain.promises import BEYOND_CALENDAR, CONDITION_AFTER_DUE
from ledger.domain.refusals import CommandRefused

E = TypeVar("E", bound=Event)
WORDS: Final = "(sealed)"

COMMAND_OF: Final[Mapping[str, str]] = {row.event: row.command for row in lifecycle.TABLE} | {
    "problem.detected": "problem.detect",
    "problem.customers_affected": "problem.affect",
    "problem.cause_recorded": "problem.record_cause",
    "problem.action_planned": "problem.plan",
    "problem.ownership_taken": "problem.take_ownership",
    "problem.resolution_claimed": "problem.resolve",
    "problem.resolution_verified": "problem.verify",
    "problem.resolution_failed": "problem.verify",
    "problem.reported": "problem.reported",
    "disclosure.made": "disclosure.make",
    "disclosure.correction_delivered": "disclosure.correct",
    "disclosure.withheld": "disclosure.withhold",
    "disclosure.falsified": "disclosure.falsify",
    "disclosure.acknowledged": "disclosure.acknowledge",
    "concern.raised": "concern.raise",
    "concern.acknowledged": "concern.acknowledge",
    "concern.addressed": "concern.address",
    "concern.withdrawn": "concern.withdraw",
    "concern.confirmed": "concern.confirm",
    "concern.unknown_admitted": "concern.admit_unknown",
    "followup.scheduled": "followup.schedule",
    "followup.attempted": "followup.attempt",
    "followup.completed": "followup.complete",
    "contact.recorded": "contact.record",
    "survey.sent": "survey.send",
    "survey.answered": "survey.answer",
    "outage.declared": "outage.declare",
    "outage.ended": "outage.end",
    "note.taken": "note.take",
    "note.cleared": "note.clear",
    "note.followed_up": "note.followed_up",
    "apology.made": "apology.make",
    "goodwill.granted": "goodwill.grant",
    "offering.published": "offering.publish",
    "need.declined": "need.decline",
    "question.asked": "question.ask",
    "question.answered": "question.answer",
    "assumption.confirmed": "assumption.confirm",
    "assumption.refuted": "assumption.refute",
    "remark.added": "remark.add",
    "exposure.noted": "exposure.note",
    "customer.lost": "customer.lost",
    "customer.returned": "customer.returned",
    "policy.published": "policy.publish",
    "hold.placed": "hold.place",
    "hold.lifted": "hold.lift",
    "subject.erasure_deferred": "subject.erase",
    "subject.erasure_requested": "subject.erase",
    "subject.erasure_completed": "subject.complete_erasure",
    "keys.rewrapped": "keys.rewrap",
    "log.recovered": "log.recover",
    "log.key_rotated": "log.rotate_key",
}
"""The command that an event comes from, where it is the first that the command becomes."""

_COUNTED_CODES: Final = (BEYOND_CALENDAR, CONDITION_AFTER_DUE, MOOT)
_ROUND_CODES: Final = (MOOT, ALREADY_ACKNOWLEDGED)
_COUNTED: Final[Mapping[type[Event], Set[str]]] = {
    PromiseMade: {"due_at"},
    PromiseResumed: {"old_due_at", "new_due_at"},
}


class Objection(NamedTuple):
    """What the rules say against the event at `place` of a command's events."""

    place: int
    sentence: str


def objection(events: Sequence[Event], happened: Happened, worded: Sequence[bool], states: States) -> Objection | None:
    """What the rules say against `events`, all that one command became; None where they make the same of it.

    Their personal members are None; `worded` says of each whether it has sealed ones. `states` are those before them.
    """
    if len(events) == 1 and isinstance(events[0], CommandRefused):
        return None  # of what was refused, the log keeps the refusal alone
    try:
        command = command_of(events, happened, worded)
    except (ValidationError, LookupError):
        return Objection(0, f"no command becomes {_topics(events)}")
    try:
        again = _decided(command, states, happened.recorded_at)
    except Refused as refused:
        if refused.code in _COUNTED_CODES and _counted(events, states) and _stands(command, states):
            return None
        return Objection(0, f"the rules refuse {command.TYPE} here ({refused.code}): {refused.message}")
    recorded = [as_recorded(event, lambda customer_id: is_erased(states, customer_id)) for event in again]
    if isinstance(command, ClaimPromiseKept) and len(events) != len(recorded) and _stands_still(command, states):
        # Whether the calendar reaches as far as the claim was counted too: the log says whether the pause ended first.
        names = {"promise_id": command.promise_id, "customer_id": recorded[-1].customer_id}
        resumed = [event.model_copy(update=names) for event in _of(PromiseResumed, events)]
        recorded = [*resumed[:1], recorded[-1]]
    for place, (was, now) in enumerate(zip_longest(events, recorded)):
        if was is None or type(was) is not type(now):
            became = f"the rules make {_topics(again)} of {command.TYPE} here, not {_topics(events)}"
            return Objection(min(place, len(events) - 1), became)
        differing = _differing(was, now, words=worded[place])
        if differing and not (differing <= _COUNTED.get(type(was), frozenset()) and _counted(events, states)):
            return Objection(place, f"the rules give {was.TOPIC} another {', '.join(sorted(differing))} here")
    return None


def command_of(events: Sequence[Event], happened: Happened, worded: Sequence[bool]) -> Command:
    """The command that became `events`, with WORDS for words. Raises LookupError or ValidationError: there is none."""
    # A claim straight from a pause is the one command whose first event is another's.
    place = 1 if len(events) > 1 and isinstance(events[1], PromiseClaimedKept) else 0
    event = events[place]
    kind = COMMANDS[COMMAND_OF[event.TOPIC]]
    plain, required, optional = _shared(kind, type(event))
    values = event.__dict__
    members: dict[str, Any] = {name: values[name] for name in plain}
    members |= dict.fromkeys(required, WORDS)
    if worded[place]:
        members |= dict.fromkeys(optional, WORDS)
    if (built := _BUILT.get(kind.TYPE)) is not None:
        members |= built(events)
    return kind.model_validate(members | {"actor": happened.actor, "occurred_at": happened.occurred_at})


@cache
def _shared(command: type[Command], event: type[Event]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The command's members that the event has as well; those of words that must be given; one that may be.

    Of several that may be given nobody can tell which of them were: they are left out.
    """
    words = {name: field for name, field in command.model_fields.items() if is_personal(field)}
    plain = tuple(name for name in command.model_fields if name in event.model_fields and name not in words)
    required = tuple(name for name, field in words.items() if field.is_required())
    return plain, required, tuple(name for name in words if name not in required and (name,) == event.PERSONAL)


def _terms(made: PromiseMade) -> dict[str, Any]:
    """The terms that became this promise."""
    values = made.__dict__
    terms = {name: values[name] for name in PromiseTerms.model_fields if name in values} | {"text": WORDS}
    if made.due_in is not None:
        terms["due_at"] = None
    if made.condition_by is not None:
        terms["condition"] = Condition(text=WORDS, by=made.condition_by)
    return terms


def _promises(events: Sequence[Event]) -> list[PromiseTerms]:
    return [PromiseTerms.model_validate(_terms(made)) for made in _of(PromiseMade, events)]


def _of(kind: type[E], events: Sequence[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def _about(event: Event, prefix: str = "about_") -> dict[str, Any]:
    """What the event is about, as the command names it."""
    ids = {name.removeprefix(prefix): value for name, value in event.__dict__.items() if name.startswith(prefix)}
    return {name: value for name, value in ids.items() if value is not None}


def _policy(events: Sequence[Event]) -> dict[str, Any]:
    values = events[0].__dict__
    steps = zip(values["escalation_to"], values["escalation_after_hours"], strict=True)
    return {
        "times": Times(**{name: values[name] for name in Times.model_fields}),
        "escalation": tuple(EscalationStep(to=to, after_hours=hours) for to, hours in steps),
        "calendars": tuple(
            CalendarRules(**{name: getattr(each, name) for name in CalendarRules.model_fields})
            for each in _of(CalendarPublished, events)
        ),
    }


_BUILT: Final[Mapping[str, Callable[[Sequence[Event]], dict[str, Any]]]] = {
    "promise.make": lambda events: _terms(_of(PromiseMade, events)[0]),
    "promise.supersede": lambda events: {"promise": _promises(events)[0]},
    "concern.admit_unknown": lambda events: {"promise": _promises(events)[0]},
    "problem.plan": lambda events: {"steps": tuple(_promises(events))},
    "problem.verify": lambda events: {"works": isinstance(events[0], ResolutionVerified)},
    "disclosure.make": lambda events: {"about": About(**_about(events[0]))},
    "followup.schedule": lambda events: {"about": FollowUpAbout(**_about(events[0]))},
    "remark.add": lambda events: {"about": About(**about) if (about := _about(events[0])) else None},
    "apology.make": lambda events: {"for": About(**_about(events[0], "for_"))},
    "need.decline": lambda events: {"refer_to": next((each.refer_to for each in _of(ReferralMade, events)), None)},
    "policy.publish": _policy,
}
"""The members that stand in no event under their own name, from all the events of the command."""


def _differing(was: Event, now: Event, *, words: bool) -> set[str]:
    """The members in the clear that are not the same; `words` where one event has sealed ones, the other none."""
    one, other = was.__dict__, now.__dict__
    differing = {name for name, value in one.items() if value != other[name] and name not in was.PERSONAL}
    return differing if words == any(other[name] is not None for name in was.PERSONAL) else {*differing, "words"}


def _decided(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """What the rules make of it, or those of earlier releases.

    They began a round with each reschedule, and took the withholding that was recorded last.
    """
    try:
        return decide(command, states, now)
    except Refused as refused:
        problem = states(f"problem:{command.problem_id}") if isinstance(command, ResolveProblem) else None
        if refused.code == CUSTOMERS_UNTOLD and isinstance(problem, Problem):
            withheld = problem._replace(withheld_until=problem.withheld_as_recorded)
            return decide(command, _instead(states, f"problem:{problem.problem_id}", withheld), now)
        promise = states(f"promise:{command.promise_id}") if isinstance(command, PromiseCommand) else None
        if refused.code not in _ROUND_CODES or not isinstance(promise, Promise) or promise.reschedules == 0:
            raise
        begun = promise._replace(deadline_warned_percent=None, deadline_passed=False, overdue_acknowledged_at=None)
        return decide(command, _instead(states, f"promise:{begun.promise_id}", begun), now)


def _instead(states: States, stream: str, state: State) -> States:
    """`states`, with `state` for that stream."""
    return lambda asked: state if asked == stream else states(asked)


def _counted(events: Sequence[Event], states: States) -> bool:
    """Whether business time was counted for one of them."""
    promises = (event if isinstance(event, PromiseMade) else states(event.stream) for event in events)
    return any(getattr(promise, "calendar_id", None) is not None for promise in promises)


def _stands(command: Command, states: States) -> bool:
    """Whether the promise's standing allows the command, which no clock has a say in."""
    promise = states(f"promise:{command.promise_id}") if isinstance(command, PromiseCommand) else None
    return promise is None or (isinstance(promise, Promise) and lifecycle.allows(command.TYPE, promise))


def _stands_still(command: PromiseCommand, states: States) -> bool:
    """Whether the business time of the promise does."""
    promise = states(f"promise:{command.promise_id}")
    return isinstance(promise, Promise) and promise.paused_at is not None


def _topics(events: Sequence[Event]) -> str:
    return " and ".join(event.TOPIC for event in events) or "nothing"
