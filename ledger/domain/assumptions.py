"""Assumptions: what a promise or disclosure with `basis: assumed` rests on, confirmed or refuted once.

A refuted assumption makes the disclosure a falsehood, in the same transaction. A promise that rests on one is at risk;
that is no warning to its customer, so its own stream does not change.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple

from ledger.domain.disclosures import Disclosure, DisclosureFalsified
from ledger.domain.errors import ABOUT_ONE_THING, NOT_ALLOWED, Refused
from ledger.domain.lookups import existing
from ledger.domain.model import Command, Event, Evidence, Happened, Id, State, States
from ledger.domain.promise_state import Promise

NOT_ASSUMED: Final = "not-assumed"
RULES: Mapping[str, str] = {
    NOT_ASSUMED: "Only what was promised or told on an assumption (`basis: assumed`) has one to confirm or refute.",
}


class AssumptionCommand(Command):
    """About exactly one of `promise_id` and `disclosure_id`: what rests on the assumption."""

    promise_id: Id | None = None
    disclosure_id: Id | None = None
    evidence: Evidence

    def about_streams(self) -> tuple[str, ...]:
        """The stream of what rests on it."""
        promise = () if self.promise_id is None else (f"promise:{self.promise_id}",)
        return (*promise, *(() if self.disclosure_id is None else (f"disclosure:{self.disclosure_id}",)))

    def streams(self) -> tuple[str, ...]:
        return (*self.about_streams(), *(f"assumption:{stream}" for stream in self.about_streams()))


class ConfirmAssumption(AssumptionCommand):
    TYPE = "assumption.confirm"


class RefuteAssumption(AssumptionCommand):
    TYPE = "assumption.refute"


class AssumptionEvent(Event):
    """What became of the assumption behind one promise or disclosure."""

    customer_id: Id
    promise_id: Id | None = None
    disclosure_id: Id | None = None
    evidence: Evidence

    @property
    def stream(self) -> str:
        if self.promise_id is not None:
            return f"assumption:promise:{self.promise_id}"
        return f"assumption:disclosure:{self.disclosure_id}"


class AssumptionConfirmed(AssumptionEvent):
    TOPIC = "assumption.confirmed"


class AssumptionRefuted(AssumptionEvent):
    TOPIC = "assumption.refuted"


COMMANDS: Final[tuple[type[Command], ...]] = (ConfirmAssumption, RefuteAssumption)
EVENTS: Final[tuple[type[Event], ...]] = (AssumptionConfirmed, AssumptionRefuted)


class Assumption(NamedTuple):
    """One assumption, settled."""

    customer_id: str
    version: int
    outcome: Literal["confirmed", "refuted"]
    settled_at: datetime


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes."""
    assert isinstance(command, AssumptionCommand)
    about = command.about_streams()
    if len(about) != 1:
        raise Refused(ABOUT_ONE_THING, f"{len(about)} of promise_id and disclosure_id are given: name exactly one.")
    stream = about[0]
    rests = existing(states, Promise, stream) if command.promise_id else existing(states, Disclosure, stream)
    if rests.basis != "assumed":
        raise Refused(NOT_ASSUMED, f"{stream} has the basis {rests.basis}: there is no assumption to settle.")
    settled = states(f"assumption:{stream}")
    if settled is not None:
        assert isinstance(settled, Assumption)
        raise Refused(
            NOT_ALLOWED, f"The assumption behind {stream} was {settled.outcome} at {settled.settled_at} already."
        )
    names = {"customer_id": rests.customer_id, "promise_id": command.promise_id, "disclosure_id": command.disclosure_id}
    if isinstance(command, ConfirmAssumption):
        return (AssumptionConfirmed(**names, evidence=command.evidence),)
    refuted = AssumptionRefuted(**names, evidence=command.evidence)
    if isinstance(rests, Promise) or rests.falsified_at is not None:
        return (refuted,)
    falsified = DisclosureFalsified(
        disclosure_id=rests.disclosure_id,
        customer_id=rests.customer_id,
        known_since=command.occurred_at,
        assumption_refuted=True,
    )
    return refuted, falsified


def evolve(state: State | None, event: Event, happened: Happened) -> Assumption:
    """The assumption: there is one event only."""
    assert state is None
    assert isinstance(event, AssumptionEvent)
    outcome: Literal["confirmed", "refuted"] = "confirmed" if isinstance(event, AssumptionConfirmed) else "refuted"
    return Assumption(event.customer_id, 1, outcome, happened.occurred_at)
