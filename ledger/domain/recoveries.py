"""Recoveries of the log itself, on record for ever. One stream, `log`: `promise-ledger trail log`.

What a recovery did is in the event, so that nobody has to believe an operator: which events were brought back, of which
the words are lost, and where a log ended that another one goes on from.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, StringConstraints

from ledger.domain.model import PRINTABLE_PATTERN, Command, Event, Evidence, Happened, State, States

RULES: Mapping[str, str] = {}
STREAM: Final = "log"

Count = Annotated[int, Field(ge=0)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE_PATTERN)]
Kind = Literal["guard", "entries", "anew"]


class RecoverLog(Command):
    """Said by `promise-ledger recover …` in the transaction that does it; see `LogRecovered`."""

    TYPE = "log.recover"
    INTERNAL = True
    kind: Kind
    grounds: Evidence
    kept_size: Count
    restored: Count
    texts_lost: Count
    signed_size: Count
    signed_root: Line
    old_origin: Line | None = None
    old_vkey: Line | None = None

    def streams(self) -> tuple[str, ...]:
        return (STREAM,)


class LogRecovered(Event):
    """`guard`: the fork guard was written again. `entries`: the database held the first `kept_size` events, and the
    next `restored` were brought back as they were signed, without the words of `texts_lost` of them. `anew`: the log
    `old_origin`, signed under `old_vkey`, ended; what is here of it goes on as another log.

    The largest checkpoint known before covers `signed_size` events and has the root `signed_root` (base64).
    """

    TOPIC = "log.recovered"
    kind: Kind
    grounds: Evidence
    kept_size: Count
    restored: Count
    texts_lost: Count
    signed_size: Count
    signed_root: Line
    old_origin: Line | None = None
    old_vkey: Line | None = None

    @property
    def stream(self) -> str:
        return STREAM


COMMANDS: Final[tuple[type[Command], ...]] = (RecoverLog,)
EVENTS: Final[tuple[type[Event], ...]] = (LogRecovered,)


class Recoveries(NamedTuple):
    """How often the log was recovered: `version` times."""

    customer_id: None
    version: int


def decide(command: Command, states: States, now: datetime) -> tuple[Event, ...]:
    """The event: whoever may send this has done it in the same transaction."""
    assert isinstance(command, RecoverLog)
    return (LogRecovered(**command.model_dump(include=set(LogRecovered.model_fields) - {"customer_id"})),)


def evolve(state: State | None, event: Event, happened: Happened) -> Recoveries:
    """The recoveries after one more."""
    return Recoveries(customer_id=None, version=1 if state is None else state.version + 1)
