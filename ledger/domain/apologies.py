"""Apologies: that we said sorry, for what, and what we do next so that it does not happen again."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from pydantic import Field

from ledger.domain.disclosures import About, refuse_unknown_about
from ledger.domain.lookups import refuse_taken
from ledger.domain.model import Command, Event, Happened, Id, PersonalText, State, States

RULES: Mapping[str, str] = {}


class MakeApology(Command):
    """An apology without a next step is recorded, and is a finding (`apology-without-step`)."""

    TYPE = "apology.make"
    apology_id: Id
    customer_id: Id
    about: About = Field(alias="for")
    next_step: PersonalText | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"apology:{self.apology_id}", *self.about.streams())


class ApologyMade(Event):
    TOPIC = "apology.made"
    STANDS_WITHOUT_WORDS = True
    apology_id: Id
    customer_id: Id
    for_problem_id: Id | None = None
    for_promise_id: Id | None = None
    for_concern_id: Id | None = None
    next_step: PersonalText | None = None

    @property
    def stream(self) -> str:
        return f"apology:{self.apology_id}"


COMMANDS: Final[tuple[type[Command], ...]] = (MakeApology,)
EVENTS: Final[tuple[type[Event], ...]] = (ApologyMade,)


class Apology(NamedTuple):
    """One apology: a single fact, recorded once."""

    apology_id: str
    customer_id: str
    version: int


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The apology on record."""
    assert isinstance(command, MakeApology)
    refuse_taken(states, f"apology:{command.apology_id}")
    refuse_unknown_about(states, command.about.streams(), command.customer_id)
    made = ApologyMade(
        apology_id=command.apology_id,
        customer_id=command.customer_id,
        for_problem_id=command.about.problem_id,
        for_promise_id=command.about.promise_id,
        for_concern_id=command.about.concern_id,
        next_step=command.next_step,
    )
    return (made,)


def evolve(state: State | None, event: Event, happened: Happened) -> Apology:
    """The apology: there is one event only."""
    assert state is None
    assert isinstance(event, ApologyMade)
    return Apology(event.apology_id, event.customer_id, 1)
