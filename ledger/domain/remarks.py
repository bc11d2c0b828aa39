"""Remarks of colleagues about a customer, and exposures: where what happened to a customer became public.

Both are personal data of that customer, and belong into what they may ask to see.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.disclosures import About, refuse_unknown_about
from ledger.domain.lookups import refuse_taken
from ledger.domain.model import Command, Event, Happened, Id, PersonalText, State, States

RULES: Mapping[str, str] = {}


class AddRemark(Command):
    """`about`: what it was said on the occasion of, if it is on record."""

    TYPE = "remark.add"
    remark_id: Id
    customer_id: Id
    text: PersonalText
    about: About | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"remark:{self.remark_id}", *(() if self.about is None else self.about.streams()))


class NoteExposure(Command):
    """`url`: where it is public. It may name a person, so it is sealed."""

    TYPE = "exposure.note"
    exposure_id: Id
    customer_id: Id
    url: PersonalText

    def streams(self) -> tuple[str, ...]:
        return (f"exposure:{self.exposure_id}",)


class RemarkAdded(Event):
    TOPIC = "remark.added"
    remark_id: Id
    customer_id: Id
    text: PersonalText | None = None
    about_problem_id: Id | None = None
    about_promise_id: Id | None = None
    about_concern_id: Id | None = None

    @property
    def stream(self) -> str:
        return f"remark:{self.remark_id}"


class ExposureNoted(Event):
    TOPIC = "exposure.noted"
    exposure_id: Id
    customer_id: Id
    url: PersonalText | None = None

    @property
    def stream(self) -> str:
        return f"exposure:{self.exposure_id}"


COMMANDS: Final[tuple[type[Command], ...]] = (AddRemark, NoteExposure)
EVENTS: Final[tuple[type[Event], ...]] = (RemarkAdded, ExposureNoted)


class Remark(NamedTuple):
    """One remark or exposure: a single fact, recorded once."""

    customer_id: str
    version: int


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event that the command becomes."""
    match command:
        case AddRemark(about=about):
            refuse_taken(states, f"remark:{command.remark_id}")
            if about is not None:
                refuse_unknown_about(states, about.streams(), command.customer_id)
            added = RemarkAdded(
                remark_id=command.remark_id,
                customer_id=command.customer_id,
                text=command.text,
                about_problem_id=None if about is None else about.problem_id,
                about_promise_id=None if about is None else about.promise_id,
                about_concern_id=None if about is None else about.concern_id,
            )
            return (added,)
        case NoteExposure(exposure_id=exposure_id, customer_id=customer_id, url=url):
            refuse_taken(states, f"exposure:{exposure_id}")
            return (ExposureNoted(exposure_id=exposure_id, customer_id=customer_id, url=url),)
    raise AssertionError(command.TYPE)


def evolve(state: State | None, event: Event, happened: Happened) -> Remark:
    """The remark or exposure: there is one event only."""
    assert state is None
    assert isinstance(event, RemarkAdded | ExposureNoted)
    return Remark(event.customer_id, 1)
