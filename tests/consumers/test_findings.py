"""Findings on the queue: announced when they open and when they close, each once, whatever dies in between."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import nats
import orjson
import psycopg
import pytest
from nats.aio.client import Client
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from consumers.announcing import QUERIES, Progress, connect, run, step
from consumers.channels import FINDINGS
from consumers.contract import asyncapi
from consumers.findings import FindingsAnnouncer
from consumers.provision import provision
from consumers.publishing import NotPublished
from projections.findings.registry import FINDINGS as REGISTRY
from projections.runner import rebuild
from tests.consumers.listening import LATER, Listening
from tests.contracts.schemas import validate
from tests.projections.world import World, at

PAGE = (Path(__file__).parents[2] / "docs/messages.md").read_text(encoding="utf-8")
OVERDUE = ["0.0:overdue:promise:P-1:opened", "0.1:no-warning:promise:P-1:opened"]
NO_MORE = ["0.0:overdue:promise:P-1:closed", "0.1:no-warning:promise:P-1:closed"]


@pytest.fixture
def listening(readable: str, data_dir: Path, queue_url: str) -> Iterator[Listening]:
    world = World(readable, data_dir)
    rules = {code: kind.rule for code, kind in REGISTRY.items()}
    yield Listening(world, queue_url, FindingsAnnouncer("localhost/promise-ledger", rules))
    world.close()


@pytest.fixture
def overdue(listening: Listening) -> Listening:
    """One promise that is due on the second noon; nothing is announced yet."""
    listening.world.make(1)
    listening.catch_up()
    return listening


def claim(listening: Listening, occurred_at: float, recorded_at: float, number: int = 1) -> None:
    listening.world.now = at(recorded_at)
    assert listening.world.tell("promise.claim_kept", occurred_at, promise_id=f"P-{number}") == "recorded"


def overdue_said(told: list[str]) -> list[str]:
    return [each for each in told if ":overdue:" in each]


def test_a_finding_is_announced_when_it_opens_and_when_it_closes_each_once(overdue: Listening) -> None:
    assert overdue.announce(at(23)) == [], "it opens when due"
    assert overdue.announce(at(24), at(25), at(26)) == OVERDUE
    claim(overdue, 30, 30)
    overdue.catch_up()
    told = overdue.announce(at(30), at(31))
    assert told[2:4] == NO_MORE
    assert told[4:] == ["1.0:kept-late:promise:P-1:opened", "1.1:claimed-not-verified:promise:P-1:opened"]


def test_what_is_said_of_a_finding_is_what_auditors_read(overdue: Listening) -> None:
    overdue.announce(at(24))
    claim(overdue, 30, 30)
    overdue.catch_up()
    overdue.announce(at(30))
    opened, closed = (said for said in overdue.heard() if said["data"]["code"] == "overdue")
    assert closed == orjson.loads(PAGE.split("```json finding\n")[1].split("```")[0])
    document = asyncapi()
    for said in overdue.heard():
        name = said["type"].removeprefix("ledger.")
        assert document["channels"][name]["address"] == said["type"]
        validate(said, document["components"]["messages"][name]["payload"], document)
    data = {name: said for name, said in closed["data"].items() if name not in ("closed_at", "closed_by")}
    moment = {"type": "ledger.findings.opened", "time": data["opened_at"]}
    assert opened == closed | moment | {"id": OVERDUE[0], "data": data}
    late = next(said["data"] for said in overdue.heard() if said["data"]["code"] == "kept-late")
    assert late["detail"]["late_against"] == "due_at"
    assert not any(b"router" in body for body in overdue.raw()), "no word of a promise"


def test_whenever_a_relay_is_killed_nothing_is_lost_and_nothing_stored_twice(overdue: Listening) -> None:
    assert overdue.die(at(24), published=False) == 2
    assert overdue.heard() == []
    assert overdue.die(at(24), published=True) == 2
    assert [said["id"] for said in overdue.heard()] == OVERDUE
    assert overdue.die(at(24), published=True) == 2, "it was not remembered, so it is announced again"
    assert overdue.announce(at(24), at(25)) == OVERDUE


def test_a_rebuild_announces_nothing_twice_and_what_it_alone_finds(overdue: Listening) -> None:
    world = overdue.world
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("DELETE FROM read_findings_v1.findings WHERE code = 'overdue'")
    assert overdue.announce(at(30)) == OVERDUE[1:]
    rebuild(world.url, world.secrets, "findings")
    assert overdue.announce(at(30)) == [OVERDUE[1], OVERDUE[0]]
    claim(overdue, 30, 30)
    overdue.catch_up()
    rebuild(world.url, world.secrets, "findings")
    told = overdue.announce(at(31))
    assert sorted(told[2:4]) == sorted(NO_MORE)
    assert sorted(told) == sorted(set(told))


def test_openings_and_closings_are_announced_as_they_come_to_be_known(overdue: Listening) -> None:
    world = overdue.world
    for number in (2, 3, 4):
        world.make(number)
    claim(overdue, 20, 20, number=2)
    assert overdue_said(overdue.announce(at(24))) == [], "hour 20 is recorded and not read yet: who knows"
    overdue.catch_up()
    first = overdue_said(overdue.announce(at(25)))
    assert first == [f"{leaf}.0:overdue:promise:P-{leaf + 1}:opened" for leaf in (0, 2, 3)], "P-2 was kept in time"
    claim(overdue, 20, 26, number=3)
    claim(overdue, 30, 26, number=4)
    overdue.catch_up()
    assert overdue_said(overdue.announce(at(29)))[3:] == ["2.0:overdue:promise:P-3:closed"], "P-3 too, as told late"
    assert overdue.heard()[-1]["data"]["code"] != "overdue"
    never = next(said["data"] for said in overdue.heard() if said["id"] == "2.0:overdue:promise:P-3:closed")
    assert never["closed_at"] < never["opened_at"], "it never was"
    assert overdue_said(overdue.announce(at(30)))[4:] == ["3.0:overdue:promise:P-4:closed"], "dated ahead"


def test_after_days_of_being_off_all_is_announced_in_several_batches(
    overdue: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.findings.MOST", 3)
    for number in range(2, 6):
        overdue.world.make(number)
    claim(overdue, 30, 30)
    overdue.catch_up()
    told = overdue.announce(at(100))
    assert overdue_said(told)[:2] == [OVERDUE[0], NO_MORE[0]]
    assert len(told) == len(set(told)) == 14


def test_of_two_relays_one_waits_and_without_its_stream_nothing_counts_as_announced(overdue: Listening) -> None:
    async def story(connection: AsyncConnection[DictRow], queue: Client) -> None:
        now = at(24) + LATER
        async with await connect(overdue.world.url) as other, other.transaction():
            await other.execute(QUERIES["lock"], {"name": "findings"})
            assert await step(overdue.announcer, connection, queue, now) == 0
        await queue.jetstream().delete_stream(FINDINGS.name)
        with pytest.raises(NotPublished, match="run `promise-ledger migrate`"):
            await step(overdue.announcer, connection, queue, now)
        await asyncio.to_thread(provision, overdue.broker_url)
        assert await step(overdue.announcer, connection, queue, now) == 2

    overdue.play(story)


def test_a_silence_keeps_its_name_when_it_ends(overdue: Listening) -> None:
    week = 7 * 24
    assert "0.-1:silent-customer:customer:C-1:opened" in overdue.announce(at(week))
    world = overdue.world
    world.now = at(week + 1)
    spoken = {"contact_id": "K-1", "customer_id": "C-1", "channel": "phone", "outcome": "asked"}
    assert world.tell("contact.record", week + 1, **spoken) == "recorded"
    overdue.catch_up()
    told = [each for each in overdue.announce(at(week + 2)) if "silent" in each]
    assert told == ["0.-1:silent-customer:customer:C-1:opened", "0.-1:silent-customer:customer:C-1:closed"]


def test_the_loop_announces_by_itself_and_says_why_it_cannot(overdue: Listening) -> None:
    async def story() -> None:
        queue = await nats.connect(overdue.broker_url)
        stop, progress, away = asyncio.Event(), Progress(), Progress()
        url = overdue.world.url
        running = [
            asyncio.create_task(run(overdue.announcer, url, queue, stop, progress=progress)),
            asyncio.create_task(run(overdue.announcer, "host=/nowhere", queue, stop, progress=away)),
        ]
        async with asyncio.timeout(30):
            while progress.published < 2 or away.failure is None:
                await asyncio.sleep(0.01)
        stop.set()
        await asyncio.gather(*running)
        assert progress.failure is None
        await queue.close()

    asyncio.run(story())
    assert [said["id"] for said in overdue.heard()][:2] == OVERDUE
