"""Somebody who listens to what the ledger announces, and a relay that takes a step when the test says so."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

import nats
import orjson
from nats.aio.client import Client
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from consumers.announcing import QUERIES, Announcer, connect, step
from consumers.channels import Stream
from consumers.publishing import publish
from projections.runner import Runner
from tests.projections.world import World

LATER: Final = timedelta(seconds=2)
"""Longer than an announcer waits for what is being recorded."""


class Listening:
    """A ledger at a moment of the test's, an announcer of it, and what is in its stream."""

    def __init__(self, world: World, broker_url: str, announcer: Announcer) -> None:
        self.world = world
        self.broker_url = broker_url
        self.announcer = announcer

    def catch_up(self) -> None:
        """The read tables have everything that is recorded."""
        Runner(self.world.url, self.world.secrets).catch_up()

    def announce(self, *moments: datetime) -> list[str]:
        """The ids of everything that was ever heard, once all is announced that is to be at each of these moments."""

        async def story(connection: AsyncConnection[DictRow], queue: Client) -> None:
            for moment in moments:
                while await step(self.announcer, connection, queue, moment + LATER):
                    pass

        self.play(story)
        return [said["id"] for said in self.heard()]

    def die(self, moment: datetime, *, published: bool) -> int:
        """A relay is killed in the middle of a step, before or after publishing; how many it was about to announce."""
        taken = []

        async def story(connection: AsyncConnection[DictRow], queue: Client) -> None:
            cursor = connection.cursor()
            await cursor.execute("BEGIN")
            await cursor.execute(QUERIES["lock"], {"name": self.announcer.name})
            taken.extend(await self.announcer.take(cursor, moment + LATER))
            if published:
                await publish(queue, self.announcer.stream, taken)
            await connection.close()

        self.play(story)
        return len(taken)

    def play(self, story: Callable[[AsyncConnection[DictRow], Client], Awaitable[None]]) -> None:
        """`story` has come to its end."""

        async def played() -> None:
            queue = await nats.connect(self.broker_url)
            try:
                async with await connect(self.world.url) as connection:
                    await story(connection, queue)
            finally:
                await queue.close()

        asyncio.run(played())

    def heard(self) -> list[dict[str, Any]]:
        """Every announcement in the stream, in its order, as the JSON that was sent."""
        return [orjson.loads(body) for body in self.raw()]

    def raw(self) -> list[bytes]:
        """The same as it was sent."""
        found: list[bytes] = []

        async def listened() -> None:
            queue = await nats.connect(self.broker_url)
            found.extend(await bodies(queue, self.announcer.stream))
            await queue.close()

        asyncio.run(listened())
        return found


async def bodies(queue: Client, stream: Stream) -> list[bytes]:
    """The body of every message in `stream`; its headers are those of a CloudEvent with this id."""
    js = queue.jetstream()
    state = (await js.stream_info(stream.name)).state
    found = []
    for sequence in range(max(1, state.first_seq), state.last_seq + 1):
        message = await js.get_msg(stream.name, sequence)
        assert message.data is not None
        assert message.headers is not None
        assert message.headers["Nats-Msg-Id"] == orjson.loads(message.data)["id"]
        assert message.headers["content-type"] == "application/cloudevents+json"
        found.append(message.data)
    return found
