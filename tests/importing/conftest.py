"""An empty ledger behind a real queue, with an intake that serves it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nats
import pytest
from nats.js.errors import NotFoundError

from consumers.channels import STREAMS
from consumers.intake import serve
from consumers.provision import provision
from ledger.app import Ledger
from ledger.settings import Settings
from ledger.storage.migrations import create_log


@pytest.fixture
def served(database: str, nats_url: str, data_dir: Path) -> Iterator[Settings]:
    """The settings of a running service: commands that are sent are recorded and answered."""
    settings = Settings(data_dir=data_dir, database_url=database, broker_url=nats_url)
    create_log(settings)
    asyncio.run(_empty(nats_url))
    provision(nats_url)
    with _serving(settings):
        yield settings


@contextmanager
def _serving(settings: Settings) -> Iterator[None]:
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    with Ledger.open(settings) as ledger:
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(settings, ledger, stop),))
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(30)
            loop.close()


async def _empty(broker_url: str) -> None:
    connection = await nats.connect(broker_url)
    for stream in STREAMS:
        with suppress(NotFoundError):
            await connection.jetstream().delete_stream(stream.name)
    await connection.close()
