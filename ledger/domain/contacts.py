"""Contacts: that we and a customer were in touch, by which channel, and how it went."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.lookups import refuse_taken
from ledger.domain.model import Channel, Command, Event, Happened, Id, PersonalText, State, States

RULES: Mapping[str, str] = {}


class RecordContact(Command):
    """`outcome` is a code of the sender's own, such as `resolved` or `no_answer`."""

    TYPE = "contact.record"
    contact_id: Id
    customer_id: Id
    channel: Channel
    outcome: Id
    text: PersonalText | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"contact:{self.contact_id}",)


class ContactRecorded(Event):
    TOPIC = "contact.recorded"
    contact_id: Id
    customer_id: Id
    channel: Channel
    outcome: Id
    text: PersonalText | None = None

    @property
    def stream(self) -> str:
        return f"contact:{self.contact_id}"


COMMANDS: Final[tuple[type[Command], ...]] = (RecordContact,)
EVENTS: Final[tuple[type[Event], ...]] = (ContactRecorded,)


class Contact(NamedTuple):
    """One contact: a single fact, recorded once."""

    contact_id: str
    customer_id: str
    version: int


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The contact on record."""
    assert isinstance(command, RecordContact)
    refuse_taken(states, f"contact:{command.contact_id}")
    recorded = ContactRecorded(
        contact_id=command.contact_id,
        customer_id=command.customer_id,
        channel=command.channel,
        outcome=command.outcome,
        text=command.text,
    )
    return (recorded,)


def evolve(state: State | None, event: Event, happened: Happened) -> Contact:
    """The contact: there is one event only."""
    assert state is None
    assert isinstance(event, ContactRecorded)
    return Contact(event.contact_id, event.customer_id, 1)
