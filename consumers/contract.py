"""The message contract, built from the models that the ledger itself parses with: JSON Schema and AsyncAPI 3.0.

What stands here beside the models is the envelope (`consumers.cloudevents`) and the answers (`ledger.receipts`,
`Malformed.to_json`), and in `consumers.announced` what can be listened to; tests hold each against the real thing.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from consumers import announced
from consumers.channels import CHECK_REQUESTS, COMMAND_BYTES, REPLY_TO, STRUCTURED, command_subject, own_command_subject
from consumers.cloudevents import OWN_SOURCES
from ledger.checked import Checked, Unavailable
from ledger.domain.disclosures import CheckDisclosure
from ledger.domain.dispatch import EVENTS, PUBLIC
from ledger.domain.model import ID_PATTERN, Command

Schema = dict[str, Any]

_ID: Final[Schema] = {"type": "string", "pattern": ID_PATTERN}
_TEXT: Final[Schema] = {"type": "string"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_BASE64_HASH: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"}
_CODE: Final[Schema] = {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"}
_SCHEMAS: Final = "#/components/schemas/"
_SOURCE_IN_SUBJECT: Final = "The source of the command, a dot in it written %2E."
_FROM: Final = "from"
"""The channel that each source has for itself."""
_CHECK_ANSWERS: Final[tuple[type[BaseModel], ...]] = (Checked, Unavailable)
"""Their schemas are made from the models, as those of commands are."""


def json_schemas(findings: Mapping[str, Any]) -> dict[str, Any]:
    """{"commands", "events", "findings"}: by type the JSON Schema of the `data` of each command, as it may be sent, and
    of each event, as it is stored and announced; `findings` as their registry has them.
    """
    said = announced.event_schemas(_schema)
    return {
        "commands": {name: _schema(command) for name, command in sorted(PUBLIC.items())},
        "events": {name: said[event.__name__] for name, event in sorted(EVENTS.items())},
        "findings": dict(findings),
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of the ledger: it receives commands, and sends answers and announcements."""
    _, models = models_json_schema(
        [*((command, "validation") for command in PUBLIC.values()), *((a, "serialization") for a in _CHECK_ANSWERS)],
        ref_template=_SCHEMAS + "{model}",
        schema_generator=_WithoutTitles,
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Promise ledger",
            "version": version("promise-ledger"),
            "description": "Commands as CloudEvents 1.0 over NATS JetStream, each answered with a receipt or refusal. "
            "Payloads are shown in structured mode; in binary mode the attributes are headers with the prefix `ce-` "
            "and the body is `data`. Where `data` has no `occurred_at`, the event's `time` counts.",
        },
        "defaultContentType": STRUCTURED,
        "channels": {name: _command_channel(name) for name in sorted(PUBLIC)}
        | {_FROM: _own_channel()}
        | _ANSWER_CHANNELS
        | announced.CHANNELS,
        "operations": {name: _receive(name) for name in (*sorted(PUBLIC), _FROM)} | _SEND | announced.OPERATIONS,
        "components": {
            "messages": {name: _message(name, kind) for name, kind in sorted(PUBLIC.items())}
            | _ANSWER_MESSAGES
            | announced.MESSAGES,
            "schemas": dict(sorted(models["$defs"].items()))
            | _ENVELOPE
            | _ANSWERS
            | announced.SCHEMAS
            | announced.event_schemas(_schema),
        },
    }


class _WithoutTitles(GenerateJsonSchema):
    """A title for each model, none for its members: they would only say the member's name again.

    A command's `occurred_at` may be left out: `cloudevents.parse` then puts the event's `time` there.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        """Without the docstring of pydantic's own BaseModel, which a model without one would inherit."""
        found = super().model_schema(schema)
        if issubclass(schema["cls"], Command):
            found["required"].remove("occurred_at")
            found["properties"]["occurred_at"]["description"] = "Without it the CloudEvent's `time` counts."
        if found.get("description") == BaseModel.__doc__:
            del found["description"]
        return found


def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(schema_generator=_WithoutTitles)


def _command_channel(name: str) -> Schema:
    return {"address": command_subject(name), "messages": {name: {"$ref": f"#/components/messages/{name}"}}}


def _own_channel() -> Schema:
    return {
        "address": own_command_subject("{source}", "{type}"),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in sorted(PUBLIC)},
        "parameters": {
            "source": {"description": _SOURCE_IN_SUBJECT},
            "type": {"description": "The type of the command.", "enum": sorted(PUBLIC)},
        },
        "description": "The same commands of one source alone, so that the broker can grant it to that source's login.",
    }


def _receive(name: str) -> Schema:
    reply = {
        "address": {"location": f"$message.header#/{REPLY_TO}"},
        "channel": {"$ref": "#/channels/reply"},
    }
    return {"action": "receive", "channel": {"$ref": f"#/channels/{name}"}, "reply": reply}


def _message(name: str, kind: type[Command]) -> Schema:
    members = {"type": {"const": name}, "data": {"$ref": _SCHEMAS + kind.__name__}}
    return {
        "name": name,
        "contentType": STRUCTURED,
        "headers": {"$ref": _SCHEMAS + "CommandHeaders"},
        "payload": {"allOf": [{"$ref": _SCHEMAS + "CommandEvent"}, {"properties": members}]},
    }


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any) -> Schema:
    properties = dict(required) | dict(optional or {})
    return {"type": "object", "properties": properties, "required": list(required), **more}


_ENVELOPE: Final[Schema] = {
    "CommandHeaders": {
        "type": "object",
        "properties": {
            REPLY_TO: {
                "type": "string",
                "maxLength": 256,
                "pattern": r"^(?!\$|ledger\.)[^\s.*>]+(\.[^\s.*>]+)*$",
                "description": "The subject to answer at, any of your own. The durable answer comes in any case.",
            },
            "content-type": {"type": "string", "description": "May be left out in structured mode."},
        },
    },
    "CommandEvent": _object(
        {
            "specversion": {"const": "1.0"},
            "id": _ID | {"description": "With `source` it names the command for ever: send the same again in doubt."},
            "source": _ID | {"not": {"enum": list(OWN_SOURCES)}},
            "type": _TEXT,
            "data": {"type": "object"},
        },
        {
            "time": _TIME,
            "subject": _TEXT,
            "datacontenttype": {"type": "string", "pattern": "^[aA]pplication/json *(;|$)"},
            "dataschema": _TEXT,
            **dict.fromkeys(("traceparent", "tracestate", "correlationid", "causationid"), _TEXT),
            **dict.fromkeys(("partitionkey", "sequence", "sequencetype"), _TEXT),
        },
        additionalProperties=False,
        description=f"One CloudEvent 1.0, at most {COMMAND_BYTES} bytes.",
    ),
}

_PROVEN: Final[Mapping[str, Schema]] = {
    "event_id": _TEXT,
    "type": {"enum": sorted(EVENTS)},
    "leaf_index": {"type": "integer", "minimum": 0},
    "leaf_hash": _BASE64_HASH,
}
_PROOF: Final[Schema] = {"type": "string", "description": "A tlog-proof (c2sp.org/tlog-proof)."}
_NO: Final[Mapping[str, Schema]] = {"code": _CODE, "message": _TEXT}
_OR_NULL: Final[Schema] = {"anyOf": [_ID, {"type": "null"}]}

_ANSWERS: Final[Schema] = {
    "Receipt": _object(
        {
            "status": {"const": "recorded"},
            "source": _ID,
            "id": _ID,
            "events": {
                "type": "array",
                "minItems": 1,
                "items": _object(_PROVEN, {"proof": _PROOF}, additionalProperties=False),
                "description": "The first event's proof is `proof` beside it; each further event has its own.",
            },
            "recorded_at": _TIME,
            "witnessed": {
                "type": "boolean",
                "description": "Whether the checkpoint carries the quorum's cosignatures.",
            },
            "proof": _PROOF,
        },
        additionalProperties=False,
    ),
    "Refusal": _object(
        {"status": {"const": "refused"}, "source": _ID, "id": _ID, **_NO},
        additionalProperties=False,
        description="A rule says no; that is on record, and the id is used up.",
    ),
    "Lost": _object(
        {
            "status": {"const": "lost"},
            "source": _ID,
            "id": _ID,
            "leaf_indexes": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "message": _TEXT,
        },
        additionalProperties=False,
        description="It was recorded, and the ledger has lost it: send the same again, under the same id.",
    ),
    "Malformed": _object(
        {"status": {"const": "malformed"}, "source": _OR_NULL, "id": _OR_NULL, **_NO},
        additionalProperties=False,
        description="The bytes are no command; those that came as one are kept in the dead letters.",
    ),
}
_ANSWER_MESSAGES: Final[Schema] = {
    name: {"name": name, "contentType": "application/json", "payload": {"$ref": _SCHEMAS + name}}
    for name in (*_ANSWERS, *(answer.__name__ for answer in _CHECK_ANSWERS))
}
_ANSWER_REFS: Final[Schema] = {name: {"$ref": f"#/components/messages/{name}"} for name in _ANSWER_MESSAGES}
_QUESTION: Final = CheckDisclosure.TYPE
_ANSWER_CHANNELS: Final[Schema] = {
    "reply": {
        "address": None,
        "messages": _ANSWER_REFS,
        "description": f"The subject in the command's header `{REPLY_TO}`.",
    },
    "receipts": {
        "address": "ledger.receipts.{source}",
        "messages": _ANSWER_REFS,
        "parameters": {"source": {"description": _SOURCE_IN_SUBJECT}},
        "description": "Every answer, durable for seven days in the stream LEDGER_RECEIPTS.",
    },
    f"{_QUESTION}.request": {
        "address": CHECK_REQUESTS,
        "messages": {_QUESTION: {"$ref": f"#/components/messages/{_QUESTION}"}},
        "description": "Plain request and reply, stored in no stream: nothing was said yet.",
    },
    f"{_QUESTION}.reply": {
        "address": None,
        "messages": {name: _ANSWER_REFS[name] for name in ("Checked", "Unavailable", "Malformed")},
        "description": "The reply subject of the request.",
    },
}
_CHECK: Final[Schema] = {
    "action": "receive",
    "channel": {"$ref": f"#/channels/{_QUESTION}.request"},
    "reply": {"channel": {"$ref": f"#/channels/{_QUESTION}.reply"}},
}
_SEND: Final[Schema] = {
    "answer": {"action": "send", "channel": {"$ref": "#/channels/receipts"}},
    f"{_QUESTION}.request": _CHECK,
}
