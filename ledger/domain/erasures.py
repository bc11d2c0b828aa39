"""Erasures: that a customer's words are to be destroyed, and that they were. One stream, `erasure:<customer id>`.

Requested is the point of no return: from that event on nothing personal is read or recorded about the customer. A hold
defers it, on record; the lifting of the last hold requests it (`holds.py`), so that no second order is needed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Final, NamedTuple, Protocol, cast

from pydantic import Field

from ledger.domain.errors import NOT_ALLOWED, Refused
from ledger.domain.model import Command, Event, Evidence, Happened, Id, Ids, State, States

CUSTOMER_ERASED: Final = "customer-erased"
ERASURE_ON_RECORD: Final = "erasure-on-record"
RULES: Mapping[str, str] = {
    CUSTOMER_ERASED: "Nothing personal is recorded about an erased customer, and nothing is left to hold.",
    ERASURE_ON_RECORD: "A customer is erased once: the order is on record already.",
}

Count = Annotated[int, Field(ge=0)]


class EraseSubject(Command):
    """`grounds`: such as `art-17-1-a` or the reference of a request; it stays for ever, so nothing about a person."""

    TYPE = "subject.erase"
    customer_id: Id
    grounds: Evidence

    def streams(self) -> tuple[str, ...]:
        return (f"erasure:{self.customer_id}", f"hold:{self.customer_id}")


class CompleteErasure(Command):
    """What the eraser says once all is destroyed that `through_leaf`, the request, orders; see `ErasureCompleted`."""

    TYPE = "subject.complete_erasure"
    INTERNAL = True
    customer_id: Id
    through_leaf: Count
    keys: Count
    texts: Count
    letters: Count

    def streams(self) -> tuple[str, ...]:
        return (f"erasure:{self.customer_id}",)


class ErasureEvent(Event):
    """Something that happened to the erasure of one customer."""

    customer_id: Id

    @property
    def stream(self) -> str:
        return f"erasure:{self.customer_id}"


class ErasureDeferred(ErasureEvent):
    """It is ordered and waits, because of these holds."""

    TOPIC = "subject.erasure_deferred"
    grounds: Evidence
    holds: Ids


class ErasureRequested(ErasureEvent):
    """From now on reads refuse, and nothing personal is recorded about the customer any more."""

    TOPIC = "subject.erasure_requested"
    grounds: Evidence


class ErasureCompleted(ErasureEvent):
    """Destroyed: `keys` data keys, and with them `texts` events' words (of leaves before `through_leaf`); `letters`
    dead letters were removed. A second one says that a restored backup had brought them back, and that they are gone.
    """

    TOPIC = "subject.erasure_completed"
    through_leaf: Count
    keys: Count
    texts: Count
    letters: Count


COMMANDS: Final[tuple[type[Command], ...]] = (EraseSubject, CompleteErasure)
EVENTS: Final[tuple[type[Event], ...]] = (ErasureDeferred, ErasureRequested, ErasureCompleted)


class Erasure(NamedTuple):
    """How the erasure of one customer stands: deferred, requested (then `requested_at`), completed."""

    customer_id: str
    version: int
    grounds: str = ""
    requested_at: datetime | None = None
    completed_at: datetime | None = None


class _Holds(State, Protocol):
    """What is asked here of `holds.Holds`, which itself has to know of erasures."""

    @property
    def standing(self) -> frozenset[str]: ...


def erasure_of(states: States, customer_id: str) -> Erasure | None:
    """The customer's erasure, None where none was ordered."""
    erasure = states(f"erasure:{customer_id}")
    assert erasure is None or isinstance(erasure, Erasure)
    return erasure


def is_erased(states: States, customer_id: str) -> bool:
    """Whether the customer's erasure is in effect."""
    erasure = erasure_of(states, customer_id)
    return erasure is not None and erasure.requested_at is not None


def as_recorded(event: Event, erased: Callable[[str], bool]) -> Event:
    """The event, without its words where it stands without them and its customer is `erased`."""
    if not event.STANDS_WITHOUT_WORDS or event.customer_id is None or not erased(event.customer_id):
        return event
    named_for_words = not type(event).model_fields["customer_id"].is_required()
    return event.model_copy(update=dict.fromkeys((*event.PERSONAL, *(("customer_id",) if named_for_words else ()))))


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event that the command becomes. Whether there are words of that customer at all, the keyring knows."""
    match command:
        case EraseSubject(customer_id=customer_id, grounds=grounds):
            erasure = erasure_of(states, customer_id)
            if erasure is not None:
                raise Refused(ERASURE_ON_RECORD, f"The erasure of customer {customer_id} is {_standing(erasure)}.")
            holds = cast("_Holds | None", states(f"hold:{customer_id}"))
            if holds is not None and holds.standing:
                return (ErasureDeferred(customer_id=customer_id, grounds=grounds, holds=tuple(sorted(holds.standing))),)
            return (ErasureRequested(customer_id=customer_id, grounds=grounds),)
        case CompleteErasure(customer_id=customer_id):
            erasure = erasure_of(states, customer_id)
            if erasure is None or erasure.requested_at is None:
                raise Refused(NOT_ALLOWED, f"No erasure of customer {customer_id} is in effect: nothing to complete.")
            members = command.model_dump(include={"customer_id", "through_leaf", "keys", "texts", "letters"})
            return (ErasureCompleted(**members),)
    raise AssertionError(command.TYPE)


def _standing(erasure: Erasure) -> str:
    if erasure.completed_at is not None:
        return f"completed, requested at {erasure.requested_at}"
    if erasure.requested_at is not None:
        return f"on its way, requested at {erasure.requested_at}"
    return "deferred by a hold, and begins by itself once the last one is lifted"


def evolve(state: State | None, event: Event, happened: Happened) -> Erasure:
    """The customer's erasure after `event`. What counts is when the ledger wrote it down."""
    assert isinstance(event, ErasureEvent)
    erasure = Erasure(event.customer_id, 0) if state is None else state
    assert isinstance(erasure, Erasure)
    erasure = erasure._replace(version=erasure.version + 1)
    match event:
        case ErasureDeferred(grounds=grounds):
            return erasure._replace(grounds=grounds)
        case ErasureRequested(grounds=grounds):
            return erasure._replace(grounds=grounds, requested_at=happened.recorded_at)
        case ErasureCompleted():
            return erasure._replace(completed_at=happened.recorded_at)
    raise AssertionError(event.TOPIC)
