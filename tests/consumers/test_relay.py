"""Every event on the queue: in the order of the log, at least once, without a personal word."""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import nats
import orjson
import psycopg
import pytest
from nats.aio.client import Client
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from consumers import publishing
from consumers.announcing import QUERIES, Progress, Stopped, connect, run, step
from consumers.channels import EVENTS, Stream
from consumers.contract import asyncapi
from consumers.publishing import Announcement, NotPublished, publish
from consumers.relay import EventsAnnouncer
from ledger.domain.dispatch import COMMANDS
from ledger.domain.dispatch import EVENTS as TOPICS
from tests.consumers.listening import Listening
from tests.consumers.test_messages_page import example, same
from tests.contracts.schemas import validate
from tests.projections.world import World, at, story


@pytest.fixture
def listening(readable: str, data_dir: Path, queue_url: str) -> Iterator[Listening]:
    world = World(readable, data_dir)
    yield Listening(world, queue_url, EventsAnnouncer("localhost/promise-ledger"))
    world.close()


def stored(listening: Listening) -> list[dict[str, Any]]:
    return listening.world.ask("SELECT topic, state, leaf_hash FROM ledger.events ORDER BY notification_id")


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [orjson.loads(row["state"])["event_id"] for row in rows]


def leaf_hash(entry: object) -> bytes:
    return sha256(b"\0" + orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)).digest()


def test_every_event_is_published_as_it_is_hashed_and_as_the_contract_says(listening: Listening) -> None:
    world = listening.world
    world.make(1)
    world.ledger.submit(story(world, 7, 120))
    told = listening.announce(at(0))
    rows, said = stored(listening), listening.heard()
    assert told == ids(rows)
    assert [each["leafindex"] for each in said] == list(range(len(rows)))
    assert [each["type"] for each in said] == [f"ledger.{row['topic']}" for row in rows]
    assert [leaf_hash(each["data"]) for each in said] == [bytes(row["leaf_hash"]) for row in rows]
    assert same(said[0], example("event"))
    assert len({each["type"] for each in said}) > 10
    document = asyncapi()
    for each in said:
        name = "events." + each["type"].removeprefix("ledger.")
        validate(each, document["components"]["messages"][name]["payload"], document)
    listening.catch_up()
    words = [row["text"] for row in world.ask("SELECT DISTINCT text FROM audit.texts")]
    assert len(words) > 10
    published = b"".join(listening.raw())
    assert [text for text in words if text.encode() in published] == [], "no personal word"


def test_the_source_of_what_is_announced_is_the_log_that_goes_on(listening: Listening) -> None:
    """As after `recover anew`, which no relay need be stopped for."""
    listening.world.make(1)
    listening.announce(at(0))
    listening.world.connection.execute("UPDATE ledger.head SET origin = 'example.com/ledger-2'")
    listening.world.make(2)
    listening.announce(at(0))
    assert [each["source"] for each in listening.heard()] == ["localhost/promise-ledger", "example.com/ledger-2"]


def test_events_and_commands_have_names_of_their_own_in_the_contract() -> None:
    names = [kind.__name__ for kind in (*COMMANDS.values(), *TOPICS.values())]
    assert len(names) == len(set(names))
    assert not any(topic.split(".")[0] in ("findings", "escalations") for topic in TOPICS)


def test_whenever_a_relay_is_killed_every_event_is_there_in_order_and_once(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.relay.MOST", 4)
    for number in range(10):
        listening.world.make(number)
    expected = ids(stored(listening))
    assert listening.die(at(0), published=False) == 4
    assert listening.heard() == []
    assert listening.die(at(0), published=True) == 4
    assert listening.die(at(0), published=True) == 4
    assert [said["id"] for said in listening.heard()] == expected[:4]
    assert listening.announce(at(0)) == expected
    assert listening.announce(at(0)) == expected


def test_two_relays_at_once_publish_in_order_and_go_on_while_events_come(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.relay.MOST", 7)
    world = listening.world

    async def running() -> None:
        queue = await nats.connect(listening.broker_url)
        other = await nats.connect(listening.broker_url)
        stop, progress = asyncio.Event(), [Progress(), Progress()]
        relays = [
            asyncio.create_task(run(EventsAnnouncer("x"), world.url, connection, stop, progress=each))
            for connection, each in zip((queue, other), progress, strict=True)
        ]
        for number in range(120):
            await asyncio.to_thread(world.make, number)
        async with asyncio.timeout(30):
            while sum(each.published for each in progress) < 120:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*relays)
        await other.close()
        await queue.close()

    asyncio.run(running())
    assert [said["leafindex"] for said in listening.heard()] == list(range(120))


def test_while_one_relay_is_at_it_the_other_does_nothing(listening: Listening) -> None:
    listening.world.make(1)

    async def staged(connection: AsyncConnection[DictRow], queue: Client) -> None:
        async with await connect(listening.world.url) as other, other.transaction():
            await other.execute(QUERIES["lock"], {"name": "events"})
            assert await step(listening.announcer, connection, queue, at(0)) == 0
        assert await step(listening.announcer, connection, queue, at(0)) == 1

    listening.play(staged)


def test_nothing_is_published_past_a_gap(listening: Listening) -> None:
    for number in range(3):
        listening.world.make(number)
    with psycopg.connect(listening.world.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM ledger.events WHERE notification_id = 2")
    with pytest.raises(Stopped, match="leaf 1 is missing"):
        listening.announce(at(0))
    assert listening.heard() == []


class Losing:
    """A connection on which one message is lost."""

    def __init__(self, connection: Client, lost: str) -> None:
        self._connection = connection
        self._lost: str | None = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def publish(self, subject: str, body: bytes, reply: str, headers: dict[str, str]) -> None:
        if headers["Nats-Msg-Id"] == self._lost:
            self._lost = None
        else:
            await self._connection.publish(subject, body, reply, headers)


def letters(names: str) -> list[Announcement]:
    return [Announcement("ledger.events.letter", name, orjson.dumps({"id": name})) for name in names]


async def kept(queue: Client, stream: Stream = EVENTS) -> str:
    found = []
    state = (await queue.jetstream().stream_info(stream.name)).state
    for sequence in range(max(1, state.first_seq), state.last_seq + 1):
        message = await queue.jetstream().get_msg(stream.name, sequence)
        assert message.headers is not None
        found.append(message.headers["Nats-Msg-Id"])
    return "".join(found)


def test_where_one_message_is_lost_those_behind_it_are_not_stored_before_it(
    queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def staged() -> None:
        queue = await nats.connect(queue_url)
        losing: Any = Losing(queue, lost="c")
        with monkeypatch.context() as patched:
            patched.setattr(publishing, "STORED_SECONDS", 0.5)
            with pytest.raises(NotPublished, match="NATS did not store"):
                await publish(losing, EVENTS, letters("abcde"))
        assert await kept(queue) == "ab"
        await publish(losing, EVENTS, letters("abcde"))
        assert await kept(queue) == "abcde"
        await queue.close()

    asyncio.run(staged())


def test_what_is_stored_already_in_another_order_does_not_stop_the_rest(queue_url: str) -> None:
    async def staged() -> None:
        queue = await nats.connect(queue_url)
        await publish(queue, EVENTS, letters("b"))
        await publish(queue, EVENTS, letters("abc"))
        assert await kept(queue) == "bac", "as after a crash, when NATS has forgotten a part of what it has"
        await queue.close()

    asyncio.run(staged())


def test_what_the_stream_refuses_stops_there_and_is_said(queue_url: str) -> None:
    large = Announcement("ledger.events.letter", "c", b"x" * 1000)

    async def staged() -> None:
        queue = await nats.connect(queue_url)
        js = queue.jetstream()
        config = (await js.stream_info(EVENTS.name)).config
        config.max_msg_size = 500
        await js.update_stream(config)
        with pytest.raises(NotPublished, match="LEDGER_EVENTS does not take announcements: message size exceeds"):
            await publish(queue, EVENTS, [*letters("ab"), large, *letters("d")])
        assert await kept(queue) == "ab"
        await queue.close()

    asyncio.run(staged())
