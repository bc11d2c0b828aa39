"""The contract is what the ledger really takes and answers, and entries of today are read for ever."""

import re
import sys
from functools import cache
from typing import Any

import orjson
import pytest

from consumers import cloudevents, contract
from consumers.channels import CHECK_REQUESTS, REPLY_TO, command_subject, own_command_subject, receipts_subject
from consumers.channels import COMMANDS as COMMAND_STREAM
from consumers.cloudevents import Malformed, parse
from deploy import cli
from ledger.app import Ledger
from ledger.checked import Checked, ExpectedFinding, Unavailable, WouldBeRefused
from ledger.domain.dispatch import COMMANDS, EVENTS, PUBLIC
from ledger.settings import Settings
from ledger.storage.entries import MalformedEntry, decode
from tests.consumers.conftest import settings  # noqa: F401
from tests.consumers.events import body, promise
from tests.contracts.files import DECODED, ENTRIES, GOLDEN, pretty, topic_of
from tests.contracts.proofs import ROOT
from tests.contracts.samples import MOMENT, decoded
from tests.contracts.schemas import Invalid, check_schema, validate

STORED = ENTRIES.read_bytes().splitlines()
README, MESSAGES = ((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/messages.md"))
SHOWN = [
    orjson.loads(text)
    for text in [
        *re.findall(r"^ *(\{.*)", README, re.MULTILINE),
        *re.findall(r"```json \w+\n(.*?)```", MESSAGES, re.DOTALL),
    ]
]
VALUES = DECODED.read_bytes().splitlines()
FINDING = ExpectedFinding(
    code="unowned",
    severity="medium",
    rule="Nobody answers for it.",
    subject="disclosure:D-1",
    customer_id="C-1",
    case_id=None,
    opened_at=MOMENT,
    closed_at=None,
    opened_by=None,
    detail={"falsehood": "D-1", "since": MOMENT},
)


@cache
def asyncapi() -> dict[str, Any]:
    """The document, made once for all who only read it."""
    return contract.asyncapi()


@cache
def json_schemas() -> dict[str, Any]:
    """The same of the schemas, without findings."""
    return contract.json_schemas(findings={})


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_the_contract_is_the_one_that_was_reviewed(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == pretty(GOLDEN[path]()) + "\n", (
        f"{path.name} differs from the models. Where that is meant: `python -m tests.contracts schemas`, then read "
        "the difference; a member that senders may use must not go, and a new one must be optional."
    )


def test_every_event_topic_has_entries_as_they_are_stored_today() -> None:
    missing = sorted(EVENTS.keys() - set(map(topic_of, STORED)))
    assert not missing, (
        f"{', '.join(missing)}: no entry in {ENTRIES.name} shows how it is stored. "
        "Run `python -m tests.contracts entries`, and commit the lines that it adds."
    )


@pytest.mark.parametrize("topic", sorted(set(map(topic_of, STORED))))
def test_entries_of_an_earlier_version_decode_to_the_same_values_for_ever(topic: str) -> None:
    """Members that came later may be there as well; none that was there may go or say something else."""
    assert len(STORED) == len(VALUES)
    for entry, line in zip(STORED, VALUES, strict=True):
        if topic_of(entry) != topic:
            continue
        try:
            found = decode(0, topic, entry)
        except MalformedEntry as error:
            pytest.fail(
                f"{topic} was stored like this, and cannot be read any more; never change a stored form: {error}"
            )
        expected = orjson.loads(line)
        said = decoded(found)
        for part in ("event", "heading"):
            assert expected[part].items() <= said[part].items(), f"{topic} reads otherwise than when it was stored"
        assert said["personal"] == expected["personal"]
        assert found.event.stream == found.heading.stream


def test_every_schema_says_only_what_a_validator_knows() -> None:
    made = json_schemas()
    assert made["commands"].keys() == PUBLIC.keys()
    assert made["events"].keys() == EVENTS.keys()
    for schema in (*made["commands"].values(), *made["events"].values()):
        check_schema(schema)
    document = asyncapi()
    for schema in document["components"]["schemas"].values():
        check_schema(schema)


def test_every_stored_entry_fits_the_schema_of_its_event() -> None:
    made, document = json_schemas(), asyncapi()
    for members in map(orjson.loads, STORED):
        schema = made["events"][members["type"]]
        validate(members["data"], schema, schema)
        payload = document["components"]["messages"][f"events.{members['type']}"]["payload"]
        validate(members, payload["allOf"][1]["properties"]["data"], document)


def test_the_schema_of_an_event_names_no_member_that_is_not_in_its_data() -> None:
    for name, schema in json_schemas()["events"].items():
        assert not schema["properties"].keys() & {"customer_id", *EVENTS[name].PERSONAL}, name


@pytest.mark.parametrize(
    "sent",
    [event for event in SHOWN if event.get("type") in PUBLIC],
    ids=lambda event: event["id"],
)
def test_the_commands_that_our_pages_show_fit_their_schema(sent: Any) -> None:
    document, schema = asyncapi(), json_schemas()["commands"][sent["type"]]
    validate(sent["data"], schema, schema)
    validate(sent, document["components"]["messages"][sent["type"]]["payload"], document)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"text": "x" * 16384},
        {"case_id": "CASE-1", "based_on": ["D-1"], "condition": {"text": "Form", "by": "2026-11-22T12:00:00+01:00"}},
        {"customer_id": "anna@example.com"},
        {"customer_id": None},
        {"text": ""},
        {"text": "x" * 16385},
        {"text": "a\0b"},
        {"kind": "wish"},
        {"surprise": 1},
        {"due_at": 17},
        {"occurred_at": None},
        {"based_on": ["a b"]},
        {"condition": {"text": "Form"}},
    ],
)
def test_the_schema_takes_and_refuses_what_the_ledger_does(changes: dict[str, Any]) -> None:
    document = asyncapi()
    sent = orjson.loads(body(promise(**changes)))
    payload = document["components"]["messages"]["promise.make"]["payload"]
    try:
        parse({}, orjson.dumps(sent))
    except Malformed:
        with pytest.raises(Invalid):
            validate(sent, payload, document)
    else:
        validate(sent, payload, document)


def test_the_envelope_has_the_attributes_that_the_ledger_knows() -> None:
    envelope = asyncapi()["components"]["schemas"]["CommandEvent"]
    assert envelope["properties"].keys() == cloudevents._ATTRIBUTES
    assert set(envelope["required"]) == {*cloudevents._REQUIRED, "data"}


def test_real_answers_are_as_the_document_says(settings: Settings) -> None:  # noqa: F811
    document = asyncapi()
    schemas = document["components"]["schemas"]
    with Ledger.open(settings) as ledger:
        receipt, refusal = ledger.submit([parse({}, body()), parse({}, body(id="c-2"))])
    with pytest.raises(Malformed) as malformed:
        parse({}, body(source=None, data=[]))
    said = {"source": "crm", "id": "q-1"}
    checked = Checked(**said, log_size=7, findings=(FINDING,), refused=WouldBeRefused(code="id-taken", message="No."))
    answers = {
        "Receipt": receipt,
        "Refusal": refusal,
        "Malformed": malformed.value,
        "Checked": checked,
        "Unavailable": Unavailable(**said, code="behind", message="Later."),
    }
    for name, answer in answers.items():
        for other in answers:
            value = orjson.loads(answer.to_json())
            if name == other:
                validate(value, schemas[other], document)
            else:
                with pytest.raises(Invalid):
                    validate(value, schemas[other], document)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


def test_the_asyncapi_document_hangs_together() -> None:
    """AsyncAPI 3.0.0: what it requires, and every reference leads to what it names."""
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    for reference in references(document):
        assert reference.startswith("#/")
        found: Any = document
        for step in reference[2:].split("/"):
            found = found[step]
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")
    for names in (document["components"]["messages"], document["components"]["schemas"]):
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)


def test_each_command_has_the_channel_that_it_is_sent_on() -> None:
    document = asyncapi()
    for name in json_schemas()["commands"]:
        operation = document["operations"][name]
        assert operation["channel"] == {"$ref": f"#/channels/{name}"}
        assert operation["reply"]["address"]["location"] == f"$message.header#/{REPLY_TO}"
        assert document["channels"][name]["address"] == command_subject(name)
        assert command_subject(name).startswith(COMMAND_STREAM.subjects[0].rstrip(">"))
    own = document["channels"]["from"]
    assert own["address"] == own_command_subject("{source}", "{type}")
    assert own["parameters"]["type"]["enum"] == sorted(own["messages"]) == sorted(json_schemas()["commands"])
    assert document["operations"]["from"]["channel"] == {"$ref": "#/channels/from"}
    assert document["channels"]["receipts"]["address"] == receipts_subject("{source}")
    assert document["channels"]["disclosure.check.request"]["address"] == CHECK_REQUESTS
    assert document["operations"]["disclosure.check.request"]["reply"]["channel"]["$ref"].endswith("check.reply")
    assert not [name for name in document["channels"] if name in COMMANDS and COMMANDS[name].INTERNAL]


@pytest.mark.parametrize(("option", "name"), [("--json", "schema.json"), ("--asyncapi", "asyncapi.json")])
def test_the_command_line_prints_the_contract(
    option: str, name: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["promise-ledger", "schema", option])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    expected = next(build() for path, build in GOLDEN.items() if path.name == name)
    printed = orjson.loads(capfdbinary.readouterr().out)
    assert printed | {"findings": None} == expected | {"findings": None}
