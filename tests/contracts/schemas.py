"""The part of JSON Schema that the contract uses; any other keyword is a failure, not a thing to pass over."""

import re
from collections.abc import Callable
from typing import Any

KINDS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "const": lambda value, limit: bool(value == limit),
    "enum": lambda value, limit: value in limit,
    "minimum": lambda value, limit: bool(value >= limit),
    "maximum": lambda value, limit: bool(value <= limit),
    "minLength": lambda value, limit: len(value) >= limit,
    "maxLength": lambda value, limit: len(value) <= limit,
    "minItems": lambda value, limit: len(value) >= limit,
    "maxItems": lambda value, limit: len(value) <= limit,
    "pattern": lambda value, limit: re.search(limit, value, re.ASCII) is not None,
    "required": lambda value, limit: set(limit) <= value.keys(),
}
SAID_ONLY = {"title", "description", "default", "format", "$defs", "additionalProperties"}
WITH_SCHEMAS = {"type", "$ref", "anyOf", "allOf", "not", "items", "properties"}


class Invalid(Exception):
    """The value does not fit the schema."""


def check_schema(schema: dict[str, Any], root: dict[str, Any]) -> None:
    """Only known keywords, used as they must be; every reference leads somewhere."""
    assert schema.keys() <= LIMITS.keys() | SAID_ONLY | WITH_SCHEMAS, schema.keys()
    assert schema.get("type", "string") in KINDS
    assert schema.get("additionalProperties", False) is False
    re.compile(schema.get("pattern", ""))
    if "$ref" in schema:
        resolved(schema["$ref"], root)
    properties = schema.get("properties", {})
    assert set(schema.get("required", ())) <= properties.keys()
    inner = [
        *schema.get("anyOf", ()),
        *schema.get("allOf", ()),
        *properties.values(),
        *schema.get("$defs", {}).values(),
    ]
    for each in [*inner, *(schema[name] for name in ("items", "not") if name in schema)]:
        check_schema(each, root)


def resolved(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def validate(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    """Raises `Invalid` where `value` does not fit; `format` is a word only, as JSON Schema has it."""
    if "$ref" in schema:
        validate(value, resolved(schema["$ref"], root), root)
    if not KINDS[schema["type"]](value) if "type" in schema else False:
        raise Invalid(f"{value!r} is no {schema['type']}")
    for keyword, limit in schema.items():
        if keyword in LIMITS and not LIMITS[keyword](value, limit):
            raise Invalid(f"{value!r}: {keyword} {limit!r}")
    if "anyOf" in schema and not any(fits(value, each, root) for each in schema["anyOf"]):
        raise Invalid(f"{value!r} fits none of {schema['anyOf']!r}")
    for each in schema.get("allOf", ()):
        validate(value, each, root)
    if "not" in schema and fits(value, schema["not"], root):
        raise Invalid(f"{value!r} must not be {schema['not']!r}")
    for each in value if "items" in schema else ():
        validate(each, schema["items"], root)
    if "properties" in schema:
        if "additionalProperties" in schema and value.keys() - schema["properties"].keys():
            raise Invalid("a member that is not known")
        for name, member in value.items():
            if name in schema["properties"]:
                validate(member, schema["properties"][name], root)


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    try:
        validate(value, schema, root)
    except Invalid:
        return False
    return True
