"""Announcements: each once, whoever makes it, and right after hours of being off."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import dict_row

from consumers.cloudevents import parse
from consumers.timer import Progress, run, tick
from ledger.app import Ledger
from ledger.settings import Settings
from ledger.storage import keys
from projections.runner import Runner
from tests.consumers.events import body, promise

MADE = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
DUE = MADE + timedelta(hours=4)


class Timed:
    """A ledger at a moment that the test sets, its projections, and what was announced."""

    def __init__(self, settings: Settings) -> None:
        self.now = MADE
        self.settings = settings
        assert settings.database_url is not None
        self.url = settings.database_url
        self.ledger = Ledger.open(settings, clock=lambda: self.now)
        self.connection: Connection[dict[str, Any]] = psycopg.connect(self.url, autocommit=True, row_factory=dict_row)

    def say(self, command_type: str, data: dict[str, Any], at: datetime) -> None:
        self.now = at
        number = f"c-{at.timestamp():.0f}-{command_type}-{data['promise_id'][:40]}"
        sent = {"actor": "u-17", "occurred_at": at.isoformat()} | data
        outcome = self.ledger.submit([parse({}, body(sent, type=command_type, id=number))])[0]
        assert outcome.status == "recorded", outcome

    def make(self, promise_id: str, **changes: Any) -> None:
        terms = promise(promise_id=promise_id, occurred_at=MADE.isoformat(), due_at=DUE.isoformat())
        self.say("promise.make", terms | changes, MADE)

    def project(self) -> None:
        Runner(self.url, keys.load(self.settings.keys_dir)).catch_up()

    def tick(self, at: datetime) -> int:
        self.project()
        self.now = at
        return tick(self.ledger, self.connection, at)

    def announced(self) -> list[str]:
        rows = self.connection.execute(
            "SELECT topic, originator_id FROM ledger.events WHERE topic ~ 'deadline|expired|refused'"
            " ORDER BY notification_id"
        )
        return [f"{row['topic'].removeprefix('promise.')} {row['originator_id']}" for row in rows]


@contextmanager
def timed(settings: Settings) -> Iterator[Timed]:
    world = Timed(settings)
    try:
        yield world
    finally:
        world.connection.close()
        world.ledger.close()


@pytest.fixture
def world(settings: Settings) -> Iterator[Timed]:
    from projections.runner import install

    assert settings.database_url is not None
    install(settings.database_url)
    with timed(settings) as found:
        yield found


def test_a_warning_a_missed_deadline_and_an_expired_condition_are_announced_once(world: Timed) -> None:
    world.make("P-1")
    world.make("P-2", condition={"text": "You send us the form.", "by": (MADE + timedelta(hours=1)).isoformat()})
    assert world.tick(MADE + timedelta(minutes=59)) == 0
    assert world.tick(MADE + timedelta(minutes=61)) == 1
    assert world.tick(MADE + timedelta(hours=2, minutes=59)) == 0
    assert world.tick(MADE + timedelta(hours=3, minutes=1)) == 1
    assert world.tick(MADE + timedelta(hours=3, minutes=2)) == 0
    assert world.tick(DUE) == 0
    assert world.tick(DUE + timedelta(seconds=1)) == 1
    assert world.tick(DUE + timedelta(seconds=2)) == 0
    assert world.announced() == [
        "condition_expired promise:P-2",
        "deadline_warned promise:P-1",
        "deadline_passed promise:P-1",
    ]


def test_after_hours_of_being_off_no_stale_warning_is_announced(world: Timed) -> None:
    world.make("P-1")
    assert world.tick(DUE + timedelta(hours=9)) == 1
    assert world.tick(DUE + timedelta(hours=10)) == 0
    assert world.announced() == ["deadline_passed promise:P-1"]


def test_any_number_of_timers_announce_once(world: Timed) -> None:
    world.make("P-1")
    world.project()
    world.now = DUE + timedelta(hours=1)
    with psycopg.connect(world.url, autocommit=True, row_factory=dict_row) as other:
        first = tick(world.ledger, world.connection, world.now)
        second = tick(world.ledger, other, world.now + timedelta(seconds=3))
    assert (first, second) == (1, 1), "the second one is answered with the first one's receipt"
    assert world.announced() == ["deadline_passed promise:P-1"]


def test_a_claimed_promise_is_left_alone_and_a_disputed_one_is_announced(world: Timed) -> None:
    world.make("P-1")
    world.say("promise.claim_kept", {"promise_id": "P-1"}, MADE + timedelta(hours=1))
    assert world.tick(DUE + timedelta(hours=1)) == 0
    world.say("promise.dispute", {"promise_id": "P-1", "text": "No."}, DUE + timedelta(hours=2))
    assert world.tick(DUE + timedelta(hours=3)) == 1
    assert world.announced() == ["deadline_passed promise:P-1"]


def test_the_longest_promise_id_has_room_for_an_announcement(world: Timed) -> None:
    world.make("P" * 128)
    assert world.tick(DUE + timedelta(hours=1)) == 1
    assert world.tick(DUE + timedelta(hours=1)) == 0


def test_a_lagging_read_table_announces_nothing_twice(world: Timed) -> None:
    world.make("P-1")
    world.project()
    world.now = DUE + timedelta(hours=1)
    for _ in range(3):
        tick(world.ledger, world.connection, world.now)
    assert world.announced() == ["deadline_passed promise:P-1"]


def test_the_loop_outlives_a_database_that_goes_away(settings: Settings) -> None:
    class Never:
        pass

    async def story() -> None:
        stop, progress = asyncio.Event(), Progress()
        never: Any = Never()
        ticking = asyncio.create_task(
            run(never, "postgresql:///x?host=/nowhere", stop, progress=progress, seconds=0.01)
        )
        while progress.failure is None:
            await asyncio.sleep(0.01)
        assert not ticking.done()
        stop.set()
        await ticking

    asyncio.run(story())
