"""Fixtures for all tests: one PostgreSQL and one NATS a session, a fresh migrated database a test."""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deploy.embedded import Nats, Postgres
from ledger.collecting import collect_rarely

_numbers = count()
_used: list[str] = []
"""Databases of tests that are over."""
MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 * 2**30
WAITING = "service"
SLOW_FIRST = ("importing", "projections", "storage", "consumers", "erasure", "packs")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded and collected stays: it is looked through for garbage once and never again, as in the services."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        collect_rarely()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The directories whose files take long come first, so that no worker is left alone with one at the end.

    Of files that wait more than they compute, one stands between each two others: side by side they leave a processor
    idle.
    """

    def directory(path: Path) -> str:
        return path.parts[len(Path(__file__).parent.parts)]

    def rank(path: Path) -> int:
        return [*SLOW_FIRST, directory(path)].index(directory(path))

    files = dict.fromkeys(item.path for item in items)
    waiting = [path for path in files if directory(path) == WAITING]
    others = sorted((path for path in files if path not in waiting), key=rank)
    order = {path: 3.0 * index for index, path in enumerate(waiting)}
    order |= {path: 1.5 * index + 1 for index, path in enumerate(others)}
    items.sort(key=lambda item: order[item.path])


def roomy_memory() -> Path | None:
    """A file system in memory with room for all tests, where there is one; None: the usual place for temporary files.

    Making a database takes a tenth of the time there. Nothing less is shown: a test can kill processes and not the
    machine, and what those wrote is left either way. That every durable write is flushed is tested by itself.
    """
    return MEMORY if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES else None


def new_data_dir() -> Path:
    """A new directory that PostgreSQL's user may pass through, so that root needs no second place for its files."""
    directory = Path(tempfile.mkdtemp(prefix="ledger-", dir=roomy_memory()))
    directory.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return directory


def remove(directory: Path) -> None:
    if (link := directory / "postgres").is_symlink():
        shutil.rmtree(link.resolve().parent)
    shutil.rmtree(directory)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """An empty data directory; whatever was made from it, elsewhere too, is removed afterwards."""
    directory = new_data_dir()
    yield directory
    remove(directory)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty database on the session's PostgreSQL, durable as in production."""
    directory = new_data_dir()
    server = Postgres(directory)
    yield server.start()
    server.stop()
    remove(directory)


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """The URL of the session's NATS with JetStream; its streams stay from test to test."""
    directory = new_data_dir()
    server = Nats(directory, None)
    yield server.start()
    server.stop()
    remove(directory)


def _other_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def _template(postgres_url: str) -> str:
    from ledger.storage.migrations import migrate

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ledger_template")
    migrate(_other_database(postgres_url, "ledger_template"))
    return "ledger_template"


@pytest.fixture(scope="session")
def _readable_template(postgres_url: str, _template: str) -> str:
    from projections.runner import install

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE readable_template TEMPLATE ledger_template")
    install(_other_database(postgres_url, "readable_template"))
    return "readable_template"


@contextmanager
def _copy(postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a copy of `template`, dropped before the next is made: by then nobody is connected any more.

    PostgreSQL waits a tenth of a second for each connection that was just closed. By files: half the price of the copy
    through the WAL.
    """
    name = f"ledger_test_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        while _used:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(_used.pop())))
        create = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        connection.execute(create.format(Identifier(name), Identifier(template)))
    yield _other_database(postgres_url, name)
    _used.append(name)


@pytest.fixture
def database(postgres_url: str, _template: str) -> Iterator[str]:
    """The URL of a fresh database with all migrations applied, dropped afterwards."""
    with _copy(postgres_url, _template) as url:
        yield url


@pytest.fixture
def readable(postgres_url: str, _readable_template: str) -> Iterator[str]:
    """The same with the read side installed: what `promise-ledger migrate` leaves."""
    with _copy(postgres_url, _readable_template) as url:
        yield url


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real input that lies beside this repository; without it the test is skipped."""
    directory = Path(__file__).parents[2] / "shared" / "data"
    if not directory.is_dir():
        pytest.skip(f"needs the real input in {directory}")
    return directory
