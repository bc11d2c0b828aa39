"""Holds: reasons to keep a customer's data for now. All holds of one customer are one stream, `hold:<customer id>`.

So whoever wants to erase a customer's data asks one stream whether a hold stands. An erasure that was ordered meanwhile
begins when the last hold is lifted, in the same transaction.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.erasures import CUSTOMER_ERASED, ErasureRequested, erasure_of
from ledger.domain.errors import ID_TAKEN, NOT_ALLOWED, Refused
from ledger.domain.lookups import refuse_same_person
from ledger.domain.model import Command, Event, Evidence, Happened, Id, State, States

UNKNOWN_HOLD: Final = "unknown-hold"
RULES: Mapping[str, str] = {UNKNOWN_HOLD: "A hold must have been placed on that customer before it is lifted."}


class HoldCommand(Command):
    """`grounds`: such as the reference of a lawsuit; nothing personal."""

    hold_id: Id
    customer_id: Id
    grounds: Evidence
    approver: Id

    def streams(self) -> tuple[str, ...]:
        return (f"hold:{self.customer_id}", f"erasure:{self.customer_id}")


class PlaceHold(HoldCommand):
    TYPE = "hold.place"


class LiftHold(HoldCommand):
    TYPE = "hold.lift"


class HoldEvent(Event):
    """Something that happened to one hold."""

    hold_id: Id
    customer_id: Id
    grounds: Evidence
    approver: Id

    @property
    def stream(self) -> str:
        return f"hold:{self.customer_id}"


class HoldPlaced(HoldEvent):
    TOPIC = "hold.placed"


class HoldLifted(HoldEvent):
    TOPIC = "hold.lifted"


COMMANDS: Final[tuple[type[Command], ...]] = (PlaceHold, LiftHold)
EVENTS: Final[tuple[type[Event], ...]] = (HoldPlaced, HoldLifted)


class Holds(NamedTuple):
    """The holds on one customer's data."""

    customer_id: str
    version: int
    standing: frozenset[str] = frozenset()
    lifted: frozenset[str] = frozenset()


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """What the command becomes; somebody else than the actor approves. No hold is placed on who is being erased."""
    assert isinstance(command, HoldCommand)
    customer_id, hold_id = command.customer_id, command.hold_id
    holds = states(f"hold:{customer_id}") or Holds(customer_id, 0)
    assert isinstance(holds, Holds)
    refuse_same_person(command.approver, command.actor)
    erasure = erasure_of(states, customer_id)
    names = {"hold_id": hold_id, "customer_id": customer_id, "grounds": command.grounds, "approver": command.approver}
    if isinstance(command, PlaceHold):
        if hold_id in holds.standing | holds.lifted:
            raise Refused(ID_TAKEN, f"There is a hold {hold_id} on {customer_id} already: a new one needs its own id.")
        if erasure is not None and erasure.requested_at is not None:
            raise Refused(CUSTOMER_ERASED, f"Customer {customer_id} was erased at {erasure.requested_at}: too late.")
        return (HoldPlaced(**names),)
    if hold_id in holds.lifted:
        raise Refused(NOT_ALLOWED, f"Hold {hold_id} on customer {customer_id} was lifted already.")
    if hold_id not in holds.standing:
        raise Refused(UNKNOWN_HOLD, f"There is no hold {hold_id} on customer {customer_id}: correct either id.")
    if erasure is not None and holds.standing == {hold_id}:
        return (HoldLifted(**names), ErasureRequested(customer_id=customer_id, grounds=erasure.grounds))
    return (HoldLifted(**names),)


def evolve(state: State | None, event: Event, happened: Happened) -> Holds:
    """The holds on the customer after `event`."""
    assert isinstance(event, HoldEvent)
    holds = Holds(event.customer_id, 0) if state is None else state
    assert isinstance(holds, Holds)
    holds = holds._replace(version=holds.version + 1)
    if isinstance(event, HoldPlaced):
        return holds._replace(standing=holds.standing | {event.hold_id})
    return holds._replace(standing=holds.standing - {event.hold_id}, lifted=holds.lifted | {event.hold_id})
