"""Data keys wrapped anew, all of them, under another key-encryption key. One stream, `keys:kek`.

The event is what makes every running service read the key-encryption key again before it wraps a new data key.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from ledger.domain.model import Command, Event, Happened, Id, State, States

RULES: Mapping[str, str] = {}
STREAM: Final = "keys:kek"


class RewrapKeys(Command):
    """Said by `promise-ledger keys rotate` in the transaction that wraps them; `kek` names the new key."""

    TYPE = "keys.rewrap"
    INTERNAL = True
    kek: Id

    def streams(self) -> tuple[str, ...]:
        return (STREAM,)


class KeysRewrapped(Event):
    """Every data key is wrapped under the key-encryption key named `kek`, and none under the one before."""

    TOPIC = "keys.rewrapped"
    kek: Id

    @property
    def stream(self) -> str:
        return STREAM


COMMANDS: Final[tuple[type[Command], ...]] = (RewrapKeys,)
EVENTS: Final[tuple[type[Event], ...]] = (KeysRewrapped,)


class KeyWraps(NamedTuple):
    """How often the keys were wrapped anew: `version` times."""

    customer_id: None
    version: int


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event: whoever may send this has done it in the same transaction."""
    assert isinstance(command, RewrapKeys)
    return (KeysRewrapped(customer_id=None, kek=command.kek),)


def evolve(state: State | None, event: Event, happened: Happened) -> KeyWraps:
    """The wrapping after one more."""
    return KeyWraps(customer_id=None, version=1 if state is None else state.version + 1)
