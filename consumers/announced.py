"""What can be listened to, for the message contract: channels, messages and schemas of announcements."""

from typing import Any, Final

from consumers.channels import FINDING_CLOSED, FINDING_OPENED, FINDINGS, STRUCTURED, Stream
from ledger.domain.model import ID_PATTERN

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_ID: Final[Schema] = {"type": "string", "pattern": ID_PATTERN}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_LEAF: Final[Schema] = {"type": "integer", "minimum": 0}

_FINDING: Final[Schema] = {
    "code": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
    "severity": {"enum": ["high", "medium", "low"]},
    "rule": _TEXT | {"description": "The sentence behind the code."},
    "subject": _TEXT | {"description": "The stream that it is about, such as promise:P-1."},
    "customer_id": _ID,
    "case_id": _ID,
    "opened_at": _TIME,
    "opened_by": _LEAF | {"description": "The event that it comes from: its index in the log."},
    "detail": {"type": "object", "description": "What it rests on: times, codes and ids, no texts."},
}
_CLOSING: Final[Schema] = {
    "closed_at": _TIME | {"description": "No later than opened_at where what prevented it was recorded late."},
    "closed_by": _LEAF | {"description": "The event that closed it: its index in the log."},
}
_FINDING_REQUIRED: Final = ["code", "severity", "subject", "opened_at", "opened_by"]


def _object(properties: Schema, required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False, **more}


SCHEMAS: Final[Schema] = {
    "AnnouncementEvent": _object(
        {
            "specversion": {"const": "1.0"},
            "id": _TEXT | {"description": "Names the announcement for ever: the same again is the same announcement."},
            "source": _TEXT | {"description": "The log's name."},
            "type": _TEXT,
            "time": _TIME,
            "subject": _ID | {"description": "The customer whom it concerns; left out where it is nobody alone."},
            "datacontenttype": {"const": "application/json"},
            "data": {"type": "object"},
        },
        ["specversion", "id", "source", "type", "time", "datacontenttype", "data"],
        description="One CloudEvent 1.0 from the ledger. No words of a customer, or about one, are in it.",
    ),
    "OpenedFinding": _object(_FINDING, _FINDING_REQUIRED),
    "ClosedFinding": _object(_FINDING | _CLOSING, [*_FINDING_REQUIRED, *_CLOSING]),
}


def _message(kind: Schema, data: str) -> Schema:
    members = {"type": kind, "data": {"$ref": f"#/components/schemas/{data}"}}
    return {
        "contentType": STRUCTURED,
        "payload": {"allOf": [{"$ref": "#/components/schemas/AnnouncementEvent"}, {"properties": members}]},
    }


def _channel(address: str, message: str, stream: Stream, description: str) -> Schema:
    days = stream.max_age_seconds // 86_400
    return {
        "address": address,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "description": f"{description} Kept for {days} days in the stream {stream.name}.",
    }


_OPENED: Final = FINDING_OPENED.removeprefix("ledger.")
_CLOSED: Final = FINDING_CLOSED.removeprefix("ledger.")
MESSAGES: Final[Schema] = {
    _OPENED: {"name": _OPENED} | _message({"const": FINDING_OPENED}, "OpenedFinding"),
    _CLOSED: {"name": _CLOSED} | _message({"const": FINDING_CLOSED}, "ClosedFinding"),
}
CHANNELS: Final[Schema] = {
    _OPENED: _channel(FINDING_OPENED, _OPENED, FINDINGS, "Every finding, once it is open."),
    _CLOSED: _channel(FINDING_CLOSED, _CLOSED, FINDINGS, "Every finding that was announced as opened, once closed."),
}
OPERATIONS: Final[Schema] = {name: {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in CHANNELS}
