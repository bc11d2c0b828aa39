"""Rotations of the key that signs the log, on record for ever. On the stream `log`, like recoveries.

The event says from where on which key counts: the old one up to the checkpoint that covers this event, the new one from
that checkpoint on.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from ledger.domain.model import Command, Event, States
from ledger.domain.recoveries import STREAM, Line, evolve

RULES: Mapping[str, str] = {}


class RotateLogKey(Command):
    """Said by `promise-ledger keys rotate-log` before it signs with both keys; see `LogKeyRotated`."""

    TYPE = "log.rotate_key"
    INTERNAL = True
    old_vkey: Line
    new_vkey: Line

    def streams(self) -> tuple[str, ...]:
        return (STREAM,)


class LogKeyRotated(Event):
    """`new_vkey` signs from here on. The checkpoint whose last event this is carries both signatures; `old_vkey` signs
    no larger one, and whoever does so under it is a thief.
    """

    TOPIC = "log.key_rotated"
    old_vkey: Line
    new_vkey: Line

    @property
    def stream(self) -> str:
        return STREAM


COMMANDS: Final[tuple[type[Command], ...]] = (RotateLogKey,)
EVENTS: Final[tuple[type[Event], ...]] = (LogKeyRotated,)


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event: whoever may send this holds both keys."""
    assert isinstance(command, RotateLogKey)
    return (LogKeyRotated(old_vkey=command.old_vkey, new_vkey=command.new_vkey),)


__all__ = ["COMMANDS", "EVENTS", "RULES", "LogKeyRotated", "RotateLogKey", "decide", "evolve"]
