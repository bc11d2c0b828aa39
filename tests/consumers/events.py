"""CloudEvents that tests send."""

from typing import Any

import orjson

NOON = "2026-11-21T12:00:00+01:00"
LATER = "2026-11-23T12:00:00+01:00"


def promise(**changes: Any) -> dict[str, Any]:
    """The data of a good `promise.make`; a value of None removes the member."""
    data = {
        "actor": "u-17",
        "occurred_at": NOON,
        "promise_id": "P-1",
        "customer_id": "C-1",
        "kind": "callback",
        "text": "We call you back on Monday.",
        "due_at": LATER,
        "owner": "team-voice",
        "channel": "phone",
        "basis": "known",
    }
    return {name: value for name, value in (data | changes).items() if value is not None}


def event(data: object = None, **changes: Any) -> dict[str, Any]:
    """A good structured CloudEvent around `data`; a value of None removes the attribute."""
    attributes = {
        "specversion": "1.0",
        "id": "c-1",
        "source": "crm",
        "type": "promise.make",
        "time": NOON,
        "data": promise() if data is None else data,
    }
    return {name: value for name, value in (attributes | changes).items() if value is not None}


def body(data: object = None, **changes: Any) -> bytes:
    """The bytes of `event`."""
    return orjson.dumps(event(data, **changes))
