"""A ledger, a provisioned queue and a running intake."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from consumers.channels import STREAMS
from consumers.connection import Progress
from consumers.intake import serve
from consumers.provision import provision
from ledger.app import Ledger
from ledger.settings import Settings
from ledger.storage.migrations import create_log


class Service:
    """A ledger and its queue; `running()` serves the intake in the running loop."""

    def __init__(self, settings: Settings) -> None:
        assert settings.broker_url is not None
        self.settings = settings
        self.broker_url = settings.broker_url
        self.progress = Progress()

    @asynccontextmanager
    async def running(self, ledger: Any = None) -> AsyncIterator["Sender"]:
        """An intake over `ledger` (a real one where none is given) and a sender beside it."""
        own = Ledger.open(self.settings) if ledger is None else None
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(self.settings, ledger or own, stop, progress=self.progress))
        try:
            async with self.sender() as sender:
                yield sender
        finally:
            stop.set()
            await asyncio.wait_for(serving, 30)
            if own is not None:
                own.close()

    @asynccontextmanager
    async def sender(self) -> AsyncIterator["Sender"]:
        """A backend service, connected."""
        connection = await nats.connect(self.broker_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
        try:
            yield Sender(connection)
        finally:
            await connection.close()


class Sender:
    """A backend service that sends commands and waits for their answers."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.js = connection.jetstream()

    async def send(
        self, sent: bytes, *, subject: str = "ledger.commands.promise.make", headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Any]:
        """Publish, once the queue has it, and return the answer to come."""
        inbox = self.connection.new_inbox()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def answered(message: Any) -> None:
            if not future.done():
                future.set_result(orjson.loads(message.data))

        await self.connection.subscribe(inbox, cb=answered)
        await self.js.publish(subject, sent, headers={**(headers or {}), "reply_to": inbox})
        return future

    async def ask(self, sent: bytes, **options: Any) -> Any:
        """The answer to one command."""
        return await asyncio.wait_for(await self.send(sent, **options), 15)

    async def stored(self, stream: str) -> int:
        """How many messages a stream holds."""
        return (await self.js.stream_info(stream)).state.messages


@pytest.fixture
def settings(database: str, nats_url: str, data_dir: Path) -> Settings:
    """Settings of an empty ledger and an empty queue."""
    settings = Settings(data_dir=data_dir, database_url=database, broker_url=nats_url)
    create_log(settings)
    return settings


@pytest.fixture
def queue_url(nats_url: str) -> str:
    """The URL of an empty, provisioned queue."""
    asyncio.run(_empty(nats_url))
    provision(nats_url, ack_wait_seconds=2)
    return nats_url


@pytest.fixture
def service(settings: Settings, queue_url: str) -> Service:
    """An empty ledger with an empty, provisioned queue."""
    return Service(settings)


async def _empty(broker_url: str) -> None:
    connection = await nats.connect(broker_url)
    js = connection.jetstream()
    for stream in STREAMS:
        with suppress(NotFoundError):
            await js.delete_stream(stream.name)
    await connection.close()
