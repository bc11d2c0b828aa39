"""Offerings: what we sell, and the time that it takes by our own word."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.errors import Refused
from ledger.domain.model import Command, Duration, Event, Happened, Id, Moment, State, States

VALID_BACKWARDS: Final = "valid-backwards"
RULES: Mapping[str, str] = {VALID_BACKWARDS: "An offering is valid from a moment until a later one, or until replaced."}


class PublishOffering(Command):
    """`lead_time` by any clock, such as `P3D` (72 hours) or `PT4H`. Publishing again is the next version."""

    TYPE = "offering.publish"
    offering_id: Id
    lead_time: Duration
    valid_from: Moment
    valid_to: Moment | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"offering:{self.offering_id}",)


class OfferingPublished(Event):
    TOPIC = "offering.published"
    offering_id: Id
    lead_time: Duration
    valid_from: Moment
    valid_to: Moment | None = None

    @property
    def stream(self) -> str:
        return f"offering:{self.offering_id}"


COMMANDS: Final[tuple[type[Command], ...]] = (PublishOffering,)
EVENTS: Final[tuple[type[Event], ...]] = (OfferingPublished,)


class Offering(NamedTuple):
    """One offering, as last published."""

    offering_id: str
    version: int
    lead_time: str
    valid_from: datetime
    valid_to: datetime | None

    @property
    def customer_id(self) -> None:
        """An offering is nobody's."""


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The next version of the offering."""
    assert isinstance(command, PublishOffering)
    if command.valid_to is not None and command.valid_to <= command.valid_from:
        raise Refused(
            VALID_BACKWARDS, f"Offering {command.offering_id} ends at {command.valid_to}, before it begins: correct it."
        )
    published = OfferingPublished(
        offering_id=command.offering_id,
        lead_time=command.lead_time,
        valid_from=command.valid_from,
        valid_to=command.valid_to,
    )
    return (published,)


def evolve(state: State | None, event: Event, happened: Happened) -> Offering:
    """The offering after `event`."""
    assert isinstance(event, OfferingPublished)
    version = 1 if state is None else state.version + 1
    return Offering(event.offering_id, version, event.lead_time, event.valid_from, event.valid_to)
