"""Log entries as bytes: RFC 8785 canonical JSON (JCS), of a kind on which orjson's sorted output *is* JCS.

    canonical({"v": 1, "type": "promise.made"}) == b'{"type":"promise.made","v":1}'

Only strings, integers within ±(2^53 - 1), booleans, null, arrays, objects with ASCII keys: no floats, whose
spelling differs between languages. Datetimes must be UTC and are written with a `Z`. Hash these bytes, and store
these bytes.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import orjson

from ledger.tlog.errors import MalformedEntry

MAX_ENTRY_SIZE = 65_535
"""Bytes of an entry: what the two-byte length of an entry bundle can say."""
_MAX_DEPTH = 32
_MAX_INTEGER = 2**53 - 1
_UTC_OFFSET = timedelta(0)
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z


def canonical(value: object) -> bytes:
    """Return the JCS bytes of `value`, or raise `MalformedEntry` where it is outside the kinds named above."""
    _check((value,), 0)
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise MalformedEntry(f"cannot be written as JSON: {error}") from None


def parse_entry(data: bytes) -> dict[str, Any]:
    """Return the JSON object that `data` spells canonically in at most 65,535 bytes, or raise `MalformedEntry`."""
    if type(data) is not bytes or len(data) > MAX_ENTRY_SIZE:
        raise MalformedEntry("an entry is at most 65,535 bytes")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedEntry(f"an entry is JSON: {error}") from None
    if type(value) is not dict or canonical(value) != data:
        raise MalformedEntry("an entry is one JSON object in its canonical spelling (RFC 8785)")
    return value


def _check(values: Iterable[Any], depth: int) -> None:
    """Raise `MalformedEntry` for anything whose orjson spelling is not JCS. Exact types: a subclass may differ."""
    for value in values:
        kind = type(value)
        if kind is str or kind is bool or value is None or (kind is int and -_MAX_INTEGER <= value <= _MAX_INTEGER):
            continue
        if depth == _MAX_DEPTH:
            raise MalformedEntry(f"nested more than {_MAX_DEPTH} deep")
        if kind is dict:
            _check_keys(value)
            _check(value.values(), depth + 1)
        elif kind is list or kind is tuple:
            _check(value, depth + 1)
        elif kind is not datetime or value.utcoffset() != _UTC_OFFSET:
            raise MalformedEntry(f"a {kind.__name__} like this cannot be in an entry")


def _check_keys(value: dict[Any, Any]) -> None:
    for key in value:
        if type(key) is not str or not key.isascii():
            raise MalformedEntry("an object key is not ASCII text")
