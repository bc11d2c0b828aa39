"""What commands may hold, and the sentence for each mistake. Nothing that was sent is ever repeated."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain.dispatch import CHECKS, COMMANDS
from ledger.domain.errors import describe
from ledger.domain.model import WANTED, Command
from ledger.domain.policies import PublishPolicy, Times
from ledger.domain.promise_messages import MakePromise, PromiseMade

GOOD: dict[str, Any] = {
    "actor": "u-17",
    "occurred_at": "2026-03-01T10:00:00+01:00",
    "promise_id": "P-1",
    "customer_id": "C-1",
    "kind": "deliver",
    "text": "The router comes.",
    "due_at": "2026-03-10T10:00:00Z",
    "owner": "u-17",
    "channel": "phone",
    "basis": "known",
}


def parse(data: Any, command: type[Command] = MakePromise) -> Any:
    """As intake does it: bytes, strictly."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return command.__pydantic_validator__.validate_json(body, strict=True)


def sentence(data: Any, command: type[Command] = MakePromise) -> str:
    with pytest.raises(ValidationError) as error:
        parse(data, command)
    return describe(error.value)


def test_a_command_is_parsed_and_its_times_are_utc() -> None:
    command = parse(GOOD)
    assert command.occurred_at == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert command.occurred_at.tzinfo is UTC
    assert (command.case_id, command.based_on, command.verification) == (None, (), "required")


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01t10:00:00z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T00:30:00+02:00", datetime(2026, 2, 28, 22, 30, tzinfo=UTC)),
        ("2028-02-29T10:00:00-00:00", datetime(2028, 2, 29, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00.25Z", datetime(2026, 3, 1, 10, 0, 0, 250000, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123456789Z", datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)),
    ],
)
def test_every_rfc_3339_time_with_an_offset_is_a_moment(written: str, moment: datetime) -> None:
    assert parse(GOOD | {"occurred_at": written}).occurred_at == moment


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-01",
        "2026-03-01 10:00:00Z",
        "2026-03-01T10:00Z",
        "2026-03-01T10:00:00+0100",
        "2026-03-01T10:00:00+01:60",
        "2026-03-01T10:00:00+24:00",
        "20260301T100000Z",
        "1700000000",
        1700000000,
        "2026-02-30T10:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T10:00:60Z",
        "2026-03-01T10:00:00Z\n",
        "２026-03-01T10:00:00Z",
        None,
        True,
    ],
)
def test_anything_else_is_no_moment(written: Any) -> None:
    assert sentence(GOOD | {"occurred_at": written}).startswith("`occurred_at` must be an RFC 3339 time with an offset")


def test_a_moment_can_be_given_as_an_aware_datetime_too() -> None:
    berlin = timezone(timedelta(hours=1))
    terms = {name: value for name, value in GOOD.items() if name not in ("actor", "occurred_at")}
    event = PromiseMade(**terms | {"verification": "required", "due_at": datetime(2026, 3, 10, 11, tzinfo=berlin)})
    assert (event.due_at, event.due_at.tzinfo) == (datetime(2026, 3, 10, 10, tzinfo=UTC), UTC)
    with pytest.raises(ValidationError):
        PromiseMade(**terms | {"verification": "required", "due_at": datetime(2026, 3, 10, 11)})


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"occurred_at": "2026-03-01T10:00:00"}, "`occurred_at` is a time without an offset"),
    ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "`occurred_at` is outside the years 1 to 9999"),
    ({"customer_id": "max@example.org"}, "`customer_id` must be a pseudonym of 1 to 128 characters"),
    ({"customer_id": "Max Muster"}, "so that no id is personal data"),
    ({"customer_id": "C-1\n"}, "`customer_id` must be a pseudonym"),
    ({"customer_id": "Ｃ１"}, "`customer_id` must be a pseudonym"),
    ({"customer_id": ""}, "`customer_id` must be a pseudonym"),
    ({"customer_id": "C" * 129}, "`customer_id` must be a pseudonym"),
    ({"customer_id": 17}, "`customer_id` must be a string"),
    ({"based_on": ["D-1", "max@example.org"]}, "`based_on.1` must be a pseudonym"),
    ({"based_on": "D-1"}, "`based_on` must be an array"),
    ({"based_on": ["D"] * 257}, "`based_on` is too long: at most 256 elements"),
    ({"kind": "gift"}, "`kind` must be one of deliver, answer, callback, fix, refund, update or other."),
    ({"channel": "pigeon"}, "`channel` must be one of in_person, phone,"),
    ({"text": ""}, "`text` is too short: at least 1 characters"),
    ({"text": "Max" * 5462}, "`text` is too long: at most 16384 characters"),
    ({"text": "Max\0"}, "`text` must be text without NUL characters"),
    ({"condition": {"text": "x"}}, "`condition.by` is missing"),
    ({"condition": {"text": "x", "by": "2026-03-01T10:00:00Z", "who": "Max"}}, "`condition.who` is not a member"),
    ({"condition": "Max"}, "`condition` must be an object"),
    ({"txet": "Max"}, "`txet` is not a member of this command"),
    ({"max@example.org": 1}, "`the command` has an unknown member whose name is no word"),
    ({"due_in": "8 hours"}, "`due_in` must be a duration such as P3D (days), PT3H"),
    ({"due_in": "PT8H\n"}, "`due_in` must be a duration"),
    ({"due_in": "P0D"}, "`due_in` must be a duration"),
    ({"due_in": "PT"}, "`due_in` must be a duration"),
    ({"due_in": "P1DT4H"}, "`due_in` must be a duration"),
]


@pytest.mark.parametrize(("change", "expected"), MISTAKES, ids=[expected[:40] for _, expected in MISTAKES])
def test_a_mistake_is_described_in_one_sentence_that_repeats_nothing(change: dict[str, Any], expected: str) -> None:
    words = sentence(GOOD | change)
    assert expected in words
    assert words.endswith(".")
    assert "\n" not in words
    assert "max@" not in words
    assert "Max" not in words


def test_every_pattern_of_a_command_says_what_is_wanted_with_an_example() -> None:
    used = {pattern for command in (COMMANDS | CHECKS).values() for pattern in patterns(command.model_json_schema())}
    assert used == set(WANTED)
    for pattern, wanted in WANTED.items():
        for example in re.findall(r" such as (mon \S+|[^\s,]+)", wanted):
            assert re.search(pattern, example), wanted


def patterns(schema: Any) -> set[str]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = {schema["pattern"]} if isinstance(schema, dict) and isinstance(schema.get("pattern"), str) else set()
    return own.union(*map(patterns, inner))


def test_a_missing_member_is_named() -> None:
    assert sentence({k: v for k, v in GOOD.items() if k != "text"}) == "`text` is missing: send it."


@pytest.mark.parametrize("body", [b"{", b"", b'{"text": "\xff"}', b'{"text": "\\ud800"}', b"[" * 5000])
def test_what_is_not_json(body: bytes) -> None:
    assert "not valid JSON" in sentence(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"17", b'"Max"'])
def test_json_that_is_no_object(body: bytes) -> None:
    assert sentence(body) == "the command must be an object."


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("promise.read_back", {"confirmed": "yes"}, "`confirmed` must be true or false."),
        ("promise.read_back", {"confirmed": 1}, "`confirmed` must be true or false."),
        ("promise.announce_warning", {"due_at": GOOD["due_at"], "percent": 0}, "`percent` must be 1 or more."),
        ("promise.announce_warning", {"due_at": GOOD["due_at"], "percent": 100}, "`percent` must be 99 or less."),
        ("promise.announce_warning", {"due_at": GOOD["due_at"], "percent": "50"}, "`percent` must be a whole number."),
        ("promise.announce_warning", {"due_at": GOOD["due_at"], "percent": 50.5}, "`percent` must be a whole number."),
        ("promise.release", {"evidence": "x" * 257}, "`evidence` is too long: at most 256 characters"),
        ("promise.release", {"evidence": "x\x85"}, "`evidence` must be text without NUL and other control characters"),
        ("promise.release", {}, "`evidence` is missing"),
    ],
)
def test_mistakes_of_other_commands(name: str, change: dict[str, Any], expected: str) -> None:
    members = {"actor": "u-1", "occurred_at": "2026-03-01T10:00:00Z", "promise_id": "P-1"} | change
    assert expected in sentence(members, COMMANDS[name])


RULES_OF_A_CALENDAR = {
    "calendar_id": "de",
    "time_zone": "Europe/Berlin",
    "hours": ["mon 09:00-17:00"],
    "covers_until": "2026-12-31",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"time_zone": "europe/berlin"}, "`calendars.0.time_zone` must be a time zone such as Europe/Berlin."),
        ({"time_zone": "../etc/passwd"}, "`calendars.0.time_zone` must be a time zone such as Europe/Berlin."),
        ({"hours": ["mon 9-17"]}, "`calendars.0.hours.0` must be working hours of one day such as mon 09:00-12:00."),
        ({"hours": ["mon 24:00-24:00"]}, "`calendars.0.hours.0` must be working hours"),
        ({"hours": []}, "`calendars.0.hours` is too short: at least 1 elements"),
        ({"covers_until": "31.12.2026"}, "`calendars.0.covers_until` must be a day such as 2026-02-03."),
    ],
)
def test_mistakes_of_a_calendar(change: dict[str, Any], expected: str) -> None:
    times = dict.fromkeys(Times.model_fields, 24)
    policy = {
        "actor": "u-1",
        "occurred_at": "2026-03-01T10:00:00Z",
        "policy_id": "p",
        "approver": "u-9",
        "times": times,
    }
    calendars = {"calendars": [RULES_OF_A_CALENDAR | change], "tzdata_version": "2025b"}
    assert expected in sentence(policy | calendars, PublishPolicy)
    in_words = sentence(policy | {"tzdata_version": "new"}, PublishPolicy)
    assert in_words == "`tzdata_version` must be a version of the time zone database such as 2025b."


def test_a_currency_is_three_capital_letters() -> None:
    members: dict[str, Any] = {"actor": "u-1", "occurred_at": "2026-03-01T10:00:00Z", "goodwill_id": "G-1"}
    members |= {"customer_id": "C-1", "amount": 1, "authority_limit": 1, "currency": "euro"}
    assert "`currency` must be a currency code such as EUR." in sentence(members, COMMANDS["goodwill.grant"])


def test_evidence_may_be_a_short_statement() -> None:
    members = {"actor": "u-1", "occurred_at": "2026-03-01T10:00:00Z", "promise_id": "P-1"}
    command = parse(members | {"evidence": "date assumed from Timely response?"}, COMMANDS["promise.release"])
    assert command.evidence == "date assumed from Timely response?"


def test_text_of_every_script_and_length_is_taken_as_it_is() -> None:
    for text in ("ß", "😀" * 16384, "a\nb\tc", "\u202e"):
        assert parse(GOOD | {"text": text}).text == text
