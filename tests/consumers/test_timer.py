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

from consumers import timer
from consumers.cloudevents import parse
from consumers.timer import Progress, run, tick
from ledger.app import Ledger
from ledger.domain.policies import Times
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
        number = f"c-{at.timestamp():.0f}-{command_type}-{data.get('promise_id', 'policy')[:40]}"
        sent = {"actor": "u-17", "occurred_at": at.isoformat()} | data
        outcome = self.ledger.submit([parse({}, body(sent, type=command_type, id=number))])[0]
        assert outcome.status == "recorded", outcome

    def make(self, promise_id: str, at: datetime = MADE, due_at: datetime | None = DUE, **changes: Any) -> None:
        due = None if due_at is None else due_at.isoformat()
        self.say("promise.make", promise(promise_id=promise_id, occurred_at=at.isoformat(), due_at=due, **changes), at)

    def publish(self, at: datetime, *percents: int, policy_id: str = "default", **changes: Any) -> None:
        """A policy in effect from its recording on."""
        hours = dict.fromkeys(Times.model_fields, 24)
        draft = {"policy_id": policy_id, "approver": "u-2", "times": hours, "tzdata_version": "2025b"}
        self.say("policy.publish", draft | {"warn_percents": percents} | changes, at)

    def warned(self) -> list[tuple[str, int, datetime]]:
        """What was warned of: promise, percentage, and when it was so."""
        rows = self.connection.execute(
            "SELECT convert_from(state, 'UTF8')::json AS said FROM ledger.events"
            " WHERE topic = 'promise.deadline_warned' ORDER BY notification_id"
        )
        entries = [row["said"] for row in rows]
        return [
            (each["data"]["promise_id"], each["data"]["percent"], datetime.fromisoformat(each["occurred_at"]))
            for each in entries
        ]

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


def hours(number: float) -> datetime:
    return MADE + timedelta(hours=number)


def test_each_percentage_of_the_policy_is_warned_of_once_and_a_new_due_time_begins_again(world: Timed) -> None:
    world.publish(MADE - timedelta(days=1), 25, 50, 90)
    world.make("P-1")  # four hours: 25 per cent are 1 hour, 50 are 2, 90 are 3.6
    assert [world.tick(hours(at)) for at in (0.9, 1.1, 1.2, 1.9, 2.1, 2.2, 3.5)] == [0, 1, 0, 0, 1, 0, 0]
    assert world.warned() == [("P-1", 25, hours(1)), ("P-1", 50, hours(2))]
    told = {
        "disclosure_id": "D-1",
        "customer_id": "C-1",
        "about": {"promise_id": "P-1"},
        "text": "Later.",
        "owner": "u",
    }
    told |= {"channel": "phone", "basis": "known", "apology": True}
    world.say("disclosure.make", told, hours(3.4))
    moved = {"promise_id": "P-1", "disclosure_id": "D-1", "new_due_at": hours(10).isoformat()}
    world.say("promise.reschedule", moved, hours(3.5))  # of ten hours, 25 per cent are over since 2.5
    assert [world.tick(hours(at)) for at in (3.6, 3.7, 4.9, 5.1, 9.1, 9.2)] == [1, 0, 0, 1, 1, 0]
    late = moved | {"new_due_at": hours(12).isoformat(), "occurred_at": hours(3.45).isoformat()}
    world.say("promise.reschedule", late, hours(9.3))  # it is due at 10 as before
    assert [world.tick(hours(at)) for at in (9.4, 9.9, 10.1, 10.2)] == [0, 0, 1, 0]
    late |= {"new_due_at": hours(11).isoformat(), "occurred_at": hours(3.46).isoformat()}
    world.say("promise.reschedule", late, hours(10.3))
    assert world.tick(hours(10.4)) == 0
    assert world.warned()[2:] == [("P-1", 25, hours(2.5)), ("P-1", 50, hours(5)), ("P-1", 90, hours(9))]


def test_of_warnings_missed_while_no_timer_ran_the_highest_is_announced(world: Timed) -> None:
    world.publish(MADE - timedelta(days=1), 25, 50, 90)
    world.make("P-1")
    assert [world.tick(hours(at)) for at in (3, 3.1, 3.7, 3.8)] == [1, 0, 1, 0]
    assert world.warned() == [("P-1", 50, hours(2)), ("P-1", 90, hours(3.6))]


def test_a_promise_keeps_the_percentages_that_it_was_made_under(world: Timed) -> None:
    world.make("P-before")
    world.publish(MADE + timedelta(minutes=1), 10)
    world.make("P-10", hours(1), hours(10))
    world.publish(hours(1.1), 20, policy_id="other")  # took effect last, so it counts from here on
    world.publish(hours(1.2), policy_id="none-at-all", effective_from=hours(8).isoformat())
    world.make("P-20", hours(1.3), hours(11))
    # P-10: a tenth of nine hours after 1.0 is 1.9; P-20: a fifth of 9.7 hours after 1.3 is 3.24; P-before: 3.0
    assert [world.tick(hours(at)) for at in (1.95, 3.1, 3.3)] == [1, 1, 1]
    world.make("P-never", hours(8.1), hours(20))
    for at in (8.2, 19.9):
        world.tick(hours(at))
    assert world.warned() == [("P-10", 10, hours(1.9)), ("P-before", 75, hours(3)), ("P-20", 20, hours(3.24))]


def test_what_is_due_in_business_time_is_warned_of_in_business_time(world: Timed) -> None:
    office = {"calendar_id": "de", "time_zone": "Europe/Berlin", "covers_until": "2026-12-31"}
    week = [f"{day} 09:00-17:00" for day in ("mon", "tue", "wed", "thu", "fri")]
    world.publish(MADE - timedelta(days=1), 50, 75, calendars=[office | {"hours": week}])
    # Friday at 9:00 in Berlin, which is MADE: sixteen hours are over on Monday at 17:00. Half of them are on Friday at
    # 17:00, three quarters (twelve) on Monday at 13:00, which is 12:00 UTC.
    world.make("P-1", due_at=None, due_in="PT16H", calendar_id="de")
    half, most = datetime(2026, 11, 20, 16, tzinfo=UTC), datetime(2026, 11, 23, 12, tzinfo=UTC)
    minute = timedelta(minutes=1)
    assert [world.tick(at) for at in (half - minute, half + minute, most - minute, most + minute)] == [0, 1, 0, 1]
    assert world.warned() == [("P-1", 50, half), ("P-1", 75, most)]


def test_the_timer_asks_by_index(world: Timed) -> None:
    """Of many promises it reads those that are due: each part of its question has a partial index of its own."""
    world.project()
    with world.connection.transaction(force_rollback=True), world.connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        query = "EXPLAIN " + timer._SQL["due_announcements"]
        plan = "\n".join(row["QUERY PLAN"] for row in cursor.execute(query, {"now": MADE, "most": 500}))
    for index in ("promises_condition", "promises_due", "promises_warning"):
        assert f"Index Scan using {index} " in plan or f"Bitmap Index Scan on {index}" in plan, plan
    assert "texts" not in plan, "no personal text is looked up"


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


def test_the_loop_outlives_a_fork_guard_that_is_gone_for_a_while(world: Timed) -> None:
    """And whatever else the ledger refuses: nobody would look at a timer that ended."""
    world.make("P-1")
    world.project()
    world.now = datetime.now(UTC)
    guard = world.settings.guard_path
    elsewhere = guard.rename(guard.with_name("elsewhere"))

    async def story() -> None:
        stop, progress = asyncio.Event(), Progress()
        ticking = asyncio.create_task(run(world.ledger, world.url, stop, progress=progress, seconds=0.01))
        while progress.failure is None:
            await asyncio.sleep(0.01)
        assert "fork guard" in progress.failure
        elsewhere.rename(guard)
        while progress.announced == 0:
            await asyncio.sleep(0.01)
        assert progress.failure is None
        stop.set()
        await ticking

    asyncio.run(asyncio.wait_for(story(), 30))
