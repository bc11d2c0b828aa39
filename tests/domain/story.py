"""`given(facts).when(command).then(events)` or `.refused(code)`, and short ways to write facts and commands.

All stories play in March 2026: `day(5)` is the fifth at midnight UTC. The promise P-1 to customer C-1 was made by owner
u-1 on day 1 and is due on day 10, unless a story says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain import dispatch
from ledger.domain.concerns import ConcernRaised
from ledger.domain.disclosures import DisclosureMade
from ledger.domain.errors import Refused
from ledger.domain.followups import FollowUpScheduled
from ledger.domain.model import Command, Event, Happened, State, States
from ledger.domain.problem_messages import ProblemDetected
from ledger.domain.promise_messages import PromiseMade
from ledger.domain.promise_state import Promise
from ledger.domain.replaying import objection


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, number, hour, tzinfo=UTC)


@dataclass(frozen=True)
class Fact:
    """An event and when it occurred; it was recorded at once."""

    event: Event
    at: datetime
    actor: str = "u-1"


def on(number: int, event: Event, actor: str = "u-1") -> Fact:
    return Fact(event, day(number), actor)


def made(promise_id: str = "P-1", **changes: Any) -> Fact:
    terms: dict[str, Any] = {
        "promise_id": promise_id,
        "customer_id": "C-1",
        "kind": "deliver",
        "text": "The router comes.",
        "owner": "u-1",
        "channel": "phone",
        "basis": "known",
        "due_at": day(10),
        "verification": "required",
    }
    return on(1, PromiseMade(**terms | changes))


def told(disclosure_id: str = "D-1", customer_id: str = "C-1", number: int = 2) -> Fact:
    return on(
        number,
        DisclosureMade(
            disclosure_id=disclosure_id,
            customer_id=customer_id,
            about_promise_id="P-1",
            text="It comes later.",
            owner="u-1",
            apology=True,
            channel="phone",
            basis="known",
        ),
    )


def raised(concern_id: str = "Q-1", customer_id: str = "C-1") -> Fact:
    return on(1, ConcernRaised(concern_id=concern_id, customer_id=customer_id, text="Will it ever come?"))


def scheduled(followup_id: str = "F-1", **about: str) -> Fact:
    about = about or {"about_problem_id": "X-1"}
    event = FollowUpScheduled(followup_id=followup_id, customer_id="C-1", due_at=day(12), owner="u-1", **about)
    return on(2, event)


def detected(problem_id: str = "X-1", **changes: Any) -> Fact:
    """Problem X-1, owned by u-1, affects customers C-1 and C-2 since day 1."""
    affected = changes.pop("affected", ("C-1", "C-2"))
    members: dict[str, Any] = {
        "problem_id": problem_id,
        "customer_id": affected[0],
        "affected": affected,
        "known_since": day(1),
        "detected_by": "us",
        "summary": "The lorries stand still.",
        "severity": 2,
        "owner": "u-1",
    }
    return on(1, ProblemDetected(**members | changes))


def told_states(facts: Sequence[Fact]) -> dict[str, State]:
    """The state of every stream after `facts`, in order."""
    states: dict[str, State] = {}
    for fact in facts:
        happened = Happened(fact.at, fact.at, fact.actor, "crm")
        states[fact.event.stream] = dispatch.evolve(states.get(fact.event.stream), fact.event, happened)
    return states


def promise_after(*facts: Fact) -> Promise:
    promise = told_states(facts)["promise:P-1"]
    assert isinstance(promise, Promise)
    return promise


@dataclass(frozen=True)
class Given:
    facts: tuple[Fact, ...]

    def when(self, command: Command, now: datetime | None = None) -> "When":
        return When(self.facts, command, now or command.occurred_at)


@dataclass(frozen=True)
class When:
    facts: tuple[Fact, ...]
    command: Command
    now: datetime

    def _events(self) -> tuple[Event, ...]:
        return dispatch.decide(self.command, told_states(self.facts).get, self.now)

    def then(self, *events: Event) -> "Then":
        assert self._events() == events
        if events:
            told = Happened(self.command.occurred_at, self.now, self.command.actor, "crm")
            no_objection(events, told, told_states(self.facts).get)
        happened = (Fact(event, self.command.occurred_at, self.command.actor) for event in events)
        return Then(told_states((*self.facts, *happened)))

    def refused(self, code: str, *words: str) -> None:
        with pytest.raises(Refused) as refusal:
            self._events()
        assert refusal.value.code == code
        assert code in dispatch.RULES
        for word in words:
            assert word in refusal.value.message


@dataclass(frozen=True)
class Then:
    """What the events lead to: `.so(stream, field=value, …)`."""

    states: dict[str, State]

    def so(self, stream: str, **fields: Any) -> "Then":
        state = self.states[stream]
        assert {name: getattr(state, name) for name in fields} == fields
        return self


def no_objection(events: Sequence[Event], happened: Happened, states: States) -> None:
    """What was just decided over `states` is decided the same again from what the log would have of it."""
    worded = [any(getattr(event, name) is not None for name in event.PERSONAL) for event in events]
    bare = [event.model_copy(update=dict.fromkeys(event.PERSONAL)) for event in events]
    assert objection(bare, happened, worded, states) is None


def given(*facts: Fact) -> Given:
    return Given(facts)


def order(command: type[Command], number: int = 5, /, **members: Any) -> Any:
    """A command of u-2 on that day, about P-1 where it is about a promise."""
    given: dict[str, Any] = {"actor": "u-2", "occurred_at": day(number)}
    if "promise_id" in command.model_fields:
        given["promise_id"] = "P-1"
    return command(**given | members)
