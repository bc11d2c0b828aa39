"""A real history: 6,618 complaints become commands, and the ledger counts what the file counts.

Through the real queue go all that are not answered in time without another word, and a fifth of those that are.
"""

import csv
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.importing.run import import_file
from ledger.settings import Settings
from ledger.storage import keys
from projections.runner import Runner, install
from tests.importing.tickets import MAPPINGS, Memory

MAPPING = MAPPINGS / "cfpb.toml"
NUMBERS = {"outstanding": 6618, "on_time": 6469, "late": 60, "disputed": 9, "unverified": 6520, "unanswered": 89}
"""What the whole file counts."""
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


@pytest.fixture(scope="module")
def complaints(shared_data: Path) -> Path:
    return shared_data / "cfpb_complaints_sample.csv"


def fewer(path: Path, complaints: Path) -> None:
    """Write to `path` all of the complaints, but of those that are answered in time without another word each fifth."""
    with complaints.open(encoding="utf-8", newline="") as file, path.open("w", encoding="utf-8", newline="") as sample:
        rows = csv.DictReader(file)
        assert rows.fieldnames is not None
        (writer := csv.DictWriter(sample, rows.fieldnames)).writeheader()
        ordinary = 0
        for row in rows:
            is_ordinary = (
                row["Company response to consumer"].startswith("Closed")
                and row["Timely response?"] == "Yes"
                and row["Consumer disputed?"] != "Yes"
            )
            ordinary += is_ordinary
            if not is_ordinary or ordinary % 5 == 0:
                writer.writerow(row)


def test_every_complaint_becomes_the_commands_that_it_calls_for(complaints: Path, tmp_path: Path) -> None:
    report = import_file(Settings(data_dir=tmp_path), complaints, MAPPING, send=Memory())
    assert (report.rows, report.rejected, report.refused) == (6618, 0, {})
    numbers = counted(complaints)
    assert report.recorded == {
        "concern.raise": 6618,
        "promise.make": numbers["outstanding"],
        "promise.claim_kept": numbers["on_time"] + numbers["late"],
        "promise.dispute": numbers["disputed"],
    }
    assert numbers.items() >= NUMBERS.items()


def test_the_ledger_counts_what_the_file_counts(served: Settings, complaints: Path, tmp_path: Path) -> None:
    fewer(path := tmp_path / "complaints.csv", complaints)
    assert served.database_url is not None
    install(served.database_url)
    report = import_file(served, path, MAPPING)
    assert (report.rows, report.rejected, report.refused) == (1449, 0, {})
    Runner(served.database_url, keys.load(served.keys_dir)).catch_up()
    with psycopg.connect(served.database_url) as connection:
        expected = counted(path)
        assert answered(connection) == expected
        assert expected.items() >= (NUMBERS | {"outstanding": 1449, "on_time": 1300, "unverified": 1351}).items()
        assert stated(connection) == {"date assumed from Timely response?"}


def stated(connection: psycopg.Connection[Any]) -> set[str]:
    """What the claims rest on, as it stands in the log itself."""
    query = (
        "SELECT DISTINCT convert_from(state, 'UTF8')::jsonb #>> '{data,evidence}' FROM ledger.events WHERE topic = %s"
    )
    return {evidence for (evidence,) in connection.execute(query, ["promise.claimed_kept"])}
