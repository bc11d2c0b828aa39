"""A real history, 6,618 complaints: the mapping makes of each what the file says, and the ledger counts what it counts.

Through the real queue go those that are out of the ordinary and each fourth of the others.
"""

import csv
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.importing.commands import Mapper
from consumers.importing.mapping import load_mapping
from consumers.importing.rows import check_file
from consumers.importing.run import import_file
from ledger.settings import Settings
from ledger.storage import keys
from projections.runner import Runner, install
from tests.importing.tickets import MAPPINGS

NEW_YEAR = date(2018, 1, 1)


def counted(path: Path) -> dict[str, int]:
    """The numbers straight from the file, by other code than the importer's."""
    numbers = dict.fromkeys(("outstanding", "on_time", "late", "disputed", "unverified", "unanswered", "in_2018"), 0)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            closed = row["Company response to consumer"].startswith("Closed")
            disputed = row["Consumer disputed?"] == "Yes"
            numbers["outstanding"] += 1  # nothing in the file ends a promise: nobody verified an answer
            numbers["on_time"] += closed and row["Timely response?"] == "Yes"
            numbers["late"] += closed and row["Timely response?"] == "No"
            numbers["disputed"] += disputed
            numbers["unverified"] += closed and not disputed
            numbers["unanswered"] += not closed
            numbers["in_2018"] += date.fromisoformat(row["Date sent to company"]) <= NEW_YEAR
    return numbers


CLAIMS = "SELECT count(*) FROM audit.promise_history WHERE type = 'promise.claimed_kept'"
QUESTIONS = {
    "outstanding": "SELECT count(*) FROM audit.outstanding_promises",
    "on_time": f"{CLAIMS} AND timeliness = 'on_time'",
    "late": f"{CLAIMS} AND timeliness = 'late'",
    "disputed": "SELECT count(*) FROM audit.promise_history WHERE type = 'promise.disputed'",
    "unverified": "SELECT count(*) FROM audit.promises WHERE fulfilment = 'claimed' AND standing <> 'ended'",
    "unanswered": "SELECT count(*) FROM audit.promises WHERE timeliness = 'overdue' AND disputes = 0",
    "in_2018": "SELECT count(*) FROM audit.outstanding_as_of('2018-01-01T12:00:00-05:00')",
}


def answered(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """The same numbers from the ledger's audit views."""
    return {name: connection.execute(question).fetchone()[0] for name, question in QUESTIONS.items()}  # type: ignore[index]


@pytest.fixture
def complaints(shared_data: Path) -> Path:
    return shared_data / "cfpb_complaints_sample.csv"


def test_every_complaint_becomes_what_the_file_says(complaints: Path) -> None:
    mapping = load_mapping(MAPPINGS / "cfpb.toml")
    file = check_file(complaints, mapping)
    mapper = Mapper(mapping, file.header, bytes(32))
    made = Counter(command.submission.command.TYPE for row in file for command in mapper.commands(row))
    assert made == {"concern.raise": 6618, "promise.make": 6618, "promise.claim_kept": 6529, "promise.dispute": 9}


def some_of(complaints: Path, path: Path) -> Path:
    """A file of the complaints that were disputed, late or never closed, and each fourth of the others."""
    with complaints.open(encoding="utf-8", newline="") as file, path.open("w", encoding="utf-8", newline="") as some:
        rows = csv.DictReader(file)
        (writer := csv.DictWriter(some, rows.fieldnames or ())).writeheader()
        for number, row in enumerate(rows):
            closed = row["Company response to consumer"].startswith("Closed")
            ordinary = closed and row["Timely response?"] == "Yes" and row["Consumer disputed?"] != "Yes"
            if not ordinary or number % 4 == 0:
                writer.writerow(row)
    return path


def test_the_ledger_counts_what_the_file_counts(served: Settings, complaints: Path, tmp_path: Path) -> None:
    path = some_of(complaints, tmp_path / "some.csv")
    assert served.database_url is not None
    install(served.database_url)
    report = import_file(served, path, MAPPINGS / "cfpb.toml")
    expected = counted(path)
    assert (report.rows, report.rejected, report.refused) == (expected["outstanding"], 0, {})
    Runner(served.database_url, keys.load(served.keys_dir)).catch_up()
    with psycopg.connect(served.database_url) as connection:
        assert answered(connection) == expected
        rare = {"late": 60, "disputed": 9, "unanswered": 89}
        assert {name: expected[name] for name in rare} == rare
        assert expected["on_time"] > 1500
        assert expected["in_2018"] > 0
        assert stated(connection) == {"date assumed from Timely response?"}


def stated(connection: psycopg.Connection[Any]) -> set[str]:
    """What the claims rest on, as it stands in the log itself."""
    query = (
        "SELECT DISTINCT convert_from(state, 'UTF8')::jsonb #>> '{data,evidence}' FROM ledger.events WHERE topic = %s"
    )
    return {evidence for (evidence,) in connection.execute(query, ["promise.claimed_kept"])}
