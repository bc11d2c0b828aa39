"""Append in process, against plain eventsourcing and a raw COPY of the same bytes."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from ledger.app import Ledger
from ledger.settings import MAX_BATCH
from tests.bench.places import data, database, new_log, submission


class PlainPromise(Aggregate):
    """The same promise, as an aggregate of the library's own kind."""

    @event("Made")
    def __init__(self, terms: dict[str, object], made_at: datetime) -> None:
        self.terms = terms
        self.made_at = made_at


def ledger(url: str, events: int) -> float:
    """Events/s in batches of 500: decided, sealed, deduplicated, committed, and, as in the intake, signed and proven
    in a second thread while the next batch is appended.
    """
    with new_log(url) as settings, Ledger.open(settings) as log:
        warm = [submission(number) for number in range(-2000, 0)]
        batches = [[submission(n) for n in range(start, start + MAX_BATCH)] for start in range(0, events, MAX_BATCH)]
        for start in range(0, len(warm), MAX_BATCH):
            log.submit(warm[start : start + MAX_BATCH])
        with ThreadPoolExecutor(1) as answering:
            began = time.perf_counter()
            answers = [answering.submit(log.answer, log.append(batch)) for batch in batches]
            for answer in answers:
                answer.result()
            return events / (time.perf_counter() - began)


def plain(url: str, events: int, *, batch: int) -> float:
    """Events/s of eventsourcing's own application and recorder, `batch` new aggregates a transaction."""
    with database(url) as own:
        parts = psycopg.conninfo.conninfo_to_dict(own)
        environment = {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(parts["dbname"]),
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": str(parts["user"]),
            "POSTGRES_PASSWORD": "",
        }
        with _PlainApplication(env=environment) as application:
            now = datetime.now().astimezone()
            began = time.perf_counter()
            for start in range(0, events, batch):
                application.save(*(PlainPromise(data(number), now) for number in range(start, start + batch)))
            return events / (time.perf_counter() - began)


class _PlainApplication(Application):  # type: ignore[type-arg]
    pass


def copy(url: str, rows: int) -> float:
    """Rows/s of a binary COPY of entry-sized rows, 500 a transaction: the floor under any append."""
    with database(url) as own, psycopg.connect(own) as connection:
        connection.execute("CREATE TABLE raw (number bigint PRIMARY KEY, state bytea)")
        state = bytes(700)
        began = time.perf_counter()
        for start in range(0, rows, MAX_BATCH):
            with connection.cursor().copy("COPY raw FROM STDIN (FORMAT BINARY)") as copy_in:
                copy_in.set_types(("int8", "bytea"))
                for number in range(start, start + MAX_BATCH):
                    copy_in.write_row((number, state))
            connection.commit()
        return rows / (time.perf_counter() - began)


def report(url: str) -> Sequence[tuple[str, str]]:
    """The rows of the table that this measurement adds."""
    ours = ledger(url, 40_000)
    batched = plain(url, 20_000, batch=MAX_BATCH)
    single = plain(url, 1_000, batch=1)
    floor = copy(url, 40_000)
    return (
        ("append in process, batches of 500", f"{ours:,.0f} events/s"),
        ("  plain eventsourcing, batches of 500", f"{batched:,.0f} events/s: ours is {ours / batched:.2f} x"),
        ("  plain eventsourcing, one at a time", f"{single:,.0f} events/s: ours is {ours / single:.1f} x"),
        ("  raw COPY of as many bytes", f"{floor:,.0f} rows/s: ours is {ours / floor:.2f} x"),
    )
