"""CloudEvents 1.0 in, `Submission` out; or `Malformed`, with one sentence for the sender. And back: `event_of`.

Both content modes of the NATS binding are taken: structured (the whole event is the body) and binary (attributes in
`ce-*` headers, the body is `data`). The canonical bytes, which the inbox compares for ever, are those of `data` exactly
as it was sent: sorted keys, no spaces, and only what RFC 8785 (JCS) and I-JSON allow.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from consumers.channels import BINARY_PREFIX, COMMAND_BYTES, CONTENT_TYPE, TIMER_SOURCE
from ledger.app import Submission
from ledger.domain.dispatch import PUBLIC
from ledger.domain.model import ID_PATTERN, WANTED, Command, Id, utc_moment
from ledger.erasure import eraser, rotation
from ledger.recovery import steps

OWN_SOURCES: Final = (TIMER_SOURCE, eraser.SOURCE, rotation.SOURCE, steps.SOURCE)
"""Parts of the ledger itself; nobody else sends under their names."""
_CANONICAL: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_REQUIRED: Final = ("specversion", "id", "source", "type")
_OPTIONAL: Final = ("time", "subject", "data", "datacontenttype", "dataschema")
# Documented CloudEvents extensions; they change nothing about what is recorded.
_TRACING: Final = ("traceparent", "tracestate", "correlationid", "causationid")
_ORDERING: Final = ("partitionkey", "sequence", "sequencetype")
_ATTRIBUTES: Final = frozenset(_REQUIRED + _OPTIONAL + _TRACING + _ORDERING)
_ID: Final = TypeAdapter(Id).validator


class Malformed(Exception):
    """Bytes that are no command: the sentence says what is wrong and what to do.

    `source` and `command_id` are given where they could be read and are legal, so that the sender can be answered.
    Neither the code nor the sentence ever repeats a value that was sent, nor a name that the sender made up.
    """

    def __init__(self, code: str, reason: str, source: str | None = None, command_id: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.source = source
        self.command_id = command_id

    def to_json(self) -> bytes:
        """The answer to the sender: status `malformed`, beside `recorded` and `refused`."""
        answer = {"status": "malformed", "source": self.source, "id": self.command_id, "code": self.code}
        return orjson.dumps(answer | {"message": self.reason})


def parse(headers: Mapping[str, str], body: bytes) -> Submission:
    """The command in one message. Raises `Malformed`."""
    names = {name.lower(): value for name, value in headers.items()}
    try:
        event, data = _event(names, body)
    except Malformed as malformed:  # in binary mode it is known all the same who is to be answered
        malformed.source, malformed.command_id = _id(names, f"{BINARY_PREFIX}source"), _id(names, f"{BINARY_PREFIX}id")
        raise
    source, command_id = _id(event, "source"), _id(event, "id")
    try:
        kind = _envelope(event)
        canonical, complete = _data(event, data)
        command = _command(kind, complete)
    except Malformed as malformed:
        malformed.source, malformed.command_id = source, command_id
        raise
    if source is None or command_id is None:
        missing = "source" if source is None else "id"
        found = "missing" if missing not in event else f"not {WANTED[ID_PATTERN]}"
        raise Malformed(f"bad-{missing}", f"The event's {missing} is {found}.", source, command_id)
    if source in OWN_SOURCES:
        raise Malformed("bad-source", f"The source {source} is the ledger's own: choose another.", None, command_id)
    return Submission(source, command_id, command, canonical)


def event_of(command: Command, source: str, command_id: str) -> bytes:
    """The structured CloudEvent of `command`: exactly the members that were set, so the same bytes each time."""
    data = command.model_dump_json(by_alias=True, exclude_unset=True).encode()
    event = {
        "specversion": "1.0",
        "id": command_id,
        "source": source,
        "type": command.TYPE,
        "time": command.occurred_at,
        "data": orjson.Fragment(data),
    }
    return orjson.dumps(event, option=orjson.OPT_UTC_Z)


def _event(names: Mapping[str, str], body: bytes) -> tuple[Mapping[str, Any], Any]:
    """The attributes and `data`, in whichever mode they came; `names` are the headers, in lower case.

    A structured event counts without a content type.
    """
    if len(body) > COMMAND_BYTES:
        raise Malformed("too-large", f"The command has {len(body)} bytes; at most {COMMAND_BYTES} are taken.")
    content = names.get(CONTENT_TYPE, "").lower()
    if content.startswith("application/cloudevents-batch"):
        raise Malformed("not-one-event", "Batches of CloudEvents are not taken: send one event in each message.")
    value = _json(body)
    if not content.startswith("application/cloudevents") and "ce-specversion" in names:
        attributes = {name[3:]: text for name, text in names.items() if name.startswith(BINARY_PREFIX)}
        return attributes, value
    if not isinstance(value, dict):
        raise Malformed("not-an-event", "The body is JSON, but not a CloudEvent: it must be an object.")
    return value, value.get("data")


def _json(body: bytes) -> Any:
    try:
        value = orjson.loads(body)
        quotes = orjson.dumps(value).count(b'"')
    except orjson.JSONDecodeError as error:
        raise _not_json(body, error) from None
    except TypeError:  # orjson reads deeper nesting than it writes
        raise Malformed("nested-too-deeply", "The JSON is nested too deeply.") from None
    # A name given twice leaves fewer quotes in what was read. Only \u0022 could hide that, so then look closely.
    if quotes != body.count(b'"') or rb"\u0022" in body:
        json.loads(body, object_pairs_hook=_no_name_twice)
    return value


def _not_json(body: bytes, error: orjson.JSONDecodeError) -> Malformed:
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return Malformed("not-utf-8", f"The body is not UTF-8: byte {wrong.start} does not belong there.")
    if "depth" in error.msg:
        return Malformed("nested-too-deeply", "The JSON is nested too deeply.")
    return Malformed("not-json", f"The body is not JSON: {error.msg}, at character {error.pos}.")


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Malformed("name-twice", "The JSON has an object with the same name twice: say each thing once.")
    return dict(pairs)


def _id(event: Mapping[str, Any], name: str) -> str | None:
    try:
        value: str = _ID.validate_python(event.get(name), strict=True)
    except ValidationError:
        return None
    return value


def _envelope(event: Mapping[str, Any]) -> type[Command]:
    """The class of the command that the attributes name; refuses attributes that we would have to ignore."""
    if event.get("specversion") != "1.0":
        raise Malformed("bad-specversion", 'The event must say "specversion": "1.0".')
    if event.keys() - _ATTRIBUTES:
        known = ", ".join(sorted(_ATTRIBUTES))
        raise Malformed(
            "unknown-member", f"The event has an attribute that the ledger does not know; it knows {known}."
        )
    content = event.get("datacontenttype", "application/json")
    if not isinstance(content, str) or content.partition(";")[0].strip().lower() != "application/json":
        raise Malformed("bad-datacontenttype", "The event's datacontenttype must be application/json, or left out.")
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in PUBLIC:
        known = "`promise-ledger schema` lists the types that there are"
        raise Malformed("unknown-type", f"The type of this event is not known: {known}.")
    return PUBLIC[kind]


def _data(event: Mapping[str, Any], data: Any) -> tuple[bytes, bytes]:
    """Canonical `data` as sent, and the same with the event's `time` where `data` has no `occurred_at`."""
    if not isinstance(data, dict):
        raise Malformed("bad-data", "The event's data must be a JSON object.")
    try:
        canonical = orjson.dumps(data, option=_CANONICAL)
    except TypeError:
        raise Malformed("bad-number", "The data holds an integer that is beyond 2^53: send it as a string.") from None
    time, occurred_at = event.get("time"), data.get("occurred_at")
    if time is not None and time != occurred_at:
        _check_time(time)
    if "occurred_at" in data:
        return canonical, canonical
    if time is None:
        raise Malformed("no-time", "Neither data.occurred_at nor the event's time says when it happened.")
    return canonical, orjson.dumps(data | {"occurred_at": time})


def _check_time(time: Any) -> None:
    try:
        utc_moment(time)
    except PydanticCustomError as error:
        raise Malformed("bad-time", f"The event's time {error.message()}, like 2026-11-21T10:00:00+01:00.") from None


def _command(kind: type[Command], data: bytes) -> Command:
    try:
        command: Command = kind.__pydantic_validator__.validate_json(data, strict=True)
    except ValidationError as error:
        raise _bad_member(kind, error) from None
    return command


def _bad_member(kind: type[Command], error: ValidationError) -> Malformed:
    """The first thing that the schema does not allow, without the value that was sent."""
    first = error.errors(include_url=False, include_input=False)[0]
    what, sentence = first["type"], first["msg"]
    unknown = what == "extra_forbidden"
    known = first["loc"][:-1] if unknown else first["loc"]  # a name that the sender made up may be somebody's words
    member = ".".join(["data", *map(str, known)])
    if unknown:
        where = f"{member} has a member that {kind.TYPE} does not know"
        return Malformed("unknown-member", f"{where}: `promise-ledger schema --json` lists those that there are.")
    if what == "missing":
        return Malformed("missing-member", f"{member} is missing.")
    if what == "string_pattern_mismatch":
        return Malformed("bad-member", f"{member} must be {WANTED[first['ctx']['pattern']]}.")
    if sentence.startswith(("must ", "has ", "is ")):
        return Malformed("bad-member", f"{member} {sentence}.")
    return Malformed("bad-member", f"{member} is not as it must be: {sentence.removeprefix('Value error, ')}.")
