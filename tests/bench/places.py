"""What every measurement needs: servers of their own, fresh databases, commands that look like real ones."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import orjson
import psycopg
from psycopg.conninfo import make_conninfo

from deploy.embedded import Nats, Postgres
from ledger.app import Submission
from ledger.domain.dispatch import COMMANDS
from ledger.settings import Settings
from ledger.storage.migrations import create_log, migrate

MAKE = COMMANDS["promise.make"]
_databases = count()


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    """(database URL, broker URL) of servers that nobody else uses, durable as in production."""
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        postgres, nats = Postgres(directory), Nats(directory, None)
        try:
            yield postgres.start(), nats.start()
        finally:
            nats.stop()
            postgres.stop()


@contextmanager
def database(url: str) -> Iterator[str]:
    """The URL of a new, empty database, dropped afterwards."""
    name = f"bench_{next(_databases)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def new_log(url: str, broker_url: str | None = None) -> Iterator[Settings]:
    """Settings of an empty log in a database of its own."""
    with database(url) as own, tempfile.TemporaryDirectory(prefix="ledger-bench-") as data_dir:
        migrate(own)
        settings = Settings(data_dir=Path(data_dir), database_url=own, broker_url=broker_url, http_port=0)
        create_log(settings)
        yield settings


@contextmanager
def service(settings: Settings, part: str, role: str) -> Iterator[None]:
    """That part of the service in a process of its own, as `up` runs it."""
    environment = os.environ | {
        "LEDGER_DATA_DIR": str(settings.data_dir),
        "LEDGER_DATABASE_URL": make_conninfo(settings.database_url or "", user=role),
        "LEDGER_BROKER_URL": settings.broker_url or "",
        "LEDGER_HTTP_PORT": "0",
    }
    command = [sys.executable, "-m", "deploy.cli", "serve", part]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def data(number: int) -> dict[str, object]:
    """`data` of one promise.make: 400 bytes, five promises a customer."""
    return {
        "actor": "u-17",
        "occurred_at": "2026-11-21T10:00:00+01:00",
        "case_id": f"case-{number // 3}",
        "promise_id": f"P-{number}",
        "customer_id": f"C-{number // 5}",
        "kind": "deliver",
        "text": f"Your order {number} arrives by Friday noon; if it does not, we call you before ten o'clock.",
        "due_at": "2027-12-01T12:00:00+01:00",
        "owner": "u-4",
        "channel": "email",
        "basis": "known",
    }


def submission(number: int) -> Submission:
    """One parsed promise.make, as the intake hands it over."""
    canonical = orjson.dumps(data(number), option=orjson.OPT_SORT_KEYS)
    command = MAKE.__pydantic_validator__.validate_json(canonical, strict=True)
    return Submission("bench", f"c-{number}", command, canonical)


def message(number: int) -> bytes:
    """One promise.make as a CloudEvent."""
    event = {"specversion": "1.0", "id": f"c-{number}", "source": "bench", "type": "promise.make"}
    return orjson.dumps({**event, "data": data(number)})
