"""Entries of every event class as they are stored, made from the class's own fields."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.domain.model import ID_PATTERN, Event, Happened
from ledger.storage.entries import Heading, StoredEntry, decode, encode

PATTERNED = ("Europe/Berlin", "mon 09:00-17:00", "2026-12-24", "PT8H", "2026b", "EUR")
MOMENT = datetime(2026, 11, 21, 9, 0, 0, 123456, tzinfo=UTC)


def entries(event_class: type[Event]) -> Iterator[bytes]:
    """The stored bytes of some events: one with as little as possible, then every choice of every field once."""
    schema = event_class.model_json_schema()
    choices = [len(_plain(field).get("enum", ())) for field in schema["properties"].values()]
    for variant in range(max(1, *choices) + 1):
        wanted = schema["properties"] if variant else schema.get("required", ())
        values = {name: _value(name, schema["properties"][name], variant) for name in wanted}
        event = event_class.model_validate(values)
        entry = encode(event, _heading(event, variant), _personal(event, variant))
        bare = event.model_copy(update=dict.fromkeys(event.PERSONAL))
        assert decode(variant, event.TOPIC, entry).event == bare, event.TOPIC
        yield entry


def decoded(stored: StoredEntry) -> dict[str, Any]:
    """All that an entry says, in JSON."""
    heading = stored.heading._asdict()
    happened = heading.pop("happened")
    for name in ("occurred_at", "recorded_at"):
        heading[name] = getattr(happened, name).isoformat()
    heading |= {"actor": happened.actor, "source": happened.source}
    return {"event": stored.event.model_dump(mode="json"), "heading": heading, "personal": stored.personal}


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field's values other than null."""
    return next((each for each in field.get("anyOf", ()) if each.get("type") != "null"), field)


def _value(name: str, field: dict[str, Any], variant: int) -> Any:
    """A value that fits, and that no other field of the event has where it is a text: nothing can be mixed up."""
    field = _plain(field)
    if "enum" in field:
        return field["enum"][variant % len(field["enum"])]
    if "const" in field:
        return field["const"]
    match field["type"]:
        case "boolean":
            return variant % 2 == 0
        case "integer":
            low = field.get("minimum", 1)
            return min(low + variant, field.get("maximum", low + variant))
        case "array":
            return [_value(name, field["items"], variant)] + [f"{name}-b"] * (
                field["items"].get("pattern") == ID_PATTERN
            )
        case _ if field.get("format") == "date-time":
            return (MOMENT if variant else MOMENT.replace(microsecond=0)) + timedelta(days=variant)
    pattern = field.get("pattern", "")
    texts = (name, f"{name} 88 – grün, 12 €") if pattern == ID_PATTERN else (f"{name} 88 – grün, 12 €", *PATTERNED)
    return next(text for text in texts if re.search(pattern, text))


def _heading(event: Event, variant: int) -> Heading:
    happened = Happened(MOMENT + timedelta(hours=variant), MOMENT + timedelta(hours=variant, seconds=1), "u-17", "crm")
    return Heading(
        event_id=f"00000000-0000-7000-8000-{variant:012d}",
        stream=event.stream,
        version=variant + 1,
        happened=happened,
        command_id=f"crm-{variant}",
        command_digest="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        case_id="CASE-1" if variant else None,
    )


def _personal(event: Event, variant: int) -> dict[str, Any] | None:
    if not any(getattr(event, name) is not None for name in event.PERSONAL):
        return None
    return {"commitment": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "key": variant + 1}
