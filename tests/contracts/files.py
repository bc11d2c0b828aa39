"""The files that are kept, and their spelling."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from consumers.contract import asyncapi, json_schemas

HERE = Path(__file__).parent
ENTRIES = HERE / "entries-v1.jsonl"
DECODED = HERE / "entries-v1.decoded.jsonl"
GOLDEN: dict[Path, Callable[[], dict[str, Any]]] = {
    HERE / "schema.json": lambda: json_schemas(findings={}),
    HERE / "asyncapi.json": asyncapi,
}
WIDTH = 120


def pretty(value: Any, indent: int = 0) -> str:
    """JSON of which whatever fits into a line stands on one, so that a change shows as few lines."""
    short = json.dumps(value, ensure_ascii=False)
    if indent + len(short) < WIDTH or not isinstance(value, dict | list) or not value:
        return short
    inner = " " * (indent + 1)
    if isinstance(value, dict):
        rows = [f"{inner}{json.dumps(name)}: {pretty(each, indent + 1)}" for name, each in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(inner + pretty(each, indent + 1) for each in value) + "\n" + " " * indent + "]"


def topic_of(entry: bytes) -> str:
    return str(orjson.loads(entry)["type"])
