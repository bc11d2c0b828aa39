"""Refusals on record: an attempt that a rule refused is part of the history too."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from ledger.domain.model import Command, Event, Happened, Id, State, States

Sentence = Annotated[str, Field(min_length=1, max_length=2048)]


class CommandRefused(Event):
    """Command `refused_id` of `refused_source` was refused: nothing personal, no word of what it held."""

    TOPIC = "command.refused"
    refused_source: Id
    refused_id: Id
    command_type: Id
    code: Id
    message: Sentence

    @property
    def stream(self) -> str:
        return f"source:{self.refused_source}"


RULES: Mapping[str, str] = {}
COMMANDS: Final[tuple[type[Command], ...]] = ()
EVENTS: Final[tuple[type[Event], ...]] = (CommandRefused,)


class Source(NamedTuple):
    """A backend service, as far as the ledger keeps a stream for it: `version` counts its refused commands."""

    customer_id: None
    version: int


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """Never called: no command asks for a refusal, the append path writes it."""
    raise AssertionError(command.TYPE)


def evolve(state: State | None, event: Event, happened: Happened) -> Source:
    """The source with one more refusal."""
    if state is None:
        return Source(customer_id=None, version=1)
    assert isinstance(state, Source)
    return state._replace(version=state.version + 1)
