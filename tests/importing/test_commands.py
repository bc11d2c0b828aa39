"""One row, one mapping, some commands: what comes out, and what makes the row a reject."""

import tomllib
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from consumers.importing.commands import Mapper, Prepared
from consumers.importing.errors import BadRow
from consumers.importing.mapping import MappingFile, load_mapping
from consumers.importing.rows import Row
from tests.importing.tickets import COLUMNS, HELPDESK, ticket

KEY = bytes(range(32))


def mapper(mapping: MappingFile | None = None) -> Mapper:
    return Mapper(mapping or load_mapping(HELPDESK), COLUMNS, KEY)


def row(line: int = 2, **changes: str) -> Row:
    return Row(line, tuple(ticket(**changes).values()))


def commands(**changes: str) -> list[Prepared]:
    return mapper().commands(row(**changes))


def data(command: Prepared) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(command.body)["data"]
    return found


def reason(**changes: str) -> str:
    with pytest.raises(BadRow) as caught:
        commands(**changes)
    return str(caught.value)


def changed(**changes: Any) -> MappingFile:
    """The example mapping with members of its first command's data changed."""
    mapping = tomllib.loads(HELPDESK.read_text())
    mapping["commands"][0]["data"] |= changes
    return MappingFile.model_validate(mapping)


def test_a_solved_ticket_becomes_its_whole_story() -> None:
    made = commands()
    assert [command.submission.command.TYPE for command in made] == [
        "concern.raise",
        "promise.make",
        "promise.claim_kept",
        "promise.dispute",
    ]
    assert [command.submission.command_id for command in made] == [
        "T-4711:raise",
        "T-4711:promise",
        "T-4711:claim",
        "T-4711:dispute",
    ]
    assert {command.submission.source for command in made} == {"helpdesk"}
    raised, promised, claimed, disputed = map(data, made)
    customer = raised["customer_id"]
    assert raised == {
        "actor": customer,
        "occurred_at": "2026-11-20T08:15:00Z",
        "case_id": "T-4711",
        "concern_id": "T-4711",
        "customer_id": customer,
        "text": 'Der "X2"; er blinkt\nrot – seit gestern',
        "severity": 2,
    }
    assert promised["due_at"] == "2026-11-24T22:59:59Z"
    assert (promised["owner"], promised["customer_id"], promised["channel"]) == ("u-17", customer, "email")
    assert claimed["occurred_at"] == "2026-11-23T16:02:00Z"
    assert (disputed["occurred_at"], disputed["text"]) == ("2026-11-24T16:02:00Z", "Bad, no call")


def test_conditions_decide_which_commands_there_are() -> None:
    def names(**changes: str) -> list[str]:
        return [each.submission.command_id.partition(":")[2] for each in commands(**changes)]

    assert names(Status="Open") == ["raise", "promise"]
    assert names(Due="") == ["raise"]
    assert names(Satisfaction="Good") == ["raise", "promise", "claim"]
    assert names(Satisfaction="Not Bad") == ["raise", "promise", "claim"]
    assert names(Satisfaction="") == ["raise", "promise", "claim"]


def test_an_address_becomes_one_pseudonym_however_it_is_written() -> None:
    customer = data(commands()[0])["customer_id"]
    assert customer.startswith("c-")
    assert len(customer) == 34
    assert data(commands(Requester=" anna.müller@EXAMPLE.com ")[0])["customer_id"] == customer
    assert data(commands(Requester="anna.mu\u0308ller@example.com")[0])["customer_id"] == customer
    assert data(commands(Requester="anna.mueller@example.com")[0])["customer_id"] != customer


def test_no_command_holds_the_address_itself() -> None:
    for command in commands():
        assert b"example.com" not in command.body


def test_another_key_gives_another_pseudonym() -> None:
    other = Mapper(load_mapping(HELPDESK), COLUMNS, bytes(32)).commands(row())
    assert data(other[0])["customer_id"] != data(commands()[0])["customer_id"]
    assert other[0].submission.command_id == commands()[0].submission.command_id


def test_the_same_address_as_customer_and_as_colleague_is_two_pseudonyms() -> None:
    mapping = tomllib.loads(HELPDESK.read_text())
    mapping["ids"]["agent"] = mapping["ids"]["customer"] | {"prefix": "u-"}
    raised = mapper(MappingFile.model_validate(mapping)).commands(row(Agent="Anna.Müller@example.com"))
    assert data(raised[1])["owner"][2:] != data(raised[1])["customer_id"][2:]


def test_mapping_a_row_again_gives_the_same_bytes() -> None:
    assert [command.body for command in commands()] == [command.body for command in commands()]


def test_a_readable_id_keeps_the_words_and_tells_alike_ones_apart() -> None:
    mapping = tomllib.loads(HELPDESK.read_text())
    mapping["ids"]["agent"] = {"columns": ["Agent"], "make": "readable", "prefix": "company-"}
    made = mapper(MappingFile.model_validate(mapping))
    first = data(made.commands(row(Agent="Société Générale, Inc."))[1])["owner"]
    second = data(made.commands(row(line=3, number=2, Agent="Societe Generale INC"))[1])["owner"]
    third = data(made.commands(row(line=4, number=3, Agent="銀行"))[1])["owner"]
    assert first.startswith("company-societe-generale-inc-")
    assert second.startswith("company-societe-generale-inc-")
    assert first != second
    assert len(third) == len("company-") + 8


def test_what_is_no_safe_id_is_never_kept() -> None:
    assert reason(Agent="anna@example.com") == (
        'column "Agent" is not a safe id (A-Z a-z 0-9 . _ : -): make it with make = "hash"'
    )
    assert "is not a safe id" in reason(Agent="x" * 129)


def test_an_empty_column_is_no_id() -> None:
    assert reason(Requester=" ") == 'column "Requester" is empty, and customer is made of it'


def test_the_first_column_that_is_not_empty_is_taken() -> None:
    assert data(commands(Description="")[0])["text"] == "Router geht nicht"
    assert reason(Description="", Subject="") == "text is to come from a column that is empty"


def test_an_optional_member_is_left_out_when_its_column_is_empty() -> None:
    severity = {"column": "Priority", "map": {"High": 2}, "optional": True}
    assert "severity" not in data(mapper(changed(severity=severity)).commands(row(Priority=""))[0])


def test_values_are_translated_and_what_the_map_does_not_name_is_not_guessed() -> None:
    assert data(commands(Priority="Urgent")[0])["severity"] == 1
    assert data(commands(Priority="whatever")[0])["severity"] == 3
    assert data(commands(Priority="")[0])["severity"] == 3
    assert reason(Channel="Fax") == 'column "Channel" holds something that the map does not name'


def test_a_value_that_the_mapping_does_not_expect_rejects_the_row() -> None:
    assert reason(Status="Spam") == 'column "Status" holds something that the mapping does not expect'


def test_a_long_text_is_cut_only_where_the_mapping_says_so_and_tells() -> None:
    text = data(commands(Description="ä" * 16_007)[0])["text"]
    assert text == "ä" * 16_000 + " [… 7 more characters, cut by the import]"
    assert data(commands(Description="ä" * 16_000)[0])["text"] == "ä" * 16_000
    assert reason(Subject="x" * 16_385).startswith("promise: data.text is not as it must be")


def test_members_of_members_are_reached_with_a_dot() -> None:
    mapping = tomllib.loads(HELPDESK.read_text())
    promised = mapping["commands"][1]["data"]
    promised |= {"condition.text": {"column": "Subject"}, "condition.by": {"time": "Due", "at": "12:30"}}
    made = mapper(MappingFile.model_validate(mapping)).commands(row())
    assert data(made[1])["condition"] == {"text": "Router geht nicht", "by": "2026-11-24T11:30:00Z"}


@pytest.mark.parametrize(
    ("column", "text", "wrong"),
    [
        ("Created", "20.11.26", 'column "Created" holds no time that the mapping can read'),
        ("Created", "2026-11-20", 'column "Created" holds no time that the mapping can read'),
        ("Created", "31.02.2026 10:00", 'column "Created" holds no time that the mapping can read'),
        ("Created", "20.11.2026", 'column "Created" holds a day without a time: say in the mapping at what time'),
        ("Created", "", 'column "Created" is empty, and raise occurred then'),
        ("Solved", "", 'column "Solved" is empty, and claim occurred then'),
        ("Solved", "31.12.9999 23:59", 'column "Solved" leads out of the years 1 to 9999'),
    ],
)
def test_a_time_that_cannot_be_read_rejects_the_row(column: str, text: str, wrong: str) -> None:
    assert reason(**{column: text}).startswith(wrong)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20 09:15", "2026-11-20T08:15:00Z"),
        ("2026-11-20T09:15:30.25", "2026-11-20T08:15:30.250000Z"),
        ("2026-07-20T09:15:30", "2026-07-20T07:15:30Z"),
        ("2026-11-20T09:15:00Z", "2026-11-20T09:15:00Z"),
        ("2026-11-20 09:15:00 UTC", "2026-11-20T09:15:00Z"),
        ("2026-11-20 09:15:00 -0500", "2026-11-20T14:15:00Z"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"),
    ],
)
def test_without_formats_times_are_iso_and_an_offset_in_the_file_wins(text: str, moment: str) -> None:
    mapping = load_mapping(HELPDESK).model_copy(update={"time_formats": []})
    made = mapper(mapping).commands(row(Created=text, Due=""))
    assert data(made[0])["occurred_at"] == moment


def test_days_are_added_by_the_calendar_and_not_in_hours() -> None:
    """The clock went back on 25 October 2026 in Berlin: that day has 25 hours."""
    disputed = commands(Solved="24.10.2026 17:02")[3]
    assert data(disputed)["occurred_at"] == "2026-10-25T16:02:00Z"


def test_a_day_is_that_of_the_time_zone_also_where_the_file_gives_an_offset() -> None:
    """Half past midnight in Berlin is still the day before in UTC."""
    mapping = load_mapping(HELPDESK).model_copy(update={"time_formats": []})
    promised = mapper(mapping).commands(row(Created="2026-11-20T08:15:00Z", Due="2026-11-23T23:30:00Z", Status="New"))[
        1
    ]
    assert data(promised)["due_at"] == "2026-11-24T22:59:59Z"


def test_the_end_of_a_day_is_that_of_the_time_zone() -> None:
    assert data(commands(Due="24.07.2027")[1])["due_at"] == "2027-07-24T21:59:59Z"


def test_a_row_of_another_width_is_rejected() -> None:
    with pytest.raises(BadRow, match="it has 3 fields and the header 12"):
        mapper().commands(Row(2, ("a", "b", "c")))
    with pytest.raises(BadRow, match="it has 3 fields and the header 12"):
        mapper().order(Row(2, ("a", "b", "c")))


def test_bytes_that_are_no_text_reject_their_row() -> None:
    assert reason(Subject="\udcfc").startswith("it holds bytes that are not utf-8")


def test_two_rows_of_one_id_are_not_two_facts() -> None:
    made = mapper()
    made.commands(row(line=2))
    with pytest.raises(BadRow, match="it has the same id as the row on line 2"):
        made.commands(row(line=9))


def test_what_the_ledger_would_not_take_rejects_the_row_before_anything_is_sent() -> None:
    assert reason(Description="a\0b") == "raise: data.text must be text without NUL characters"


def test_no_reason_repeats_a_value() -> None:
    for column in ("Ticket", "Agent", "Channel", "Created", "Due", "Solved", "Status", "Subject", "Description"):
        assert "geheim" not in reason(**{column: "geheim@example.com\0"})


def test_rows_are_ordered_by_the_moment_and_not_by_the_text() -> None:
    made = mapper()
    assert made.order(row(Created="02.12.2026 09:00")) > made.order(row(Created="20.11.2026 09:15"))
    assert made.order(row()) == datetime(2026, 11, 20, 8, 15, tzinfo=UTC)


def test_the_mapping_that_is_shipped_says_what_it_assumes() -> None:
    for path in HELPDESK.parent.glob("*.toml"):
        for rule in load_mapping(path).commands:
            derived = rule.occurred_at.plus_days or rule.occurred_at.at
            assert bool(derived) == bool(rule.assumption)
