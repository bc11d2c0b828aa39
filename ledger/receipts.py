"""What a sender gets back: a receipt with its proof, or a refusal.

    {"status":"recorded","source":"crm","id":"c-1","events":[{"event_id":"…","type":"promise.made","leaf_index":7,
     "leaf_hash":"…"}],"recorded_at":"…","witnessed":false,"proof":"c2sp.org/tlog-proof@v1\\nindex 7\\n…"}
    {"status":"refused","source":"crm","id":"c-2","code":"undisclosed-reschedule","message":"…"}

`proof` proves the first event; each further event of the command carries a `proof` of its own. `witnessed`: their
checkpoint carries the cosignatures that the log's witness policy asks for. A fresh receipt never waits for those; the
same command sent again later is answered under a witnessed checkpoint as soon as there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import orjson

_OPTIONS = orjson.OPT_UTC_Z


class ProvenEvent(NamedTuple):
    """One recorded event: where it stands in the log and the tlog-proof (text) that it does."""

    event_id: str
    type: str
    leaf_index: int
    leaf_hash: str
    proof: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The command was recorded as these events, one at least."""

    status: ClassVar[str] = "recorded"
    source: str
    command_id: str
    events: Sequence[ProvenEvent]
    recorded_at: datetime
    witnessed: bool = False

    def to_json(self) -> bytes:
        """The receipt as it is sent."""
        events: list[dict[str, Any]] = []
        for event in self.events:
            row: dict[str, Any] = {
                "event_id": event.event_id,
                "type": event.type,
                "leaf_index": event.leaf_index,
                "leaf_hash": event.leaf_hash,
            }
            if events:
                row["proof"] = event.proof
            events.append(row)
        return orjson.dumps(
            {
                "status": "recorded",
                "source": self.source,
                "id": self.command_id,
                "events": events,
                "recorded_at": self.recorded_at,
                "witnessed": self.witnessed,
                "proof": self.events[0].proof,
            },
            option=_OPTIONS,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The command was refused by a rule; the refusal itself is on record."""

    status: ClassVar[str] = "refused"
    source: str
    command_id: str
    code: str
    message: str

    def to_json(self) -> bytes:
        """The refusal as it is sent."""
        return orjson.dumps(
            {
                "status": "refused",
                "source": self.source,
                "id": self.command_id,
                "code": self.code,
                "message": self.message,
            }
        )


Outcome = Receipt | Refusal
