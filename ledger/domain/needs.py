"""Needs that we decline: an honest no, even with a competitor's name, is a good outcome and counted as one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.lookups import refuse_taken
from ledger.domain.model import Command, Event, Evidence, Happened, Id, PersonalText, State, States

RULES: Mapping[str, str] = {}


class DeclineNeed(Command):
    """`refer_to`: the company that can help, by name."""

    TYPE = "need.decline"
    need_id: Id
    customer_id: Id
    why: PersonalText
    refer_to: Evidence | None = None

    def streams(self) -> tuple[str, ...]:
        return (f"need:{self.need_id}",)


class NeedEvent(Event):
    """Something that happened to one need."""

    need_id: Id
    customer_id: Id

    @property
    def stream(self) -> str:
        return f"need:{self.need_id}"


class NeedDeclined(NeedEvent):
    TOPIC = "need.declined"
    why: PersonalText | None = None


class ReferralMade(NeedEvent):
    TOPIC = "need.referred"
    refer_to: Evidence


COMMANDS: Final[tuple[type[Command], ...]] = (DeclineNeed,)
EVENTS: Final[tuple[type[Event], ...]] = (NeedDeclined, ReferralMade)


class Need(NamedTuple):
    """One need, declined."""

    need_id: str
    customer_id: str
    version: int
    referred_to: str | None = None


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The no on record, and whom we sent the customer to."""
    assert isinstance(command, DeclineNeed)
    refuse_taken(states, f"need:{command.need_id}")
    names = {"need_id": command.need_id, "customer_id": command.customer_id}
    declined = NeedDeclined(**names, why=command.why)
    return (declined,) if command.refer_to is None else (declined, ReferralMade(**names, refer_to=command.refer_to))


def evolve(state: State | None, event: Event, happened: Happened) -> Need:
    """The need after `event`."""
    if isinstance(event, NeedDeclined):
        return Need(event.need_id, event.customer_id, 1)
    assert isinstance(state, Need)
    assert isinstance(event, ReferralMade)
    return state._replace(version=state.version + 1, referred_to=event.refer_to)
