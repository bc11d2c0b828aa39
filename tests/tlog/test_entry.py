from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.entry import MAX_ENTRY_SIZE, canonical, parse_entry
from ledger.tlog.errors import MalformedEntry

INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, database=None)
@given(VALUES)
def test_canonical_is_rfc_8785(value):
    assert canonical(value) == rfc8785.dumps(value)


@settings(max_examples=100, deadline=None, database=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_canonical_entry_survives_its_bytes(value):
    assert parse_entry(canonical(value)) == value


def test_every_ascii_character_is_spelled_as_rfc_8785_says():
    text = "".join(map(chr, range(256))) + "\u2028\u2029\ufeff\U0001f600"
    assert canonical({text[:128]: text}) == rfc8785.dumps({text[:128]: text})


def test_times_are_written_in_utc_with_a_z():
    at = datetime(2026, 11, 21, 9, 0, 0, 120_000, UTC)
    assert canonical({"at": at}) == b'{"at":"2026-11-21T09:00:00.120000Z"}'
    assert canonical({"at": at.replace(microsecond=0)}) == b'{"at":"2026-11-21T09:00:00Z"}'


class Colour(StrEnum):
    RED = "red"


def nested(depth: int, value: object = 1) -> object:
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        1e300,
        float("nan"),
        2**53,
        -(2**53),
        10**400,
        {"é": 1},
        {1: 1},
        {None: 1},
        {b"a": 1},
        b"bytes",
        {1, 2},
        object(),
        "\ud800",
        {"a": ["\udfff"]},
        {"\ud800": 1},
        datetime(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        Colour.RED,
        {Colour.RED: 1},
        nested(33),
        nested(5000),
        [[{"deep": 0.5}]],
        {"a": {"b": (1, 2.0)}},
    ],
)
def test_what_json_spells_differently_elsewhere_is_refused(value):
    with pytest.raises(MalformedEntry):
        canonical(value)


GOOD = b'{"a":1,"b":[true,null,"x"]}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1",
        b"[]",
        b"null",
        b'"a"',
        b"{",
        b"{}\n",
        b" {}",
        b'{"a": 1}',
        b'{"b":1,"a":1}',
        b'{"a":1,"a":1}',
        b"{}\0",
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":9007199254740992}',
        b'{"a":1.5}',
        b'{"a":NaN}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\u001F"}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\n"}',
        '{"é":1}'.encode(),
        pytest.param(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="deeply nested"),
        pytest.param(b'{"a":"' + b"x" * 65_535 + b'"}', id="too long"),
        b"\xef\xbb\xbf{}",
        pytest.param(b'{"a":' + b"9" * 60_000 + b"}", id="a huge number"),
        None,
        7,
        "{}",
        bytearray(b"{}"),
    ],
)
def test_bytes_that_are_no_canonical_object_are_malformed(data):
    assert parse_entry(GOOD) == {"a": 1, "b": [True, None, "x"]}
    with pytest.raises(MalformedEntry):
        parse_entry(data)


def test_an_entry_may_have_exactly_its_greatest_size():
    data = b'{"a":"' + b"x" * (MAX_ENTRY_SIZE - 8) + b'"}'
    assert canonical(parse_entry(data)) == data
    with pytest.raises(MalformedEntry):
        parse_entry(data.replace(b"x", b"xx", 1))
