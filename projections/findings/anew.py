"""The findings of the first leaves of a log, derived anew: for whoever needs them as of an earlier size, or from no
table that somebody could have changed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg import Connection, Cursor

from ledger.collecting import rare_collections
from ledger.storage.sql import queries
from projections.applying import CATCH_UP_BATCH, Progress
from projections.findings.customers import tails
from projections.findings.facts import Finding
from projections.findings.records import Customer
from projections.findings.report import FINDINGS_REPORT, FindingsFold, row_of
from projections.log import Log
from projections.tables import Table
from projections.versions import connect

_FETCHED = 5_000
_SQL = queries(Path(__file__).with_suffix(".sql"))


def derive(url: str, size: int, progress: Progress = lambda done, total: None) -> Iterator[Finding]:
    """Every finding that the first `size` leaves make, prevented ones too, in the order of the log.

    Takes the time of a rebuild of the findings, in temporary tables: no read table is looked at or touched.
    """
    with connect(url, "findings") as reader, connect(url, "findings") as own, rare_collections():
        log = Log(reader)
        fold = begin(own)
        for start in range(0, size, CATCH_UP_BATCH):
            batch = log.read(start, min(start + CATCH_UP_BATCH, size))
            with own.transaction(), own.cursor() as cursor:
                fold(cursor, batch)
            progress(batch.stop, size)
        with own.transaction(), own.cursor() as cursor:
            keep_tails(cursor)
        with own.transaction(), own.cursor("findings") as found:
            found.itersize = _FETCHED
            for row in found.execute(_SQL["all_findings"]):
                yield Finding(*row)


def begin(connection: Connection[Any]) -> FindingsFold:
    """A fold into temporary tables of this connection, which vanish with it."""
    connection.execute("SET search_path TO pg_temp")
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(FINDINGS_REPORT.sql["tables"])
        return FindingsFold(cursor)


def keep_tails(cursor: Cursor[Any]) -> None:
    """What opens next of each customer is among the findings: in the report it is a row only once somebody spoke."""
    rows = cursor.execute(_SQL["all_tails"]).fetchall()
    Table.find(cursor, "findings").insert(cursor, [row_of(each) for row in rows for each in tails(Customer(*row))])
