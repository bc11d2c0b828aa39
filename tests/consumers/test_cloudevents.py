"""What is a command and what is not; each refusal one sentence, without a value that was sent."""

import json
from datetime import UTC, datetime

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from consumers.cloudevents import OWN_SOURCES, Malformed, event_of, parse
from ledger.domain.apologies import MakeApology
from ledger.domain.disclosures import About
from tests.consumers.events import LATER, NOON, body, event, promise

STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BINARY = {"ce-specversion": "1.0", "ce-id": "c-1", "ce-source": "crm", "ce-type": "promise.make", "ce-time": NOON}


def malformed(sent: bytes, headers: dict[str, str] | None = None) -> Malformed:
    with pytest.raises(Malformed) as caught:
        parse(STRUCTURED if headers is None else headers, sent)
    return caught.value


@pytest.mark.parametrize("source", sorted({*OWN_SOURCES, "timer", "eraser", "ledger-keys", "ledger-recovery"}))
def test_nobody_sends_in_the_name_of_the_ledger_itself(source: str) -> None:
    refused = malformed(body(source=source))
    assert refused.code == "bad-source"
    assert refused.source is None, "the answer would go to a part of the ledger"


def test_a_structured_event_is_a_command() -> None:
    submission = parse(STRUCTURED, body())
    assert (submission.source, submission.command_id) == ("crm", "c-1")
    assert submission.command.TYPE == "promise.make"
    assert submission.canonical == rfc8785.dumps(promise())


def test_a_structured_event_needs_no_header() -> None:
    assert parse({}, body()) == parse(STRUCTURED, body()) == parse({"content-type": "application/json"}, body())


def test_a_media_type_is_the_same_in_capitals() -> None:
    both = BINARY | {"content-type": "Application/CloudEvents+JSON"}
    assert parse(both, body()) == parse(STRUCTURED, body(datacontenttype="Application/JSON; charset=utf-8"))
    assert malformed(b"[]", {"content-type": "Application/CloudEvents-Batch+JSON"}).code == "not-one-event"


def test_a_binary_event_is_the_same_command() -> None:
    binary = BINARY | {"content-type": "application/json", "reply_to": "_INBOX.1"}
    assert parse(binary, orjson.dumps(promise())) == parse(STRUCTURED, body())
    capitals = {name.title(): value for name, value in binary.items()}
    assert parse(capitals, orjson.dumps(promise())) == parse(STRUCTURED, body())


def test_binary_attributes_are_checked_like_structured_ones() -> None:
    assert malformed(orjson.dumps(promise()), BINARY | {"ce-id": "a@b"}).code == "bad-id"
    assert malformed(orjson.dumps(promise()), BINARY | {"ce-surprise": "x"}).code == "unknown-member"
    assert malformed(b"[1]", BINARY).code == "bad-data"


def test_a_typed_command_is_sent_under_the_names_of_its_schema() -> None:
    apology = MakeApology(
        actor="u-17",
        occurred_at=datetime(2026, 11, 21, 11, tzinfo=UTC),
        apology_id="A-1",
        customer_id="C-1",
        **{"for": About(promise_id="P-1")},
    )
    assert parse({}, event_of(apology, "crm", "c-1")).command == apology


def test_the_time_of_the_data_wins_over_the_time_of_the_event() -> None:
    assert parse({}, body(time=LATER)).command.occurred_at == parse({}, body()).command.occurred_at
    from_event = parse({}, body(promise(occurred_at=None), time=LATER))
    assert from_event.command.occurred_at.isoformat() == "2026-11-23T11:00:00+00:00"
    assert b"occurred_at" not in from_event.canonical


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "not-json"),
        (b"not json", "not-json"),
        (b'{"specversion":"1.0"', "not-json"),
        (b'\xef\xbb\xbf{"specversion":"1.0"}', "not-json"),
        (b'{"id":"\\ud800"}', "not-json"),
        (b'{"id":"\xff"}', "not-utf-8"),
        (b"[" * 30_000 + b"]" * 30_000, "nested-too-deeply"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested-too-deeply"),
        (b"17", "not-an-event"),
        (b"[]", "not-an-event"),
        (body(specversion="0.3"), "bad-specversion"),
        (body(specversion=None), "bad-specversion"),
        (body(id=None), "bad-id"),
        (body(id=""), "bad-id"),
        (body(id="c" * 129), "bad-id"),
        (body(id=7), "bad-id"),
        (body(id="anna@example.com"), "bad-id"),
        (body(id="c-1\n"), "bad-id"),
        (body(source=None), "bad-source"),
        (body(source="//crm/eu"), "bad-source"),
        (body(type=None), "unknown-type"),
        (body(type="promise.forget"), "unknown-type"),
        (body(type="promise.announce_deadline"), "unknown-type"),
        (body(type=["promise.make"]), "unknown-type"),
        (body(surprise=1), "unknown-member"),
        (body(data_base64="AAAA"), "unknown-member"),
        (body(datacontenttype="text/xml"), "bad-datacontenttype"),
        (body(datacontenttype="application/json5"), "bad-datacontenttype"),
        (body([]), "bad-data"),
        (body("promise"), "bad-data"),
        (orjson.dumps({name: value for name, value in event().items() if name != "data"}), "bad-data"),
        (body(promise(surprise=1)), "unknown-member"),
        (body(promise(customer_id=None)), "missing-member"),
        (body(promise(customer_id="anna@example.com")), "bad-member"),
        (body(promise(customer_id="C-1\n")), "bad-member"),
        (body(promise(customer_id=17)), "bad-member"),
        (body(promise(occurred_at="2026-11-21T12:00:00")), "bad-member"),
        (body(promise(occurred_at=None), time="2026-11-21T12:00:00"), "bad-time"),
        (body(time="yesterday"), "bad-time"),
        (body(time=17), "bad-time"),
        (body(promise(occurred_at=None), time=None), "no-time"),
        (body(promise(kind="gift")), "bad-member"),
        (body(promise(text="a\x00b")), "bad-member"),
        (body(promise(text="")), "bad-member"),
        (body(promise(text=1.5)), "bad-member"),
        (body(promise(text=2**60)), "bad-number"),
        (body(promise(text="x" * 65_536)), "too-large"),
        (body().replace(b'"actor"', b'"actor":"u-18","actor"', 1), "name-twice"),
        (body().replace(b'"actor"', b'"\\u0061ctor":"u-18","actor"', 1), "name-twice"),
        (
            body(promise(text="__")).replace(b"__", rb"\u0022" * 2).replace(b'"actor"', b'"actor":1,"actor"'),
            "name-twice",
        ),
    ],
)
def test_what_is_no_command_gets_one_sentence(sent: bytes, code: str) -> None:
    found = malformed(sent)
    assert found.code == code
    assert found.reason.endswith(".")
    assert found.reason.count("\n") == 0
    assert len(found.reason) < 300
    assert "anna" not in found.reason, "what was sent is never repeated"


def test_the_sentence_names_the_member_and_the_way_out() -> None:
    assert "data.customer_id must be 1 to 128 characters" in malformed(body(promise(customer_id="a@b"))).reason
    assert "promise-ledger schema" in malformed(body(type="promise.forget")).reason
    assert "data.occurred_at has no offset" in malformed(body(promise(occurred_at="2026-11-21T12:00:00"))).reason
    assert "NUL" in malformed(body(promise(text="a\x00"))).reason
    in_words = malformed(body(promise(due_in="3 hours"))).reason
    assert in_words == "data.due_in must be a duration such as P3D (days), PT3H, PT1H30M or PT90M."
    assert "65536" in malformed(body(promise(text="x" * 65_536))).reason
    assert "byte order mark (BOM)" in malformed(b"\xef\xbb\xbf" + body()).reason
    assert malformed(b'{"id": 1e400}').reason == (
        "The body is not JSON: number is infinity when parsed as double, at character 7."
    )


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (body(promise(anna_lies=1)), "data has a member that promise.make does not know: "),
        (body(promise(condition={"text": "x", "by": NOON, "anna_lies": 1})), "data.condition has a member that "),
        (body(anna_lies=1), "The event has an attribute that the ledger does not know; it knows causationid, "),
        (body(type="anna.lies"), "The type of this event is not known: "),
    ],
)
def test_a_name_that_the_sender_made_up_is_not_repeated(sent: bytes, sentence: str) -> None:
    assert malformed(sent).reason.startswith(sentence)
    assert b"anna" not in malformed(sent).to_json()


def test_exactly_64_kib_are_taken() -> None:
    room = 65_536 - len(body(promise(text="")))
    padded = body(promise(text="")).replace(b'{"actor"', b"{" + b" " * (room - 1) + b'"actor"')
    assert malformed(padded + b"  ").code == "too-large"
    assert malformed(padded + b" ").code == "bad-member"


def test_source_and_id_are_known_where_they_are_legal() -> None:
    found = malformed(body(type="promise.forget"))
    assert (found.source, found.command_id) == ("crm", "c-1")
    assert json.loads(found.to_json()) == {
        "status": "malformed",
        "source": "crm",
        "id": "c-1",
        "code": "unknown-type",
        "message": found.reason,
    }
    assert (malformed(body(id="a@b")).source, malformed(body(id="a@b")).command_id) == ("crm", None)
    assert malformed(b"{").source is None
    for sent in (b"{", b"x" * 65_537):
        assert (malformed(sent, BINARY).source, malformed(sent, BINARY).command_id) == ("crm", "c-1")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_anything_but_be_refused(sent: bytes) -> None:
    with pytest.raises(Malformed):
        parse({}, sent)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(promise())), JSON, min_size=1), st.dictionaries(st.text(), JSON))
def test_no_json_does_anything_but_be_refused_or_taken_as_sent(changed: dict[str, object], more: object) -> None:
    data = promise(**changed) | (more if isinstance(more, dict) else {})
    try:
        submission = parse({}, json.dumps(event(data)).encode())
    except Malformed:
        return
    assert submission.canonical == rfc8785.dumps(data)
