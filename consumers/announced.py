"""What can be listened to, for the message contract: channels, messages and schemas of announcements."""

from collections.abc import Callable
from typing import Any, Final

from consumers.channels import (
    ESCALATION_SUBJECT,
    ESCALATIONS,
    EVENTS,
    FINDING_CLOSED,
    FINDING_OPENED,
    FINDINGS,
    STRUCTURED,
    Stream,
    events_subject,
)
from ledger.domain.dispatch import EVENTS as TOPICS
from ledger.domain.model import ID_PATTERN, Event

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
            "leafindex": _LEAF | {"description": "Of an event: its index in the log."},
            "data": {"type": "object"},
        },
        ["specversion", "id", "source", "type", "time", "datacontenttype", "data"],
        description="One CloudEvent 1.0 from the ledger. Sealed texts are not in it; members in the clear are.",
    ),
    "Entry": _object(
        {
            "v": {"const": 1},
            "event_id": _TEXT,
            "type": {"enum": sorted(TOPICS)},
            "stream": _TEXT | {"description": "What it happened to, such as promise:P-1."},
            "version": {"type": "integer", "minimum": 1},
            "occurred_at": _TIME,
            "recorded_at": _TIME,
            "actor": _ID,
            "source": _ID,
            "command_id": _ID,
            "command_digest": _TEXT,
            "case_id": _ID,
            "customer_id": _ID,
            "data": {"type": "object"},
            "personal": _object({"commitment": _TEXT, "key": {"type": "integer", "minimum": 1}}, ["commitment", "key"]),
        },
        [
            *("v", "event_id", "type", "stream", "version", "occurred_at", "recorded_at", "actor", "source"),
            *("command_id", "command_digest", "data"),
        ],
        description="The entry as it is hashed; personal texts are committed to, and are no part of it.",
    ),
    "Escalation": _object(
        {
            "promise_id": _ID,
            "customer_id": _ID,
            "owner": _ID | {"description": "Who answers for the promise."},
            "case_id": _ID,
            "due_at": _TIME,
            "step": {"type": "integer", "minimum": 1, "description": "Which step of the policy's chain, from 1."},
            "to": _ID | {"description": "Whom it is called out to."},
            "after_hours": {"type": "integer", "minimum": 0, "description": "So long after its due time."},
        },
        ["promise_id", "customer_id", "owner", "due_at", "step", "to", "after_hours"],
    ),
    "OpenedFinding": _object(_FINDING, _FINDING_REQUIRED),
    "ClosedFinding": _object(_FINDING | _CLOSING, [*_FINDING_REQUIRED, *_CLOSING]),
}


def event_schemas(schema: Callable[[type[Event]], Schema]) -> Schema:
    """By class name what each event says in the log: its model without the members that are personal."""
    return {event.__name__: _unsealed(schema(event), event) for event in sorted(TOPICS.values(), key=lambda e: e.TOPIC)}


def _unsealed(said: Schema, event: type[Event]) -> Schema:
    """The customer's id stands in the entry itself."""
    left_out = {*event.PERSONAL, "customer_id"}
    properties = {name: member for name, member in said["properties"].items() if name not in left_out}
    return said | {
        "properties": properties,
        "required": [name for name in said.get("required", ()) if name not in left_out],
    }


def _event_message(event: type[Event]) -> Schema:
    of_event = {"properties": {"data": {"$ref": f"#/components/schemas/{event.__name__}"}}}
    entry = {"allOf": [{"$ref": "#/components/schemas/Entry"}, of_event]}
    return _message(f"events.{event.TOPIC}", f"ledger.{event.TOPIC}", entry)


def _message(name: str, kind: str, data: Schema) -> Schema:
    members = {"type": {"const": kind}, "data": data}
    return {
        "name": name,
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
_ESCALATED: Final = ESCALATION_SUBJECT.removeprefix("ledger.")
MESSAGES: Final[Schema] = {
    _OPENED: _message(_OPENED, FINDING_OPENED, {"$ref": "#/components/schemas/OpenedFinding"}),
    _ESCALATED: _message(_ESCALATED, ESCALATION_SUBJECT, {"$ref": "#/components/schemas/Escalation"}),
    _CLOSED: _message(_CLOSED, FINDING_CLOSED, {"$ref": "#/components/schemas/ClosedFinding"}),
    **{f"events.{topic}": _event_message(event) for topic, event in sorted(TOPICS.items())},
}
CHANNELS: Final[Schema] = {
    _OPENED: _channel(FINDING_OPENED, _OPENED, FINDINGS, "Every finding, once it is open."),
    _ESCALATED: _channel(
        ESCALATION_SUBJECT, _ESCALATED, ESCALATIONS, "Overdue promises, step by step by the policy, until acknowledged."
    ),
    _CLOSED: _channel(FINDING_CLOSED, _CLOSED, FINDINGS, "Every finding that was announced as opened, once closed."),
    **{
        f"events.{topic}": _channel(events_subject(topic), f"events.{topic}", EVENTS, "In the order of the log.")
        for topic in sorted(TOPICS)
    },
}
OPERATIONS: Final[Schema] = {name: {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in CHANNELS}
