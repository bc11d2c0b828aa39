"""Outages of our tools, and the notes taken meanwhile.

The notes of an outage are its list. The list is done at two zeroes only: no note left to clear (to enter as what it
became), and no customer left to go back to. All of it is one stream, `outage:<id>`, so that both are counted exactly.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from ledger.domain.errors import ID_TAKEN, NOT_ALLOWED, Refused
from ledger.domain.lookups import existing, refuse_future, refuse_taken
from ledger.domain.model import Command, Event, Happened, Id, Ids, Moment, PersonalText, State, States

Cleared = Annotated[tuple[Id, ...], Field(min_length=1, max_length=64)]

UNKNOWN_OUTAGE: Final = "unknown-outage"
UNKNOWN_NOTE: Final = "unknown-note"
RULES: Mapping[str, str] = {
    UNKNOWN_OUTAGE: "An outage must have been declared before it ends or a note belongs to it.",
    UNKNOWN_NOTE: "A note must have been taken in that outage before it is cleared or followed up.",
}


class OutageCommand(Command):
    """A command to one outage."""

    outage_id: Id

    def streams(self) -> tuple[str, ...]:
        return (f"outage:{self.outage_id}",)


class DeclareOutage(OutageCommand):
    """`tool`: what is down, such as `crm`."""

    TYPE = "outage.declare"
    tool: Id


class EndOutage(OutageCommand):
    """The tool works again; the list may still be open."""

    TYPE = "outage.end"


class TakeNote(OutageCommand):
    """Written down at `captured_at` beside the tools, perhaps sent when the outage is long over.

    `read_back`: the customer heard what was written. `capture_id` names the note for ever.
    """

    TYPE = "note.take"
    capture_id: Id
    captured_at: Moment
    customer_id: Id
    text: PersonalText
    read_back: bool


class ClearNote(OutageCommand):
    """The note was entered: `by` are the ids of what it became (promises, concerns, disclosures …)."""

    TYPE = "note.clear"
    capture_id: Id
    by: Cleared


class FollowUpNote(OutageCommand):
    """The customer was gone back to about the note."""

    TYPE = "note.followed_up"
    capture_id: Id


class OutageEvent(Event):
    """Something that happened to one outage or to its list."""

    outage_id: Id

    @property
    def stream(self) -> str:
        return f"outage:{self.outage_id}"


class OutageDeclared(OutageEvent):
    TOPIC = "outage.declared"
    tool: Id


class OutageEnded(OutageEvent):
    TOPIC = "outage.ended"


class NoteTaken(OutageEvent):
    TOPIC = "note.taken"
    capture_id: Id
    captured_at: Moment
    customer_id: Id
    text: PersonalText | None = None
    read_back: bool


class NoteCleared(OutageEvent):
    TOPIC = "note.cleared"
    capture_id: Id
    customer_id: Id
    by: Ids


class NoteFollowedUp(OutageEvent):
    TOPIC = "note.followed_up"
    capture_id: Id
    customer_id: Id


class OutageListDone(OutageEvent):
    """Both counters are at zero and the outage is over. A note that arrives later opens the list again."""

    TOPIC = "outage.list_done"


COMMANDS: Final[tuple[type[Command], ...]] = (DeclareOutage, EndOutage, TakeNote, ClearNote, FollowUpNote)
EVENTS: Final[tuple[type[Event], ...]] = (
    OutageDeclared,
    OutageEnded,
    NoteTaken,
    NoteCleared,
    NoteFollowedUp,
    OutageListDone,
)


class Outage(NamedTuple):
    """One outage and its list. The mappings are by capture id and never changed in place."""

    outage_id: str
    version: int
    tool: str
    declared_at: datetime
    ended_at: datetime | None = None
    customers: Mapping[str, str] = {}  # of every note ever taken
    to_clear: frozenset[str] = frozenset()  # notes
    to_follow_up: frozenset[str] = frozenset()  # notes whose customer waits

    @property
    def customer_id(self) -> None:
        """An outage is nobody's."""

    @property
    def list_done(self) -> bool:
        return self.ended_at is not None and not self.to_clear and not self.to_follow_up


def customers_to_follow_up(outage: Outage) -> frozenset[str]:
    """The customers to go back to: the second counter, as `to_clear` is the first."""
    return frozenset(outage.customers[capture_id] for capture_id in outage.to_follow_up)


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that the command becomes; the one that brings the second zero also becomes `outage.list_done`."""
    assert isinstance(command, OutageCommand)
    outage_id = command.outage_id
    if isinstance(command, DeclareOutage):
        refuse_taken(states, f"outage:{outage_id}")
        return (OutageDeclared(outage_id=outage_id, tool=command.tool),)
    outage = existing(states, Outage, f"outage:{outage_id}")
    event = _event(command, outage)
    happened = Happened(command.occurred_at, now, command.actor, "")
    if evolve(outage, event, happened).list_done:
        return event, OutageListDone(outage_id=outage_id)
    return (event,)


def _event(command: OutageCommand, outage: Outage) -> OutageEvent:
    outage_id = outage.outage_id
    match command:
        case EndOutage():
            if outage.ended_at is not None:
                raise Refused(NOT_ALLOWED, f"Outage {outage_id} ended at {outage.ended_at}: declare a new one.")
            return OutageEnded(outage_id=outage_id)
        case TakeNote():
            return _take(command, outage)
        case ClearNote(capture_id=capture_id, by=by):
            customer_id = _customer(outage, capture_id)
            _refuse_second(capture_id, "cleared", outage.to_clear)
            return NoteCleared(outage_id=outage_id, capture_id=capture_id, customer_id=customer_id, by=by)
        case FollowUpNote(capture_id=capture_id):
            customer_id = _customer(outage, capture_id)
            _refuse_second(capture_id, "followed up", outage.to_follow_up)
            return NoteFollowedUp(outage_id=outage_id, capture_id=capture_id, customer_id=customer_id)
    raise AssertionError(command.TYPE)


def _take(command: TakeNote, outage: Outage) -> NoteTaken:
    if command.capture_id in outage.customers:
        raise Refused(ID_TAKEN, f"There is a note {command.capture_id} already: it is on the list, send it no more.")
    refuse_future("captured_at", command.captured_at, command.occurred_at)
    return NoteTaken(
        outage_id=outage.outage_id,
        capture_id=command.capture_id,
        captured_at=command.captured_at,
        customer_id=command.customer_id,
        text=command.text,
        read_back=command.read_back,
    )


def _customer(outage: Outage, capture_id: str) -> str:
    if capture_id not in outage.customers:
        raise Refused(
            UNKNOWN_NOTE,
            f"There is no note {capture_id} in outage {outage.outage_id}: send it first, or correct the id.",
        )
    return outage.customers[capture_id]


def _refuse_second(capture_id: str, done: str, waiting: frozenset[str]) -> None:
    if capture_id not in waiting:
        raise Refused(NOT_ALLOWED, f"Note {capture_id} was {done} already: nothing is left to do about that.")


def evolve(state: State | None, event: Event, happened: Happened) -> Outage:
    """The outage and its list after `event`."""
    if isinstance(event, OutageDeclared):
        return Outage(event.outage_id, 1, event.tool, happened.occurred_at)
    assert isinstance(state, Outage)
    state = state._replace(version=state.version + 1)
    match event:
        case OutageEnded():
            return state._replace(ended_at=happened.occurred_at)
        case NoteTaken(capture_id=capture_id, customer_id=customer_id):
            return state._replace(
                customers={**state.customers, capture_id: customer_id},
                to_clear=state.to_clear | {capture_id},
                to_follow_up=state.to_follow_up | {capture_id},
            )
        case NoteCleared(capture_id=capture_id):
            return state._replace(to_clear=state.to_clear - {capture_id})
        case NoteFollowedUp(capture_id=capture_id):
            return state._replace(to_follow_up=state.to_follow_up - {capture_id})
    assert isinstance(event, OutageListDone)
    return state
