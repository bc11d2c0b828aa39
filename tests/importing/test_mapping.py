"""Mistakes in a mapping: one sentence each, with the file and the key."""

import re
from pathlib import Path
from typing import Any

import pytest

from consumers.importing.errors import ImportProblem
from consumers.importing.mapping import Condition, load_mapping

GOOD = """
source = "crm"
timezone = "Europe/Berlin"

[csv]
delimiter = ";"

[rows]
id = "call"

[ids.call]
columns = ["Call"]
make = "keep"

[ids.customer]
columns = ["Phone", "Name"]
make = "hash"
prefix = "c-"

[[commands]]
name = "contact"
type = "contact.record"
when = [{ column = "Kind", equals = "call" }]
occurred_at = { time = "At" }

[commands.data]
actor = "import"
contact_id = { id = "call" }
customer_id = { id = "customer" }
channel = "phone"
outcome = { column = "Result", map = { ok = "resolved" }, otherwise = "unknown" }
"""


def mistake(tmp_path: Path, old: str = "", new: str = "", *, text: str | None = None) -> str:
    path = tmp_path / "map.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new) if text is None else text)
    with pytest.raises(ImportProblem) as caught:
        load_mapping(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path}: ")


def test_a_good_mapping_is_read(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(GOOD)
    assert load_mapping(path).columns() == {"Call", "Phone", "Name", "Kind", "At", "Result"}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('source = "crm"', "", "source: this key is missing."),
        ('source = "crm"', 'source = "my crm"', "source: must be 1 to 128 characters of A-Z a-z 0-9"),
        ('source = "crm"', 'source = "crm"\nsources = 1', "sources: there is no such key: remove it, or correct"),
        ("Europe/Berlin", "Berlin", "timezone: Berlin is no time zone known here: write one such as Europe/Berlin."),
        ("Europe/Berlin", "../../etc/passwd", "timezone: ../../etc/passwd is no time zone known here"),
        ('delimiter = ";"', 'delimiter = "::"', "csv.delimiter: string should have at most 1 character."),
        ('delimiter = ";"', 'encoding = "utf-99"', "csv.encoding: utf-99 is no encoding: write one such as utf-8"),
        ('id = "call"\n', 'id = "row"\n', "rows.id: there is no [ids.row]."),
        ('make = "hash"', 'make = "keep"', "ids.customer.make: keep takes one column; several are told apart by hash"),
        ('make = "hash"', 'make = "md5"', "ids.customer.make: input should be 'hash', 'readable' or 'keep'."),
        ('prefix = "c-"', 'prefix = "c@"', "ids.customer.prefix: string should match pattern"),
        ('"contact.record"', '"contact.forget"', "commands[1].type: contact.forget is no command: `promise-ledger"),
        ('"contact.record"', '"promise.announce_deadline"', "commands[1].type: promise.announce_deadline is no"),
        (', equals = "call"', "", "commands[1].when[1]: give exactly one of equals, one_of, starts_with and empty."),
        ('equals = "call"', 'equals = "call", empty = false', "commands[1].when[1]: give exactly one of equals"),
        ('equals = "call"', 'like = "call"', "commands[1].when[1].like: there is no such key"),
        ('time = "At"', 'time = "At", plus_days = 2', "commands[1].assumption: occurred_at is derived: state in one"),
        ('time = "At"', 'time = "At", at = "12:00"', "commands[1].assumption: occurred_at is derived: state in one"),
        ('time = "At"', 'time = "At", at = "25:00"', "commands[1].occurred_at.at: string should match pattern"),
        ('time = "At"', 'column = "At"', "commands[1].occurred_at.time: this key is missing."),
        ('actor = "import"', 'actor = { tiem = "x" }', "commands[1].data.actor: write a constant, or a table with"),
        ('actor = "import"', 'actor = { column = "x", maps = {} }', "commands[1].data.actor.maps: there is no such"),
        ('actor = "import"', 'actor = 1.5', "commands[1].data.actor: write a constant, or a table with column, id or"),
        ('actor = "import"', "", "commands[1].data.actor: contact.record needs this member."),
        ('actor = "import"', 'actor = "a"\nmood = "b"', "commands[1].data.mood: contact.record has no such"),
        ('actor = "import"', 'actor = "a"\noccurred_at = "b"', "commands[1].data.occurred_at: contact.record has"),
        ('channel = "phone"', 'channel = "fax"', "commands[1].data.channel: input should be 'in_person', 'phone', "),
        ('actor = "import"', 'actor = "a b"', "commands[1].data.actor: must be 1 to 128 characters of A-Z a-z 0-9"),
        ('actor = "import"', 'actor = 7', "commands[1].data.actor: input should be a valid string."),
        ('actor = "import"', 'actor = "a"\ncase_id = 7', "commands[1].data.case_id: input should be a valid string."),
        ('{ id = "customer" }', '{ id = "client" }', "commands[1].data.customer_id.id: there is no [ids.client]."),
        ("map = { ok = \"resolved\" }, ", "", "commands[1].data.outcome.otherwise: this needs a map, of whose names"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence_with_its_key(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert mistake(tmp_path, old, new).startswith(sentence)


def test_the_mapping_that_the_documentation_teaches_is_one(tmp_path: Path) -> None:
    taught = (Path(__file__).parents[2] / "docs" / "import.md").read_text(encoding="utf-8")
    parts = re.findall(r"^```toml\n(.*?)^```$", taught, re.MULTILINE | re.DOTALL)
    path = tmp_path / "map.toml"
    path.write_text("\n".join(part for part in parts if not part.startswith("occurred_at")))
    assert load_mapping(path).commands[0].name == "claim"


def test_members_are_named_as_in_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    members = ('contact_id = { id = "call" }', 'apology_id = { id = "call" }\n"for.promise_id" = { id = "call" }')
    apology = GOOD.replace('"contact.record"', '"apology.make"').replace(*members)
    path.write_text(apology[: apology.index('channel = "phone"')])
    assert "for.promise_id" in load_mapping(path).commands[0].data


@pytest.mark.parametrize(
    ("condition", "true_of", "false_of"),
    [
        ({"equals": "Yes"}, ["Yes"], ["yes", "Yes, late", ""]),
        ({"one_of": ["Yes", "No"]}, ["Yes", "No"], ["Yes, late", ""]),
        ({"starts_with": "Closed"}, ["Closed", "Closed late"], ["closed", "Not Closed", ""]),
        ({"empty": True}, [""], ["Yes"]),
        ({"empty": False}, ["Yes"], [""]),
    ],
)
def test_conditions_compare_exactly(condition: dict[str, Any], true_of: list[str], false_of: list[str]) -> None:
    asked = Condition(column="Kind", **condition)
    assert all(asked.holds(value) for value in true_of)
    assert not any(asked.holds(value) for value in false_of)


def test_two_commands_never_share_a_name(tmp_path: Path) -> None:
    again = GOOD[GOOD.index("[[commands]]") :]
    assert mistake(tmp_path, text=GOOD + again).startswith("commands[2].name: contact is the name of another command")


def test_what_is_no_mapping_at_all(tmp_path: Path) -> None:
    assert mistake(tmp_path, text="source = ").startswith("this is no TOML: ")
    assert mistake(tmp_path, text="#" * (2**20 + 1)).startswith("the mapping is larger than")
    path = tmp_path / "map.toml"
    path.write_bytes(b'source = "\xfc"')
    with pytest.raises(ImportProblem, match="the mapping is not UTF-8"):
        load_mapping(path)
    with pytest.raises(ImportProblem, match="the mapping cannot be read"):
        load_mapping(tmp_path / "none.toml")
