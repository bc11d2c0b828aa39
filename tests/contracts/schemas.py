"""The contract's schemas: JSON Schema 2020-12 with few keywords, so that a misspelt one is seen."""

from typing import Any

from jsonschema import Draft202012Validator, ValidationError

KEYWORDS = {
    *("type", "const", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"),
    *("required", "properties", "additionalProperties", "items", "anyOf", "allOf", "not", "$ref", "$defs"),
    *("title", "description", "default", "format"),
}
Invalid = ValidationError


def check_schema(schema: dict[str, Any]) -> None:
    """Only known keywords, used as they must be; what is required is described."""
    Draft202012Validator.check_schema(schema)
    _check_keywords(schema)


def _check_keywords(schema: dict[str, Any]) -> None:
    assert schema.keys() <= KEYWORDS, schema.keys() - KEYWORDS
    assert schema.get("additionalProperties", False) is False
    properties = schema.get("properties", {})
    assert set(schema.get("required", ())) <= properties.keys()
    lists = (schema.get("anyOf", ()), schema.get("allOf", ()), properties.values(), schema.get("$defs", {}).values())
    inner = [each for found in lists for each in found]
    for each in [*inner, *(schema[name] for name in ("items", "not") if name in schema)]:
        _check_keywords(each)


def validate(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    """Raises `Invalid` where `value` does not fit `schema`, whose references lead into `root`."""
    Draft202012Validator(root).evolve(schema=schema).validate(value)
