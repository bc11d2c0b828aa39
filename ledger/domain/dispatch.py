"""Every command and event by its name, and the family that decides and evolves it.

A new family is one module with COMMANDS, EVENTS, RULES, decide and evolve, and one word in FAMILIES.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from ledger.domain import (
    apologies,
    assumptions,
    concerns,
    contacts,
    customers,
    deadlines,
    disclosures,
    erasures,
    errors,
    escalations,
    followups,
    goodwill,
    holds,
    key_wraps,
    log_keys,
    needs,
    offerings,
    outages,
    policies,
    problems,
    promises,
    questions,
    recoveries,
    refusals,
    remarks,
    surveys,
)
from ledger.domain.model import Command, Event, Happened, State, States


class Family(Protocol):
    """What dispatch asks of a module."""

    @property
    def COMMANDS(self) -> tuple[type[Command], ...]: ...
    @property
    def EVENTS(self) -> tuple[type[Event], ...]: ...
    @property
    def RULES(self) -> Mapping[str, str]: ...
    def decide(self, command: Command, states: States, now: datetime) -> tuple[Event, ...]: ...
    def evolve(self, state: State | None, event: Event, happened: Happened) -> State: ...


FAMILIES: Final[tuple[Family, ...]] = (
    promises,
    deadlines,
    escalations,
    problems,
    disclosures,
    concerns,
    followups,
    contacts,
    surveys,
    outages,
    apologies,
    goodwill,
    offerings,
    needs,
    questions,
    assumptions,
    remarks,
    customers,
    policies,
    holds,
    erasures,
    key_wraps,
    recoveries,
    log_keys,
    refusals,
)

COMMANDS: Final[dict[str, type[Command]]] = {c.TYPE: c for family in FAMILIES for c in family.COMMANDS}
CHECKS: Final[dict[str, type[disclosures.CheckDisclosure]]] = {
    disclosures.CheckDisclosure.TYPE: disclosures.CheckDisclosure
}
"""What senders may ask beforehand. No family decides it, so that nothing of it can ever be appended."""
PUBLIC: Final[dict[str, type[Command]]] = {n: c for n, c in COMMANDS.items() if not c.INTERNAL} | CHECKS
"""What senders may send, by its name."""
EVENTS: Final[dict[str, type[Event]]] = {e.TOPIC: e for family in FAMILIES for e in family.EVENTS}
RULES: Final[dict[str, str]] = dict(errors.RULES) | {code: r for f in FAMILIES for code, r in f.RULES.items()}
"""Every refusal code of the domain, with the rule behind it."""

_DECIDES: Final = {command: family.decide for family in FAMILIES for command in family.COMMANDS}
_EVOLVES: Final = {event: family.evolve for family in FAMILIES for event in family.EVENTS}

assert len(COMMANDS) == len(_DECIDES) == sum(len(family.COMMANDS) for family in FAMILIES), "a TYPE is used twice"
assert len(EVENTS) == len(_EVOLVES) == sum(len(family.EVENTS) for family in FAMILIES), "a TOPIC is used twice"
assert len(RULES) == len(errors.RULES) + sum(len(family.RULES) for family in FAMILIES), "a code is used twice"
assert all("TOPIC" in vars(event) for event in EVENTS.values()), "a TOPIC is inherited"


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The events that `command` becomes, in the order to append them; raises `Refused` where a rule says no.

    `states` gives the present state of a stream, None where it has no events; `now` is the recorded_at to be written.
    """
    return _DECIDES[type(command)](command, states, now)


def evolve(state: State | None, event: Event, happened: Happened) -> State:
    """The state of `event.stream` after `event`; `state` is None before its first one."""
    return _EVOLVES[type(event)](state, event, happened)
