"""A real history through the real queue: 6,618 complaints, and the same numbers from the ledger as from the file."""

import csv
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

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


def test_the_ledger_counts_what_the_file_counts(served: Settings, shared_data: Path) -> None:
    path = shared_data / "cfpb_complaints_sample.csv"
    assert served.database_url is not None
    install(served.database_url)
    report = import_file(served, path, MAPPINGS / "cfpb.toml")
    assert (report.rows, report.rejected, report.refused) == (6618, 0, {})
    Runner(served.database_url, keys.load(served.keys_dir)).catch_up()
    with psycopg.connect(served.database_url) as connection:
        expected = counted(path)
        assert answered(connection) == expected
        assert expected | {"in_2018": 0} == {
            "outstanding": 6618,
            "on_time": 6469,
            "late": 60,
            "disputed": 9,
            "unverified": 6520,
            "unanswered": 89,
            "in_2018": 0,
        }
        assert stated(connection) == {"date assumed from Timely response?"}


def stated(connection: psycopg.Connection[Any]) -> set[str]:
    """What the claims rest on, as it stands in the log itself."""
    query = (
        "SELECT DISTINCT convert_from(state, 'UTF8')::jsonb #>> '{data,evidence}' FROM ledger.events WHERE topic = %s"
    )
    return {evidence for (evidence,) in connection.execute(query, ["promise.claimed_kept"])}
