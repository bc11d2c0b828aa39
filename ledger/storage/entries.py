"""Entries: one event as the canonical JSON that is stored, hashed and proven, and back.

    {"actor":"u-17","command_digest":"…","command_id":"c-1","customer_id":"C-1","data":{…},"event_id":"…",
     "occurred_at":"2026-11-21T09:00:00Z","personal":{"commitment":"…","key":1},"recorded_at":"…","source":"crm",
     "stream":"promise:P-1","type":"promise.made","v":1,"version":1}

The stored bytes are these bytes: nothing is hashed after re-serialising. Upcasting, when it comes, happens in `decode`.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import orjson

from ledger.domain.dispatch import EVENTS
from ledger.domain.model import Event, Happened

FORMAT_VERSION = 1
MAX_ENTRY_BYTES = 65_535
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z


class MalformedEntry(ValueError):
    """Stored bytes that are no entry of this ledger: tampered with, or written by a later version."""


class EntryTooLarge(ValueError):
    """An event whose entry would exceed 65,535 bytes, the most that a tile bundle can carry."""


class Heading(NamedTuple):
    """What an entry carries beside its event's own data."""

    event_id: str
    stream: str
    version: int
    happened: Happened
    command_id: str
    command_digest: str
    case_id: str | None


class StoredEntry(NamedTuple):
    """One event as read back. Personal fields of `event` are None: they are sealed beside the log."""

    leaf_index: int
    event: Event
    heading: Heading
    personal: dict[str, Any] | None
    """{"commitment": base64, "key": key version} where the event has personal members."""

    @property
    def happened(self) -> Happened:
        return self.heading.happened


@cache
def _plain_fields(event_class: type[Event]) -> tuple[str, ...]:
    return tuple(
        name for name in event_class.model_fields if name != "customer_id" and name not in event_class.PERSONAL
    )


def plain_data(event: Event) -> dict[str, Any]:
    """The members of `event` that stand in the log itself: neither personal nor the customer id; None is left out."""
    values = event.__dict__
    return {name: value for name in _plain_fields(type(event)) if (value := values[name]) is not None}


def personal_data(event: Event) -> bytes | None:
    """The personal members of `event` as canonical JSON, or None where it has none."""
    if not event.PERSONAL:
        return None
    values = event.__dict__
    members = {name: value for name in event.PERSONAL if (value := values[name]) is not None}
    return orjson.dumps(members, option=_CANONICAL) if members else None


def encode(event: Event, heading: Heading, personal: dict[str, Any] | None) -> bytes:
    """The entry bytes of one event. Raises EntryTooLarge above 65,535 bytes."""
    happened = heading.happened
    members: dict[str, Any] = {
        "actor": happened.actor,
        "command_digest": heading.command_digest,
        "command_id": heading.command_id,
        "data": plain_data(event),
        "event_id": heading.event_id,
        "occurred_at": happened.occurred_at,
        "recorded_at": happened.recorded_at,
        "source": happened.source,
        "stream": heading.stream,
        "type": event.TOPIC,
        "v": FORMAT_VERSION,
        "version": heading.version,
    }
    if heading.case_id is not None:
        members["case_id"] = heading.case_id
    if event.customer_id is not None:
        members["customer_id"] = event.customer_id
    if personal is not None:
        members["personal"] = personal
    entry = orjson.dumps(members, option=_CANONICAL)
    if len(entry) > MAX_ENTRY_BYTES:
        raise EntryTooLarge(f"The event {event.TOPIC} would take {len(entry)} bytes; an entry has 65535 at most")
    return entry


def decode(leaf_index: int | None, topic: str, state: bytes) -> StoredEntry:
    """The entry at `leaf_index`. Raises MalformedEntry where it is not one, naming the leaf, or has no place."""
    if leaf_index is None:
        raise MalformedEntry(f"an event ({topic}) has lost its place in the log: run `promise-ledger verify`")
    try:
        members = orjson.loads(state)
        event_class = EVENTS[topic]
        data = members["data"]
        if (customer_id := members.get("customer_id")) is not None:
            data["customer_id"] = customer_id
        event = event_class.model_validate(data)
        heading = Heading(
            event_id=members["event_id"],
            stream=members["stream"],
            version=members["version"],
            happened=Happened(
                occurred_at=moment(members["occurred_at"]),
                recorded_at=moment(members["recorded_at"]),
                actor=members["actor"],
                source=members["source"],
            ),
            command_id=members["command_id"],
            command_digest=members["command_digest"],
            case_id=members.get("case_id"),
        )
        personal = members.get("personal")
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedEntry(f"leaf {leaf_index} ({topic}) is not an entry of this ledger: {error}") from error
    return StoredEntry(leaf_index, event, heading, personal)


def moment(text: str) -> datetime:
    """The UTC time that an entry spells as RFC 3339 with "Z"."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is not UTC:
        raise ValueError(f"{text!r} is not a UTC time")
    return parsed
