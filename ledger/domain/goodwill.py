"""Goodwill: what we give a customer beyond what is owed, and who had the authority to."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from ledger.domain.errors import Refused
from ledger.domain.lookups import refuse_same_person, refuse_taken
from ledger.domain.model import CURRENCY_PATTERN, Command, Event, Happened, Id, State, States

Amount = Annotated[int, Field(ge=1, le=10**12)]
Limit = Annotated[int, Field(ge=0, le=10**12)]
Currency = Annotated[str, Field(pattern=CURRENCY_PATTERN)]

APPROVAL_NEEDED: Final = "approval-needed"
RULES: Mapping[str, str] = {
    APPROVAL_NEEDED: "Above one's own authority goodwill is granted with the approval of somebody else.",
}


class GrantGoodwill(Command):
    """`amount` and `authority_limit` are in the smallest unit of `currency` (cents), an ISO 4217 code.

    The limit is that of the actor.
    """

    TYPE = "goodwill.grant"
    goodwill_id: Id
    customer_id: Id
    amount: Amount
    currency: Currency
    authority_limit: Limit
    approver: Id | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"goodwill:{self.goodwill_id}",)


class GoodwillGranted(Event):
    TOPIC = "goodwill.granted"
    goodwill_id: Id
    customer_id: Id
    amount: Amount
    currency: Currency
    authority_limit: Limit
    approver: Id | None = None

    @property
    def stream(self) -> str:
        return f"goodwill:{self.goodwill_id}"


COMMANDS: Final[tuple[type[Command], ...]] = (GrantGoodwill,)
EVENTS: Final[tuple[type[Event], ...]] = (GoodwillGranted,)


class Goodwill(NamedTuple):
    """One grant: a single fact, recorded once."""

    goodwill_id: str
    customer_id: str
    version: int


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The grant on record."""
    assert isinstance(command, GrantGoodwill)
    refuse_taken(states, f"goodwill:{command.goodwill_id}")
    if command.approver is not None:
        refuse_same_person(command.approver, command.actor)
    elif command.amount > command.authority_limit:
        raise Refused(
            APPROVAL_NEEDED,
            f"{command.amount} is above the limit of {command.authority_limit} {command.currency} (smallest units): "
            "name the approver.",
        )
    granted = GoodwillGranted(
        goodwill_id=command.goodwill_id,
        customer_id=command.customer_id,
        amount=command.amount,
        currency=command.currency,
        authority_limit=command.authority_limit,
        approver=command.approver,
    )
    return (granted,)


def evolve(state: State | None, event: Event, happened: Happened) -> Goodwill:
    """The grant: there is one event only."""
    assert state is None
    assert isinstance(event, GoodwillGranted)
    return Goodwill(event.goodwill_id, event.customer_id, 1)
